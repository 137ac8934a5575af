#pragma once
// One inotify(7) instance for all watches: the kernel gives a user 128 of them.

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "platform/pipe.hpp"

namespace sandbox {

// Loop thread; lives as long as somebody holds it.
//
// The kernel's watches are shared, too: one directory has one descriptor, whoever watches it. Listeners add
// watches by themselves, with inotify_add_watch(2) on a pool thread because that looks at the file system,
// within a job: begin_job() before, end_job() with the outcome after. Within its job a listener is told every
// event, because the descriptors it is about to hold are not known here yet.
class Inotify : public std::enable_shared_from_this<Inotify> {
  public:
    class Listener {
      public:
        virtual ~Listener() = default;
        // inotify_events, one behind the other, in order; some may be of descriptors that are not its own.
        virtual void on_events(std::string_view events) = 0;
        // Events were lost, or a watch: look again at everything.
        virtual void on_loss() = 0;
    };

    static Result<std::shared_ptr<Inotify>> open(Loop& loop);
    ~Inotify();
    Inotify(const Inotify&) = delete;
    Inotify& operator=(const Inotify&) = delete;

    int fd() const { return kernel_.get(); }  // for inotify_add_watch()

    void begin_job(Listener& listener);
    // Watch descriptors that the listener holds now and did not before, and the other way round.
    void end_job(Listener& listener, const std::vector<int>& added, const std::vector<int>& released);
    // Takes all its watches away, and ends its job if it has one. Before a listener goes.
    void remove(Listener& listener);

    // Hands out what the kernel has to tell so far.
    void read_now();

  private:
    Inotify(Loop& loop, UniqueFd kernel, UniqueFd signal);
    static Task<> run(std::weak_ptr<Inotify> weak, std::shared_ptr<ReadEnd> signal);
    void hand_out(std::string_view events);
    void tell_loss();
    void release(Listener& listener, int descriptor);

    UniqueFd kernel_;
    std::shared_ptr<ReadEnd> signal_;  // a duplicate, whose closing takes nothing from a job
    std::unordered_map<int, std::set<Listener*>> holders_;
    std::map<Listener*, std::size_t> jobs_;  // under way, and how much of removed_ is older than each
    std::vector<int> removed_;               // taken from the kernel since the oldest of the jobs began
};

}  // namespace sandbox
