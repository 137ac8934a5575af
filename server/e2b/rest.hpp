#pragma once
// What the plain HTTP endpoints have in common.

#include <optional>
#include <string>

#include "e2b/context.hpp"
#include "e2b/user_paths.hpp"
#include "net/exchange.hpp"

namespace sandbox::e2b {

// An error with the status that tells it.
struct RestError {
    int status = 500;
    std::string message;
};
template <class T = void>
using RestReply = boost::system::result<T, RestError>;
[[noreturn]] void throw_exception_from_error(const RestError& error, const boost::source_location& where);

// {"message":…,"code":…} with that status.
Task<bool> respond_rest_error(net::Exchange& exchange, const RestError& error);
// An answer that nobody may keep.
Task<bool> respond_json(net::Exchange& exchange, std::string body);

// The account of a request; 401 when there is none. Blocking.
RestReply<User> rest_account(const Caller& caller);
// A path of it; 400 for somebody else's home. Blocking.
RestReply<std::string> rest_path(const std::string& path, const User& user, const Caller& caller);

// Metadata of the "X-Metadata-…" headers; 400 when it is more than extended attributes hold.
RestReply<files::Metadata> request_metadata(const net::Request& request);

// What one uploaded file is answered with: {"name":…,"path":…,"type":"file","metadata":{…}}. Blocking; reads
// the metadata back when some was asked for, as the file system may keep none.
std::string uploaded_json(const std::string& path, bool with_metadata);

// The error of a write as the wire has it.
RestError write_error(const Error& error, const std::string& path);

}  // namespace sandbox::e2b
