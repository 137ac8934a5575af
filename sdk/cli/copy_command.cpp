// cp: files and directories, in both directions and within the sandbox.

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "context.hpp"

namespace cli {
namespace {

namespace sdk = koyeb::sandbox;
namespace stdfs = std::filesystem;

bool is_remote(const std::string& path) { return path.starts_with(':'); }
std::string remote_path(const std::string& path) { return path.size() == 1 ? "." : path.substr(1); }

std::string human(std::uint64_t bytes) {
    static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
    char text[32];
    std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
    return text;
}

// One line on the terminal that is written over; nothing when stderr is none.
class Progress {
  public:
    explicit Progress(bool quiet) : shown_(!quiet && ::isatty(STDERR_FILENO) == 1) {}
    ~Progress() { clear(); }
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    sdk::ProgressCallback file(const std::string& name) {
        if (!shown_) return {};
        return [this, name](std::uint64_t done, std::uint64_t total) { draw(name, done, total); };
    }
    void clear() {
        if (shown_ && drawn_) std::fputs("\r\033[K", stderr);
        drawn_ = false;
    }

  private:
    void draw(const std::string& name, std::uint64_t done, std::uint64_t total) {
        const auto now = std::chrono::steady_clock::now();
        if (done < total && now - last_ < std::chrono::milliseconds(100)) return;
        last_ = now;
        constexpr std::uint64_t kWidth = 30;
        const std::uint64_t filled = total == 0 ? kWidth : done * kWidth / total;
        std::string bar(filled, '=');
        if (filled < kWidth) bar += '>' + std::string(kWidth - filled - 1, ' ');
        std::fprintf(stderr, "\r\033[K%.40s [%s] %s / %s", name.c_str(), bar.c_str(), human(done).c_str(),
                     human(total).c_str());
        std::fflush(stderr);
        drawn_ = true;
    }

    bool shown_;
    bool drawn_ = false;
    std::chrono::steady_clock::time_point last_;
};

class Copier {
  public:
    Copier(sdk::Sandbox& sandbox, bool quiet) : fs_(sandbox.filesystem()), progress_(quiet) {}

    void upload(const std::string& source, std::string target, bool into) {
        if (into) target = join_path(target, local_name(source));
        upload_tree(source, target);
    }
    void download(const std::string& source, std::string target, bool into) {
        if (into) target = join_path(target, base_name(source));
        const sdk::FileStat info = fs_.stat(source);
        if (info.type == sdk::FileType::directory) {
            download_directory(source, target);
        } else {
            fs_.download_file(source, target, progress_.file(target));
        }
    }
    void copy(const std::string& source, std::string target, bool into) {
        if (into) target = join_path(target, base_name(source));
        fs_.copy_file(source, target);
    }
    bool is_remote_directory(const std::string& path) { return fs_.is_dir(path); }
    bool complete() const { return complete_; }

  private:
    // "." and "dir/.." have a name, too.
    static std::string local_name(const std::string& path) {
        const std::string name = base_name(path);
        return name == "." || name == ".." ? base_name(stdfs::weakly_canonical(path).string()) : name;
    }
    void skip(const std::string& path, const char* why) {
        progress_.clear();
        warn("skipped " + path + ": " + why);
        complete_ = false;
    }
    void upload_tree(const std::string& source, const std::string& target) {
        if (!stdfs::is_directory(source)) {
            fs_.upload_file(source, target, progress_.file(source));
            return;
        }
        fs_.mkdir(target);
        for (const stdfs::directory_entry& entry : stdfs::directory_iterator(source)) {
            const std::string name = entry.path().filename().string();
            const bool link_to_directory = entry.is_symlink() && entry.is_directory();
            if (link_to_directory) {
                skip(entry.path().string(), "a symbolic link to a directory");
            } else if (entry.is_directory() || entry.is_regular_file()) {
                upload_tree(entry.path().string(), join_path(target, name));
            } else {
                skip(entry.path().string(),
                     entry.is_symlink() ? "a symbolic link to nothing" : "no regular file");
            }
        }
    }
    void download_directory(const std::string& source, const std::string& target) {
        stdfs::create_directories(target);
        for (const std::string& name : fs_.ls(source)) {
            const std::string from = join_path(source, name);
            const std::string to = join_path(target, name);
            // A name comes from the other side: it must not lead out of the target.
            if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
                skip(from, "not a file name");
                continue;
            }
            std::optional<sdk::FileStat> seen;
            try {
                seen = fs_.stat(from, false);
            } catch (const sdk::SandboxFileNotFoundError&) {
                skip(from, "gone, or its name is no UTF-8");
                continue;
            }
            const sdk::FileStat& itself = *seen;
            if (itself.type == sdk::FileType::directory) {
                if (stdfs::is_symlink(to)) {
                    skip(from, "its target is a symbolic link");
                } else {
                    download_directory(from, to);
                }
                continue;
            }
            bool is_file = itself.type == sdk::FileType::file;
            if (itself.type == sdk::FileType::symlink) is_file = fs_.is_file(from);
            if (is_file) {
                fs_.download_file(from, to, progress_.file(from));
            } else {
                skip(from, "no regular file");
            }
        }
    }

    sdk::Filesystem fs_;
    Progress progress_;
    bool complete_ = true;
};

}  // namespace

int run_cp(const Context& context, const CopyOptions& options) {
    const bool to_remote = is_remote(options.destination);
    for (const std::string& source : options.sources) {
        if (!to_remote && !is_remote(source))
            throw UsageError("neither path starts with ':': one must be the sandbox's");
    }
    sdk::Sandbox sandbox = context.connect();
    Copier copier(sandbox, options.quiet);
    const std::string target = to_remote ? remote_path(options.destination) : options.destination;
    // Into a directory that exists, or one that is said to be one.
    const bool into = target.ends_with('/') ||
                      (to_remote ? copier.is_remote_directory(target) : stdfs::is_directory(target));
    if (!into && options.sources.size() > 1) throw UsageError("no such directory: " + options.destination);
    for (const std::string& source : options.sources) {
        if (!is_remote(source)) {
            copier.upload(source, target, into);
        } else if (to_remote) {
            copier.copy(remote_path(source), target, into);
        } else {
            copier.download(remote_path(source), target, into);
        }
    }
    return copier.complete() ? kOk : kFailed;
}

}  // namespace cli
