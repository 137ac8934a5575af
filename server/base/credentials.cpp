#include "base/credentials.hpp"

#include <cctype>
#include <cstddef>

namespace sandbox {

std::optional<std::string_view> credentials(const std::string* authorization, std::string_view scheme) {
    if (authorization == nullptr || authorization->size() <= scheme.size() + 1) return std::nullopt;
    for (std::size_t i = 0; i < scheme.size(); ++i) {
        if (std::tolower(static_cast<unsigned char>((*authorization)[i])) != scheme[i]) return std::nullopt;
    }
    if ((*authorization)[scheme.size()] != ' ') return std::nullopt;
    return std::string_view(*authorization).substr(scheme.size() + 1);
}

}  // namespace sandbox
