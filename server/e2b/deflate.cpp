#include "e2b/deflate.hpp"

#include <zlib.h>

#include <new>

namespace sandbox::e2b {
namespace {

constexpr std::size_t kRoom = 64 * 1024;
constexpr int kGzipWindow = 15 + 16;  // the largest window, gzip framing
constexpr int kMemoryLevel = 8;       // zlib's own default

}  // namespace

struct GzipEncoder::Impl {
    z_stream stream{};

    void run(std::string_view bytes, int flush, std::string& out) {
        stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
        stream.avail_in = static_cast<uInt>(bytes.size());
        std::size_t filled = 0;
        do {
            out.resize(filled + kRoom);
            stream.next_out = reinterpret_cast<Bytef*>(out.data() + filled);
            stream.avail_out = static_cast<uInt>(kRoom);
            ::deflate(&stream, flush);
            filled = out.size() - stream.avail_out;
        } while (stream.avail_out == 0);
        out.resize(filled);
    }
};

GzipEncoder::GzipEncoder() : impl_(std::make_unique<Impl>()) {
    int code = ::deflateInit2(&impl_->stream, Z_BEST_SPEED, Z_DEFLATED, kGzipWindow, kMemoryLevel,
                              Z_DEFAULT_STRATEGY);
    if (code != Z_OK) throw std::bad_alloc();
}

GzipEncoder::~GzipEncoder() { ::deflateEnd(&impl_->stream); }

void GzipEncoder::encode(std::string_view bytes, std::string& out) { impl_->run(bytes, Z_NO_FLUSH, out); }

void GzipEncoder::finish(std::string& out) { impl_->run({}, Z_FINISH, out); }

}  // namespace sandbox::e2b
