#include "services/watch_tree.hpp"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.hpp"

namespace sandbox {
namespace {

constexpr std::uint32_t kMask = IN_CREATE | IN_MOVED_TO | IN_MODIFY | IN_DELETE | IN_DELETE_SELF |
                                IN_MOVED_FROM | IN_MOVE_SELF | IN_ATTRIB | IN_ONLYDIR;

std::string joined(const std::string& directory, const std::string& name) {
    return directory.empty() ? name : directory + "/" + name;
}

// Whether `name` is `directory` or below it.
bool is_below(const std::string& name, const std::string& directory) {
    return name.starts_with(directory) && (name.size() == directory.size() || name[directory.size()] == '/');
}

bool has_staging_component(const std::string& name) {
    std::size_t slash = name.rfind('/');
    return files::is_staging_name(slash == std::string::npos ? name : name.substr(slash + 1));
}

// Files without a name (open(2) with O_TMPFILE), which we stage with, show as "#" and their inode number.
bool is_unnamed_file(const std::string& name) {
    std::string leaf = name.substr(name.rfind('/') + 1);  // npos + 1 is 0
    return leaf.size() > 1 && leaf[0] == '#' && leaf.find_first_not_of("0123456789", 1) == std::string::npos;
}

}  // namespace

Result<std::unique_ptr<WatchTree>> WatchTree::arm(int inotify, const std::string& path,
                                                  const WatchOptions& options) {
    std::unique_ptr<WatchTree> tree(new WatchTree(inotify, path, options));
    if (Result<> watched = tree->watch(""); !watched) return watched.error();
    tree->scan("", nullptr);
    return tree;
}

std::string WatchTree::full_path(const std::string& name) const {
    if (name.empty() || name == ".") return path_;
    return path_.ends_with('/') ? path_ + name : path_ + "/" + name;
}

Result<> WatchTree::watch(const std::string& name) {
    std::string path = full_path(name);
    std::uint32_t mask = name.empty() ? kMask : kMask | IN_DONT_FOLLOW;
    int descriptor = ::inotify_add_watch(inotify_, path.c_str(), mask);
    if (descriptor < 0) {
        int error = errno;
        Error failed = sys_error("open " + path, error);
        if (error == ENOSPC) {
            failed.code = Errc::resource_exhausted;
            failed.message = "watch " + path + ": the limit fs.inotify.max_user_watches is reached";
        }
        return failed;
    }
    // The same directory under another name: it was moved, and this name is the right one.
    auto [at, is_new] = directories_.emplace(descriptor, name);
    if (!is_new) {
        watches_.erase(at->second);
        at->second = name;
    } else if (std::erase(released_, descriptor) == 0) {  // given up a moment ago, and still there
        added_.push_back(descriptor);
    }
    auto [named, is_first] = watches_.emplace(name, descriptor);
    if (!is_first && named->second != descriptor) {  // another directory has taken the name
        directories_.erase(named->second);
        released_.push_back(named->second);
        named->second = descriptor;
    }
    return Result<>();
}

std::optional<WatchTree::Known> WatchTree::look(const std::string& name) const {
    struct stat info {};
    if (::lstat(full_path(name).c_str(), &info) != 0) return std::nullopt;
    Known known;
    known.inode = info.st_ino;
    known.modified = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec;
    known.changed = info.st_ctim.tv_sec * 1'000'000'000 + info.st_ctim.tv_nsec;
    known.size = static_cast<std::uint64_t>(info.st_size);
    known.directory = S_ISDIR(info.st_mode);
    known.only_name = S_ISREG(info.st_mode) && info.st_nlink == 1;
    return known;
}

void WatchTree::add(std::vector<FileChange>& changes, ChangeKind kind, const std::string& name) {
    FileChange change;
    change.kind = kind;
    change.name = name;
    bool describable = kind == ChangeKind::create || kind == ChangeKind::write || kind == ChangeKind::chmod;
    if (options_.entries && describable) {
        files::StatOptions stat_options;
        stat_options.metadata = true;
        Result<files::Entry> entry = files::stat(full_path(name), stat_options);
        if (entry) change.entry = std::move(*entry);
    }
    changes.push_back(std::move(change));
}

void WatchTree::scan(const std::string& name, std::vector<FileChange>* changes) {
    Result<std::vector<std::string>> names = files::list_dir(full_path(name));
    if (!names) return;  // Gone again, which its parent tells.
    for (const std::string& leaf : *names) {
        if (files::is_staging_name(leaf)) continue;
        std::string child = joined(name, leaf);
        std::optional<Known> found = look(child);
        if (!found) continue;
        auto earlier = known_.find(child);
        bool is_new = earlier == known_.end() || earlier->second.inode != found->inode;
        if (changes != nullptr && is_new) {
            add(*changes, ChangeKind::create, child);
            if (!found->directory && found->size > 0) add(*changes, ChangeKind::write, child);
        }
        found->found_by_scan = is_new;
        bool descend = options_.recursive && found->directory;
        known_[child] = *found;
        if (!descend) continue;
        // Armed first, read then: what comes between the two is told twice rather than never.
        if (Result<> watched = watch(child); !watched) {
            if (watched.error().code == Errc::resource_exhausted) log::warn(watched.error().message);
            continue;
        }
        scan(child, changes);
    }
}

std::map<std::string, int>::iterator WatchTree::unwatch(std::map<std::string, int>::iterator at) {
    directories_.erase(at->second);
    released_.push_back(at->second);
    return watches_.erase(at);
}

void WatchTree::forget(const std::string& name) {
    for (auto at = watches_.lower_bound(name); at != watches_.end() && at->first.starts_with(name);) {
        at = is_below(at->first, name) ? unwatch(at) : std::next(at);
    }
    for (auto at = known_.lower_bound(name); at != known_.end() && at->first.starts_with(name);) {
        at = is_below(at->first, name) ? known_.erase(at) : std::next(at);
    }
}

void WatchTree::rescan(std::vector<FileChange>& changes) {
    Snapshot before;
    before.swap(known_);
    if (!top_is_gone_) static_cast<void>(watch(""));  // The loss may be that of the watch.
    scan("", nullptr);
    for (const auto& [name, was] : before) {
        if (known_.contains(name)) continue;
        add(changes, ChangeKind::remove, name);
        if (auto watched = watches_.find(name); watched != watches_.end()) unwatch(watched);
    }
    for (auto& [name, is] : known_) {
        auto was = before.find(name);
        is.found_by_scan = was == before.end();
        if (was == before.end() || was->second.inode != is.inode) {
            if (was != before.end()) add(changes, ChangeKind::remove, name);
            add(changes, ChangeKind::create, name);
            if (!is.directory && is.size > 0) add(changes, ChangeKind::write, name);
            continue;
        }
        bool written = was->second.modified != is.modified || was->second.size != is.size;
        if (written && !is.directory) add(changes, ChangeKind::write, name);
        if (!written && was->second.changed != is.changed) add(changes, ChangeKind::chmod, name);
    }
}

std::vector<FileChange> WatchTree::changes(std::string_view events, bool loss) {
    std::vector<FileChange> changes;
    while (!events.empty()) {
        const auto* event = reinterpret_cast<const inotify_event*>(events.data());
        events.remove_prefix(sizeof(inotify_event) + event->len);
        on_event(*event, changes);
    }
    if (loss) {
        log::info("watch queue overflow: directory scanned again", {{"path", path_}});
        rescan(changes);
    }
    return changes;
}

void WatchTree::on_event(const inotify_event& event, std::vector<FileChange>& changes) {
    auto directory = directories_.find(event.wd);
    if (directory == directories_.end()) return;  // Of a directory that is not ours any more.
    const std::string parent = directory->second;
    if ((event.mask & IN_IGNORED) != 0) {
        auto watched = watches_.find(parent);
        if (watched != watches_.end() && watched->second == event.wd) watches_.erase(watched);
        directories_.erase(directory);
        released_.push_back(event.wd);  // whether or not it is known by now that the kernel did so
        return;
    }
    if (event.len == 0) {
        // About a directory itself: one below the top has been told of by its parent.
        if (!parent.empty()) return;
        if ((event.mask & (IN_DELETE_SELF | IN_UNMOUNT)) != 0) {
            top_is_gone_ = true;
            add(changes, ChangeKind::remove, ".");
        }
        if ((event.mask & IN_MOVE_SELF) != 0) add(changes, ChangeKind::rename, ".");
        if ((event.mask & IN_ATTRIB) != 0) add(changes, ChangeKind::chmod, ".");
        return;
    }
    const std::string name = joined(parent, event.name);
    if (has_staging_component(name)) {
        if ((event.mask & IN_MOVED_FROM) != 0) staged_moves_.insert(event.cookie);
        return;
    }
    if ((event.mask & (IN_CREATE | IN_MOVED_TO)) != 0) {
        on_created(name, event, changes);
        return;
    }
    if ((event.mask & (IN_DELETE | IN_MOVED_FROM)) != 0) {
        add(changes, (event.mask & IN_DELETE) != 0 ? ChangeKind::remove : ChangeKind::rename, name);
        forget(name);
        return;
    }
    if (is_unnamed_file(name) && !look(name)) return;
    if ((event.mask & IN_MODIFY) != 0) add(changes, ChangeKind::write, name);
    if ((event.mask & IN_ATTRIB) != 0) add(changes, ChangeKind::chmod, name);
    auto known = known_.find(name);
    if (known == known_.end()) return;
    if (std::optional<Known> now = look(name)) {
        now->found_by_scan = known->second.found_by_scan;
        known->second = *now;
    }
}

void WatchTree::on_created(const std::string& name, const inotify_event& event,
                           std::vector<FileChange>& changes) {
    std::optional<Known> now = look(name);
    auto known = known_.find(name);
    // A file of ours that took its place whole (see files::write_file): to others it was made, given to its
    // owner and written.
    if (staged_moves_.erase(event.cookie) > 0 && event.cookie != 0) {
        if (known == known_.end()) {
            add(changes, ChangeKind::create, name);
            add(changes, ChangeKind::chmod, name);
        }
        add(changes, ChangeKind::write, name);
        if (now) known_[name] = *now;
        return;
    }
    if (known != known_.end() && known->second.found_by_scan && now && now->inode == known->second.inode) {
        known->second.found_by_scan = false;
        return;  // Told already.
    }
    add(changes, ChangeKind::create, name);
    if (!now) {
        // Gone again, which is told next, or found by the next rescan.
        known_[name] = Known();
        return;
    }
    // The first name of a file that has content already, as ours have, brings no event for that content.
    bool moved = (event.mask & IN_MOVED_TO) != 0;
    if (now->only_name && !moved && now->size > 0) add(changes, ChangeKind::write, name);
    known_[name] = *now;
    if (!now->directory || !options_.recursive) return;
    if (Result<> watched = watch(name); !watched) {
        if (watched.error().code == Errc::resource_exhausted) log::warn(watched.error().message);
        return;
    }
    scan(name, &changes);
}

}  // namespace sandbox
