//! The one reader of this floor.

use tokio_postgres::config::{Host, SslMode};

use super::DatabaseUrl;
use super::url::Target;

/// The URL of a database: what is shown of it holds no password, and names the same database when it is read again; nothing goes in
/// clear to another machine that was not asked for.
pub fn database_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let url = match DatabaseUrl::parse(text) {
        Ok(url) => url,
        Err(refusal) => {
            // The part that may be a password: from the first colon after the scheme to the last at sign.
            let password = text
                .split_once("://")
                .and_then(|(_, rest)| rest.split_once(':'))
                .and_then(|(_, rest)| rest.rsplit_once('@'));
            let is_random = |word: &str| word.len() >= 12 && word.bytes().all(|byte| byte.is_ascii_digit());
            assert!(
                password.is_none_or(|(word, _)| !is_random(word) || !refusal.to_string().contains(word)),
                "{refusal}"
            );
            return;
        }
    };
    let shown = url.to_string();
    assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
    match &url.0 {
        Target::Sqlite(path) => {
            assert_eq!(url.file(), Some(path.as_path()));
            assert_eq!(
                DatabaseUrl::parse(&shown)
                    .ok()
                    .and_then(|again| again.file().map(ToOwned::to_owned)),
                Some(path.clone())
            );
            assert!(!url.may_be_overheard() && !text.contains('?'));
        }
        Target::Postgres(target) => {
            // What is shown does not depend on the password, so it says nothing of it.
            if target.config.get_password().is_some() {
                let mut other = target.clone();
                other.config.password("another");
                assert_eq!(shown, DatabaseUrl(Target::Postgres(other)).to_string());
            }
            let is_foreign = |host: &Host| matches!(host, Host::Tcp(name) if name.parse().is_ok_and(|address: std::net::IpAddr| !address.is_loopback()));
            let foreign = target.config.get_hosts().iter().any(is_foreign);
            assert!(
                !foreign || target.ssl_mode == SslMode::Require || text.contains("sslmode="),
                "{text}"
            );
            assert!(!target.config.get_hosts().is_empty());
        }
    }
}
