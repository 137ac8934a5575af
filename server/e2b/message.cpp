#include "e2b/message.hpp"

#include "base/base64.hpp"
#include "base/number.hpp"

namespace sandbox::e2b {
namespace {

std::string snake_case(std::string_view name) {
    std::string snake;
    for (char c : name) {
        if (c >= 'A' && c <= 'Z') {
            snake += '_';
            snake += static_cast<char>(c + ('a' - 'A'));
        } else {
            snake += c;
        }
    }
    return snake;
}

ConnectError invalid(std::string message) { return {Code::invalid_argument, std::move(message)}; }

}  // namespace

Reply<std::unique_ptr<Message>> Message::parse(std::string_view json) {
    auto message = std::make_unique<Message>();
    if (json.empty()) return message;
    if (Result<> parsed = JsonFields::parse(json, message->fields_); !parsed) {
        return invalid("unmarshal message: " + parsed.error().message);
    }
    return message;
}

std::string Message::key_of(std::string_view name) const {
    return fields_.find(name) != nullptr ? std::string(name) : snake_case(name);
}

const JsonFields::Field* Message::find(std::string_view name) const { return fields_.find(key_of(name)); }

bool Message::has(std::string_view name) const { return find(name) != nullptr; }

Reply<std::string> Message::text(std::string_view name) const {
    Result<std::string> value = fields_.string_or(key_of(name), "");
    if (!value) return invalid(value.error().message);
    return std::move(*value);
}

Reply<bool> Message::flag(std::string_view name, bool absent) const {
    Result<std::optional<bool>> value = fields_.boolean(key_of(name));
    if (!value) return invalid(value.error().message);
    return value->value_or(absent);
}

Reply<std::int64_t> Message::integer(std::string_view name) const {
    const JsonFields::Field* field = find(name);
    if (field != nullptr && field->kind == ValueKind::string) {
        const auto number = parse_number<std::int64_t>(field->text);
        if (!number) return invalid(std::string(name) + " must be an integer");
        return *number;
    }
    Result<std::optional<std::int64_t>> value = fields_.integer(key_of(name));
    if (!value) return invalid(value.error().message);
    return value->value_or(0);
}

Reply<std::string> Message::bytes(std::string_view name) const {
    Reply<std::string> encoded = text(name);
    if (!encoded) return encoded;
    Result<std::string> decoded = base64_decode(*encoded);
    if (!decoded) return invalid(std::string(name) + ": " + decoded.error().message);
    return std::move(*decoded);
}

Reply<std::string> Message::name_or_number(std::string_view name) const {
    const JsonFields::Field* field = find(name);
    if (field == nullptr) return std::string();
    if (field->kind == ValueKind::string || field->kind == ValueKind::number) return field->text;
    return invalid(std::string(name) + " must be a name or a number");
}

Reply<std::vector<std::string>> Message::texts(std::string_view name) const {
    auto value = fields_.string_list(key_of(name));
    if (!value) return invalid(value.error().message);
    return std::move(*value).value_or(std::vector<std::string>());
}

Reply<std::vector<std::pair<std::string, std::string>>> Message::text_map(std::string_view name) const {
    auto value = fields_.string_map(key_of(name));
    if (!value) return invalid(value.error().message);
    return std::move(*value).value_or(JsonFields::StringPairs());
}

Reply<std::unique_ptr<Message>> Message::message(std::string_view name) const {
    const JsonFields::Field* field = find(name);
    if (field == nullptr) return std::unique_ptr<Message>();
    if (field->kind != ValueKind::object) return invalid(std::string(name) + " must be an object");
    return parse(field->text);
}

}  // namespace sandbox::e2b
