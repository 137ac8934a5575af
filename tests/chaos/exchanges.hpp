#pragma once
// The exchanges that are cut: at least one for every route of both dialects.

#include <memory>
#include <string>
#include <vector>

#include "e2e/support.hpp"
#include "exchange.hpp"

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
    };
    // One request on a connection of its own; the bytes of the answer.
    std::string ask(const std::string& request) const;
    Process start(const std::string& json) const;
    static void kill(const Process& process);

    void add_commands(std::vector<Exchange>& list);
    void add_processes(std::vector<Exchange>& list);
    void add_targets(std::vector<Exchange>& list, const std::string& name, const std::string& members,
                     const std::string& told);
    void add_files(std::vector<Exchange>& list);
    void add_file_changes(std::vector<Exchange>& list);
    void add_others(std::vector<Exchange>& list);

    std::string post(const std::string& path, const std::string& json) const;
    std::string get(const std::string& target) const;
    std::string rpc(const std::string& method, const std::string& json, bool stream = false) const;
    // The trace of a case: a file or directory of this name.
    std::string trace(const std::string& name, int n) const;

    e2e::Daemon& daemon_;
    const int envd_port_;
    e2e::TempDir directory_;
    Process running_;  // lives all the time; writes what it reads into a file
    Process ended_;    // has written three lines
};

}  // namespace sandbox::chaos
