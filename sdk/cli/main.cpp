// sandbox: the command line of a sandbox. This file knows the options; what they do is in the others.

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string_view>

#include "context.hpp"

namespace {

using cli::Context;

constexpr const char* kFooter =
    "\nExamples:\n"
    "  sandbox exec -- python3 -c 'print(1 + 1)'\n"
    "  sandbox exec -w /app -e DEBUG=1 -c 'make test | tee log'\n"
    "  sandbox shell -w /app\n"
    "  tar c src | sandbox exec -i -- tar x -C /tmp\n"
    "  sandbox cp src :/app && sandbox cp :/app/result.csv .\n"
    "  id=$(sandbox start -- python3 -m http.server 8080) && sandbox expose 8080\n"
    "  sandbox logs -f $id\n"
    "\nThe sandbox is named by --url and --secret, or by SANDBOX_URL and SANDBOX_SECRET.\n"
    "Completion: source <(sandbox completion bash)";

// Help that names the words of a command, too, and the examples only once.
class Help : public CLI::Formatter {
  public:
    std::string make_usage(const CLI::App* app, std::string name) const override {
        static const std::map<std::string, std::string> words_of = {{"exec", "[--] COMMAND [ARG...]"},
                                                                    {"shell", "[[--] COMMAND [ARG...]]"},
                                                                    {"start", "[--] COMMAND [ARG...]"},
                                                                    {"cp", "SRC... DST"},
                                                                    {"ls", "[PATH...]"},
                                                                    {"cat", "PATH..."},
                                                                    {"rm", "PATH..."},
                                                                    {"mkdir", "PATH..."},
                                                                    {"mv", "SRC DST"},
                                                                    {"kill", "[ID...]"}};
        const auto words = words_of.find(app->get_name());
        if (words == words_of.end()) return CLI::Formatter::make_usage(app, std::move(name));
        return "Usage: " + name + " [OPTIONS] " + words->second + "\n";
    }
    std::string make_footer(const CLI::App* app) const override {
        return app->get_parent() == nullptr ? CLI::Formatter::make_footer(app) : std::string();
    }
};

bool has_command(const CLI::App& app, const std::string& name) {
    const auto commands = app.get_subcommands({});
    return std::any_of(commands.begin(), commands.end(),
                       [&name](const CLI::App* command) { return command->get_name() == name; });
}

// CLI11's own check names the largest double there is.
CLI::Validator seconds_check() {
    return CLI::Validator(
        [](std::string& text) {
            double value = 0;
            const bool number = CLI::detail::lexical_cast(text, value);
            return number && value >= 0 ? std::string() : "\"" + text + "\": want seconds, 0 or more";
        },
        "SECONDS");
}

void add_command_options(CLI::App& command, cli::CommandOptions& options) {
    command.add_option("-w,--workdir", options.cwd, "Working directory inside the sandbox");
    command.add_option("-e,--env", options.env, "Environment variable K=V; can be repeated")
        ->take_all()
        ->allow_extra_args(false);
    command.add_option("-u,--user", options.user, "User name or number");
    command.add_option("--timeout", options.timeout, "Seconds after which the whole process tree is ended")
        ->check(seconds_check());
    command.add_flag("-c,--shell", options.shell, "The words are a text for the shell");
}

// Whether the option called `name` (with its dashes), of the command or of all, wants a value.
bool wants_value(const CLI::App& app, const std::string& name) {
    const CLI::Option* option = app.get_option_no_throw(name);
    if (option == nullptr && app.get_parent() != nullptr)
        option = app.get_parent()->get_option_no_throw(name);
    return option != nullptr && option->get_expected_max() > 0;
}

// How many words the option takes up.
int option_size(const CLI::App& app, const std::string& word) {
    if (word.starts_with("--")) return word.find('=') == std::string::npos && wants_value(app, word) ? 2 : 1;
    for (std::size_t i = 1; i < word.size(); ++i)
        if (wants_value(app, std::string("-") + word[i])) return i + 1 == word.size() ? 2 : 1;
    return 1;
}

// The index of the first word that is no option, or of a "--"; `argc` when there is none.
int skip_options(const CLI::App& app, int at, int argc, char** argv) {
    while (at < argc) {
        const std::string word = argv[at];
        if (word.size() < 2 || word.front() != '-' || word == "--") break;
        at += option_size(app, word);
    }
    return std::min(at, argc);
}

// `sandbox exec`, `shell` and `start` end with a command, whose words are its own, options too. Takes them
// out of the arguments before they are parsed, because CLI11 looks for options in all of them. Returns the
// words left to parse.
int take_command(const CLI::App& app, int argc, char** argv, std::vector<std::string>& words) {
    const int name = skip_options(app, 1, argc, argv);
    const std::string_view command = name < argc ? argv[name] : "";
    if (command != "exec" && command != "start" && command != "shell") return argc;
    const int first = skip_options(*app.get_subcommand(argv[name]), name + 1, argc, argv);
    const bool marked = first < argc && std::string(argv[first]) == "--";
    words.assign(argv + first + (marked ? 1 : 0), argv + argc);
    return first;
}

void check_words(const cli::CommandOptions& options, const std::string& name) {
    if (options.words.empty()) throw cli::UsageError("no command given; see sandbox " + name + " --help");
}

cli::CommandTable command_table(const CLI::App& app) {
    cli::CommandTable table;
    for (const CLI::App* command : app.get_subcommands({})) {
        std::vector<std::string>& options = table[command->get_name()];
        for (const CLI::Option* option : command->get_options({})) {
            if (option->nonpositional())
                for (const std::string& name : option->get_lnames()) options.push_back("--" + name);
        }
    }
    return table;
}

int guarded(const std::function<int()>& action, int failure_code) {
    try {
        return action();
    } catch (const cli::UsageError& error) {
        cli::warn(error.what());
        return cli::kUsage;
    } catch (const std::exception& error) {
        cli::warn(error.what());
        return failure_code;
    }
}

}  // namespace

int main(int argc, char** argv) {
    cli::open_standard_streams();
    CLI::App app{"Runs commands and moves files in a sandbox.", "sandbox"};
    app.formatter(std::make_shared<Help>());
    app.footer(kFooter);
    app.require_subcommand(1);
    app.fallthrough();  // options of all commands can stand behind the command's name, too
    app.set_version_flag("--version", SANDBOX_VERSION);

    Context context;
    app.add_option("--url", context.info.url, "Address of the sandbox, with its path if it has one")
        ->envname("SANDBOX_URL");
    app.add_option("--secret", context.info.secret,
                   "Shared secret (the variable does not show in process lists)")
        ->envname("SANDBOX_SECRET");
    app.add_option("--routing-key", context.info.routing_key, "Value of X-Routing-Key")
        ->envname("SANDBOX_ROUTING_KEY");
    app.add_option("--ca-file", context.info.ca_file, "Certificate authorities besides the system's (PEM)")
        ->envname("SANDBOX_CA_FILE");
    bool insecure = false;
    app.add_flag("--insecure", insecure, "Do not check the server's certificate");
    app.add_flag("--json", context.json, "Print JSON");

    std::function<int()> action;
    int failure_code = cli::kFailed;

    cli::CommandOptions command;
    CLI::App* exec = app.add_subcommand("exec", "Run a command and exit with its exit code");
    add_command_options(*exec, command);
    exec->add_flag("-i,--interactive", command.with_stdin, "Pass standard input while it runs");
    exec->add_flag("-t,--tty", command.with_terminal, "Run it on a terminal, as shell does; includes -i");
    exec->callback([&] {
        failure_code = cli::kNotRun;
        action = [&] {
            check_words(command, "exec");
            return run_exec(context, command);
        };
    });
    CLI::App* shell = app.add_subcommand("shell", "Open a shell, or another command, on this terminal");
    add_command_options(*shell, command);
    shell->callback([&] {
        failure_code = cli::kNotRun;
        action = [&] { return run_shell(context, command); };
    });
    CLI::App* start = app.add_subcommand("start", "Start a background process and print its id");
    add_command_options(*start, command);
    start->add_option("--tag", command.tag, "A name of your choice");
    start->callback([&] {
        action = [&] {
            check_words(command, "start");
            return run_start(context, command);
        };
    });

    cli::CopyOptions copy;
    std::vector<std::string> copy_paths;
    CLI::App* cp =
        app.add_subcommand("cp", "Copy files and directories; paths of the sandbox start with ':'");
    cp->add_option("paths", copy_paths, "SRC... DST")->required()->expected(2, 1 << 20);
    cp->add_flag("-q,--quiet", copy.quiet, "No progress bar");
    cp->callback([&] {
        action = [&] {
            copy.destination = copy_paths.back();
            copy.sources.assign(copy_paths.begin(), copy_paths.end() - 1);
            return run_cp(context, copy);
        };
    });

    cli::FileOptions files;
    CLI::App* ls = app.add_subcommand("ls", "List directories");
    ls->add_option("paths", files.paths, "Paths in the sandbox");
    ls->add_flag("-l,--long", files.details, "With type, mode, owner, size and time");
    ls->callback([&] { action = [&] { return run_ls(context, files); }; });
    CLI::App* cat = app.add_subcommand("cat", "Print files");
    cat->add_option("paths", files.paths, "Paths in the sandbox")->required();
    cat->callback([&] { action = [&] { return run_cat(context, files); }; });
    CLI::App* rm = app.add_subcommand("rm", "Remove files");
    rm->add_option("paths", files.paths, "Paths in the sandbox")->required();
    rm->add_flag("-r,-R,--recursive", files.recursive, "Directories too");
    rm->add_flag("-f,--force", files.force, "What is missing is no error");
    rm->callback([&] { action = [&] { return run_rm(context, files); }; });
    CLI::App* mkdir = app.add_subcommand("mkdir", "Make directories");
    mkdir->add_option("paths", files.paths, "Paths in the sandbox")->required();
    mkdir->add_flag("-p,--parents", files.parents, "Parents too; what exists is no error");
    mkdir->callback([&] { action = [&] { return run_mkdir(context, files); }; });
    CLI::App* mv = app.add_subcommand("mv", "Move or rename");
    mv->add_option("paths", files.paths, "SRC DST, both in the sandbox")->required()->expected(2);
    mv->callback([&] { action = [&] { return run_mv(context, files); }; });

    CLI::App* watch = app.add_subcommand("watch", "Print what changes in a directory, until interrupted");
    watch->add_option("path", files.paths, "Path in the sandbox")->required()->expected(1);
    watch->add_flag("-r,--recursive", files.recursive, "In all directories below it, too");
    watch->callback([&] { action = [&] { return run_watch(context, files); }; });

    cli::ProcessOptions processes;
    CLI::App* ps = app.add_subcommand("ps", "List background processes");
    ps->add_flag("-a,--all", processes.all, "Ended ones too");
    ps->add_flag("-q,--quiet", processes.quiet, "Ids alone");
    ps->callback([&] { action = [&] { return run_ps(context, processes); }; });
    CLI::App* kill = app.add_subcommand("kill", "End background processes and all they started");
    kill->add_option("ids", processes.ids, "Ids");
    kill->add_option("-s,--signal", processes.signal, "Only send this signal, to the process alone");
    kill->add_flag("-a,--all", processes.all, "All that run");
    kill->callback([&] { action = [&] { return run_kill(context, processes); }; });
    CLI::App* logs = app.add_subcommand("logs", "Print the output of a background process");
    logs->add_option("id", processes.ids, "Id")->required()->expected(1);
    logs->add_flag("-f,--follow", processes.follow, "Until the process has ended");
    logs->add_flag("-t,--timestamps", processes.timestamps, "With the time of each line");
    logs->add_option("--from", processes.from, "First event id wanted");
    logs->callback([&] { action = [&] { return run_logs(context, processes); }; });

    cli::PortOptions ports;
    CLI::App* expose = app.add_subcommand("expose", "Lead the TCP forwarder to a port");
    expose->add_option("port", ports.port, "1 to 65535")->required()->check(CLI::Range(1, 65535));
    expose->callback([&] { action = [&] { return run_expose(context, ports); }; });
    CLI::App* unexpose = app.add_subcommand("unexpose", "Lead it nowhere");
    unexpose->callback([&] { action = [&] { return run_unexpose(context); }; });
    double wait_seconds = 0;
    CLI::App* health =
        app.add_subcommand("health", "Whether the sandbox is ready; exits with 1 when it is not");
    health->add_option("--wait", wait_seconds, "Seconds to wait for it")->check(seconds_check());
    health->callback([&] { action = [&] { return run_health(context, wait_seconds); }; });

    std::string for_shell;
    CLI::App* completion = app.add_subcommand("completion", "Print a completion script");
    completion->add_option("shell", for_shell, "bash, zsh or fish")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
    completion->callback(
        [&] { action = [&] { return cli::print_completion(for_shell, command_table(app)); }; });

    try {
        app.parse(take_command(app, argc, argv, command.words), argv);
    } catch (const CLI::RequiredError& error) {
        const int first = skip_options(app, 1, argc, argv);
        const bool unknown = first < argc && !has_command(app, argv[first]);
        cli::warn(unknown ? "no such command: " + std::string(argv[first]) : error.what());
        cli::warn("see sandbox --help");
        return cli::kUsage;
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return app.exit(error) == 0 ? cli::kOk : cli::kUsage;
        cli::warn(error.what());
        cli::warn("see sandbox --help");
        return cli::kUsage;
    }
    context.info.verify_certificate = !insecure;
    return guarded(action, failure_code);
}
