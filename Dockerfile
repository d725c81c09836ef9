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
RUN cargo build --locked --profile dist --bin keywheel --target x86_64-unknown-linux-gnu

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/target/x86_64-unknown-linux-gnu/dist/keywheel /keywheel
COPY --from=build --chown=65532:65532 /empty /keys
USER 65532:65532
ENV KEYWHEEL_LISTEN=0.0.0.0:8080 KEYWHEEL_MANAGEMENT_LISTEN=0.0.0.0:9080 KEYWHEEL_KEYS_DIR=/keys
EXPOSE 8080 9080
VOLUME /keys
ENTRYPOINT ["/keywheel"]
CMD ["serve"]
