#pragma once
// multipart/form-data bodies (RFC 7578, RFC 2046 5.1), cut into parts as the bytes come. No I/O.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace sandbox::e2b {

// What a part says of itself in its Content-Disposition.
struct PartHead {
    std::string name;
    std::optional<std::string> filename;
};

// Value type, one thread. Memory: what was fed and not yet taken, at most one head, and a boundary's length.
class MultipartReader {
  public:
    static constexpr std::size_t kMaxHead = 64 * 1024;

    enum class Event : std::uint8_t {
        need_more,  // feed() more bytes, or that was all
        part,       // a part begins: head()
        data,       // some of its bytes: data()
        part_end,   //
        end,        // the closing boundary; what follows is ignored
    };

    // `boundary` as in the Content-Type: 1 to 70 bytes.
    explicit MultipartReader(std::string_view boundary);

    void feed(std::string_view bytes);
    // Goes on. invalid_argument for what is no multipart body; then there is nothing more to read.
    Result<Event> next();

    const PartHead& head() const { return head_; }
    // Valid until the next feed().
    std::string_view data() const { return data_; }

  private:
    enum class State : std::uint8_t { preamble, after_boundary, head, body, end };

    std::string_view rest() const { return std::string_view(buffer_).substr(at_); }
    Result<Event> read_preamble();
    Result<Event> read_after_boundary();
    Result<Event> read_head();
    Result<Event> read_body();
    // Where the next boundary begins in `text`, if it is one for sure; else how much of the text is none.
    struct Found {
        std::size_t before = 0;
        bool boundary = false;
    };
    Found find_boundary(std::string_view text) const;
    // What the text behind a boundary says: a part follows, behind the padding, or the end; or it is too
    // short to tell.
    struct Behind {
        Event event = Event::need_more;
        std::size_t padding = 0;
    };
    static Result<Behind> behind_boundary(std::string_view text);

    std::string delimiter_;  // "\r\n--" and the boundary
    State state_ = State::preamble;
    std::string buffer_ = "\r\n";  // The first boundary may stand at the very beginning.
    std::size_t at_ = 0;
    PartHead head_;
    bool first_of_body_ = false;  // no byte of the present part was taken yet
    std::string_view data_;
};

}  // namespace sandbox::e2b
