#pragma once
// An incremental, validating reader of one JSON object (RFC 8259) for request bodies: values pass through, so
// a body of any size costs the same few kilobytes.

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sandbox {

enum class ValueKind : std::uint8_t { string, number, boolean, null, array, object };

// What a scanner tells, for every member in the order of the text: on_key, the parts of the value,
// on_value_end. Parts are cut anywhere, also inside a character; views live until the call returns. Must not
// call the scanner.
class JsonHandler {
  public:
    virtual ~JsonHandler() = default;
    virtual void on_key(std::string_view key) = 0;
    // A part of a string value, escapes decoded: 0 to n calls. The parts together are valid UTF-8.
    virtual void on_string(std::string_view part) = 0;
    // A part of the JSON text of any other value: 1 to n calls. It equals the text sent as JSON, without
    // white space, and with its strings in the form JsonEscaper writes; so it is always valid UTF-8 without
    // lone surrogates.
    virtual void on_raw(std::string_view part) = 0;
    virtual void on_value_end(ValueKind kind) = 0;
};

// Accepts one object, or `null` for an empty one, with white space around it and nothing else: trailing
// bytes, a BOM and any other top-level value are refused. Within strings, invalid UTF-8 (each byte) and lone
// surrogate escapes become U+FFFD as in Go; raw control characters are refused; \u0000 is a character like
// others. Numbers are checked for form only, whatever their size. Duplicate keys are all reported.
//
// The handler must outlive the scanner and may have seen a part of the members when the text turns out to be
// invalid. Not thread-safe.
class JsonObjectScanner {
  public:
    static constexpr std::size_t kMaxDepth = 10'000;  // of nested objects and arrays, the outermost included
    static constexpr std::size_t kMaxKey = std::size_t{1}
                                           << 16;  // bytes of a decoded key of the outermost object

    explicit JsonObjectScanner(JsonHandler& handler) : handler_(handler) {}
    JsonObjectScanner(const JsonObjectScanner&) = delete;
    JsonObjectScanner& operator=(const JsonObjectScanner&) = delete;
    ~JsonObjectScanner() = default;

    // The next bytes of the text. False once it is invalid, and then for good.
    bool feed(std::string_view bytes);

    // The end of the text: true when it was exactly one value.
    bool finish();

    // After a false: why, with the offset where ("unexpected character at byte 7").
    std::string error() const;

  private:
    enum class State : std::uint8_t {
        start,           // before the outermost value
        first_key,       // after '{': a key or '}'
        key,             // after ',' in an object
        colon,           //
        value,           //
        first_element,   // after '[': a value or ']'
        after_value,     // ',' or the bracket that closes
        literal,         // inside true, false, null
        minus,           // the states of a number, named by what was read last
        zero,            //
        integer,         //
        point,           //
        fraction,        //
        exponent,        //
        exponent_sign,   //
        exponent_digit,  //
        string,          //
        escape,          // after a backslash
        unicode,         // inside the four digits of \uXXXX
        done,            // after the outermost value
        failed,          //
    };

    bool structure(char c);
    bool begin_value(char c);
    bool number(char c);
    bool open(char bracket);
    bool close(char bracket);
    bool end_scalar();
    bool begin_literal(std::string_view word, ValueKind kind);
    bool begin_string(bool is_key);
    bool end_string();
    const char* string_bytes(const char* p, const char* end);
    std::size_t whole_escape(const char* p, const char* end);
    bool escape(char c);
    bool unicode_digit(char c);
    void utf16_unit(unsigned unit);
    void lone_surrogate();
    void character(char32_t code);
    void bad_bytes();
    void text(std::string_view part);
    void raw(char c);
    void flush();
    bool fail(const char* reason);

    bool nested() const { return depth_ > 1; }
    bool in_array() const { return depth_ != 0 && arrays_[depth_ - 1]; }
    bool key_of_outermost() const { return is_key_ && depth_ == 1; }

    JsonHandler& handler_;
    State state_ = State::start;
    ValueKind kind_ = ValueKind::null;  // of the outermost object's present value
    bool is_key_ = false;               // the string being read is a key
    bool key_too_long_ = false;
    std::uint8_t digits_ = 0;     // of a \uXXXX read so far
    std::uint8_t kept_size_ = 0;  // bytes of an incomplete UTF-8 character
    char kept_[4] = {};
    unsigned unit_ = 0;            // the \uXXXX being read
    unsigned high_surrogate_ = 0;  // read, its partner not yet; 0 for none
    std::string_view literal_;     // what is still to come of it
    std::size_t depth_ = 0;
    std::bitset<kMaxDepth> arrays_;  // which levels are arrays
    std::size_t offset_ = 0;
    const char* reason_ = "";
    std::string key_;
    std::string escaped_;
    std::size_t staged_size_ = 0;
    char staged_[1024];  // short parts on their way to the handler
};

}  // namespace sandbox
