// The verbs of the file API against a model of a file system, in a jail. The input is a list of operations on
// a few names, with paths spelt in several ways.

#include "services/filesystem.hpp"

#include <map>
#include <string>
#include <vector>

#include "fuzz/jail.hpp"

using namespace sandbox;

namespace {

using Content = std::optional<std::string>;

std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }
bool is_below(const std::string& path, const std::string& top) { return path.starts_with(top + "/"); }

// Canonical paths ("/a/b"; "" is the root) to contents; directories have none.
class Model {
  public:
    bool has(const std::string& path) const { return path.empty() || nodes_.contains(path); }
    bool is_dir(const std::string& path) const {
        return path.empty() || (nodes_.contains(path) && !nodes_.at(path));
    }
    bool is_file(const std::string& path) const { return has(path) && !is_dir(path); }
    bool is_empty(const std::string& path) const {
        for (const auto& [name, content] : nodes_) {
            if (is_below(name, path)) return false;
        }
        return true;
    }
    // Whether a component is a file.
    bool goes_through_file(const std::string& path) const {
        for (std::string up = parent_of(path); !up.empty(); up = parent_of(up)) {
            if (is_file(up)) return true;
        }
        return false;
    }

    bool make_dir(const std::string& path) {
        if (goes_through_file(path) || is_file(path)) return false;
        for (std::string at = path; !at.empty(); at = parent_of(at)) nodes_.emplace(at, std::nullopt);
        return true;
    }
    bool make_room(const std::string& path, bool parents) {
        return parents ? make_dir(parent_of(path)) : is_dir(parent_of(path));
    }
    bool write(const std::string& path, const std::string& text, const files::WriteOptions& options) {
        if (is_dir(path) || (options.must_be_new && has(path))) return false;
        if (!make_room(path, options.create_parents)) return false;
        Content& content = nodes_[path];
        content = options.append && content ? *content + text : text;
        return true;
    }
    bool delete_file(const std::string& path) { return is_file(path) && nodes_.erase(path) == 1; }
    bool delete_dir(const std::string& path) {
        if (goes_through_file(path) || is_file(path)) return false;
        erase_tree(path);
        return true;
    }
    bool remove_all(const std::string& path) {
        if (goes_through_file(path)) return false;
        erase_tree(path);
        return true;
    }
    bool move(const std::string& from, const std::string& to, const files::TransferOptions& options) {
        if (!has(from) || is_below(to, from)) return false;
        if (has(to) && from != to) {
            if (!options.replace || is_dir(from) != is_dir(to)) return false;
            if (is_dir(to) && !is_empty(to)) return false;
        }
        if (!make_room(to, options.create_parents)) return false;
        if (from != to) transfer(from, to, true);
        return true;
    }
    bool copy(const std::string& from, const std::string& to, const files::TransferOptions& options) {
        if (!has(from) || is_below(to, from)) return false;
        if (has(to) && (!options.replace || is_dir(from) || is_dir(to))) return false;
        if (!make_room(to, options.create_parents)) return false;
        transfer(from, to, false);
        return true;
    }
    const std::map<std::string, Content>& nodes() const { return nodes_; }

  private:
    void erase_tree(const std::string& path) {
        std::erase_if(nodes_,
                      [&](const auto& node) { return node.first == path || is_below(node.first, path); });
    }
    void transfer(const std::string& from, const std::string& to, bool remove) {
        std::map<std::string, Content> moved;
        for (const auto& [path, content] : nodes_) {
            if (path == from || is_below(path, from)) moved[to + path.substr(from.size())] = content;
        }
        if (remove) erase_tree(from);
        for (auto& [path, content] : moved) nodes_[path] = std::move(content);
    }
    std::map<std::string, Content> nodes_;
};

struct Path {
    std::string canonical;
    std::string spelt;
};

class Operations : public fuzz::Bytes {
  public:
    using Bytes::Bytes;
    Path path() {
        unsigned bits = next();
        Path path;
        for (std::size_t depth = 1 + bits % 3; depth-- > 0; bits /= 4) {
            const std::string name(1, static_cast<char>('a' + bits / 4 % 3));
            path.canonical += "/" + name;
            path.spelt += spelling(bits) + name;
        }
        return path;
    }

  private:
    static const char* spelling(unsigned bits) {
        constexpr const char* kSpellings[] = {"/", "//", "/./", "/"};
        return kSpellings[bits % 4];
    }
};

std::string read_file(const std::string& path) {
    auto file = files::open_for_read(path);
    FUZZ_CHECK(file.has_value());
    std::string content(4096, '\0');
    std::size_t total = 0;
    for (;;) {
        if (total == content.size()) content.resize(2 * total);
        auto count = files::read_at(*file, total, std::span(content).subspan(total));
        FUZZ_CHECK(count.has_value());
        if (*count == 0) break;
        total += *count;
    }
    content.resize(total);
    return content;
}

template <class T>
void expect(const Result<T>& result, bool success) {
    if (result.has_value() != success) {
        std::fprintf(stderr, "%s\n", result ? "it succeeded" : result.error().message.c_str());
    }
    FUZZ_CHECK(result.has_value() == success);
    FUZZ_CHECK(result || (!result.error().message.empty() && result.error().sys_errno != 0));
}

void compare(const Model& model) {
    std::map<std::string, Content> found;
    files::WalkOptions options;
    options.depth = 100;
    auto visit = [&found](files::Entry&& entry) {
        FUZZ_CHECK(!files::is_staging_name(entry.name));
        const std::string path = entry.path.substr(entry.path.starts_with("//") ? 1 : 0);
        found[path] = entry.kind == files::Kind::directory ? Content() : Content(read_file(path));
        FUZZ_CHECK(!found[path] || found[path]->size() == entry.size);
        return true;
    };
    FUZZ_CHECK(files::walk("/", options, visit).has_value());
    FUZZ_CHECK(found == model.nodes());
}

class Target {
  public:
    explicit Target(const fuzz::Jail&) {}

    void run(const fuzz::Input& input) {
        Model model;
        // Copies of copies grow without bound, and the file system of the jail is small.
        for (Operations operations(input.text); !operations.empty() && model.nodes().size() < 1000;) {
            step(operations, model);
        }
        compare(model);
        fuzz::Jail::clear();
    }

  private:
    static void step(Operations& operations, Model& model) {
        const unsigned what = operations.next();
        const Path path = operations.path();
        switch (what % 8) {
            case 0:
            case 1: {
                files::WriteOptions options;
                options.append = (what & 8) != 0;
                options.create_parents = (what & 16) != 0;
                options.must_be_new = (what & 32) != 0 && !options.append;
                const std::string text((what >= 128 ? 3000U : 7U) * (what % 5),
                                       static_cast<char>('a' + what % 26));
                MemorySource source(text);
                expect(files::write_file(path.spelt, options, source),
                       model.write(path.canonical, text, options));
                break;
            }
            case 2:
                expect(files::make_dir(path.spelt), model.make_dir(path.canonical));
                break;
            case 3:
                if ((what & 8) != 0) {
                    expect(files::delete_file(path.spelt), model.delete_file(path.canonical));
                } else {
                    expect(files::delete_dir(path.spelt), model.delete_dir(path.canonical));
                }
                break;
            case 4:
                expect(files::remove_all(path.spelt), model.remove_all(path.canonical));
                break;
            case 5:
            case 6:
                transfer(what, path, operations.path(), model);
                break;
            default:
                look(path, model);
                break;
        }
    }
    static void transfer(unsigned what, const Path& from, const Path& to, Model& model) {
        files::TransferOptions options;
        options.replace = (what & 8) == 0;
        // With parents only where it is sure to succeed that far: what a failure leaves of them is not
        // promised.
        options.create_parents = (what & 16) != 0 && !model.has(to.canonical) && model.has(from.canonical) &&
                                 !is_below(to.canonical, from.canonical);
        if (what % 8 == 5) {
            expect(files::move(from.spelt, to.spelt, options),
                   model.move(from.canonical, to.canonical, options));
        } else if (from.canonical != to.canonical) {
            expect(files::copy(from.spelt, to.spelt, options),
                   model.copy(from.canonical, to.canonical, options));
        }
    }
    static void look(const Path& path, const Model& model) {
        const auto entry = files::stat(path.spelt);
        expect(entry, model.has(path.canonical));
        if (entry) FUZZ_CHECK((entry->kind == files::Kind::directory) == model.is_dir(path.canonical));
        const auto names = files::list_dir(path.spelt);
        expect(names, model.is_dir(path.canonical));
        if (model.is_file(path.canonical)) {
            FUZZ_CHECK(read_file(path.spelt) == *model.nodes().at(path.canonical));
        } else {
            FUZZ_CHECK(!files::open_for_read(path.spelt));
        }
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size > 400) return 0;
    fuzz::run_in_jail<Target>(fuzz::Input(data, size));
    return 0;
}
