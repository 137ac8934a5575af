#include "base/proc_text.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

namespace sandbox {
namespace {

using namespace std::string_literals;

const std::string kTail =
    " 10 12 13 34816 42 4194304 1 2 3 4 501 602 7 8 20 0 3 0 987654321 10000 200 18446744073709551615 1 1 "
    "0\n";

TEST(ProcText, Stat) {
    const auto stat = parse_proc_stat("4242 (sh) S" + kTail);
    ASSERT_TRUE(stat);
    EXPECT_EQ(stat->pid, 4242);
    EXPECT_EQ(stat->state, 'S');
    EXPECT_EQ(stat->ppid, 10);
    EXPECT_EQ(stat->pgrp, 12);
    EXPECT_EQ(stat->session, 13);
    EXPECT_EQ(stat->num_threads, 3u);
    EXPECT_EQ(stat->starttime, 987654321u);
}

TEST(ProcText, AnyCommandName) {
    for (const std::string& comm : {""s, "a b"s, ") R 1 1 1"s, "(("s, "))"s, ") ("s, "a\nb"s, "\xFF)"s}) {
        const auto stat = parse_proc_stat("7 (" + comm + ") Z" + kTail);
        ASSERT_TRUE(stat) << comm;
        EXPECT_EQ(stat->pid, 7);
        EXPECT_EQ(stat->state, 'Z');
        EXPECT_EQ(stat->ppid, 10);
    }
}

TEST(ProcText, StatCutOffAnywhereIsNothing) {
    const std::string whole = "4242 (a) b) S" + kTail;
    const std::size_t starttime = whole.find("987654321");
    for (std::size_t size = 0; size < starttime; ++size) {
        EXPECT_EQ(parse_proc_stat(std::string_view(whole).substr(0, size)), std::nullopt) << size;
    }
    EXPECT_EQ(parse_proc_stat("x (a) S" + kTail), std::nullopt);
    EXPECT_EQ(parse_proc_stat("1 (a) SS" + kTail), std::nullopt);
    EXPECT_EQ(parse_proc_stat("1 (a) S x" + kTail), std::nullopt);
}

TEST(ProcText, OwnStat) {
    std::ifstream file("/proc/self/stat");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const auto stat = parse_proc_stat(text);
    ASSERT_TRUE(stat) << text;
    EXPECT_EQ(stat->pid, getpid());
    EXPECT_EQ(stat->ppid, getppid());
    EXPECT_EQ(stat->pgrp, getpgrp());
    EXPECT_EQ(stat->session, getsid(0));
    EXPECT_EQ(stat->state, 'R');
    EXPECT_GT(stat->num_threads, 0u);
    EXPECT_GT(stat->starttime, 0u);
}

TEST(ProcText, EnvironHasExactEntries) {
    const std::string text = "A=1\0TAG=abc\0EMPTY=\0LAST=x"s;
    EXPECT_TRUE(environ_has(text, "A=1"));
    EXPECT_TRUE(environ_has(text, "TAG=abc"));
    EXPECT_TRUE(environ_has(text, "EMPTY="));
    EXPECT_TRUE(environ_has(text, "LAST=x"));
    EXPECT_TRUE(environ_has(text + "\0"s, "LAST=x"));
    for (const std::string_view no : {"A", "A=", "A=11", "=1", "TAG=ab", "AG=abc", "", "x"})
        EXPECT_FALSE(environ_has(text, no)) << no;
    EXPECT_FALSE(environ_has("", "A=1"));
}

}  // namespace
}  // namespace sandbox
