#pragma once
// A request message in proto3's JSON mapping: unknown members are ignored, absent or null members have their
// default, names come in lowerCamelCase or snake_case. https://protobuf.dev/programming-guides/json/

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json_fields.hpp"
#include "e2b/connect_error.hpp"

namespace sandbox::e2b {

// Loop thread; immutable. Getters answer invalid_argument for a member of another type.
class Message {
  public:
    // Text of an object; the empty text is an empty message.
    static Reply<std::unique_ptr<Message>> parse(std::string_view json);

    // `name` in lowerCamelCase, for all of these.
    bool has(std::string_view name) const;
    Reply<std::string> text(std::string_view name) const;
    Reply<bool> flag(std::string_view name, bool absent = false) const;
    // An integer of any width, as number or as text.
    Reply<std::int64_t> integer(std::string_view name) const;
    // Bytes: base64 of either alphabet.
    Reply<std::string> bytes(std::string_view name) const;
    // An enumeration as its name; a number as its digits.
    Reply<std::string> name_or_number(std::string_view name) const;
    Reply<std::vector<std::string>> texts(std::string_view name) const;
    Reply<std::vector<std::pair<std::string, std::string>>> text_map(std::string_view name) const;
    // Null when absent.
    Reply<std::unique_ptr<Message>> message(std::string_view name) const;

  private:
    const JsonFields::Field* find(std::string_view name) const;
    // The name under which the member is there.
    std::string key_of(std::string_view name) const;

    JsonFields fields_{kLimit};
    static constexpr std::size_t kLimit = std::size_t{64} << 20U;
};

}  // namespace sandbox::e2b
