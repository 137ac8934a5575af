#include "platform/oom_kills.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "platform/own_cgroup.hpp"
#include "support/folder.hpp"

namespace sandbox {
namespace {

void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

TEST(OomKills, ReadsTheLineOfThatNameOnly) {
    test::Folder folder;
    const std::string path = folder / "memory.events";
    write(path, "low 1\noom 5\noom_kill 3\noom_group_kill 7\n");
    OomKills kills(path);
    EXPECT_EQ(kills.now(), 3U);
    write(path, "oom_kill_disable 8\nunder_oom 9\noom_kill 18446744073709551615\n");
    EXPECT_EQ(kills.now(), 18446744073709551615U);
    write(path, "oom_kill 4");
    EXPECT_EQ(kills.now(), 4U);
    write(path, "none\n");
    EXPECT_EQ(kills.now(), 0U);
}

TEST(OomKills, ARecentFigureIsNotReadAgain) {
    test::Folder folder;
    const std::string path = folder / "memory.events";
    write(path, "oom_kill 1\n");
    OomKills kills(path);
    write(path, "oom_kill 2\n");
    const auto begin = std::chrono::steady_clock::now();
    const std::uint64_t recent = kills.recent();
    if (std::chrono::steady_clock::now() - begin < OomKills::kRecent / 2) {
        EXPECT_EQ(recent, 1U);
    }
    EXPECT_EQ(kills.now(), 2U);
    EXPECT_EQ(kills.recent(), 2U);
}

TEST(OomKills, WithoutAFileThereAreNone) {
    OomKills kills("/nowhere/memory.events");
    EXPECT_EQ(kills.now(), 0U);
    EXPECT_EQ(kills.recent(), 0U);
}

TEST(OwnCgroup, IsADirectoryWithOurselvesInIt) {
    for (const std::string& path : {own_cgroup(), own_cgroup_v1("memory")}) {
        if (path.empty()) continue;  // This machine has none of that version.
        std::ifstream procs(path + "/cgroup.procs");
        bool found = false;
        for (std::string line; std::getline(procs, line);)
            found = found || line == std::to_string(::getpid());
        EXPECT_TRUE(found) << path;
    }
    EXPECT_EQ(own_cgroup_v1("no such controller"), "");
}

}  // namespace
}  // namespace sandbox
