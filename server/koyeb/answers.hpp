#pragma once
// The answers that several handlers give. Each is JSON and ends in a newline; net::respond_error() is the
// plain {"error":…}.

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "net/exchange.hpp"

namespace sandbox::koyeb {

// `json`, and a newline.
Task<bool> respond_json(net::Exchange& exchange, int status, std::string json);

// {"success":true}
Task<bool> respond_success(net::Exchange& exchange);
// {"success":true,"message":…}
Task<bool> respond_success(net::Exchange& exchange, std::string_view message);

// {"error":…,"success":false}, with status 200 as the SDKs expect it of the file system.
Task<bool> respond_file_error(net::Exchange& exchange, std::string_view message);

// {"success":false,"error":…}, the shape that the SDKs look into.
Task<bool> respond_process_error(net::Exchange& exchange, int status, std::string_view message);

// 400 {"error":"Invalid request","detail":…}.
Task<bool> respond_invalid(net::Exchange& exchange, std::string_view detail);
// The answer to a body that cannot be used: 413 when it is too large, 507 when there was no room to keep it,
// else as respond_invalid().
Task<bool> respond_body_error(net::Exchange& exchange, const Error& error);

}  // namespace sandbox::koyeb
