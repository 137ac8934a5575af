#pragma once
// The exchanges that are cut: at least one for every route of both dialects.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "e2e/support.hpp"
#include "exchange.hpp"
#include "line.hpp"

namespace sandbox::chaos {

// Where the exchanges leave their traces, and the processes they talk about.
class Stage {
  public:
    // `envd_port` as the daemon has logged it. Both outlive it.
    Stage(e2e::Daemon& daemon, int envd_port);
    ~Stage();
    Stage(const Stage&) = delete;
    Stage& operator=(const Stage&) = delete;

    std::vector<Exchange> koyeb_exchanges();
    std::vector<Exchange> envd_exchanges();

    // Fills what the daemon keeps of the past, such as the thousand ended processes it remembers.
    void make_history() const;

  private:
    struct Process {
        std::string id;
        pid_t pid = 0;
        std::string tag = {};
    };
    // A request that reaches a process; of the same length for all of an exchange.
    using ForProcess = std::function<std::string(const Process&)>;

    // One request on a connection of its own; the bytes of the answer. 0: the daemon's main port.
    std::string ask(const std::string& request, int port = 0) const;
    std::string ask_envd(const std::string& request) const { return ask(request, envd_port_); }
    Process start(const std::string& json) const;
    static void kill(const Process& process);

    void add_commands(std::vector<Exchange>& list);
    void add_processes(std::vector<Exchange>& list);
    Exchange input_exchange(const std::string& name, const std::function<std::string(int)>& request,
                            const std::string& expected);
    Exchange target_exchange(const std::string& name, const std::string& command, const ForProcess& request,
                             const std::string& told, bool end_by_themselves = false);
    void add_files(std::vector<Exchange>& list);
    void add_file_changes(std::vector<Exchange>& list);
    void add_others(std::vector<Exchange>& list);
    void add_bindings(std::vector<Exchange>& list);
    bool reaches_target() const;

    Exchange envd(const std::string& name, std::function<std::string(int)> request,
                  const std::string& expected, std::function<Effect(int)> effect = nullptr) const;
    void add_envd_processes(std::vector<Exchange>& list);
    void add_envd_files(std::vector<Exchange>& list);
    void add_envd_changes(std::vector<Exchange>& list);
    void add_envd_watches(std::vector<Exchange>& list);
    void add_envd_settings(std::vector<Exchange>& list);
    std::string create_watcher() const;  // its id

    std::string post(const std::string& path, const std::string& json) const;
    std::string get(const std::string& target) const;
    std::string rpc(const std::string& method, const std::string& json, bool stream = false) const;
    // The trace of a case: a file or directory of this name.
    std::string trace(const std::string& name, int n) const;

    e2e::Daemon& daemon_;
    const int envd_port_;
    e2e::Folder directory_;
    Listener target_;            // of the forwarder
    Process running_;            // lives all the time; writes what it reads into a file
    Process ended_;              // has written three lines
    int last_line_ = 1'000'000;  // of those that tell that all lines before have been read
};

}  // namespace sandbox::chaos
