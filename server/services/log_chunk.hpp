#pragma once
// A run of log records in one piece of memory or of the spill file. The encoding is private to the daemon: it
// never outlives it.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "platform/block_file.hpp"
#include "services/output.hpp"

namespace sandbox {

struct LogRecordView {
    std::int64_t time_ns = 0;
    StreamId stream = StreamId::stdout_;
    bool partial = false;
    bool begins_line = true;
    std::string_view text;
    std::string_view eol;

    std::uint64_t bytes() const { return text.size() + eol.size(); }
};

// Bytes that a record takes besides its text and its line end.
inline constexpr std::size_t kLogRecordOverhead = 16;

inline std::size_t encoded_size(std::size_t text, std::size_t eol) { return kLogRecordOverhead + text + eol; }

// eol must be shorter than 256 MiB, text than 4 GiB.
void encode_log_record(std::string& out, const LogRecordView& record);

// Takes one record off the front of `data`; false at its end, or when what is there is no record.
bool decode_log_record(std::string_view& data, LogRecordView& record);

struct LogChunk {
    std::uint64_t first_id = 0;
    std::uint64_t lines_before = 0;  // begun in the store before this chunk
    std::uint64_t bytes_before = 0;
    std::uint32_t records = 0;
    std::uint32_t lines = 0;  // begun in this chunk
    std::uint64_t bytes = 0;  // of texts and line ends
    std::size_t size = 0;     // encoded
    std::size_t charge = 0;   // against the budget
    bool sealed = false;
    bool spilled = false;
    bool dropped = false;
    std::string data;  // empty once spilled
    BlockFile::Blocks blocks;

    void append(const LogRecordView& record);
    // The id of the record that begins the chunk's line `index`, counted from 0 and < lines.
    std::uint64_t line_start(std::uint64_t index) const;

  private:
    // Which records begin a line; empty while all do.
    std::vector<bool> starts_;
};

}  // namespace sandbox
