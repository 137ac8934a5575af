#include "services/command_spawn.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <unordered_map>

#include "base/url.hpp"
#include "platform/pipe.hpp"
#include "platform/process_tree.hpp"
#include "platform/spawn.hpp"
#include "platform/users.hpp"
#include "services/shell_path.hpp"

namespace sandbox {

[[noreturn]] void throw_exception_from_error(const CommandError& e, const boost::source_location& where) {
    throw_exception_from_error(e.error, where);
}

namespace {

// The kernel refuses a single argument or variable of this size (MAX_ARG_STRLEN, execve(2)).
constexpr std::size_t kMaxExecString = 128 * 1024;
constexpr const char* kScriptFromFile = ". /proc/self/fd/3";

using Variables = std::vector<std::pair<std::string, std::string>>;

CommandError not_started(Error error) {
    return CommandError{CommandError::Kind::not_started, std::move(error)};
}

CommandError has_nul() {
    return not_started({Errc::invalid_argument, "exec: argument contains NUL", EINVAL});
}

// Variables in the order of first appearance, the last value of each.
Variables merge(const Variables& base, const Variables& on_top) {
    Variables merged;
    std::unordered_map<std::string_view, std::size_t> index;
    merged.reserve(base.size() + on_top.size());
    for (const Variables* part : {&base, &on_top}) {
        for (const auto& [name, value] : *part) {
            auto [found, is_new] = index.emplace(name, merged.size());
            if (is_new) {
                merged.emplace_back(name, value);
            } else {
                merged[found->second].second = value;
            }
        }
    }
    return merged;
}

const std::string* find_variable(const Variables& variables, std::string_view name) {
    for (const auto& [key, value] : variables) {
        if (key == name) return &value;
    }
    return nullptr;
}

bool fits_execve(std::string_view name, std::string_view value) {
    return name.size() + value.size() + 2 <= kMaxExecString;
}

bool is_shell_name(std::string_view name) {
    auto letter = [](char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    auto digit = [](char c) { return c >= '0' && c <= '9'; };
    return !name.empty() && !digit(name[0]) &&
           std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || digit(c); });
}

std::string shell_quoted(std::string_view text) {
    std::string quoted = "'";
    for (char c : text) {
        if (c == '\'') {
            quoted += "'\\''";
        } else {
            quoted += c;
        }
    }
    quoted += '\'';
    return quoted;
}

// Which of `args` is a shell's script: what follows -c, or options with it such as -lc.
std::optional<std::size_t> script_argument(const std::vector<std::string>& args) {
    static constexpr std::string_view kShells[] = {"sh", "ash", "bash", "dash", "ksh", "zsh"};
    const std::string_view name = std::string_view(args[0]).substr(args[0].rfind('/') + 1);  // npos + 1 is 0
    if (std::find(std::begin(kShells), std::end(kShells), name) == std::end(kShells)) return std::nullopt;
    for (std::size_t i = 1; i + 1 < args.size() && args[i].size() > 1 && args[i][0] == '-'; ++i) {
        if (args[i][1] != '-' && args[i].ends_with('c')) return i + 1;
    }
    return std::nullopt;
}

// A script too long for an argument, as a file without a name that the shell gets as descriptor 3.
Result<UniqueFd> script_file(std::string_view script) {
    UniqueFd fd(::memfd_create("command", MFD_CLOEXEC));
    if (!fd) return sys_error("memfd_create", errno);
    while (!script.empty()) {
        ssize_t count = ::write(fd.get(), script.data(), script.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return sys_error("write command", errno);
        script.remove_prefix(static_cast<std::size_t>(count));
    }
    return fd;
}

// The same where no /proc is mounted, through which the shell opens that descriptor: in pieces that are
// arguments, so up to what execve takes in total.
std::vector<std::string> script_in_pieces(std::string_view script) {
    constexpr std::size_t kPiece = kMaxExecString - 1;
    std::vector<std::string> pieces;
    std::string joined;
    for (; !script.empty(); script.remove_prefix(std::min(kPiece, script.size()))) {
        pieces.emplace_back(script.substr(0, kPiece));
        joined += "${" + std::to_string(pieces.size()) + "}";
    }
    std::string code = "eval \"shift " + std::to_string(pieces.size()) + "; " + joined + "\"";
    pieces.insert(pieces.begin(), {"sh", "-c", code, "sh"});
    return pieces;
}

// The shell as the daemon's PATH finds it, or one that images without a PATH entry for it still have.
Result<std::string> find_shell(const CommandEnvironment& environment) {
    const std::string* path = find_variable(environment.base_env, "PATH");
    Result<std::string> found = find_program("sh", path != nullptr ? *path : kDefaultPath, "");
    if (found) return found;
    for (const char* fallback : {"/bin/sh", "/usr/bin/sh", "/bin/bash", "/bin/dash", "/bin/ash"}) {
        if (::access(fallback, X_OK) == 0) return std::string(fallback);
    }
    return Error{Errc::not_found,
                 "there is no shell (sh) in this image: use \"args\" to run a program without one", ENOENT};
}

struct Terminal {
    UniqueFd master;
    UniqueFd slave;
};

Result<Terminal> open_terminal(PtySize size) {
    Terminal terminal;
    terminal.master = UniqueFd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!terminal.master) return sys_error("open terminal", errno);
    if (::grantpt(terminal.master.get()) != 0 || ::unlockpt(terminal.master.get()) != 0) {
        return sys_error("open terminal", errno);
    }
    char name[128];
    if (int failed = ::ptsname_r(terminal.master.get(), name, sizeof name); failed != 0) {
        return sys_error("open terminal", failed);
    }
    terminal.slave = UniqueFd(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!terminal.slave) return sys_error("open terminal", errno);
    winsize window{};
    window.ws_col = size.columns;
    window.ws_row = size.rows;
    ::ioctl(terminal.master.get(), TIOCSWINSZ, &window);
    return terminal;
}

Result<> apply_user(const CommandSpec& spec, SpawnSpec& out, Variables& on_top) {
    std::optional<User> user = find_user(spec.user);
    if (!user) return Error{Errc::not_found, "unknown user " + spec.user, 0};
    if (::geteuid() == 0 || user->uid != ::geteuid()) {
        out.user = Credentials{user->uid, user->gid, user->groups};
    }
    on_top = {{"HOME", user->home}, {"USER", user->name}, {"LOGNAME", user->name}};
    if (!spec.clean_env && !user->shell.empty()) on_top.emplace_back("SHELL", user->shell);
    return Result<>();
}

// Gives `child` its streams and its cgroup, and starts it.
template <class Start>
SpawnOutcome connect(const CommandEnvironment& environment, const CommandSpec& spec, SpawnSpec child,
                     Start start) {
    child.nofile_soft = environment.nofile_soft;
    child.nice = environment.nice;

    SpawnedCommand command;
    Terminal terminal;
    UniqueFd stdin_read;
    UniqueFd stdout_write;
    UniqueFd stderr_write;
    if (spec.pty) {
        Result<Terminal> opened = open_terminal(*spec.pty);
        if (!opened) return not_started(opened.error());
        terminal = std::move(*opened);
        child.stdin_fd = child.stdout_fd = child.stderr_fd = terminal.slave.get();
        child.controlling_tty = true;
    } else {
        auto out = make_pipe();
        auto err = make_pipe();
        if (!out || !err) return not_started(!out ? out.error() : err.error());
        std::tie(command.stdout_read, stdout_write) = std::move(*out);
        std::tie(command.stderr_read, stderr_write) = std::move(*err);
        child.stdin_fd = environment.null_fd;
        if (spec.stdin_mode == StdinMode::pipe) {
            auto in = make_pipe();
            if (!in) return not_started(in.error());
            std::tie(stdin_read, command.stdin_write) = std::move(*in);
            child.stdin_fd = stdin_read.get();
        }
        child.stdout_fd = stdout_write.get();
        child.stderr_fd = stderr_write.get();
        if (child.user) {
            // So that the command can reopen /dev/stdout and its like, which are checked against the owner.
            for (int fd : {stdout_write.get(), stderr_write.get(), stdin_read.get()}) {
                if (fd >= 0 && ::fchown(fd, child.user->uid, child.user->gid) != 0) continue;
            }
        }
    }
    if (spec.pty && child.user && ::fchown(terminal.slave.get(), child.user->uid, child.user->gid) == 0) {
        ::fchmod(terminal.slave.get(), 0620);
    }

    if (environment.cgroups != nullptr) command.cgroup = environment.cgroups->take();
    if (command.cgroup) child.cgroup_fd = command.cgroup->fd();
    bool in_cgroup = false;
    Result<pid_t> pid = start(child, &in_cgroup);
    // One that holds nobody would have its tree believed to be gone.
    if (command.cgroup && (!pid || !in_cgroup)) environment.cgroups->give_back(std::move(command.cgroup));
    if (!pid) return not_started(pid.error());
    command.pid = *pid;
    command.terminal = std::move(terminal.master);
    return command;
}

std::optional<CommandError> check_cwd(const CommandSpec& spec) {
    if (spec.cwd.empty()) return std::nullopt;
    struct stat info {};
    bool usable = spec.cwd.find('\0') == std::string::npos;
    if (usable && ::stat(spec.cwd.c_str(), &info) != 0) {
        usable = errno == EACCES;  // Told by chdir, with its stage.
    } else if (usable) {
        usable = S_ISDIR(info.st_mode);
    }
    if (usable) return std::nullopt;
    return CommandError{CommandError::Kind::bad_cwd,
                        {Errc::invalid_argument, "Invalid working directory: " + spec.cwd, 0}};
}

// $PWD, the path by which the command has come to its directory. A shell finds out by itself when it is
// wrong, and its `pwd` is the physical path then: as the reference has it for a command with variables.
void set_pwd(const CommandSpec& spec, Variables& on_top) {
    if (spec.clean_env || spec.cwd.empty() || (spec.args.empty() && !spec.env.empty())) return;
    if (spec.cwd.starts_with('/')) {
        on_top.emplace_back("PWD", spec.cwd);
        return;
    }
    const std::unique_ptr<char, decltype(&::free)> ours(::getcwd(nullptr, 0), &::free);
    if (ours) on_top.emplace_back("PWD", clean_path(std::string(ours.get()) + "/" + spec.cwd));
}

// `text` as a file that the child has as descriptor 3, and `argument` as what a shell reads it with.
std::optional<CommandError> use_script_file(const std::string& text, std::string& argument, SpawnSpec& child,
                                            UniqueFd& script) {
    Result<UniqueFd> file = script_file("exec 3<&-; " + text);
    if (!file) return not_started(file.error());
    script = std::move(*file);
    argument = kScriptFromFile;
    child.extra_fd = script.get();
    return std::nullopt;
}

bool can_name_descriptors() { return ::access("/proc/self/fd", F_OK) == 0; }

// `oversized`: assignments of variables that execve(2) would refuse. `script` is to be open until the child
// has been made.
std::optional<CommandError> use_shell(const CommandEnvironment& environment, const CommandSpec& spec,
                                      const std::string& oversized, SpawnSpec& child, UniqueFd& script) {
    Result<std::string> shell = environment.shell.get([&] { return find_shell(environment); });
    if (!shell) return not_started(shell.error());
    child.program = *shell;
    child.argv = {"sh", "-c", spec.shell_command};
    if (spec.shell_command.size() < kMaxExecString && oversized.empty()) return std::nullopt;
    if (spec.shell_command.find('\0') != std::string::npos) return has_nul();
    const std::string text = oversized + spec.shell_command;
    if (can_name_descriptors()) return use_script_file(text, child.argv[2], child, script);
    child.argv = script_in_pieces(text);
    return std::nullopt;
}

std::optional<CommandError> use_program(const CommandSpec& spec, const Variables& variables, SpawnSpec& child,
                                        UniqueFd& script) {
    const std::string* path = find_variable(variables, "PATH");
    Result<std::string> program =
        find_program(spec.args[0], path != nullptr ? *path : kDefaultPath, spec.cwd);
    if (!program) return not_started(program.error());
    child.program = *program;
    child.argv = spec.args;
    const std::optional<std::size_t> at = script_argument(spec.args);
    if (!at || spec.args[*at].size() < kMaxExecString || !can_name_descriptors()) return std::nullopt;
    if (spec.args[*at].find('\0') != std::string::npos) return has_nul();
    return use_script_file(spec.args[*at], child.argv[*at], child, script);
}

}  // namespace

SpawnOutcome spawn_command(const CommandEnvironment& environment, const CommandSpec& spec,
                           const std::string& marker, const int* given_up) {
    auto left = [given_up] { return __atomic_load_n(given_up, __ATOMIC_ACQUIRE) != 0; };
    CommandError nobody_waits{CommandError::Kind::given_up, {Errc::cancelled, "given up", ECANCELED}};
    if (left()) return nobody_waits;  // Not even a look: that may be what hangs.
    if (std::optional<CommandError> bad = check_cwd(spec)) return *bad;

    SpawnSpec child;
    const Variables none;
    const Variables& base = spec.clean_env ? none : environment.base_env;
    Variables on_top;
    if (!spec.user.empty()) {
        if (Result<> applied = apply_user(spec, child, on_top); !applied) {
            return CommandError{CommandError::Kind::bad_user, applied.error()};
        }
    }
    set_pwd(spec, on_top);
    on_top.insert(on_top.end(), spec.env.begin(), spec.env.end());
    const Variables merged = on_top.empty() ? none : merge(base, on_top);
    const Variables& variables = on_top.empty() ? base : merged;

    std::string oversized;
    child.env.reserve(variables.size() + 1);
    for (const auto& [name, value] : variables) {
        if (spec.args.empty() && !fits_execve(name, value)) {
            if (!is_shell_name(name)) continue;  // No shell could tell a command of it.
            oversized += name + "=" + shell_quoted(value) + "; ";
        } else {
            child.env.push_back(name + "=" + value);
        }
    }
    child.env.push_back(std::string(kMarkerVariable) + "=" + marker);

    UniqueFd script;
    std::optional<CommandError> failed = spec.args.empty()
                                             ? use_shell(environment, spec, oversized, child, script)
                                             : use_program(spec, variables, child, script);
    if (failed) return *failed;
    child.cwd = spec.cwd;
    child.oom_score_adj = environment.oom_score_adj;
    child.given_up = given_up;
    SpawnOutcome outcome = connect(environment, spec, std::move(child), spawn);
    // This one may be a process that runs for days.
    if (outcome && outcome->cgroup) outcome->cgroup->close_fds();
    if (!outcome && left()) return nobody_waits;
    return outcome;
}

bool can_launch(const CommandEnvironment& environment, const CommandSpec& spec) {
    auto fits = [](const auto& variable) { return fits_execve(variable.first, variable.second); };
    return spec.args.empty() && spec.cwd.empty() && spec.user.empty() && !spec.pty &&
           spec.shell_command.size() < kMaxExecString && !environment.shell.known().empty() &&
           std::all_of(environment.base_env.begin(), environment.base_env.end(), fits) &&
           std::all_of(spec.env.begin(), spec.env.end(), fits);
}

SpawnOutcome launch_command(CommandEnvironment& environment, const CommandSpec& spec,
                            const std::string& marker) {
    SpawnSpec child;
    child.program = environment.shell.known();
    child.argv = {"sh", "-c", spec.shell_command};
    const Variables none;
    const Variables& base = spec.clean_env ? none : environment.base_env;
    const Variables merged = spec.env.empty() ? none : merge(base, spec.env);
    for (const auto& [name, value] : spec.env.empty() ? base : merged)
        child.env.push_back(name + "=" + value);
    child.env.push_back(std::string(kMarkerVariable) + "=" + marker);
    auto launch = [&environment](SpawnSpec& ready, bool* in_cgroup) {
        return environment.launcher.launch(std::move(ready), in_cgroup);
    };
    return connect(environment, spec, std::move(child), launch);
}

}  // namespace sandbox
