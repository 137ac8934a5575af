#include "program.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>
#include <thread>
#include <utility>

#include "support.hpp"

namespace e2e {
namespace {

std::string read_to_end(int fd) {
    std::string all;
    char bytes[65536];
    ssize_t n = 0;
    while ((n = ::read(fd, bytes, sizeof bytes)) > 0) all.append(bytes, static_cast<std::size_t>(n));
    return all;
}

}  // namespace

int exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

Pipe::Pipe() { EXPECT_EQ(::pipe2(fds, O_CLOEXEC), 0); }

Pipe::~Pipe() {
    close_read();
    close_write();
}

void Pipe::close(int& fd) {
    if (fd >= 0) ::close(fd);
    fd = -1;
}

std::vector<std::string> environment(const Variables& variables) {
    std::map<std::string, std::string> merged;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string text = *entry;
        if (text.starts_with("SANDBOX_")) continue;
        merged[text.substr(0, text.find('='))] = text.substr(text.find('=') + 1);
    }
    for (const auto& [name, value] : variables) merged[name] = value;
    std::vector<std::string> list;
    for (const auto& [name, value] : merged) list.push_back(name + "=" + value);
    return list;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
    std::vector<char*> list;
    for (std::string& word : words) list.push_back(word.data());
    list.push_back(nullptr);
    return list;
}

pid_t spawn(std::vector<std::string> words, const Variables& variables, int in, int out, int err) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, err, 2);
    std::vector<std::string> env = environment(variables);
    pid_t pid = -1;
    const int error = ::posix_spawnp(&pid, words[0].c_str(), &actions, nullptr, pointers(words).data(),
                                     pointers(env).data());
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::runtime_error("cannot start " + words[0] + ": " + std::strerror(error));
    return pid;
}

Ran run_program(const std::vector<std::string>& words, const Variables& variables, const std::string& input) {
    Pipe in;
    Pipe out;
    Pipe err;
    const pid_t pid = spawn(words, variables, in.fds[0], out.fds[1], err.fds[1]);
    in.close_read();
    out.close_write();
    err.close_write();
    Ran ran;
    std::thread feeder([&] {
        // A program that has ended reads no more, and that is no reason to die.
        sigset_t broken_pipe;
        ::sigemptyset(&broken_pipe);
        ::sigaddset(&broken_pipe, SIGPIPE);
        ::pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
        std::string_view rest = input;
        while (!rest.empty()) {
            const ssize_t n = ::write(in.fds[1], rest.data(), rest.size());
            if (n <= 0) break;
            rest.remove_prefix(static_cast<std::size_t>(n));
        }
        in.close_write();
    });
    std::thread reader([&] { ran.err = read_to_end(err.fds[0]); });
    ran.out = read_to_end(out.fds[0]);
    reader.join();
    feeder.join();
    int status = 0;
    rusage usage{};
    ::wait4(pid, &status, 0, &usage);
    ran.code = exit_code(status);
    ran.max_rss_kb = usage.ru_maxrss;
    return ran;
}

Program::Program(std::vector<std::string> words, const Variables& variables) {
    Pipe in;
    Pipe out;
    pid_ = spawn(std::move(words), variables, in.fds[0], out.fds[1], STDERR_FILENO);
    in_ = std::exchange(in.fds[1], -1);
    out_ = std::exchange(out.fds[0], -1);
}

Program::~Program() {
    if (pid_ > 0) {
        ADD_FAILURE() << "still running; it printed: " << printed_;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    close_input();
    ::close(out_);
}

void Program::write(std::string_view bytes) const {
    EXPECT_EQ(::write(in_, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
}

void Program::close_input() { Pipe::close(in_); }

bool Program::read_some(int milliseconds) {
    pollfd wanted{out_, POLLIN, 0};
    if (::poll(&wanted, 1, milliseconds) <= 0) return false;
    char bytes[65536];
    const ssize_t n = ::read(out_, bytes, sizeof bytes);
    if (n <= 0) return false;
    printed_.append(bytes, static_cast<std::size_t>(n));
    return true;
}

void Program::expect(std::string_view text) {
    while (printed_.find(text, seen_) == std::string::npos) {
        if (read_some(10000)) continue;
        ADD_FAILURE() << "expected: " << text << "\nprinted: " << printed_.substr(seen_);
        return;
    }
    seen_ = printed_.find(text, seen_) + text.size();
}

void Program::expect_while(std::string_view text, const std::function<void()>& action) {
    EXPECT_TRUE(eventually([&] {
        action();
        read_some(20);
        return printed_.find(text, seen_) != std::string::npos;
    })) << "expected: "
        << text << "\nprinted: " << printed_.substr(seen_);
}

void Program::signal(int number) const { ::kill(pid_, number); }

int Program::wait() {
    int status = 0;
    const bool ended = eventually([this, &status] {
        read_some(0);
        return ::waitpid(pid_, &status, WNOHANG) == pid_;
    });
    if (!ended) return -1;
    pid_ = -1;
    return exit_code(status);
}

bool has_program(const std::string& name) {
    return run_program({"sh", "-c", "command -v " + name}).code == 0;
}

}  // namespace e2e
