#pragma once
// What a JsonObjectScanner reports, as one comparable value.

#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json_scan.hpp"

namespace sandbox::test {

struct Member {
    std::string key;
    ValueKind kind = ValueKind::null;
    std::string text;
    bool operator==(const Member&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const Member& member) {
    return out << member.key << ':' << static_cast<int>(member.kind) << ':' << member.text;
}

class Recorder final : public JsonHandler {
  public:
    void on_key(std::string_view key) override {
        if (open_) misuse_ = true;
        open_ = true;
        members_.push_back({std::string(key), ValueKind::null, ""});
    }
    void on_string(std::string_view part) override { add(part, true); }
    void on_raw(std::string_view part) override { add(part, false); }
    void on_value_end(ValueKind kind) override {
        // Strings come by on_string only, all else by on_raw and never empty.
        const bool right_call = kind == ValueKind::string ? !by_raw_ : !by_string_ && by_raw_;
        if (!open_ || !right_call) misuse_ = true;
        members_.back().kind = kind;
        open_ = by_string_ = by_raw_ = false;
    }

    const std::vector<Member>& members() const { return members_; }
    bool misused() const { return misuse_; }
    std::size_t largest_part() const { return largest_part_; }

  private:
    void add(std::string_view part, bool string) {
        if (!open_ || part.empty()) misuse_ = true;
        (string ? by_string_ : by_raw_) = true;
        largest_part_ = std::max(largest_part_, part.size());
        members_.back().text.append(part);
    }

    std::vector<Member> members_;
    std::size_t largest_part_ = 0;
    bool open_ = false;
    bool by_string_ = false;
    bool by_raw_ = false;
    bool misuse_ = false;
};

struct Scan {
    bool valid = false;
    std::vector<Member> members;
    std::string error;
    bool misused = false;
    bool operator==(const Scan&) const = default;
};

template <class Pieces>
Scan scan(const Pieces& pieces) {
    Recorder recorder;
    JsonObjectScanner scanner(recorder);
    bool fed = true;
    for (const std::string_view piece : pieces) fed = scanner.feed(piece) && fed;
    Scan result;
    result.valid = scanner.finish() && fed;
    if (!result.valid) result.error = scanner.error();
    // What was reported before a fault depends on the cuts; only the whole is compared.
    if (result.valid) result.members = recorder.members();
    result.misused = recorder.misused();
    return result;
}

}  // namespace sandbox::test
