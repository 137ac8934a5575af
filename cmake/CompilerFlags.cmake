# Flags of our own targets, as one interface library: `target_link_libraries(x PRIVATE sandbox_flags)`.
# Dependencies are SYSTEM and never see them.
add_library(sandbox_flags INTERFACE)
find_package(Threads REQUIRED)
target_link_libraries(sandbox_flags INTERFACE Threads::Threads)

target_compile_options(sandbox_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast -Woverloaded-virtual
  -Wnon-virtual-dtor -Wcast-align -Wcast-qual -Wformat=2 -Wundef -Wimplicit-fallthrough -Wextra-semi
  $<$<CXX_COMPILER_ID:GNU>:-Werror>)  # of the compiler we release with; clang builds only the fuzzers
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # False alarms of g++ 12: the frame allocation of Asio's coroutines, and std::string's operator+ (GCC PR 105329).
  target_compile_options(sandbox_flags INTERFACE -Wno-mismatched-new-delete -Wno-restrict)
  target_compile_options(sandbox_flags INTERFACE -Wsuggest-override -Wduplicated-cond -Wduplicated-branches -Wlogical-op)
endif()

if(SANDBOX_SANITIZE)
  set(SANDBOX_SANITIZE_FLAGS -fsanitize=${SANDBOX_SANITIZE} -fno-omit-frame-pointer)
  if(SANDBOX_SANITIZE MATCHES "undefined")
    # Without vptr: it looks at an object through a pipe, so with the descriptors used up it calls every object broken.
    list(APPEND SANDBOX_SANITIZE_FLAGS -fno-sanitize-recover=undefined -fno-sanitize=vptr)
  endif()
  target_compile_options(sandbox_flags INTERFACE ${SANDBOX_SANITIZE_FLAGS})
  target_compile_definitions(sandbox_flags INTERFACE SANDBOX_SANITIZED)
  target_link_options(sandbox_flags INTERFACE ${SANDBOX_SANITIZE_FLAGS})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC's own -Wmaybe-uninitialized and -Wtsan are noise under instrumentation.
    target_compile_options(sandbox_flags INTERFACE -Wno-maybe-uninitialized)
    if(SANDBOX_SANITIZE MATCHES "thread")
      target_compile_options(sandbox_flags INTERFACE -Wno-tsan)
    endif()
  endif()
else()
  # Hardening; the sanitizers bring their own checks and clash with FORTIFY.
  target_compile_options(sandbox_flags INTERFACE -fstack-protector-strong -D_GLIBCXX_ASSERTIONS
    $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE>
    $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    target_compile_options(sandbox_flags INTERFACE -fcf-protection)
  endif()
  target_link_options(sandbox_flags INTERFACE -Wl,-z,relro,-z,now)
endif()

if(SANDBOX_FUZZ)
  target_compile_options(sandbox_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

if(SANDBOX_STATIC)
  target_compile_options(sandbox_flags INTERFACE -ffunction-sections -fdata-sections)
  # Position independent like any other hardened program, though it brings its own loader code.
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
  target_link_options(sandbox_flags INTERFACE -static-pie -Wl,--gc-sections -s)
elseif(NOT SANDBOX_SANITIZE)
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
endif()

find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT SANDBOX_STATIC)
  target_link_options(sandbox_flags INTERFACE -fuse-ld=mold)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
