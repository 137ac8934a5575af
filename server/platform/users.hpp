#pragma once
// Accounts as /etc/passwd and /etc/group tell them (passwd(5), group(5)). Parsed here and not by getpwnam(3):
// the program is linked statically, where the name service switch does not work, and images without a libc
// have these files too.

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace sandbox {

struct User {
    std::string name;
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> groups;  // the primary one first, then those of the group file; each once
    std::string home;           // never empty: "/" when the file names none
    std::string shell;          // as in the file; empty when unknown
    bool listed = true;         // false: a number, or "root", that the file does not have
};

// What the two files held at the time of load(). Immutable afterwards, so it may be read from any thread.
class Accounts {
  public:
    // Blocking. A file that is missing, no regular file, or not readable counts as empty; malformed lines are
    // skipped, and of several entries for one name or number the first counts.
    static Accounts load(const std::string& passwd_file = "/etc/passwd",
                         const std::string& group_file = "/etc/group");

    // By name, else by decimal number. Without an entry, "root" and "0" are still uid 0, gid 0, and another
    // number is that uid with the gid of the same number and home "/" (User::listed is false for these).
    // Nothing for any other name.
    std::optional<User> find_user(std::string_view name_or_uid) const;
    std::optional<gid_t> find_group(std::string_view name_or_gid) const;

    // The name of a number, else the number as text.
    std::string user_name(uid_t uid) const;
    std::string group_name(gid_t gid) const;

  private:
    struct Group {
        std::string name;
        gid_t gid = 0;
        std::vector<std::string> members;
    };

    std::vector<User> users_;  // without their supplementary groups
    std::vector<Group> groups_;
    std::unordered_map<uid_t, std::size_t> user_by_uid_;
    std::unordered_map<gid_t, std::size_t> group_by_gid_;
};

// Accounts::load().find_user(name_or_uid). Blocking; thread-safe.
std::optional<User> find_user(std::string_view name_or_uid);

}  // namespace sandbox
