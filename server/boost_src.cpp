// The one translation unit that compiles the non-template parts of Asio and Beast (their "separate
// compilation" mode).
#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
