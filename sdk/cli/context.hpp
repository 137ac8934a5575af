#pragma once
// What every subcommand gets: the sandbox, how to print, and its options.

#include <cstdint>
#include <koyeb/sandbox.hpp>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

// Exit codes besides those of commands. 125 is docker's and podman's for "the command could not be run".
inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;
inline constexpr int kNotRun = 125;

struct Context {
    koyeb::sandbox::ConnectionInfo info;
    bool json = false;

    // Both: UsageError when no sandbox is named.
    const koyeb::sandbox::ConnectionInfo& checked_info() const;
    koyeb::sandbox::Sandbox connect() const;
};

// A mistake of the user's: printed, exit code kUsage.
struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct CommandOptions {
    std::vector<std::string> words;  // the command
    bool shell = false;              // the words, joined by blanks, are a text for sh
    std::string cwd;
    std::vector<std::string> env;  // K=V
    bool with_stdin = false;
    bool with_terminal = false;  // includes the above
    double timeout = 0;
    std::string user;
    std::string tag;
};
int run_exec(const Context& context, const CommandOptions& options);
int run_shell(const Context& context, const CommandOptions& options);
// A command that takes input while it runs, to its end. Its output is printed as it comes, or with --json
// kept.
koyeb::sandbox::CommandResult run_session(const Context& context, const CommandOptions& options,
                                          koyeb::sandbox::RunRequest request);
int run_start(const Context& context, const CommandOptions& options);

struct FileOptions {
    std::vector<std::string> paths;
    bool recursive = false;
    bool force = false;
    bool parents = false;
    bool details = false;
};
int run_ls(const Context& context, const FileOptions& options);
int run_cat(const Context& context, const FileOptions& options);
int run_rm(const Context& context, const FileOptions& options);
int run_mkdir(const Context& context, const FileOptions& options);
int run_mv(const Context& context, const FileOptions& options);
int run_watch(const Context& context, const FileOptions& options);

struct CopyOptions {
    std::vector<std::string> sources;
    std::string destination;
    bool quiet = false;
};
int run_cp(const Context& context, const CopyOptions& options);

struct ProcessOptions {
    std::vector<std::string> ids;
    bool quiet = false;  // ids alone
    bool all = false;
    std::string signal;
    bool follow = false;
    bool timestamps = false;
    std::optional<std::int64_t> from;
};
int run_ps(const Context& context, const ProcessOptions& options);
int run_kill(const Context& context, const ProcessOptions& options);
int run_logs(const Context& context, const ProcessOptions& options);

struct PortOptions {
    int port = 0;
};
int run_expose(const Context& context, const PortOptions& options);
int run_unexpose(const Context& context);
int run_health(const Context& context, double wait_seconds);

std::string join_path(const std::string& directory, const std::string& name);
// The last part of a path, also when a slash follows.
std::string base_name(std::string path);
std::string joined(const std::vector<std::string>& words);

// Call it first: a stream that was closed would lend its number to the next socket, and get our output.
void open_standard_streams();
// Writes all of it or throws; `fd` is 1 or 2.
void write_all(int fd, std::string_view bytes);
void print_line(const std::string& text);
void warn(const std::string& text);

// Completion scripts. `commands` maps each subcommand to its options.
using CommandTable = std::map<std::string, std::vector<std::string>>;
int print_completion(const std::string& shell, const CommandTable& commands);

}  // namespace cli
