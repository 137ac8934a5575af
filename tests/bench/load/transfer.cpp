// bench_transfer PORT REQUEST [BODY]
// One request: the file REQUEST (its head, or all of it) and then the file BODY; reads the answer to its end.
// {"seconds":…,"status":…,"body_bytes":…,"tail":"…" (the end of the body, as hex)}

#include "answer.hpp"

int main(int argc, char** argv) {
    using namespace bench;
    if (argc != 3 && argc != 4) fail("usage: bench_transfer PORT REQUEST [BODY]");
    const std::string head = read_file(argv[2]);
    const std::string body = argc == 4 ? read_file(argv[3]) : std::string();
    const int fd = connect_to(number(argv[1]));
    const timeval patience{60, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    std::vector<char> buffer(256 * 1024);
    Answer answer;

    const Clock::time_point begin = Clock::now();
    send_all(fd, head);
    send_all(fd, body);
    for (;;) {
        const ssize_t size = recv(fd, buffer.data(), buffer.size(), 0);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) fail_errno("recv");
        if (size == 0)
            fail("the connection was lost after " + std::to_string(answer.body_bytes()) + " bytes");
        if (answer.feed(std::string_view(buffer.data(), static_cast<std::size_t>(size)))) break;
    }
    const double seconds = seconds_since(begin);

    std::string tail;
    for (const char c : answer.tail()) {
        char hex[3];
        std::snprintf(hex, sizeof hex, "%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
        tail += hex;
    }
    std::printf("{\"seconds\":%.6f,\"status\":%d,\"body_bytes\":%llu,\"tail\":\"%s\"}\n", seconds,
                answer.status(), static_cast<unsigned long long>(answer.body_bytes()), tail.c_str());
}
