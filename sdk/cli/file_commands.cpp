// ls, cat, rm, mkdir, mv.

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "context.hpp"

namespace cli {
namespace {

namespace sdk = koyeb::sandbox;
using Json = nlohmann::ordered_json;

constexpr std::uint64_t kPiece = std::uint64_t{4} << 20U;

const char* type_name(sdk::FileType type) {
    switch (type) {
        case sdk::FileType::file:
            return "file";
        case sdk::FileType::directory:
            return "directory";
        case sdk::FileType::symlink:
            return "symlink";
        case sdk::FileType::other:
            break;
    }
    return "other";
}

// As ls(1) shows it: -rw-r--r--
std::string mode_text(const sdk::FileStat& info) {
    std::string text(1, "-dl?"[static_cast<unsigned>(info.type)]);
    for (int bit = 8; bit >= 0; --bit)
        text += (info.mode >> static_cast<unsigned>(bit) & 1U) != 0 ? "rwx"[2 - bit % 3] : '-';
    return text;
}

std::string left_padded(const std::string& text, std::size_t width) {
    return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

struct Listed {
    std::string name;
    std::optional<sdk::FileStat> info;
};

Json to_json(const Listed& entry) {
    if (!entry.info) return entry.name;
    Json json = {{"name", entry.name}, {"type", type_name(entry.info->type)}, {"size", entry.info->size}};
    json["mode"] = entry.info->mode;
    json["user"] = entry.info->user;
    json["group"] = entry.info->group;
    json["modified_at"] = entry.info->modified_at;
    if (!entry.info->target.empty()) json["target"] = entry.info->target;
    return json;
}

void print(const Listed& entry) {
    if (!entry.info) return print_line(entry.name);
    const sdk::FileStat& info = *entry.info;
    std::string line = mode_text(info) + " " + info.user + " " + info.group + " " +
                       left_padded(std::to_string(info.size), 10) + " " + info.modified_at.substr(0, 19) +
                       "Z " + entry.name;
    if (!info.target.empty()) line += " -> " + info.target;
    print_line(line);
}

}  // namespace

int run_ls(const Context& context, const FileOptions& options) {
    sdk::Sandbox sandbox = context.connect();
    sdk::Filesystem fs = sandbox.filesystem();
    std::vector<std::string> paths = options.paths;
    if (paths.empty()) paths.emplace_back(".");
    Json all = Json::array();
    for (const std::string& path : paths) {
        std::vector<Listed> entries;
        std::vector<std::string> names;
        bool is_directory = true;
        try {
            names = fs.ls(path);
        } catch (const sdk::SandboxFileNotFoundError&) {
            throw;
        } catch (const sdk::SandboxFilesystemError&) {
            // A file lists as itself.
            const sdk::FileStat info = fs.stat(path, false);
            if (info.type == sdk::FileType::directory) throw;
            is_directory = false;
            entries.push_back({path, options.details ? std::optional(info) : std::nullopt});
        }
        for (const std::string& name : names) {
            Listed entry{name, std::nullopt};
            if (options.details) {
                try {
                    entry.info = fs.stat(join_path(path, name), false);
                } catch (const sdk::SandboxFileNotFoundError&) {
                    continue;  // gone since it was listed
                }
            }
            entries.push_back(std::move(entry));
        }
        if (context.json) {
            Json list = Json::array();
            for (const Listed& entry : entries) list.push_back(to_json(entry));
            all.push_back(Json{{"path", path}, {"entries", std::move(list)}});
            continue;
        }
        if (paths.size() > 1 && is_directory) print_line(path + ":");
        for (const Listed& entry : entries) print(entry);
    }
    if (context.json) {
        print_line((paths.size() == 1 ? all[0]["entries"] : all)
                       .dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    return kOk;
}

int run_cat(const Context& context, const FileOptions& options) {
    sdk::Sandbox sandbox = context.connect();
    for (const std::string& path : options.paths) {
        sdk::FileHandle file = sandbox.filesystem().open(path);
        while (true) {
            const std::string piece = file.read(kPiece);
            if (piece.empty()) break;
            write_all(STDOUT_FILENO, piece);
        }
    }
    return kOk;
}

int run_rm(const Context& context, const FileOptions& options) {
    sdk::Sandbox sandbox = context.connect();
    sdk::Filesystem fs = sandbox.filesystem();
    for (const std::string& path : options.paths) {
        try {
            if (options.recursive && !options.force)
                fs.stat(path, false);  // a missing directory is success else
            fs.rm(path, options.recursive);
        } catch (const sdk::SandboxFileNotFoundError&) {
            if (!options.force) throw;
        }
    }
    return kOk;
}

int run_mkdir(const Context& context, const FileOptions& options) {
    sdk::Sandbox sandbox = context.connect();
    for (const std::string& path : options.paths) sandbox.filesystem().mkdir(path, options.parents);
    return kOk;
}

int run_mv(const Context& context, const FileOptions& options) {
    sdk::Sandbox sandbox = context.connect();
    sdk::Filesystem fs = sandbox.filesystem();
    const std::string& source = options.paths.at(0);
    std::string target = options.paths.at(1);
    if (fs.is_dir(target)) target = join_path(target, base_name(source));
    fs.move_file(source, target);
    return kOk;
}

}  // namespace cli
