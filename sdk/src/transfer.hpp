#pragma once
// Files in pieces and as raw bytes. What the sandbox's paths are relative to is settled here: the file API
// has the daemon's working directory, the envd API a home.

#include <cstdint>
#include <optional>
#include <string>

#include "koyeb/sandbox/async_sandbox.hpp"

namespace koyeb::sandbox {

// How much one request of the JSON API carries.
inline constexpr std::size_t kPiece = std::size_t{4} << 20U;

// By value throughout: these are coroutines.
Awaitable<> write_piece(AsyncClient client, std::string path, std::string bytes, bool append,
                        std::optional<unsigned> mode = std::nullopt);
// Less than `length` bytes only at the end of the file.
Awaitable<std::string> read_range(AsyncClient client, std::string path, std::uint64_t offset,
                                  std::uint64_t length);

Awaitable<> upload(AsyncClient client, std::string local, std::string remote, ProgressCallback progress);
Awaitable<> download(AsyncClient client, std::string remote, std::string local, ProgressCallback progress);

// As the envd API needs it.
Awaitable<std::string> absolute_path(AsyncClient client, std::string path);

Awaitable<AsyncWatch> watch(AsyncClient client, std::string path, bool recursive);

}  // namespace koyeb::sandbox
