# The image of Antiphon: one program, the libraries that it needs, certificates, and nothing else: no shell, no
# package manager. It runs as a user without rights, on a root that may be read-only, without any capability.
#
#   docker build -t antiphon .
#   docker run --rm -p 127.0.0.1:8787:8787 --add-host=host.docker.internal:host-gateway \
#       -e ANTIPHON_UPSTREAM=http://host.docker.internal:11434/v1 antiphon
#
# Nothing here depends on the processor: `docker buildx build --platform linux/amd64,linux/arm64 .` makes both.
# What the image is for and how to use it: docs/deployment.md.

ARG RUST_VERSION=1.95
# The same for both stages: the program runs with the C library that it was linked with.
ARG DEBIAN=trixie

# --- The program ---------------------------------------------------------------------------------------------
FROM docker.io/library/rust:${RUST_VERSION}-slim-${DEBIAN} AS build
WORKDIR /src

# The dependencies first, in a layer of their own that holds until the lock file changes. Cargo wants a source for
# each target that the manifest names.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/whole \
    && for target in build.rs src/main.rs benches/parts.rs benches/whole/main.rs; do echo 'fn main() {}' > "$target"; done \
    && touch src/lib.rs \
    && cargo build --release --locked --bin antiphon

# Then the program. Its files are older than what was just built, so cargo is told that they changed.
COPY build.rs proxy.toml ./
COPY assets assets
COPY src src
RUN touch build.rs src/main.rs src/lib.rs \
    && cargo build --release --locked --bin antiphon

# --- The root file system ------------------------------------------------------------------------------------
FROM docker.io/library/debian:${DEBIAN}-slim AS root
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# No versions: what the release has, with its security fixes, is what is wanted.
# hadolint ignore=DL3008
RUN apt-get -q update \
    && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends ca-certificates libgcc-s1
COPY --from=build /src/target/release/antiphon /antiphon
COPY LICENSE /LICENSE

# The program, the loader and the libraries that it names; users; certificates. The lists of packages stay, where
# scanners look for them, and so do the licences.
RUN mkdir -p /image/etc /image/usr/bin /image/var/lib/dpkg/status.d /image/usr/share/doc/antiphon; \
    cp /antiphon /image/usr/bin/antiphon; \
    cp /LICENSE /image/usr/share/doc/antiphon/copyright; \
    for library in $(ldd /antiphon | grep -o '/[^ ]*'); do \
        mkdir -p "/image${library%/*}"; \
        cp -L "$library" "/image$library"; \
    done; \
    for package in ca-certificates libc6 libgcc-s1; do \
        dpkg-query --status "$package" > "/image/var/lib/dpkg/status.d/$package"; \
        mkdir -p "/image/usr/share/doc/$package"; \
        cp -L "/usr/share/doc/$package/copyright" "/image/usr/share/doc/$package/copyright"; \
    done; \
    cp /etc/os-release /image/etc/os-release; \
    echo 'root:x:0:0:root:/:/sbin/nologin' > /image/etc/passwd; \
    echo 'antiphon:x:65532:65532:antiphon:/var/lib/antiphon:/sbin/nologin' >> /image/etc/passwd; \
    printf 'root:x:0:\nantiphon:x:65532:\n' > /image/etc/group; \
    echo 'hosts: files dns' > /image/etc/nsswitch.conf; \
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt; \
    install -d -m 1777 /image/tmp; \
    install -d -m 755 /image/etc/antiphon; \
    install -d -m 700 /state/antiphon

# --- The image -----------------------------------------------------------------------------------------------
FROM scratch
COPY --from=root /image /
COPY --from=root --chown=65532:65532 /state/ /var/lib/

# What it is; `docker build --build-arg VERSION=0.1.0 --build-arg REVISION=$(git rev-parse HEAD) …`
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=
ARG LICENSES=Apache-2.0
LABEL org.opencontainers.image.title="antiphon" \
      org.opencontainers.image.description="Answers the OpenAI Responses API out of servers that only speak Chat Completions" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="${LICENSES}"

# In a container only the container's own network reaches the program, and loopback would reach nobody: what is
# open is decided by the ports that are published. So it listens on all addresses of the container, which outside of
# one it refuses unless it is told so. These variables go before a file: to listen elsewhere, set them anew.
ENV PATH=/usr/bin \
    ANTIPHON__SERVER__LISTEN=0.0.0.0:8787 \
    ANTIPHON__SERVER__ALLOW_PUBLIC=true \
    # A file is looked for in /etc/antiphon/proxy.toml; the store and the key that seals are in /var/lib/antiphon.
    XDG_CONFIG_HOME=/etc \
    XDG_STATE_HOME=/var/lib \
    HOME=/var/lib/antiphon \
    # SQLite's scratch files, where the root is read-only.
    SQLITE_TMPDIR=/var/lib/antiphon

# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
WORKDIR /
EXPOSE 8787
VOLUME ["/var/lib/antiphon"]
STOPSIGNAL SIGTERM
# Asks /readyz of the listener that is configured. Kubernetes ignores this and has probes of its own.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["antiphon", "health"]
ENTRYPOINT ["antiphon"]
CMD ["serve"]
