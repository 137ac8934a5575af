#pragma once
// What cases leave behind, and how it is looked at.

#include <sys/types.h>

#include <cstdio>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

#include "exchange.hpp"

namespace sandbox::chaos {

inline std::string six_digits(int n) {
    char text[16];
    std::snprintf(text, sizeof text, "%06d", n);
    return text;
}

inline std::optional<std::string> content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return std::nullopt;
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

inline void put(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
}

// A file that is to hold `wanted`, and held `before` (nothing: was not there).
inline Effect file_effect(const std::string& path, const std::string& wanted,
                          const std::optional<std::string>& before = std::nullopt) {
    const auto found = content(path);
    if (found == before) return Effect::absent;
    return found == wanted ? Effect::done : Effect::torn;
}

inline Effect gone_effect(bool gone) { return gone ? Effect::done : Effect::absent; }

inline bool is_alive(pid_t pid) {
    const auto stat = content("/proc/" + std::to_string(pid) + "/stat");
    return stat && stat->find(") Z") == std::string::npos;
}

inline std::string json_text(const std::string& body, const std::string& name) {
    const std::string key = "\"" + name + "\":";
    std::size_t at = body.find(key);
    if (at == std::string::npos) return {};
    at += key.size();
    const bool quoted = body[at] == '"';
    if (quoted) ++at;
    return body.substr(at, body.find_first_of(quoted ? "\"" : ",}", at) - at);
}

}  // namespace sandbox::chaos
