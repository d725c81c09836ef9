use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::error::in_words;
use crate::oauth::form_decode;

/// Where the database is: `sqlite://PATH`, `postgres://…` or `postgresql://…`. Printing shows no password.
///
/// A PostgreSQL URL is libpq's, several hosts (`a:5432,b:5433`) and `?host=/socket/directory` included. These options are read here:
///
/// - `sslmode`: `disable`, `prefer`, `require`, `verify-ca` or `verify-full`. Encryption always verifies the server's
///   certificate chain and name, so the last three mean the same; `prefer` falls back to clear text when the server offers no
///   TLS. Without it, the mode is `require`, or `disable` when every host is a loopback address or a Unix socket.
/// - `sslrootcert=FILE`: PEM certificates of the authorities to trust instead of the system's.
/// - `target_session_attrs`: `any`, `primary` or `read-write`, what a server has to be. Without it and with several hosts it is
///   `primary`; with one host it is what the [`Settings`](super::Settings) say.
/// - `connect_timeout`: seconds to reach one of the hosts and log in; zero, or none, for what the settings say.
#[derive(Clone)]
pub struct DatabaseUrl(pub(super) Target);

#[derive(Clone)]
pub(super) enum Target {
    Sqlite(PathBuf),
    Postgres(Box<PostgresTarget>),
}

#[derive(Clone)]
pub(super) struct PostgresTarget {
    /// With `ssl_mode` set; everything but the timeouts.
    pub(super) config: Config,
    pub(super) ssl_mode: SslMode,
    /// What the URL says that a server has to be.
    pub(super) session: Option<Session>,
    /// What the URL says of the time to reach one host.
    pub(super) connect_timeout: Option<Duration>,
    pub(super) root_certificates: Option<PathBuf>,
}

/// What a PostgreSQL has to be for a connection to be used (`target_session_attrs` of libpq).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Session {
    /// Whatever answers, a standby too: for who only reads.
    Any,
    /// No standby: what it says is the last word, also while it takes no writes.
    Primary,
    /// A primary that takes writes.
    ReadWrite,
}

/// Why a text is not the URL of a database. No message repeats the URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DatabaseUrlError {
    /// The scheme is neither SQLite's nor PostgreSQL's.
    #[error("the database URL's scheme is unknown: use sqlite://PATH, postgres://… or postgresql://…")]
    Scheme,
    /// `:memory:` or nothing where a file must be.
    #[error(
        "the database must be a file (sqlite://keywheel.db): it has several connections, which would not share a database in memory"
    )]
    NotAFile,
    /// Something follows the path of an SQLite database.
    #[error("an SQLite database URL is sqlite://PATH and takes no options after a question mark")]
    SqliteOption,
    /// The PostgreSQL URL is malformed.
    #[error(
        "the PostgreSQL URL cannot be read ({0}): write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with @ : / ? # % in the password percent-encoded"
    )]
    Postgres(String),
    /// `sslmode` has another value.
    #[error("sslmode is one of disable, prefer, require, verify-ca, verify-full")]
    SslMode,
    /// Client certificates are not supported.
    #[error("sslcert and sslkey are not supported: authenticate to PostgreSQL with a password")]
    ClientCertificate,
    /// `target_session_attrs` asks for a server that keywheel could not write to, or for something unknown.
    #[error("target_session_attrs is one of any, primary, read-write: keywheel writes")]
    Session,
    /// Encryption was asked for where there is none.
    #[error("a Unix socket cannot be encrypted: remove sslmode or use a host name")]
    EncryptedSocket,
}

impl DatabaseUrl {
    /// The file of an SQLite database.
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Target::Sqlite(path) => Some(path),
            Target::Postgres(_) => None,
        }
    }

    /// Whether what is said to the database may travel in clear to another machine.
    pub fn may_be_overheard(&self) -> bool {
        match &self.0 {
            Target::Sqlite(_) => false,
            Target::Postgres(target) => {
                matches!(target.ssl_mode, SslMode::Disable | SslMode::Prefer)
                    && !target.config.get_hosts().iter().all(is_local)
            }
        }
    }

    /// Reads the URL; touches neither network nor files.
    pub fn parse(text: &str) -> Result<Self, DatabaseUrlError> {
        match text.split_once("://") {
            Some(("sqlite", path)) => parse_sqlite(path),
            Some(("postgres" | "postgresql", rest)) => parse_postgres(rest),
            _ if text.starts_with("sqlite:") => Err(DatabaseUrlError::NotAFile),
            _ => Err(DatabaseUrlError::Scheme),
        }
    }

    /// Whether it is PostgreSQL, which several nodes can share.
    pub fn is_postgres(&self) -> bool {
        matches!(self.0, Target::Postgres(_))
    }

    /// The database file, when it is SQLite.
    pub fn sqlite_path(&self) -> Option<&Path> {
        match &self.0 {
            Target::Sqlite(path) => Some(path),
            Target::Postgres(_) => None,
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DatabaseUrl::parse(text)
    }
}

fn parse_sqlite(path: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
    if path.contains('?') {
        return Err(DatabaseUrlError::SqliteOption);
    }
    if path.is_empty() || path.contains(":memory:") || path.contains('\0') || path.ends_with('/') {
        return Err(DatabaseUrlError::NotAFile);
    }
    Ok(DatabaseUrl(Target::Sqlite(PathBuf::from(path))))
}

/// Options that are passed on as they are.
const KNOWN: [&str; 16] = [
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "sslnegotiation",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "channel_binding",
    "load_balance_hosts",
];

fn parse_postgres(rest: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut asked = None;
    let mut root_certificates = None;
    let mut session = None;
    let mut options = Vec::new();
    for option in query.split('&').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("sslmode", mode) => asked = Some(ssl_mode(mode)?),
            ("sslrootcert", file) => root_certificates = Some(PathBuf::from(percent_decode(file)?)),
            ("sslcert" | "sslkey", _) => return Err(DatabaseUrlError::ClientCertificate),
            ("target_session_attrs", wanted) => session = Some(session_attrs(wanted)?),
            // As libpq has it; the driver takes the list for one name.
            ("host", hosts) => options.extend(hosts.split(',').map(|host| format!("host={host}"))),
            (name, _) if KNOWN.contains(&name) => options.push(option.to_owned()),
            // It may be the rest of a password with a question mark in it.
            _ => {
                let known = KNOWN.join(", ");
                return Err(DatabaseUrlError::Postgres(format!(
                    "after the question mark stands an option that is none of sslmode, sslrootcert, target_session_attrs, host, {known}"
                )));
            }
        }
    }
    let bare = format!("postgres://{address}?{}", options.join("&"));
    let mut config = Config::from_str(&bare).map_err(|error| DatabaseUrlError::Postgres(in_words(&error)))?;
    let hosts = config.get_hosts();
    if hosts.is_empty() {
        return Err(DatabaseUrlError::Postgres("it names no host".to_owned()));
    }
    // An unencoded "@" in the password moves the password's end into the host, where messages would show it.
    if hosts
        .iter()
        .any(|host| matches!(host, Host::Tcp(name) if name.contains('@')))
    {
        return Err(DatabaseUrlError::Postgres("there are two @ signs".to_owned()));
    }
    for (what, number) in [
        ("port", config.get_ports().len()),
        ("hostaddr", config.get_hostaddrs().len()),
    ] {
        if !(number == hosts.len() || number == 0 || (what == "port" && number == 1)) {
            return Err(DatabaseUrlError::Postgres(format!(
                "{} hosts, and {number} of {what}: name one for each",
                hosts.len()
            )));
        }
    }
    if hosts.len() > 1 {
        // A standby among them answers too, and lacks what was written a moment ago.
        session.get_or_insert(Session::Primary);
    }
    let has_socket = hosts.iter().any(|host| matches!(host, Host::Unix(_)));
    if has_socket && asked == Some(SslMode::Require) {
        return Err(DatabaseUrlError::EncryptedSocket);
    }
    let ssl_mode = asked.unwrap_or(if hosts.iter().all(is_local) {
        SslMode::Disable
    } else {
        SslMode::Require
    });
    config.ssl_mode(ssl_mode);
    let connect_timeout = config.get_connect_timeout().copied();
    if config.get_application_name().is_none() {
        config.application_name("keywheel");
    }
    Ok(DatabaseUrl(Target::Postgres(Box::new(PostgresTarget {
        config,
        ssl_mode,
        session,
        connect_timeout,
        root_certificates,
    }))))
}

fn ssl_mode(mode: &str) -> Result<SslMode, DatabaseUrlError> {
    match mode {
        "disable" => Ok(SslMode::Disable),
        "prefer" => Ok(SslMode::Prefer),
        "require" | "verify-ca" | "verify-full" => Ok(SslMode::Require),
        _ => Err(DatabaseUrlError::SslMode),
    }
}

fn session_attrs(wanted: &str) -> Result<Session, DatabaseUrlError> {
    match wanted {
        "any" => Ok(Session::Any),
        "primary" => Ok(Session::Primary),
        "read-write" => Ok(Session::ReadWrite),
        _ => Err(DatabaseUrlError::Session),
    }
}

fn percent_decode(text: &str) -> Result<String, DatabaseUrlError> {
    // In this query, unlike in a form, a plus sign is a plus sign.
    form_decode(&text.replace('+', "%2B"))
        .map(|decoded| decoded.as_str().to_owned())
        .ok_or_else(|| DatabaseUrlError::Postgres("an option is not percent-encoded UTF-8".to_owned()))
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Target::Postgres(target) => target.fmt(f),
        }
    }
}

impl fmt::Display for PostgresTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        let password = self.config.get_password().map_or("", |_| ":[REDACTED]");
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}{password}@")?;
        }
        let ports = self.config.get_ports();
        for (position, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if position > 0 { "," } else { "" };
            let port = ports.get(position).or_else(|| ports.first());
            write!(f, "{comma}{}", Address(host, port.copied()))?;
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())?;
        let mode = match self.ssl_mode {
            SslMode::Disable => "disable",
            SslMode::Prefer => "prefer",
            _ => "require",
        };
        write!(f, "?sslmode={mode}")
    }
}

/// A host as it stands in a URL, with its port if one was named.
pub(super) struct Address<'a>(pub(super) &'a Host, pub(super) Option<u16>);

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Host::Tcp(name) if name.contains(':') => write!(f, "[{name}]")?,
            Host::Tcp(name) => f.write_str(name)?,
            Host::Unix(path) => write!(f, "{}", path.display())?,
        }
        match self.1 {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match DatabaseUrl::parse(text) {
            Ok(url) => url.to_string(),
            Err(error) => format!("refused: {error}"),
        }
    }

    #[test]
    fn the_scheme_chooses_the_backend_and_an_unknown_one_names_the_known_ones() {
        assert!(!DatabaseUrl::parse("sqlite://keywheel.db").unwrap().is_postgres());
        assert!(DatabaseUrl::parse("postgresql://db/keywheel").unwrap().is_postgres());
        for text in ["mysql://db/keywheel", "keywheel.db", "", "Postgres://db/k"] {
            let error = DatabaseUrl::parse(text).unwrap_err();
            assert_eq!(error, DatabaseUrlError::Scheme, "{text}");
            assert!(error.to_string().contains("sqlite://") && error.to_string().contains("postgres://"));
        }
    }

    #[test]
    fn an_sqlite_database_is_a_file() {
        let path = |text| DatabaseUrl::parse(text).map(|url| url.sqlite_path().unwrap().to_owned());
        assert_eq!(path("sqlite://a/b.db"), Ok(PathBuf::from("a/b.db")));
        assert_eq!(path("sqlite:///var/lib/b.db"), Ok(PathBuf::from("/var/lib/b.db")));
        for text in [
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite://",
            "sqlite:a.db",
            "sqlite://dir/",
        ] {
            assert_eq!(path(text), Err(DatabaseUrlError::NotAFile), "{text}");
        }
        assert_eq!(path("sqlite://a.db?mode=ro"), Err(DatabaseUrlError::SqliteOption));
    }

    // N-05
    #[test]
    fn no_password_is_ever_shown() {
        for text in [
            "postgres://u:hunter2@db.example:5433/k",
            "postgres://u@db.example/k?password=hunter2",
            "postgres://u:p@hunter2@db.example/k",
            "postgres://u:hunter2@db.example/k?nonsense=1",
            "postgres://u:hunter2@db.example:port/k",
            "postgres://u:hunter2@/k",
        ] {
            let printed = format!("{} {:?}", shown(text), DatabaseUrl::parse(text));
            assert!(!printed.contains("hunter2"), "{printed}");
        }
        assert_eq!(
            shown("postgres://u:hunter2@db.example:5433/k"),
            "postgres://u:[REDACTED]@db.example:5433/k?sslmode=require"
        );
    }

    #[test]
    fn what_may_be_the_rest_of_a_password_is_not_repeated() {
        for text in [
            "postgres://u:half?otherhalf@db/k",
            "postgres://u:half?otherhalf=x@db/k",
            "postgres://u:h@lf?otherhalf=1&sslmode=require",
            "postgres://db/k?otherhalf",
        ] {
            let refused = DatabaseUrl::parse(text).unwrap_err().to_string();
            assert!(
                !refused.contains("otherhalf") && refused.contains("none of sslmode"),
                "{refused}"
            );
        }
    }

    // S-10
    #[test]
    fn a_remote_server_is_reached_encrypted_unless_told_otherwise() {
        for (text, mode) in [
            ("postgres://db.example/k", "require"),
            ("postgres://192.0.2.1/k", "require"),
            ("postgres://localhost,db.example/k", "require"),
            ("postgres://localhost/k", "disable"),
            ("postgres://127.0.0.1/k", "disable"),
            ("postgres://[::1]/k", "disable"),
            ("postgres://u@/k?host=/run/postgresql", "disable"),
            ("postgres:///k?host=%2Frun%2Fpostgresql", "disable"),
            ("postgres://%2Frun%2Fpostgresql/k", "disable"),
            ("postgres://localhost/k?sslmode=verify-full", "require"),
            ("postgres://localhost/k?sslmode=verify-ca&connect_timeout=3", "require"),
            ("postgres://db.example/k?sslmode=prefer", "prefer"),
            ("postgres://db.example/k?sslmode=disable", "disable"),
        ] {
            assert!(
                shown(text).ends_with(&format!("?sslmode={mode}")),
                "{text}: {}",
                shown(text)
            );
        }
        let refused = |text| DatabaseUrl::parse(text).err();
        assert_eq!(
            refused("postgres://db/k?sslmode=allow"),
            Some(DatabaseUrlError::SslMode)
        );
        assert_eq!(
            refused("postgres://db/k?sslkey=f"),
            Some(DatabaseUrlError::ClientCertificate)
        );
        assert_eq!(
            refused("postgres:///k?host=/run&sslmode=require"),
            Some(DatabaseUrlError::EncryptedSocket)
        );
    }

    #[test]
    fn the_root_certificates_are_a_percent_encoded_path() {
        let url = DatabaseUrl::parse("postgres://db/k?sslrootcert=%2Fetc%2Fa+b%20c.pem").unwrap();
        let Target::Postgres(target) = url.0 else {
            panic!("not PostgreSQL")
        };
        assert_eq!(target.root_certificates, Some(PathBuf::from("/etc/a+b c.pem")));
    }

    #[test]
    fn several_hosts_are_several_places_of_one_primary() {
        let target = |text: &str| match DatabaseUrl::parse(text).map(|url| url.0) {
            Ok(Target::Postgres(target)) => Ok((target.session, target.connect_timeout.map(|span| span.as_secs()))),
            Ok(Target::Sqlite(_)) => panic!("not PostgreSQL"),
            Err(error) => Err(error),
        };
        for (text, session, connect_timeout) in [
            ("postgres://a/k", None, None),
            (
                "postgres://a/k?connect_timeout=7&target_session_attrs=any",
                Some(Session::Any),
                Some(7),
            ),
            ("postgres://a/k?connect_timeout=0", None, None),
            ("postgres://a:5432,b:5433/k", Some(Session::Primary), None),
            ("postgres://a,b/k?target_session_attrs=any", Some(Session::Any), None),
            (
                "postgres://a,b:5433/k?target_session_attrs=read-write",
                Some(Session::ReadWrite),
                None,
            ),
            (
                "postgres:///k?host=a,b&port=5433&target_session_attrs=primary",
                Some(Session::Primary),
                None,
            ),
        ] {
            assert_eq!(target(text), Ok((session, connect_timeout)), "{text}");
        }
        assert_eq!(
            shown("postgres://u:hunter2@a:5432,[::1]:5433/k?target_session_attrs=read-write"),
            "postgres://u:[REDACTED]@a:5432,[::1]:5433/k?sslmode=require"
        );
        for wanted in ["read-only", "standby", "prefer-standby", "master", ""] {
            let refused = target(&format!("postgres://a,b/k?target_session_attrs={wanted}"));
            assert_eq!(refused, Err(DatabaseUrlError::Session), "{wanted}");
        }
        assert!(shown("postgres:///k?host=a,b,c&port=1,2").contains("3 hosts, and 2 of port"));
        assert!(shown("postgres:///k?host=a,b&hostaddr=127.0.0.1").contains("2 hosts, and 1 of hostaddr"));
    }
}
