#pragma once
// Gzip decoding (RFC 1952) piece by piece. No I/O.

#include <memory>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace sandbox::e2b {

// One stream, one thread. Several gzip members behind each other count as one content.
class GzipDecoder {
  public:
    GzipDecoder();
    ~GzipDecoder();
    GzipDecoder(const GzipDecoder&) = delete;
    GzipDecoder& operator=(const GzipDecoder&) = delete;

    void feed(std::string_view bytes);
    // Fills `out` (replacing it) with some of the content, at most 64 KiB; empty when more has to be fed.
    // invalid_argument for what is no gzip.
    Result<> next(std::string& out);
    // The input may end here.
    bool complete() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sandbox::e2b
