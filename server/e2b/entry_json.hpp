#pragma once
// EntryInfo: what files are described with.

#include "base/json_writer.hpp"
#include "platform/users.hpp"
#include "services/filesystem.hpp"

namespace sandbox::e2b {

enum class EntryForm {
    full,
    brief,  // name, type and path, which is all that the first SDKs can read
};

// The value alone. Pure.
void write_entry(JsonWriter& writer, const files::Entry& entry, const Accounts& accounts,
                 EntryForm form = EntryForm::full);

// "-rw-r--r--", "Lrwxrwxrwx", "dtrwxrwxrwx": as Go's fs.FileMode shows it.
std::string permission_text(const files::Entry& entry);

}  // namespace sandbox::e2b
