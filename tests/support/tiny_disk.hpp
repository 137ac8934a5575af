#pragma once
// A file system of a given size that only this object sees: a tmpfs in a mount namespace of its own, so
// nothing is left behind however the test ends. Needs CAP_SYS_ADMIN; available() tells, and why_not() what to
// skip with.

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace sandbox::test {

class TinyDisk {
  public:
    // Calls `use(path)` on a thread that sees the mount; descriptors it opens there work in every thread for
    // as long as this object lives.
    TinyDisk(std::size_t bytes, std::function<void(const std::string&)> use) {
        char name[] = "/tmp/tiny-disk-XXXXXX";
        path_ = ::mkdtemp(name) != nullptr ? name : "";
        thread_ = std::thread([this, bytes, use = std::move(use)] { hold(bytes, use); });
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return ready_; });
    }
    ~TinyDisk() {
        {
            std::lock_guard lock(mutex_);
            over_ = true;
        }
        changed_.notify_all();
        thread_.join();
        ::rmdir(path_.c_str());
    }
    TinyDisk(const TinyDisk&) = delete;
    TinyDisk& operator=(const TinyDisk&) = delete;

    bool available() const { return why_not_.empty(); }
    const std::string& why_not() const { return why_not_; }

  private:
    void hold(std::size_t bytes, const std::function<void(const std::string&)>& use) {
        std::string options = "size=" + std::to_string(bytes);
        if (::unshare(CLONE_FS | CLONE_NEWNS) != 0) {
            why_not_ = std::string("no mount namespace: ") + std::strerror(errno);
        } else if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
                   ::mount("tmpfs", path_.c_str(), "tmpfs", 0, options.c_str()) != 0) {
            why_not_ = std::string("no mount: ") + std::strerror(errno);
        } else {
            use(path_);
        }
        std::unique_lock lock(mutex_);
        ready_ = true;
        changed_.notify_all();
        changed_.wait(lock, [this] { return over_; });
        if (why_not_.empty()) ::umount2(path_.c_str(), MNT_DETACH);
    }

    std::string path_;
    std::string why_not_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool ready_ = false;
    bool over_ = false;
    std::thread thread_;
};

}  // namespace sandbox::test
