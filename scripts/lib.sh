# Shared by the scripts of this folder; source it from bash.
# Afterwards: the working directory is the top of the checkout, and failures stop the script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CCACHE_BASEDIR="$PWD" CCACHE_NOHASHDIR=1
# Part of what ccache goes by, and of what some tests print.
export LANG=C.UTF-8

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Installs the Debian packages of the arguments that are missing.
need() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    command -v apt-get >/dev/null || die "these Debian packages are missing: ${missing[*]} (see conan/ for other systems)"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "root or sudo is needed to install: ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Node is also there from elsewhere (a newer one than Debian's); then no package is wanted.
need_node() {
    command -v node >/dev/null || need nodejs
    local version
    version=$(node -p process.versions.node)
    printf '%s\n' 18.20 "$version" | sort -VC || die "node 18.20, that of Debian 12, or later is needed; $(command -v node) is $version"
}
# The E2B SDK needs a newer one than Debian's, and npm to fetch it; tests/e2b/CMakeLists.txt leaves its tests out without.
node_loads_sdk() { [ "$(node -p 'process.features.require_module')" = true ]; }

need_build() {
    need g++ cmake ninja-build ccache pkg-config libboost1.81-dev nlohmann-json3-dev libspdlog-dev libfmt-dev \
        libsodium-dev zlib1g-dev libssl-dev libcli11-dev
}
need_tests() {
    need libgtest-dev libgmock-dev curl procps util-linux git perl valgrind
    need_node
    ! node_loads_sdk || command -v npm >/dev/null || need npm
}

# What scripts/bench measures against. Services that come with the packages are neither started nor enabled.
need_peers() {
    need python3 socat wrk iperf3
    local service installed policy=/usr/sbin/policy-rc.d as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    for service in nginx haproxy; do
        dpkg-query -W -f='${Status}' "$service" 2>/dev/null | grep -q 'ok installed' && continue
        if [ -e "$policy" ]; then
            policy=
        else
            printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
            "${as_root[@]}" chmod +x "$policy"
        fi
        installed=yes
        need "$service" || installed=no
        [ -z "$policy" ] || "${as_root[@]}" rm "$policy"
        [ "$installed" = yes ] || die "$service could not be installed"
        ! command -v systemctl >/dev/null || "${as_root[@]}" systemctl disable -q "$service" || true
        policy=/usr/sbin/policy-rc.d
    done
}

# build PRESET [TARGET...]
build() {
    local preset=$1
    shift
    say "building $preset"
    cmake --preset "$preset" >/dev/null
    cmake --build --preset "$preset" ${*:+--target "$@"}
}

# One line a step for the summary: passed, FAILED or skipped, and why. Failures come last, each with the end of what
# it printed, so that the end of a long log is enough to know what happened.
summary=()
failures=()
failed=0
step() { run_step no "$@"; }
# A step whose command may end with 77: this machine lacks the means for it, and its last line tells which.
step_or_skip() { run_step yes "$@"; }
run_step() {
    local may_skip=$1 name=$2 begin=$SECONDS code=0 log
    shift 2
    log=$(mktemp)
    say "$name"
    "$@" 2>&1 | tee "$log" || code=$?
    if [ "$code" -eq 0 ]; then
        summary+=("passed   $name ($((SECONDS - begin)) s)")
    elif [ "$code" -eq 77 ] && [ "$may_skip" = yes ]; then
        skip "$name" "$(tail -n 1 "$log")"
    else
        failures+=("FAILED   $name ($((SECONDS - begin)) s)" "$(tail -n 6 "$log" | cut -c 1-300 | sed 's/^/         /')")
        failed=1
    fi
    rm -f "$log"
}
skip() { summary+=("skipped  $1: $2"); }
finish() {
    say summary
    [ ${#summary[@]} -eq 0 ] || printf '%s\n' "${summary[@]}"
    [ ${#failures[@]} -eq 0 ] || printf '%s\n' "${failures[@]}"
    exit "$failed"
}

# run_tests PRESET [CTEST ARGUMENTS...]; what failed is told again at the end, a line or a few each.
run_tests() {
    local preset=$1 code=0 name log=build/$1/Testing/Temporary
    shift
    ctest --preset "$preset" --no-tests=error -j "$(nproc)" "$@" || code=$?
    [ "$code" -ne 0 ] && [ -f "$log/LastTestsFailed.log" ] || return "$code"
    while IFS=: read -r _ name; do
        sed -n "/ Test: $name\$/,/^<end of output>/p" "$log/LastTest.log" |
            awk -v name="$name" '/Failure$|FAILED|[Ee]rror|✖|SUMMARY/ && n++ < 3 { print name ": " $0 } END { if (!n) print name ": failed" }'
    done <"$log/LastTestsFailed.log"
    return "$code"
}
