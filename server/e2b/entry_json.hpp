#pragma once
// EntryInfo: what files are described with.

#include "base/json_writer.hpp"
#include "platform/users.hpp"
#include "services/filesystem.hpp"

namespace sandbox::e2b {

// The value alone. Pure.
void write_entry(JsonWriter& writer, const files::Entry& entry, const Accounts& accounts);

// "-rw-r--r--", "Lrwxrwxrwx", "dtrwxrwxrwx": as Go's fs.FileMode shows it.
std::string permission_text(const files::Entry& entry);

}  // namespace sandbox::e2b
