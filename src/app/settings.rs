/// One setting: its key in the file, its names in the environment, and what it is without either.
#[derive(Debug)]
pub struct Setting {
    /// Key in `keywheel.toml`, with the table in front: `signing.period`.
    pub key: &'static str,
    /// Names in the environment; of several that are set the first counts.
    pub environment: &'static [&'static str],
    /// The value when nobody sets it, as it would be written; empty for none.
    pub default: &'static str,
    /// Whether the value must never be shown.
    pub secret: bool,
    /// What it means, in one line.
    pub meaning: &'static str,
}

const fn setting(
    key: &'static str,
    environment: &'static [&'static str],
    default: &'static str,
    meaning: &'static str,
) -> Setting {
    Setting {
        key,
        environment,
        default,
        secret: false,
        meaning,
    }
}

/// Every setting. The file's keys, the environment, `config show` and the table in the README are all read off this one.
pub const SETTINGS: &[Setting] = &[
    setting(
        "issuer",
        &["KEYWHEEL_ISSUER"],
        "",
        "the issuer URL; required, except with --dev",
    ),
    setting(
        "listen",
        &["KEYWHEEL_LISTEN"],
        "127.0.0.1:8080",
        "address of the public listener; PORT=n means 0.0.0.0:n",
    ),
    setting(
        "management_listen",
        &["KEYWHEEL_MANAGEMENT_LISTEN"],
        "127.0.0.1:9080",
        "address of health, readiness and metrics",
    ),
    setting(
        "admin_listen",
        &["KEYWHEEL_ADMIN_LISTEN"],
        "",
        "address of the administration's API; the public listener's when it is not set",
    ),
    setting(
        "database_url",
        &["DATABASE_URL"],
        "sqlite://keywheel.db",
        "sqlite://FILE or postgres://USER@HOST/DATABASE, also with several hosts: HOST,HOST",
    ),
    setting(
        "database_connections",
        &["KEYWHEEL_DATABASE_CONNECTIONS"],
        "8",
        "most connections to the database",
    ),
    setting(
        "database_prepared_statements",
        &["KEYWHEEL_DATABASE_PREPARED_STATEMENTS"],
        "true",
        "whether prepared statements of PostgreSQL are kept: false behind a pooler that loses them",
    ),
    setting("keys_dir", &["KEYWHEEL_KEYS_DIR"], "keys", "directory of master.key"),
    Setting {
        key: "master_key",
        environment: &["KEYWHEEL_MASTER_KEY"],
        default: "",
        secret: true,
        meaning: "the master key itself, instead of a file: 32 bytes in base64 or hex",
    },
    setting(
        "master_key_file",
        &["KEYWHEEL_MASTER_KEY_FILE"],
        "",
        "file of the master key, instead of keys_dir/master.key",
    ),
    setting(
        "signing.alg",
        &["KEYWHEEL_SIGNING_ALG"],
        "RS256",
        "signature algorithm of clients without their own: RS256, PS256 or ES256",
    ),
    setting(
        "signing.rsa_bits",
        &["KEYWHEEL_SIGNING_RSA_BITS"],
        "2048",
        "size of new RSA keys: 2048, 3072 or 4096",
    ),
    setting(
        "signing.period",
        &["KEYWHEEL_SIGNING_PERIOD"],
        "30d",
        "how long each key signs",
    ),
    setting(
        "signing.jwks_max_age",
        &["KEYWHEEL_SIGNING_JWKS_MAX_AGE"],
        "300s",
        "how long verifiers may keep the JWK set",
    ),
    setting(
        "signing.slowest_verifier",
        &["KEYWHEEL_SIGNING_SLOWEST_VERIFIER"],
        "24h",
        "longest time that any verifier keeps the JWK set, whatever it is told",
    ),
    setting(
        "signing.wait_for_fetchers",
        &["KEYWHEEL_SIGNING_WAIT_FOR_FETCHERS"],
        "0s",
        "how long a turn waits at most until all who fetch the JWK set have the next key",
    ),
    setting(
        "tokens.access_ttl",
        &["KEYWHEEL_TOKENS_ACCESS_TTL"],
        "10m",
        "life of access tokens",
    ),
    setting(
        "tokens.refresh_ttl",
        &["KEYWHEEL_TOKENS_REFRESH_TTL"],
        "14d",
        "life of refresh tokens that are not used",
    ),
    setting(
        "tokens.refresh_absolute_ttl",
        &["KEYWHEEL_TOKENS_REFRESH_ABSOLUTE_TTL"],
        "90d",
        "life of a login however often it is refreshed",
    ),
    setting(
        "grants.password",
        &["KEYWHEEL_GRANTS_PASSWORD"],
        "true",
        "whether users' passwords are taken: true or false",
    ),
    setting(
        "audit.retention",
        &["KEYWHEEL_AUDIT_RETENTION"],
        "365d",
        "how long audit events are kept",
    ),
    setting(
        "clients.cached",
        &["KEYWHEEL_CLIENTS_CACHED"],
        "100000",
        "most clients kept in memory",
    ),
    setting(
        "clients.max_staleness",
        &["KEYWHEEL_CLIENTS_MAX_STALENESS"],
        "60s",
        "how long cached clients get tokens while the database is out of reach, at most 1h",
    ),
    setting(
        "workers",
        &["KEYWHEEL_WORKERS"],
        "",
        "threads that answer requests, at most 512; as many as processors by default",
    ),
    setting(
        "max_connections",
        &["KEYWHEEL_MAX_CONNECTIONS"],
        "10000",
        "most connections of the public listener; who comes later waits, and idle ones are closed before",
    ),
    setting(
        "shutdown_delay",
        &["KEYWHEEL_SHUTDOWN_DELAY"],
        "5s",
        "how long requests are still accepted after SIGTERM, while /readyz says no, at most 5m; not with --dev",
    ),
    setting(
        "trusted_proxies",
        &["KEYWHEEL_TRUSTED_PROXIES"],
        "",
        "networks whose X-Forwarded-For is believed: 10.0.0.0/8, ::1",
    ),
    setting(
        "allowed_hosts",
        &["KEYWHEEL_ALLOWED_HOSTS"],
        "",
        "values of Host that are answered; all by default",
    ),
    setting(
        "tls.certificate",
        &["KEYWHEEL_TLS_CERTIFICATE"],
        "",
        "PEM file of the server's certificate and its issuers', for TLS on all listeners; plain HTTP without it",
    ),
    setting(
        "tls.private_key",
        &["KEYWHEEL_TLS_PRIVATE_KEY"],
        "",
        "PEM file of its private key, which nobody else may read, but a group if it is root's",
    ),
    setting(
        "tls.client_ca",
        &["KEYWHEEL_TLS_CLIENT_CA"],
        "",
        "PEM file of those who certify clients of the management listener; who has no certificate is not let in there",
    ),
    setting(
        "log",
        &["KEYWHEEL_LOG"],
        "",
        "text or json, and a level: \"json,debug\"; text on a terminal, else json; info",
    ),
    setting(
        "telemetry.otlp_endpoint",
        &["KEYWHEEL_TELEMETRY_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"],
        "",
        "base URL of a collector of OpenTelemetry traces, OTLP over HTTP; no traces without one",
    ),
    Setting {
        key: "telemetry.otlp_headers",
        environment: &["KEYWHEEL_TELEMETRY_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"],
        default: "",
        secret: true,
        meaning: "headers that the collector wants: name=value, with commas between several",
    },
    setting(
        "telemetry.sample_ratio",
        &["KEYWHEEL_TELEMETRY_SAMPLE_RATIO"],
        "1",
        "part of the requests that is traced, from 0 to 1, where no trusted proxy has decided",
    ),
    setting(
        "telemetry.service_name",
        &["KEYWHEEL_TELEMETRY_SERVICE_NAME", "OTEL_SERVICE_NAME"],
        "keywheel",
        "what the collector calls this server",
    ),
    setting(
        "core_dumps",
        &["KEYWHEEL_CORE_DUMPS"],
        "false",
        "whether a crash may leave a core dump, and processes of the same user read the memory, which holds private keys: true or false",
    ),
];

/// The known key nearest to `unknown`, when one is near enough to be meant.
pub(super) fn nearest(unknown: &str) -> Option<&'static str> {
    let closeness = |key: &str| {
        let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
        strsim::jaro_winkler(unknown, key).max(strsim::jaro_winkler(&last(unknown), &last(key)))
    };
    let best = SETTINGS
        .iter()
        .map(|setting| (closeness(setting.key), setting.key))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(closeness, _)| *closeness > 0.7).map(|(_, key)| key)
}
