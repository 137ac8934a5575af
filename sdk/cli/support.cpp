#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "context.hpp"

namespace cli {

const koyeb::sandbox::ConnectionInfo& Context::checked_info() const {
    if (info.url.empty()) throw UsageError("no sandbox named: use --url or SANDBOX_URL");
    return info;
}

koyeb::sandbox::Sandbox Context::connect() const { return koyeb::sandbox::Sandbox::connect(checked_info()); }

void open_standard_streams() {
    // open(2) gives the lowest number that is free. One end only: what was closed stays an error to use.
    for (int fd = ::open("/dev/null", O_RDONLY); fd >= 0; fd = ::open("/dev/null", O_RDONLY)) {
        if (fd <= STDERR_FILENO) continue;
        ::close(fd);
        break;
    }
}

void write_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::write(fd, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) throw std::system_error(errno, std::generic_category(), "cannot write output");
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
}

void print_line(const std::string& text) { write_all(STDOUT_FILENO, text + "\n"); }

void warn(const std::string& text) {
    try {
        write_all(STDERR_FILENO, "sandbox: " + text + "\n");
    } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch): nobody is left to tell
    }
}

std::string join_path(const std::string& directory, const std::string& name) {
    return directory.empty() || directory.back() == '/' ? directory + name : directory + "/" + name;
}

std::string base_name(std::string path) {
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    return path.substr(path.rfind('/') + 1);
}

std::string joined(const std::vector<std::string>& words) {
    std::string line;
    for (const std::string& word : words) line += (line.empty() ? "" : " ") + word;
    return line;
}

namespace {

std::string names(const CommandTable& commands) {
    std::vector<std::string> list;
    for (const auto& [name, options] : commands) list.push_back(name);
    return joined(list);
}

}  // namespace

int print_completion(const std::string& shell, const CommandTable& commands) {
    std::string script;
    if (shell == "fish") {
        script = "complete -c sandbox -f -n __fish_use_subcommand -a '" + names(commands) + "'\n";
        for (const auto& [name, options] : commands) {
            for (const std::string& option : options) {
                script += "complete -c sandbox -n '__fish_seen_subcommand_from " + name + "' -l " +
                          option.substr(2) + "\n";
            }
        }
        script += "complete -c sandbox -n '__fish_seen_subcommand_from cp' -F\n";
    } else {
        if (shell == "zsh") script = "autoload -U +X bashcompinit && bashcompinit\n";
        script +=
            "_sandbox() {\n"
            "    local word=${COMP_WORDS[COMP_CWORD]} command= i\n"
            "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
            "        case ${COMP_WORDS[i]} in\n"
            "            --url | --secret | --routing-key | --ca-file) ((i++)) ;;\n"
            "            -*) ;;\n"
            "            *) command=${COMP_WORDS[i]}; break ;;\n"
            "        esac\n"
            "    done\n"
            "    COMPREPLY=()\n"
            "    case $command in\n"
            "        '') COMPREPLY=($(compgen -W '" +
            names(commands) +
            " --url --secret --routing-key --ca-file --insecure --json --help --version' -- \"$word\")) ;;\n";
        for (const auto& [name, options] : commands) {
            script += "        " + name + ") [[ $word == -* ]] && COMPREPLY=($(compgen -W '" +
                      joined(options) + "' -- \"$word\"))";
            if (name == "cp") script += " || COMPREPLY=($(compgen -f -- \"$word\"))";
            script += " ;;\n";
        }
        script += "    esac\n}\ncomplete -o default -F _sandbox sandbox\n";
    }
    write_all(STDOUT_FILENO, script);
    return kOk;
}

}  // namespace cli
