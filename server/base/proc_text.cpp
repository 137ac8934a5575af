#include "base/proc_text.hpp"

#include <algorithm>
#include <cstddef>

#include "base/number.hpp"

namespace sandbox {
namespace {

// Fields one blank apart; after the first that is missing or wrong, none is right.
class FieldReader {
  public:
    explicit FieldReader(std::string_view text) : text_(text) {}

    std::string_view next() {
        if (text_.empty()) ok_ = false;
        const std::string_view field = text_.substr(0, text_.find_first_of(" \n"));
        text_.remove_prefix(field.size() == text_.size() ? field.size() : field.size() + 1);
        return field;
    }
    void skip(int count) {
        for (int i = 0; i < count; ++i) next();
    }
    template <class N>
    N number() {
        const auto value = parse_number<N>(next());
        if (!value) ok_ = false;
        return value.value_or(N{});
    }
    bool ok() const { return ok_; }

  private:
    std::string_view text_;
    bool ok_ = true;
};

}  // namespace

std::optional<ProcStat> parse_proc_stat(std::string_view text) {
    // Nothing after the comm holds a bracket, so the last one ends it.
    const std::size_t open = text.find(" (");
    const std::size_t close = text.rfind(") ");
    if (open == std::string_view::npos || close == std::string_view::npos || close < open + 2)
        return std::nullopt;
    ProcStat stat;
    FieldReader head(text.substr(0, open));
    stat.pid = head.number<int>();
    FieldReader fields(text.substr(close + 2));
    const std::string_view state = fields.next();
    stat.ppid = fields.number<int>();
    stat.pgrp = fields.number<int>();
    stat.session = fields.number<int>();
    fields.skip(13);  // tty_nr, tpgid, flags, four of faults, four of times, priority, nice
    stat.num_threads = fields.number<std::uint64_t>();
    fields.skip(1);  // itrealvalue
    stat.starttime = fields.number<std::uint64_t>();
    if (!head.ok() || !fields.ok() || state.size() != 1) return std::nullopt;
    stat.state = state.front();
    return stat;
}

bool environ_has(std::string_view environ_text, std::string_view entry) {
    while (!environ_text.empty()) {
        const std::string_view candidate = environ_text.substr(0, environ_text.find('\0'));
        if (candidate == entry) return true;
        environ_text.remove_prefix(std::min(candidate.size() + 1, environ_text.size()));
    }
    return false;
}

}  // namespace sandbox
