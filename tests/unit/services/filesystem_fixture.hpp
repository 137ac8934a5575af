#pragma once
// A directory of its own for every test, and ways to be somebody or somewhere else for a while.

#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "services/filesystem.hpp"
#include "support/folder.hpp"

namespace sandbox::files {

// What a Result failed with; "ok" when it did not.
template <class T>
std::string error_of(const Result<T>& result) {
    return result ? "ok" : result.error().message;
}

// Breaks after 1000 bytes.
class FailingSource final : public ByteSource {
  public:
    Result<std::size_t> read(std::uint64_t offset, std::span<char> out) override {
        if (offset >= 1000) return Error{Errc::internal, "the source broke", EIO};
        std::fill_n(out.data(), 500, 'x');
        return std::size_t{500};
    }
};

class FilesystemTest : public testing::Test {
  protected:
    explicit FilesystemTest(const std::string& where = "/tmp")
        : folder_(where), descriptors_before_(descriptors()) {}
    ~FilesystemTest() override {
        EXPECT_EQ(descriptors(), descriptors_before_);
        // Not by std::filesystem, which recurses.
        Result<> removed = remove_all(root_);
        EXPECT_TRUE(removed) << error_of(removed);
    }

    std::string path(const std::string& name) const { return root_ + "/" + name; }

    std::string make_file(const std::string& name, const std::string& text = "old",
                          mode_t mode = 0644) const {
        std::ofstream(path(name)) << text;
        ::chmod(path(name).c_str(), mode);
        return path(name);
    }
    std::string make_directory(const std::string& name, mode_t mode = 0755) const {
        ::mkdir(path(name).c_str(), mode);
        ::chmod(path(name).c_str(), mode);
        return path(name);
    }
    std::string make_link(const std::string& text, const std::string& name) const {
        EXPECT_EQ(::symlink(text.c_str(), path(name).c_str()), 0);
        return path(name);
    }

    static std::string content(const std::string& file) {
        std::ifstream stream(file);
        std::ostringstream text;
        text << stream.rdbuf();
        return text.str();
    }
    static struct stat lstat_of(const std::string& file) {
        struct stat info {};
        EXPECT_EQ(::lstat(file.c_str(), &info), 0) << file;
        return info;
    }
    static mode_t mode_of(const std::string& file) { return lstat_of(file).st_mode & 07777; }
    static bool exists(const std::string& file) {
        struct stat info {};
        return ::lstat(file.c_str(), &info) == 0;
    }
    static std::vector<std::string> names(const std::string& directory) {
        std::vector<std::string> found;
        for (const auto& entry : std::filesystem::directory_iterator(directory)) {
            found.push_back(entry.path().filename().string());
        }
        std::ranges::sort(found);
        return found;
    }
    static std::size_t descriptors() {
        std::size_t count = 0;
        for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
            static_cast<void>(entry);
            ++count;
        }
        return count;
    }

    static Result<WriteOutcome> write(const std::string& file, const std::string& text,
                                      const WriteOptions& options = {}) {
        MemorySource source(text);
        return write_file(file, options, source);
    }

    // Runs `body` as an account without rights. The ids are those of one thread (the C library's functions
    // would change all).
    static void as_nobody(const std::function<void()>& body) {
        std::thread([&] {
            constexpr long kNobody = 65534;
            ::syscall(SYS_setgroups, 0, nullptr);
            ::syscall(SYS_setresgid, kNobody, kNobody, kNobody);
            ASSERT_EQ(::syscall(SYS_setresuid, kNobody, kNobody, kNobody), 0);
            ::prctl(PR_SET_DUMPABLE, 1);  // Else /proc/self belongs to root.
            body();
        }).join();
    }

    // Runs `body` where it can mount what nobody else sees. False when this machine does not allow that.
    static bool in_mount_namespace(const std::function<void()>& body) {
        bool possible = false;
        std::thread([&] {
            possible = ::unshare(CLONE_NEWNS) == 0 &&
                       ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
            if (possible) body();
        }).join();
        return possible;
    }

    // A system call that shall fail: always, or only with one of `bits` set in argument `argument`, or only
    // with none of them.
    struct FailingCall {
        long number;
        int argument;  // -1: always
        int bits;
        int error;
        bool when_clear = false;
    };
    // Runs `body` in a thread for which the kernel plays a file system that can't do something. False when
    // this machine has no filters (seccomp(2)).
    static bool with_failing_calls(const std::vector<FailingCall>& calls, const std::function<void()>& body) {
        std::vector<sock_filter> program;
        for (const FailingCall& call : calls) {
            bool always = call.argument < 0;
            auto number = static_cast<std::uint32_t>(call.number);
            std::uint32_t skip = always ? 1 : 3;
            program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
            program.push_back(
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, static_cast<std::uint8_t>(skip)));
            if (!always) {
                auto low_half = static_cast<std::uint32_t>(offsetof(seccomp_data, args) +
                                                           8 * static_cast<std::size_t>(call.argument));
                auto bits = static_cast<std::uint32_t>(call.bits);
                program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low_half));
                std::uint8_t when_set = call.when_clear ? 1 : 0;
                std::uint8_t otherwise = call.when_clear ? 0 : 1;
                program.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, when_set, otherwise));
            }
            program.push_back(
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(call.error)));
        }
        program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
        bool possible = false;
        std::thread([&] {
            sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
            possible = ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                       ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
            if (possible) body();
        }).join();
        return possible;
    }

    sandbox::test::Folder folder_;
    const std::string& root_ = folder_.path();
    std::size_t descriptors_before_;
};

// For trees that a disk with a journal takes minutes for: in memory where that is to be had.
class BigTreeTest : public FilesystemTest {
  protected:
    BigTreeTest() : FilesystemTest(::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") {}

    // `depth` directories each in the one before, with a file in every one.
    void make_deep(const std::string& name, int depth) const {
        UniqueFd at(::open(root_.c_str(), O_PATH | O_CLOEXEC));
        std::string next = name;
        for (int i = 0; i < depth; ++i) {
            ASSERT_EQ(::mkdirat(at.get(), next.c_str(), 0755), 0);
            at = UniqueFd(::openat(at.get(), next.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
            ASSERT_TRUE(at);
            UniqueFd file(::openat(at.get(), "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
            ASSERT_TRUE(file);
            next = "d";
        }
    }

    // Leaves this process only `spare` more descriptors for the time of `body`.
    static void with_few_descriptors(std::size_t spare, const std::function<void()>& body) {
        rlimit limit{};
        ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
        rlimit tight = limit;
        tight.rlim_cur = descriptors() + spare;
        ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
        body();
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
};

#define SKIP_UNLESS_ROOT() \
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, to be two users"
#define SKIP_WITHOUT_MOUNTS() GTEST_SKIP() << "this machine allows no mounts: " << std::strerror(EPERM)

}  // namespace sandbox::files
