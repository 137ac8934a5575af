#include "base/rfc3339.hpp"

#include <array>
#include <chrono>
#include <cstddef>

namespace sandbox {
namespace {

using std::chrono::days;
using std::chrono::sys_days;
using std::chrono::year_month_day;

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::int64_t kSecondsPerDay = 86'400;
constexpr std::array<std::string_view, 7> kWeekdays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

void append_digits(std::string& out, std::int64_t number, std::size_t width) {
    const std::size_t end = out.size() + width;
    out.resize(end);
    for (std::size_t i = 1; i <= width; ++i, number /= 10)
        out[end - i] = static_cast<char>('0' + number % 10);
}

void append_clock(std::string& out, std::int64_t second_of_day) {
    append_digits(out, second_of_day / 3600, 2);
    out.push_back(':');
    append_digits(out, second_of_day / 60 % 60, 2);
    out.push_back(':');
    append_digits(out, second_of_day % 60, 2);
}

year_month_day date_of(std::int64_t day) { return year_month_day(sys_days(days(day))); }

// Reads a fixed layout from left to right; after the first mismatch everything is a mismatch.
class Reader {
  public:
    explicit Reader(std::string_view text) : text_(text) {}

    std::int64_t digits(std::size_t count) {
        std::int64_t number = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const char c = next();
            if (c < '0' || c > '9') ok_ = false;
            number = number * 10 + (c - '0');
        }
        return number;
    }
    void literal(std::string_view expected) {
        for (const char c : expected) {
            if (next() != c) ok_ = false;
        }
    }
    template <std::size_t N>
    std::size_t one_of(const std::array<std::string_view, N>& words) {
        for (std::size_t i = 0; i < N; ++i) {
            if (text_.starts_with(words[i])) {
                text_.remove_prefix(words[i].size());
                return i;
            }
        }
        ok_ = false;
        return 0;
    }
    char next() {
        if (text_.empty()) {
            ok_ = false;
            return '\0';
        }
        const char c = text_.front();
        text_.remove_prefix(1);
        return c;
    }
    char peek() const { return text_.empty() ? '\0' : text_.front(); }
    void require(bool condition) { ok_ = ok_ && condition; }
    bool ok() const { return ok_; }
    bool done() const { return ok_ && text_.empty(); }

  private:
    std::string_view text_;
    bool ok_ = true;
};

std::int64_t read_clock(Reader& in) {
    const std::int64_t hour = in.digits(2);
    in.literal(":");
    const std::int64_t minute = in.digits(2);
    in.literal(":");
    const std::int64_t second = in.digits(2);
    in.require(hour < 24 && minute < 60 && second < 60);
    return hour * 3600 + minute * 60 + second;
}

// Days since 1970; the reader fails when there is no such date.
std::int64_t day_of(Reader& in, std::int64_t year, std::int64_t month, std::int64_t day) {
    if (!in.ok()) return 0;
    const year_month_day date(std::chrono::year(static_cast<int>(year)),
                              std::chrono::month(static_cast<unsigned>(month)),
                              std::chrono::day(static_cast<unsigned>(day)));
    in.require(date.ok());
    return date.ok() ? sys_days(date).time_since_epoch().count() : 0;
}

std::int64_t read_fraction(Reader& in) {
    std::int64_t ns = 0;
    std::int64_t unit = kNsPerSecond / 10;
    std::size_t count = 0;
    for (; in.peek() >= '0' && in.peek() <= '9'; ++count, unit /= 10) ns += unit * in.digits(1);
    in.require(count != 0);
    return ns;
}

// Seconds east of Greenwich.
std::int64_t read_offset(Reader& in) {
    const char sign = in.next();
    if (sign == 'Z' || sign == 'z') return 0;
    in.require(sign == '+' || sign == '-');
    const std::int64_t hour = in.digits(2);
    in.literal(":");
    const std::int64_t minute = in.digits(2);
    in.require(hour < 24 && minute < 60);
    const std::int64_t offset = hour * 3600 + minute * 60;
    return sign == '-' ? -offset : offset;
}

}  // namespace

std::string format_rfc3339(std::int64_t ns_since_epoch) {
    const std::int64_t seconds = floor_div(ns_since_epoch, kNsPerSecond);
    std::int64_t fraction = ns_since_epoch % kNsPerSecond;
    if (fraction < 0) fraction += kNsPerSecond;
    const std::int64_t day = floor_div(seconds, kSecondsPerDay);
    const year_month_day date = date_of(day);
    std::string out;
    out.reserve(30);
    append_digits(out, static_cast<int>(date.year()), 4);
    out.push_back('-');
    append_digits(out, static_cast<unsigned>(date.month()), 2);
    out.push_back('-');
    append_digits(out, static_cast<unsigned>(date.day()), 2);
    out.push_back('T');
    append_clock(out, seconds - day * kSecondsPerDay);
    if (fraction != 0) {
        out.push_back('.');
        append_digits(out, fraction, 9);
        while (out.back() == '0') out.pop_back();
    }
    out.push_back('Z');
    return out;
}

std::optional<std::int64_t> parse_rfc3339(std::string_view text) {
    Reader in(text);
    const std::int64_t year = in.digits(4);
    in.literal("-");
    const std::int64_t month = in.digits(2);
    in.literal("-");
    const std::int64_t day = in.digits(2);
    const char separator = in.next();
    in.require(separator == 'T' || separator == 't');
    const std::int64_t clock = read_clock(in);
    std::int64_t fraction = 0;
    if (in.peek() == '.') {
        in.next();
        fraction = read_fraction(in);
    }
    const std::int64_t offset = read_offset(in);
    const std::int64_t days_since = day_of(in, year, month, day);
    if (!in.done()) return std::nullopt;
    const std::int64_t seconds = days_since * kSecondsPerDay + clock - offset;
    std::int64_t ns = 0;
    // From below the range the fraction can lead back into it, so the sum is built from the end nearer to
    // zero.
    const std::int64_t carry = seconds < 0 ? 1 : 0;
    if (__builtin_mul_overflow(seconds + carry, kNsPerSecond, &ns)) return std::nullopt;
    if (__builtin_add_overflow(ns, fraction - carry * kNsPerSecond, &ns)) return std::nullopt;
    return ns;
}

std::string format_http_date(std::int64_t seconds_since_epoch) {
    const std::int64_t day = floor_div(seconds_since_epoch, kSecondsPerDay);
    const year_month_day date = date_of(day);
    std::string out;
    out.reserve(29);
    out += kWeekdays[std::chrono::weekday(sys_days(days(day))).c_encoding()];
    out += ", ";
    append_digits(out, static_cast<unsigned>(date.day()), 2);
    out.push_back(' ');
    out += kMonths[static_cast<unsigned>(date.month()) - 1];
    out.push_back(' ');
    append_digits(out, static_cast<int>(date.year()), 4);
    out.push_back(' ');
    append_clock(out, seconds_since_epoch - day * kSecondsPerDay);
    out += " GMT";
    return out;
}

std::optional<std::int64_t> parse_http_date(std::string_view text) {
    Reader in(text);
    const std::size_t weekday = in.one_of(kWeekdays);
    in.literal(", ");
    const std::int64_t day = in.digits(2);
    in.literal(" ");
    const std::size_t month = in.one_of(kMonths) + 1;
    in.literal(" ");
    const std::int64_t year = in.digits(4);
    in.literal(" ");
    const std::int64_t clock = read_clock(in);
    in.literal(" GMT");
    const std::int64_t days_since = day_of(in, year, static_cast<std::int64_t>(month), day);
    in.require(std::chrono::weekday(sys_days(days(days_since))).c_encoding() == weekday);
    if (!in.done()) return std::nullopt;
    return days_since * kSecondsPerDay + clock;
}

}  // namespace sandbox
