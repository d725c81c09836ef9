mod reader;
mod sources;
mod telemetry;
mod tls;
mod words;

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use self::reader::Reader;
pub(super) use self::sources::Sources;
use self::sources::Values;
pub(super) use self::telemetry::TelemetrySettings;
pub(super) use self::tls::TlsFiles;
use super::settings::{SETTINGS, Setting};
use crate::keys::{LINGERING, RotationPolicy, RotationSettings};
use crate::oauth::{IssuerUrl, Seconds, SigningAlgorithm};
use crate::storage::DatabaseUrl;

/// The effective configuration: the file, then the environment, then flags, the later ones winning.
#[derive(Debug)]
#[expect(
    missing_docs,
    reason = "each member is named like its setting, and SETTINGS says what it means"
)]
pub struct Config {
    pub issuer: Option<IssuerUrl>,
    pub listen: SocketAddr,
    pub management_listen: SocketAddr,
    pub admin_listen: Option<SocketAddr>,
    pub database_url: DatabaseUrl,
    pub database_connections: u32,
    pub database_prepared_statements: bool,
    pub keys_dir: PathBuf,
    pub master_key: Option<SecretString>,
    pub master_key_file: Option<PathBuf>,
    pub policy: RotationPolicy,
    pub jwks_max_age: Seconds,
    pub access_ttl: Seconds,
    pub refresh_ttl: Seconds,
    pub refresh_absolute_ttl: Seconds,
    pub password_grant: bool,
    pub audit_retention: Seconds,
    pub cached_clients: u64,
    pub max_staleness: Seconds,
    pub workers: usize,
    pub max_connections: usize,
    pub shutdown_delay: Seconds,
    pub trusted_proxies: Vec<IpNet>,
    pub allowed_hosts: Vec<String>,
    pub tls: Option<TlsFiles>,
    pub log: LogSettings,
    pub telemetry: Option<TelemetrySettings>,
    pub core_dumps: bool,
    values: Values,
}

/// How the log is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// One JSON object a line; `None` decides by whether stderr is a terminal.
    pub json: Option<bool>,
    /// A level, or directives as in `RUST_LOG`.
    pub filter: Option<String>,
}

/// Why the configuration cannot be used. Every message names the setting, and says what to write instead.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {0} cannot be read: {1}")]
    File(PathBuf, std::io::Error),
    /// The file is not TOML. The line itself is not shown: it may hold a secret.
    #[error("the configuration file {0} is not TOML: line {1}, column {2}: {3}")]
    Toml(PathBuf, usize, usize, String),
    /// A key that nobody knows.
    #[error("{file}: unknown setting \"{key}\"{hint}", file = .0.display(), key = .1, hint = .2)]
    Unknown(PathBuf, String, String),
    /// A value that cannot be.
    #[error("{key} ({source_name}): {why}")]
    Value {
        /// The setting.
        key: &'static str,
        /// Where the value stands.
        source_name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Together(String),
}

/// As many as actix takes.
const MOST_WORKERS: usize = 512;

impl Config {
    /// Reads all sources and checks every value, and the rules that several obey together.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        Self::of(sources.values()?)
    }

    /// Checks every value, and the rules that several obey together.
    fn of(values: Values) -> Result<Self, ConfigError> {
        let read = Reader::of(&values);
        let rotation = RotationSettings {
            algorithm: read.parsed::<SigningAlgorithm>("signing.alg")?,
            rsa_bits: read.with("signing.rsa_bits", words::rsa_bits)?.unwrap_or_default(),
            period: read.parsed("signing.period")?,
            jwks_max_age: read.parsed("signing.jwks_max_age")?,
            slowest_verifier: read.parsed("signing.slowest_verifier")?,
            longest_access_ttl: read.parsed("tokens.access_ttl")?,
            wait_for_fetchers: read.parsed("signing.wait_for_fetchers")?,
        };
        let jwks_max_age = rotation.jwks_max_age;
        let access_ttl = rotation.longest_access_ttl;
        if !(Seconds::new(10)..=Seconds::days(1)).contains(&access_ttl) {
            return Err(read.refused("tokens.access_ttl", "an access token lives from 10s to 1d"));
        }
        let policy = RotationPolicy::new(rotation).map_err(|error| ConfigError::Together(error.to_string()))?;
        let max_staleness: Seconds = read.parsed("clients.max_staleness")?;
        if max_staleness > LINGERING {
            // A node that is cut off for longer could sign with a key that the others have withdrawn.
            return Err(read.refused("clients.max_staleness", "cached clients are served for 1h at most"));
        }
        let workers = match read.optional::<usize>("workers")? {
            Some(0) => return Err(read.refused("workers", "at least 1 worker is needed")),
            Some(workers) if workers > MOST_WORKERS => {
                return Err(read.refused(
                    "workers",
                    "one for each processor is enough, and 512 are the most that there can be",
                ));
            }
            Some(workers) => workers,
            None => std::thread::available_parallelism().map_or(1, |processors| processors.get().min(MOST_WORKERS)),
        };
        let refresh_life = |key| {
            let life: Seconds = read.parsed(key)?;
            match (Seconds::minutes(1)..=Seconds::days(366)).contains(&life) {
                true => Ok(life),
                false => Err(read.refused(key, "a refresh token lives from 1m to 366d")),
            }
        };
        let audit_retention: Seconds = read.parsed("audit.retention")?;
        if audit_retention < Seconds::days(1) {
            return Err(read.refused("audit.retention", "the audit trail is kept for at least 1d"));
        }
        // Which may be set for other programs.
        let is_for_others = values.get("log").is_some_and(|log| log.source.ends_with("RUST_LOG"));
        let shutdown_delay: Seconds = read.parsed("shutdown_delay")?;
        if shutdown_delay > Seconds::minutes(5) {
            return Err(read.refused("shutdown_delay", "balancers learn within seconds: 5m at most"));
        }
        Ok(Config {
            issuer: read.with("issuer", IssuerUrl::parse)?,
            listen: read.parsed("listen")?,
            management_listen: read.parsed("management_listen")?,
            admin_listen: read.optional("admin_listen")?,
            database_url: read.required("database_url", read.with("database_url", DatabaseUrl::parse)?)?,
            database_connections: read.parsed("database_connections")?,
            database_prepared_statements: read.parsed("database_prepared_statements")?,
            keys_dir: read.parsed("keys_dir")?,
            master_key: read.text("master_key").map(SecretString::from),
            master_key_file: read.optional("master_key_file")?,
            policy,
            jwks_max_age,
            access_ttl,
            refresh_ttl: refresh_life("tokens.refresh_ttl")?,
            refresh_absolute_ttl: refresh_life("tokens.refresh_absolute_ttl")?,
            password_grant: read.parsed("grants.password")?,
            audit_retention,
            cached_clients: read.at_least("clients.cached", 1)? as u64,
            max_staleness,
            workers,
            max_connections: read.at_least("max_connections", 1)?,
            shutdown_delay,
            trusted_proxies: read.list("trusted_proxies", words::network)?,
            allowed_hosts: read.list("allowed_hosts", words::host)?,
            tls: TlsFiles::of(&read)?,
            log: read
                .with("log", |text| words::log(text, is_for_others))?
                .unwrap_or_default(),
            telemetry: TelemetrySettings::read(&read)?,
            core_dumps: read.parsed("core_dumps")?,
            values,
        })
    }

    /// What is in force when a file with this text is all that there is.
    #[cfg(feature = "fuzzing")]
    pub(super) fn of_text(text: &str) -> Result<Self, ConfigError> {
        let mut values = sources::defaults();
        sources::read_text(std::path::Path::new("keywheel.toml"), text, &mut values)?;
        Self::of(values)
    }

    /// Every setting with its value and source, secrets redacted.
    pub fn show(&self) -> Vec<(&'static str, String, String)> {
        let row = |setting: &'static Setting| {
            let Some(value) = self.values.get(setting.key) else {
                return (setting.key, String::new(), "default".to_owned());
            };
            let shown = match setting.key {
                _ if setting.secret => "[redacted]".to_owned(),
                "database_url" => self.database_url.to_string(),
                _ => value.text.expose_secret().to_owned(),
            };
            (setting.key, shown, value.source.clone())
        };
        SETTINGS.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keywheel.toml");
        std::fs::write(&path, file).unwrap();
        Config::load(&Sources {
            file: Some(path),
            environment: environment
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect(),
            flags: flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect(),
        })
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file = "listen = \"127.0.0.1:1\"\nissuer = \"https://file\"\n[tokens]\naccess_ttl = \"5m\"\n";
        let environment = [
            ("KEYWHEEL_ISSUER", "https://environment"),
            ("KEYWHEEL_LISTEN", "127.0.0.1:2"),
        ];
        let config = load(file, &environment, &[("listen", "127.0.0.1:3")]).unwrap();
        assert_eq!(config.listen.port(), 3);
        assert_eq!(config.issuer.unwrap().as_str(), "https://environment");
        assert_eq!(config.access_ttl, Seconds::minutes(5));
    }

    #[test]
    fn a_platforms_port_means_every_address_and_an_explicit_address_wins() {
        assert_eq!(
            load("", &[("PORT", "5000")], &[]).unwrap().listen.to_string(),
            "0.0.0.0:5000"
        );
        let both = [("PORT", "5000"), ("KEYWHEEL_LISTEN", "127.0.0.1:1")];
        assert_eq!(load("", &both, &[]).unwrap().listen.to_string(), "127.0.0.1:1");
    }

    // N-05
    #[test]
    fn a_line_that_is_no_toml_is_named_and_not_shown() {
        let message = load("listen = \"127.0.0.1:1\"\nmaster_key = \"c2VjcmV0\n", &[], &[]);
        let message = message.unwrap_err().to_string();
        assert!(
            message.contains("line 2, column ") && !message.contains("c2VjcmV0"),
            "{message}"
        );
    }

    #[test]
    fn an_unknown_key_is_refused_and_the_nearest_known_one_named() {
        for (file, near) in [
            ("isuer = \"x\"", "issuer"),
            ("[signing]\nperod = \"1d\"", "signing.period"),
            ("period = \"1d\"", "signing.period"),
        ] {
            let message = load(file, &[], &[]).unwrap_err().to_string();
            assert!(message.contains(&format!("did you mean \"{near}\"")), "{message}");
        }
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_key_its_place_and_the_way_to_write_it() {
        for (name, text, expected) in [
            ("KEYWHEEL_TOKENS_ACCESS_TTL", "ten minutes", "such as 300s, 10m"),
            ("KEYWHEEL_CLIENTS_MAX_STALENESS", "61m", "1h at most"),
            ("KEYWHEEL_TOKENS_ACCESS_TTL", "2d", "from 10s to 1d"),
            ("KEYWHEEL_SIGNING_RSA_BITS", "1024", "2048"),
            ("KEYWHEEL_SIGNING_PERIOD", "1h", "signing.period"),
            ("DATABASE_URL", "mysql://x", "sqlite"),
            ("KEYWHEEL_LISTEN", "nowhere", "listen"),
            ("KEYWHEEL_TRUSTED_PROXIES", "10.0.0.0/99", "10.0.0.0/8"),
            ("KEYWHEEL_TRUSTED_PROXIES", "10.0.0.0/8,0.0.0.0/0", "trusts everybody"),
            ("KEYWHEEL_ALLOWED_HOSTS", "https://auth.example.com", "auth.example.com"),
            ("KEYWHEEL_ALLOWED_HOSTS", "*.example.com", "auth.example.com"),
            ("KEYWHEEL_TOKENS_REFRESH_TTL", "0s", "from 1m to 366d"),
            ("KEYWHEEL_TOKENS_REFRESH_ABSOLUTE_TTL", "400d", "from 1m to 366d"),
            ("KEYWHEEL_AUDIT_RETENTION", "0s", "at least 1d"),
            ("KEYWHEEL_CLIENTS_CACHED", "0", "at least 1"),
            ("KEYWHEEL_LOG", "json,warning", "trace, debug, info, warn, error or off"),
            (
                "KEYWHEEL_LOG",
                "keywheel=loud",
                "trace, debug, info, warn, error or off",
            ),
            ("KEYWHEEL_WORKERS", "0", "at least 1"),
            ("KEYWHEEL_MAX_CONNECTIONS", "0", "at least 1"),
            ("KEYWHEEL_TLS_CERTIFICATE", "a.pem", "tls.private_key"),
            ("KEYWHEEL_TLS_PRIVATE_KEY", "a.key", "tls.certificate"),
            (
                "KEYWHEEL_TLS_CLIENT_CA",
                "ca.pem",
                "tls.certificate and tls.private_key",
            ),
            ("KEYWHEEL_TELEMETRY_SAMPLE_RATIO", "2", "such as 0.01"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector", "http://localhost:4318"),
        ] {
            let message = load("", &[(name, text)], &[]).unwrap_err().to_string();
            assert!(message.contains(expected), "{name}={text}: {message}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let environment = [
            ("KEYWHEEL_MASTER_KEY", "s3cret"),
            ("DATABASE_URL", "postgres://u:hunter2@localhost/d"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20t0ken"),
        ];
        let config = load("", &environment, &[]).unwrap();
        let shown = format!("{:?} {config:?}", config.show());
        for secret in ["s3cret", "hunter2", "t0ken"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("environment KEYWHEEL_MASTER_KEY"));
    }

    #[test]
    fn variables_that_are_no_settings_are_left_alone() {
        assert!(
            load(
                "",
                &[
                    ("KEYWHEEL_SERVICE_HOST", "10.0.0.1"),
                    ("KEYWHEEL_PORT", "tcp://10.0.0.1:80")
                ],
                &[]
            )
            .is_ok()
        );
    }

    #[test]
    fn the_log_takes_a_format_and_a_level() {
        let log = |text: &str| load("", &[("KEYWHEEL_LOG", text)], &[]).unwrap().log;
        assert_eq!(
            log("json,debug"),
            LogSettings {
                json: Some(true),
                filter: Some("debug".into())
            }
        );
        assert_eq!(
            log("text"),
            LogSettings {
                json: Some(false),
                filter: None
            }
        );
        assert_eq!(
            log("keywheel=trace,warn").filter.as_deref(),
            Some("keywheel=trace,warn")
        );
    }
}
