#include "base/json_fields.hpp"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_map>

namespace sandbox {
namespace {

constexpr std::size_t kMemberOverhead = 64;

Error wrong_type(std::string_view key, std::string_view expected) {
    return Error{Errc::invalid_argument, std::string(key) + " must be " + std::string(expected)};
}

std::optional<double> to_double(std::string_view text) {
    double number = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
    return number;
}

// The members of a nested object whose values are strings or null.
class StringMapHandler final : public JsonHandler {
  public:
    void on_key(std::string_view key) override {
        const auto [entry, is_new] = index_.try_emplace(std::string(key), pairs_.size());
        at_ = entry->second;
        if (is_new) {
            pairs_.emplace_back(key, std::string());
        } else {
            pairs_[at_].second.clear();
        }
    }
    void on_string(std::string_view part) override { pairs_[at_].second.append(part); }
    void on_raw(std::string_view) override {}
    void on_value_end(ValueKind kind) override {
        if (kind != ValueKind::string && kind != ValueKind::null) only_strings_ = false;
    }

    bool only_strings() const { return only_strings_; }
    JsonFields::StringPairs take() { return std::move(pairs_); }

  private:
    JsonFields::StringPairs pairs_;
    std::unordered_map<std::string, std::size_t> index_;
    std::size_t at_ = 0;
    bool only_strings_ = true;
};

}  // namespace

void JsonFields::keep_only(std::initializer_list<std::string_view> keys) {
    kept_keys_.emplace();
    for (const std::string_view key : keys) kept_keys_->emplace(key);
}

void JsonFields::divert(std::string key, Sink sink, std::function<void()> restart) {
    Diversion& diversion = diversions_[std::move(key)];
    diversion.sink = std::move(sink);
    diversion.restart = std::move(restart);
}

Result<> JsonFields::parse(std::string_view body, JsonFields& fields) {
    JsonObjectScanner scanner(fields);
    const bool valid = scanner.feed(body) && scanner.finish();
    if (!valid) return Error{Errc::invalid_argument, "invalid JSON: " + scanner.error()};
    if (fields.failure()) return *fields.failure();
    return {};
}

void JsonFields::on_key(std::string_view key) {
    current_ = fields_.end();
    diversion_ = nullptr;
    if (failure_) return;
    const auto diversion = diversions_.find(key);
    if (diversion != diversions_.end()) {
        diversion_ = &diversion->second;
        if (diversion_->used) {
            if (!diversion_->restart) {
                failure_ = Error{Errc::invalid_argument, std::string(key) + " is given twice"};
                return;
            }
            diversion_->restart();
            diversion_->used = false;
        }
    } else if (kept_keys_ && !kept_keys_->contains(key)) {
        return;
    }
    current_ = fields_.find(key);
    if (current_ != fields_.end()) {
        used_ -= current_->second.text.size();
        current_->second = Field{};
        return;
    }
    current_ = fields_.emplace(std::string(key), Field{}).first;
    used_ += key.size() + kMemberOverhead;
    collect({});
}

void JsonFields::on_string(std::string_view part) {
    if (current_ == fields_.end()) return;
    if (diversion_ == nullptr) {
        collect(part);
    } else if (!failure_) {
        diversion_->sink(part);
    }
}

void JsonFields::on_raw(std::string_view part) {
    if (current_ != fields_.end()) collect(part);
}

void JsonFields::collect(std::string_view part) {
    if (failure_) return;
    used_ += part.size();
    if (used_ > limit_) {
        failure_ = Error{Errc::too_large,
                         "the request has more than " + std::to_string(limit_) + " bytes of fields"};
        fields_.clear();
        current_ = fields_.end();
        return;
    }
    current_->second.text.append(part);
}

void JsonFields::on_value_end(ValueKind kind) {
    if (current_ == fields_.end()) return;
    current_->second.kind = kind;
    if (diversion_ != nullptr && kind == ValueKind::string) {
        current_->second.diverted = true;
        diversion_->used = true;
    }
}

const JsonFields::Field* JsonFields::find(std::string_view key) const {
    const auto field = fields_.find(key);
    return field == fields_.end() || field->second.kind == ValueKind::null ? nullptr : &field->second;
}

Result<std::optional<std::string>> JsonFields::string(std::string_view key) const {
    const Field* field = find(key);
    if (field == nullptr) return std::optional<std::string>();
    if (field->kind != ValueKind::string) return wrong_type(key, "a string");
    return std::optional<std::string>(field->text);
}

Result<std::string> JsonFields::string_or(std::string_view key, std::string_view absent) const {
    auto text = string(key);
    if (!text) return text.error();
    return *text ? std::move(**text) : std::string(absent);
}

Result<std::optional<bool>> JsonFields::boolean(std::string_view key) const {
    const Field* field = find(key);
    if (field == nullptr) return std::optional<bool>();
    if (field->kind != ValueKind::boolean) return wrong_type(key, "a boolean");
    return std::optional<bool>(field->text == "true");
}

Result<std::optional<double>> JsonFields::number(std::string_view key) const {
    const Field* field = find(key);
    if (field == nullptr) return std::optional<double>();
    if (field->kind != ValueKind::number) return wrong_type(key, "a number");
    const auto value = to_double(field->text);
    if (!value) return Error{Errc::invalid_argument, std::string(key) + " is out of range"};
    return value;
}

Result<std::optional<std::int64_t>> JsonFields::integer(std::string_view key) const {
    const Field* field = find(key);
    if (field == nullptr) return std::optional<std::int64_t>();
    if (field->kind != ValueKind::number) return wrong_type(key, "an integer");
    const std::string& text = field->text;
    std::int64_t value = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc{} && stop == text.data() + text.size()) return std::optional<std::int64_t>(value);
    constexpr double kExact = 9007199254740992.0;  // 2^53: below it a double is the number that was written
    const auto approximate = to_double(text);
    if (error == std::errc::result_out_of_range || !approximate || std::abs(*approximate) >= kExact) {
        return Error{Errc::invalid_argument, std::string(key) + " is out of range"};
    }
    if (std::trunc(*approximate) != *approximate) return wrong_type(key, "an integer");
    return std::optional<std::int64_t>(static_cast<std::int64_t>(*approximate));
}

Result<std::optional<std::vector<std::string>>> JsonFields::string_list(std::string_view key) const {
    const Field* field = find(key);
    if (field == nullptr) return std::optional<std::vector<std::string>>();
    constexpr std::string_view kExpected = "a list of strings";
    if (field->kind != ValueKind::array) return wrong_type(key, kExpected);
    auto list = nlohmann::json::parse(field->text, nullptr, false);
    // Discarded: valid, but with a number that nlohmann cannot hold, so no list of strings.
    if (!list.is_array()) return wrong_type(key, kExpected);
    std::vector<std::string> texts;
    texts.reserve(list.size());
    for (auto& element : list) {
        if (!element.is_string()) return wrong_type(key, kExpected);
        texts.push_back(std::move(element.get_ref<std::string&>()));
    }
    return std::optional(std::move(texts));
}

Result<std::optional<JsonFields::StringPairs>> JsonFields::string_map(std::string_view key) const {
    const Field* field = find(key);
    if (field == nullptr) return std::optional<StringPairs>();
    constexpr std::string_view kExpected = "an object of strings";
    if (field->kind != ValueKind::object) return wrong_type(key, kExpected);
    StringMapHandler pairs;
    JsonObjectScanner scanner(pairs);
    // It was valid as a part of the body, so only a key past the outermost object's limit can fail here.
    const bool valid = scanner.feed(field->text) && scanner.finish();
    if (!valid) return Error{Errc::invalid_argument, std::string(key) + ": " + scanner.error()};
    if (!pairs.only_strings()) return wrong_type(key, kExpected);
    return std::optional(pairs.take());
}

}  // namespace sandbox
