# The result holds the static binary, the certificates of public authorities, and an empty directory for keys: nothing else.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev ca-certificates && mkdir --mode 0700 /empty
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY migrations migrations
COPY src src
# The manifest names them; their content does not matter here.
COPY tests/it/main.rs tests/it/main.rs
COPY benches benches
ENV RUSTFLAGS="-C target-feature=+crt-static"
# Static builds want the target named, be it this machine's own.
RUN target=$(rustc -vV | sed -n 's/^host: //p') && cargo build --locked --profile dist --bin keywheel --target "$target" \
    && cp "target/$target/dist/keywheel" /keywheel

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /keywheel /keywheel
COPY --from=build --chown=65532:65532 /empty /keys
USER 65532:65532
# PORT, not KEYWHEEL_LISTEN, which would win over the PORT that a platform gives.
ENV PORT=8080 KEYWHEEL_MANAGEMENT_LISTEN=0.0.0.0:9080 KEYWHEEL_KEYS_DIR=/keys
EXPOSE 8080 9080
# Whether it lives, not whether the database answers: who replaces unhealthy containers (Swarm, autoheal) would replace every node by one that
# cannot start without it, and the keys that they served would be gone. Kubernetes has probes of its own and ignores this.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["/keywheel", "healthcheck", "--live"]
# SIGTERM, then shutdown_delay (5 s) and up to 10 s for what is under way: docker stop --time 20, or KEYWHEEL_SHUTDOWN_DELAY=0s.
STOPSIGNAL SIGTERM
VOLUME /keys
ENTRYPOINT ["/keywheel"]
CMD ["serve"]
