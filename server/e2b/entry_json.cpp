#include "e2b/entry_json.hpp"

#include <sys/stat.h>

#include "base/rfc3339.hpp"
#include "base/utf8.hpp"

namespace sandbox::e2b {
namespace {

bool is_utf8(std::string_view text) {
    const char* end = text.data() + text.size();
    for (const char* p = text.data(); p != end;) {
        Utf8Step step = utf8_step(p, end);
        if (step.kind != Utf8Step::Kind::ok) return false;
        p += step.length;
    }
    return true;
}

// A Timestamp in proto3's JSON: 0, 3, 6 or 9 digits of a fraction.
std::string timestamp_text(files::FileTime time) {
    std::string text = format_rfc3339(time.time_since_epoch().count());
    std::size_t point = text.find('.');
    if (point == std::string::npos) return text;
    text.pop_back();  // the Z
    while ((text.size() - point - 1) % 3 != 0) text += '0';
    return text + 'Z';
}

// Null for what the wire has no type for.
const char* type_name(files::Kind kind) {
    switch (kind) {
        case files::Kind::file:
            return "FILE_TYPE_FILE";
        case files::Kind::directory:
            return "FILE_TYPE_DIRECTORY";
        default:
            return nullptr;
    }
}

}  // namespace

std::string permission_text(const files::Entry& entry) {
    std::string text;
    switch (entry.kind) {
        case files::Kind::directory:
            text += 'd';
            break;
        case files::Kind::symlink:
            text += 'L';
            break;
        case files::Kind::block_device:
        case files::Kind::char_device:
            text += 'D';
            break;
        case files::Kind::fifo:
            text += 'p';
            break;
        case files::Kind::socket:
            text += 'S';
            break;
        default:
            break;
    }
    if ((entry.mode & S_ISUID) != 0) text += 'u';
    if ((entry.mode & S_ISGID) != 0) text += 'g';
    if (entry.kind == files::Kind::char_device) text += 'c';
    if ((entry.mode & S_ISVTX) != 0) text += 't';
    if (text.empty()) text = "-";
    static constexpr std::string_view kLetters = "rwxrwxrwx";
    for (std::size_t i = 0; i < kLetters.size(); ++i) {
        text += (entry.mode & (0400U >> i)) != 0 ? kLetters[i] : '-';
    }
    return text;
}

void write_entry(JsonWriter& writer, const files::Entry& entry, const Accounts& accounts, EntryForm form) {
    const bool link = entry.kind == files::Kind::symlink;
    writer.begin_object().member("name", entry.name);
    const char* type = nullptr;
    if (!link) type = type_name(entry.kind);
    if (link && entry.target_kind) type = type_name(*entry.target_kind);
    if (type != nullptr) writer.member("type", type);
    writer.member("path", entry.path);
    if (form == EntryForm::brief) {
        writer.end_object();
        return;
    }
    writer.member("size", std::to_string(entry.size));
    writer.member("mode", (link ? entry.target_mode : entry.mode) & 0777U);
    writer.member("permissions", permission_text(entry));
    writer.member("owner", accounts.user_name(entry.uid)).member("group", accounts.group_name(entry.gid));
    writer.member("modifiedTime", timestamp_text(entry.modified));
    if (link) writer.member("symlinkTarget", entry.resolved.empty() ? entry.path : entry.resolved);
    bool any = false;
    for (const auto& [key, value] : entry.metadata) {
        if (!is_utf8(key) || !is_utf8(value)) continue;
        if (!any) writer.key("metadata").begin_object();
        any = true;
        writer.member(key, value);
    }
    if (any) writer.end_object();
    writer.end_object();
}

}  // namespace sandbox::e2b
