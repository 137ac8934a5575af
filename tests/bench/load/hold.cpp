// bench_hold PORT COUNT [REQUEST]
// Opens COUNT connections and holds them until its standard input ends. On each it first sends the file
// REQUEST and waits for its answer, or without one sends a byte and waits for its echo. {"seconds":…} tells
// how long that took.

#include "answer.hpp"

int main(int argc, char** argv) {
    using namespace bench;
    if (argc != 3 && argc != 4) fail("usage: bench_hold PORT COUNT [REQUEST]");
    raise_descriptor_limit();
    const std::string request = argc == 4 ? read_file(argv[3]) : std::string("x");
    const Clock::time_point begin = Clock::now();
    for (long i = number(argv[2]); i > 0; --i) {
        const int fd = connect_to(number(argv[1]));
        send_all(fd, request);
        Answer answer;
        char buffer[16384];
        for (;;) {
            const ssize_t size = recv(fd, buffer, sizeof buffer, 0);
            if (size <= 0) fail("the connection was lost");
            if (argc == 3 || answer.feed(std::string_view(buffer, static_cast<std::size_t>(size)))) break;
        }
    }
    std::printf("{\"seconds\":%.6f}\n", seconds_since(begin));
    std::fflush(stdout);
    char byte = 0;
    while (read(0, &byte, 1) > 0) {
    }
}
