# Every outside library, as targets named sandbox_<library>; nothing else in the tree calls find_package for the server.
find_package(Boost 1.81 REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
set(ZLIB_USE_STATIC_LIBS ${SANDBOX_STATIC})
find_package(ZLIB REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(SODIUM REQUIRED libsodium)

add_library(sandbox_asio INTERFACE)
target_include_directories(sandbox_asio SYSTEM INTERFACE ${Boost_INCLUDE_DIRS})
target_compile_definitions(sandbox_asio INTERFACE
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION
  BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_BOOST_COROUTINE
  # So that its memory comes from operator new, which has a reserve (server/platform/memory_reserve.hpp).
  BOOST_ASIO_DISABLE_STD_ALIGNED_ALLOC BOOST_ASIO_DISABLE_BOOST_ALIGN)

add_library(sandbox_sodium INTERFACE)
if(SANDBOX_STATIC)
  find_library(SODIUM_ARCHIVE libsodium.a REQUIRED)
  target_link_libraries(sandbox_sodium INTERFACE ${SODIUM_ARCHIVE})
else()
  target_link_libraries(sandbox_sodium INTERFACE ${SODIUM_LINK_LIBRARIES})
endif()

# Header-only, because Debian has neither libspdlog.a nor libfmt.a for the static build.
find_path(SPDLOG_INCLUDE_DIR spdlog/spdlog.h REQUIRED)
find_path(FMT_INCLUDE_DIR fmt/format.h REQUIRED)
add_library(sandbox_spdlog INTERFACE)
target_include_directories(sandbox_spdlog SYSTEM INTERFACE ${SPDLOG_INCLUDE_DIR} ${FMT_INCLUDE_DIR})
target_compile_definitions(sandbox_spdlog INTERFACE SPDLOG_FMT_EXTERNAL FMT_HEADER_ONLY)
