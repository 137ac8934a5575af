#include "e2b/inflate.hpp"

#include <zlib.h>

#include <new>

namespace sandbox::e2b {
namespace {

constexpr std::size_t kPiece = 64 * 1024;
constexpr int kGzipWindow = 15 + 16;  // the largest window, gzip framing

}  // namespace

struct GzipDecoder::Impl {
    z_stream stream{};
    std::string input;
    bool between_members = true;  // and so is the beginning, but that is not complete
    bool any_member = false;
};

GzipDecoder::GzipDecoder() : impl_(std::make_unique<Impl>()) {
    if (::inflateInit2(&impl_->stream, kGzipWindow) != Z_OK) throw std::bad_alloc();
}

GzipDecoder::~GzipDecoder() { ::inflateEnd(&impl_->stream); }

void GzipDecoder::feed(std::string_view bytes) {
    Impl& impl = *impl_;
    std::size_t left = impl.stream.avail_in;
    impl.input.erase(0, impl.input.size() - left);
    impl.input += bytes;
    impl.stream.next_in = reinterpret_cast<Bytef*>(impl.input.data());
    impl.stream.avail_in = static_cast<uInt>(impl.input.size());
}

Result<> GzipDecoder::next(std::string& out) {
    Impl& impl = *impl_;
    out.resize(kPiece);
    impl.stream.next_out = reinterpret_cast<Bytef*>(out.data());
    impl.stream.avail_out = static_cast<uInt>(out.size());
    while (impl.stream.avail_out > 0 && (impl.stream.avail_in > 0 || !impl.between_members)) {
        if (impl.between_members) {
            ::inflateReset(&impl.stream);
            impl.between_members = false;
        }
        int code = ::inflate(&impl.stream, Z_NO_FLUSH);
        if (code == Z_STREAM_END) {
            impl.between_members = true;
            impl.any_member = true;
        } else if (code == Z_BUF_ERROR) {
            break;
        } else if (code == Z_MEM_ERROR) {
            throw std::bad_alloc();
        } else if (code != Z_OK) {
            const char* why = impl.stream.msg == nullptr ? "invalid data" : impl.stream.msg;
            return Error{Errc::invalid_argument, std::string("gzip: ") + why, 0};
        }
    }
    out.resize(out.size() - impl.stream.avail_out);
    return Result<>();
}

bool GzipDecoder::complete() const {
    return impl_->any_member && impl_->between_members && impl_->stream.avail_in == 0;
}

}  // namespace sandbox::e2b
