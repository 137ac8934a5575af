# Shared by scripts/image and the container step of scripts/check; source it after lib.sh.

# The engine: $CONTAINER_ENGINE, else docker or podman, whichever is there.
container_engine() {
    local engine
    for engine in ${CONTAINER_ENGINE:-docker podman}; do
        command -v "$engine" >/dev/null && { echo "$engine"; return; }
    done
    die "neither docker nor podman is installed (set CONTAINER_ENGINE for another)"
}

need_podman() {
    need podman runc netavark aardvark-dns iptables catatonit mmdebstrap docker-compose busybox-static \
        python3-yaml python3-jsonschema
    need_node
}

# Debian as its public slim image has it, from the apt sources of this machine, for where no registry is reached.
# bootstrap_base IMAGE
bootstrap_base() {
    podman image exists "$1" && return 0
    local sources
    sources=$(apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' 'Origin: Debian' | grep ' bookworm' | sort -u)
    [ -n "$sources" ] || { echo "apt knows no source of Debian 12" >&2; return 1; }
    say "bootstrapping $1"
    mkdir -p build/container
    # Without documentation, and without an fsync a package, as in the public image.
    printf '%s\n' "$sources" |
        mmdebstrap --quiet --variant=minbase --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --include=usr-is-merged \
            --customize-hook='cd "$1"/usr/share && rm -rf doc/* man/* locale/* info/*' \
            --customize-hook='echo force-unsafe-io >"$1"/etc/dpkg/dpkg.cfg.d/docker-apt-speedup' \
            bookworm - - 2>build/container/bootstrap.log |
        podman import --quiet --change 'CMD ["bash"]' \
            --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$1" ||
        { tail -20 build/container/bootstrap.log >&2; return 1; }
}

# Some machines need settings before podman runs anything, such as those without the right to raise limits or without
# systemd. They go to a file of ours: the machine's own configuration stays as it is.
# usable_podman IMAGE: whether podman can run it, with our settings if need be.
usable_podman() {
    podman run --rm --network=none "$1" true >/dev/null 2>&1 && return 0
    local file=$PWD/build/container/containers.conf
    mkdir -p "$(dirname "$file")"
    cat >"$file" <<EOF
[containers]
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)", "nproc=32768:32768"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
EOF
    export CONTAINERS_CONF=$file
    podman run --rm --network=none "$1" true
}
