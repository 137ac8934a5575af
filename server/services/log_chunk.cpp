#include "services/log_chunk.hpp"

#include <cstring>

namespace sandbox {
namespace {

struct Header {
    std::int64_t time_ns;
    std::uint32_t text_size;
    std::uint32_t rest;  // eol size << 4 | stream << 2 | begins line << 1 | partial
};
static_assert(sizeof(Header) == kLogRecordOverhead);

}  // namespace

void encode_log_record(std::string& out, const LogRecordView& record) {
    Header header{};
    header.time_ns = record.time_ns;
    header.text_size = static_cast<std::uint32_t>(record.text.size());
    header.rest = static_cast<std::uint32_t>(record.eol.size()) << 4U |
                  static_cast<std::uint32_t>(record.stream) << 2U | (record.begins_line ? 2U : 0U) |
                  (record.partial ? 1U : 0U);
    char raw[sizeof header];
    std::memcpy(raw, &header, sizeof header);
    out.append(raw, sizeof raw).append(record.text).append(record.eol);
}

bool decode_log_record(std::string_view& data, LogRecordView& record) {
    Header header{};
    if (data.size() < sizeof header) return false;
    std::memcpy(&header, data.data(), sizeof header);
    data.remove_prefix(sizeof header);
    std::size_t eol_size = header.rest >> 4U;
    std::uint32_t stream = header.rest >> 2U & 3U;
    if (stream > static_cast<std::uint32_t>(StreamId::pty) || data.size() < header.text_size ||
        data.size() - header.text_size < eol_size) {
        return false;
    }
    record.time_ns = header.time_ns;
    record.stream = static_cast<StreamId>(stream);
    record.begins_line = (header.rest & 2U) != 0;
    record.partial = (header.rest & 1U) != 0;
    record.text = data.substr(0, header.text_size);
    record.eol = data.substr(header.text_size, eol_size);
    data.remove_prefix(header.text_size + eol_size);
    return true;
}

void LogChunk::append(const LogRecordView& record) {
    encode_log_record(data, record);
    size = data.size();
    bytes += record.bytes();
    if (!record.begins_line && starts_.empty()) starts_.assign(records, true);
    // An empty vector says that all began a line, so a first record that does not needs an entry of its own.
    if (!record.begins_line || !starts_.empty()) starts_.push_back(record.begins_line);
    ++records;
    if (record.begins_line) ++lines;
}

std::uint64_t LogChunk::line_start(std::uint64_t index) const {
    if (starts_.empty()) return first_id + index;
    std::uint64_t id = first_id;
    for (bool starts : starts_) {
        if (starts && index-- == 0) return id;
        ++id;
    }
    return first_id + records;
}

}  // namespace sandbox
