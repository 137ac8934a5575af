#pragma once
// Gzip encoding (RFC 1952) piece by piece. No I/O.

#include <memory>
#include <string>
#include <string_view>

namespace sandbox::e2b {

// One stream, one thread at a time. At the fastest level: a transfer shall not wait for its compression.
class GzipEncoder {
  public:
    GzipEncoder();
    ~GzipEncoder();
    GzipEncoder(const GzipEncoder&) = delete;
    GzipEncoder& operator=(const GzipEncoder&) = delete;

    // Fills `out` (replacing it) with what `bytes` give so far, which may be nothing.
    void encode(std::string_view bytes, std::string& out);
    // The rest, when there are no more bytes.
    void finish(std::string& out);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sandbox::e2b
