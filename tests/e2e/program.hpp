#pragma once
// Other programs: run to their end, or talked to while they run.

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace e2e {

using Variables = std::map<std::string, std::string>;

struct Ran {
    int code = -1;  // 128 + n after signal n
    long max_rss_kb = 0;
    std::string out;
    std::string err;
};
// Runs a program to its end. `variables` come on top of the tests' own environment.
Ran run_program(const std::vector<std::string>& words, const Variables& variables = {},
                const std::string& input = {});
bool has_program(const std::string& name);

// For posix_spawn: the tests' own environment without SANDBOX_*, and `variables` on top.
std::vector<std::string> environment(const Variables& variables);
std::vector<char*> pointers(std::vector<std::string>& words);

// A program that is talked to while it runs. Its stderr is the tests' own.
class Program {
  public:
    explicit Program(std::vector<std::string> words, const Variables& variables = {});
    ~Program();
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    void write(std::string_view bytes) const;
    void close_input();
    // Reads until `text` stands in what came since the last call; fails the test after ten seconds.
    void expect(std::string_view text);
    // The same, and does `action` again and again meanwhile.
    void expect_while(std::string_view text, const std::function<void()>& action);
    void signal(int number) const;
    // The exit code, 128 + n for a signal.
    int wait();

  private:
    bool read_some(int milliseconds);
    pid_t pid_ = -1;
    int in_ = -1;
    int out_ = -1;
    std::string printed_;
    std::size_t seen_ = 0;
};

// Starts a program with these descriptors as its standard streams.
pid_t spawn(std::vector<std::string> words, const Variables& variables, int in, int out, int err);
// Of a wait status; 128 + n for a signal.
int exit_code(int status);

// Both ends are closed with this object.
struct Pipe {
    Pipe();
    ~Pipe();
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    void close_read() { close(fds[0]); }
    void close_write() { close(fds[1]); }
    static void close(int& fd);
    int fds[2] = {-1, -1};
};

}  // namespace e2e
