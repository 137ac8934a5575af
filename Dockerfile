# The sandbox as an image. Targets:
#   full (default)  what people expect to find in a sandbox: compilers, Python, Node, git, an account with sudo
#   slim            BASE_IMAGE and the daemon
#   scratch         the daemon alone, one static file, to run bare or to copy into an image of one's own
# See docker/README.md; scripts/image builds and tags all of them.

# Any image with a shell for slim, any Debian or Ubuntu for full.
ARG BASE_IMAGE=debian:12
# What compiles: Debian 12, for its Boost 1.81.
ARG BUILD_IMAGE=debian:12

FROM ${BUILD_IMAGE} AS build
RUN rm -f /etc/apt/apt.conf.d/docker-clean
RUN --mount=type=cache,id=sandbox-apt,target=/var/cache/apt,sharing=locked \
    apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        ccache cmake g++ libboost1.81-dev libfmt-dev libsodium-dev libspdlog-dev ninja-build nlohmann-json3-dev \
        pkg-config zlib1g-dev >/dev/null && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY CMakeLists.txt CMakePresets.json ./
COPY cmake cmake
COPY docs/openapi.json docs/
COPY proxy proxy
COPY server server
# Elsewhere for a build that mounts a store of its own.
ARG CCACHE_DIR=/root/.cache/ccache
ENV CCACHE_BASEDIR=/src CCACHE_NOHASHDIR=1 LANG=C.UTF-8
RUN --mount=type=cache,id=sandbox-ccache,target=/root/.cache/ccache \
    cmake --preset static -DSANDBOX_SDK=OFF && \
    cmake --build --preset static --target sandbox-executor && \
    ccache --show-stats && \
    build/static/bin/sandbox-executor --version

FROM scratch AS scratch
COPY --from=build /src/build/static/bin/sandbox-executor /usr/bin/sandbox-executor
ARG VERSION=
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="sandbox-executor" \
      org.opencontainers.image.description="The sandbox daemon alone: one static file for any image" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
EXPOSE 3030 3031
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/usr/bin/sandbox-executor", "--health"]
ENTRYPOINT ["/usr/bin/sandbox-executor", "--"]

FROM ${BASE_IMAGE} AS slim
COPY --from=build /src/build/static/bin/sandbox-executor /usr/bin/sandbox-executor
ARG VERSION=
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="koyeb/sandbox" \
      org.opencontainers.image.description="A base image and the sandbox daemon" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
EXPOSE 3030 3031
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/usr/bin/sandbox-executor", "--health"]
ENTRYPOINT ["/usr/bin/sandbox-executor", "--"]
CMD []

FROM ${BASE_IMAGE} AS full
RUN rm -f /etc/apt/apt.conf.d/docker-clean
RUN --mount=type=cache,id=sandbox-apt,target=/var/cache/apt,sharing=locked \
    apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        bash build-essential ca-certificates curl git jq less nodejs npm openssh-client procps python3 python3-pip \
        python3-venv sudo tar unzip xz-utils >/dev/null && \
    rm -rf /var/lib/apt/lists/*
# Some bases bring an account with the number 1000 (Ubuntu's `ubuntu`); its place is ours.
RUN if getent passwd 1000 >/dev/null; then userdel -r "$(getent passwd 1000 | cut -d: -f1)" 2>/dev/null; fi; \
    useradd --uid 1000 --user-group --create-home --shell /bin/bash user && \
    echo 'user ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/user && \
    chmod 0440 /etc/sudoers.d/user && \
    ln -sf python3 /usr/bin/python
COPY --from=build /src/build/static/bin/sandbox-executor /usr/bin/sandbox-executor
ARG VERSION=
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="koyeb/sandbox" \
      org.opencontainers.image.description="A sandbox with the usual tools, and the daemon that serves it" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
# pip may write to the system: the image is the environment.
ENV LANG=C.UTF-8 PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore
EXPOSE 3030 3031
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/usr/bin/sandbox-executor", "--health"]
ENTRYPOINT ["/usr/bin/sandbox-executor", "--"]
CMD []
