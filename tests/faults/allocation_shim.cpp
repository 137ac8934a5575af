// Preloaded into a dynamically linked program, not into its children: makes one of its larger allocations
// fail. ALLOCATION_FILE holds four 64-bit numbers: the size above which allocations count, how many have been
// counted, which one is to fail (0: none), and how many have failed.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>

extern "C" void* __libc_malloc(std::size_t size);

namespace {

struct Control {
    long long above;
    long long counted;
    long long failing;
    long long failed;
};

Control* control = nullptr;

__attribute__((constructor)) void find_control() {
    const char* name = std::getenv("ALLOCATION_FILE");
    int fd = name != nullptr ? ::open(name, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void* page = ::mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    if (page != MAP_FAILED) control = static_cast<Control*>(page);
    ::unsetenv("LD_PRELOAD");
    ::unsetenv("ALLOCATION_FILE");
}

bool must_fail(std::size_t size) {
    if (control == nullptr || control->failing == 0 || size <= static_cast<std::size_t>(control->above))
        return false;
    if (__atomic_add_fetch(&control->counted, 1, __ATOMIC_SEQ_CST) != control->failing) return false;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    return true;
}

}  // namespace

extern "C" void* malloc(std::size_t size) noexcept {
    if (!must_fail(size)) return __libc_malloc(size);
    errno = ENOMEM;
    return nullptr;
}
