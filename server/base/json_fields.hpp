#pragma once
// The members of a JSON request body, and typed access to them with errors that name the member.
//
//     JsonFields body;
//     JsonObjectScanner scanner(body);
//     ... scanner.feed(bytes) ..., body.failure() after each ...
//     if (!scanner.finish()) -> scanner.error()
//     auto cmd = body.string("cmd");
//
// or, for a body that is in memory, JsonFields::parse(text, body).

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/json_scan.hpp"

namespace sandbox {

// Keys are case-sensitive; of duplicates the last one counts. `null` is the same as no member, for every
// getter. Getters answer invalid_argument ("cmd must be a string") when the member has another type. Value
// type in use: one owner, one thread.
class JsonFields final : public JsonHandler {
  public:
    static constexpr std::size_t kDefaultLimit = std::size_t{16} << 20;

    using Sink = std::function<void(std::string_view)>;
    using StringPairs = std::vector<std::pair<std::string, std::string>>;

    struct Field {
        ValueKind kind = ValueKind::null;
        std::string text;       // a string's value, else its JSON text; empty when diverted
        bool diverted = false;  // a string that went to a sink
    };

    // `limit` bounds, in bytes, all keys and values kept, with 64 bytes of overhead for each member.
    explicit JsonFields(std::size_t limit = kDefaultLimit) : limit_(limit) {}
    JsonFields(const JsonFields&) = delete;
    JsonFields& operator=(const JsonFields&) = delete;
    ~JsonFields() override = default;

    // From now on only these members are kept; others are checked, skipped and cost nothing.
    void keep_only(std::initializer_list<std::string_view> keys);

    // A string value of `key` goes to `sink`, part by part, and counts for nothing in the limit. A second
    // member of that name calls `restart`, which has to undo what the sink got, or is an error when there is
    // none. Members of other types are kept as usual. The sink is called from within the scanner's feed().
    void divert(std::string key, Sink sink, std::function<void()> restart = {});

    // What went wrong while collecting: too_large past the limit, invalid_argument for a diverted member sent
    // twice. Nothing is collected after it. The scanner does not know of it.
    const std::optional<Error>& failure() const { return failure_; }

    // Scans a whole body into `fields`; invalid_argument when it is not a JSON object, or failure().
    static Result<> parse(std::string_view body, JsonFields& fields);

    // The member, or nullptr when there is none or it is null. Valid until the next feed() of the scanner.
    const Field* find(std::string_view key) const;

    Result<std::optional<std::string>> string(std::string_view key) const;
    Result<std::string> string_or(std::string_view key, std::string_view absent) const;
    Result<std::optional<bool>> boolean(std::string_view key) const;
    Result<std::optional<double>> number(std::string_view key) const;
    // Whole numbers in any notation ("5", "5.0", "5e0").
    Result<std::optional<std::int64_t>> integer(std::string_view key) const;
    Result<std::optional<std::vector<std::string>>> string_list(std::string_view key) const;
    // In the order of first appearance; of duplicates the last value counts; a null value is "".
    Result<std::optional<StringPairs>> string_map(std::string_view key) const;

    void on_key(std::string_view key) override;
    void on_string(std::string_view part) override;
    void on_raw(std::string_view part) override;
    void on_value_end(ValueKind kind) override;

  private:
    struct Diversion {
        Sink sink;
        std::function<void()> restart;
        bool used = false;
    };

    void collect(std::string_view part);

    std::size_t limit_;
    std::size_t used_ = 0;
    std::optional<Error> failure_;
    std::optional<std::set<std::string, std::less<>>> kept_keys_;
    std::map<std::string, Diversion, std::less<>> diversions_;
    std::map<std::string, Field, std::less<>> fields_;
    std::map<std::string, Field, std::less<>>::iterator current_ =
        fields_.end();                // end: the member is skipped
    Diversion* diversion_ = nullptr;  // of the present member
};

}  // namespace sandbox
