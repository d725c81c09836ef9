//! The readers of this floor: what an operator writes. Both tell what is wrong, so what is held against them is above all that they
//! tell no secret.
#![expect(clippy::expect_used, reason = "a broken promise is to be loud")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind};
use std::path::Path;

use super::client_file::{ClientFile, ClientFileError};
use super::config::Config;
use crate::server::admin::broken_rules;

/// Stands for every secret.
const SECRET: &str = "q9Yz7RmT4vXp2LsK8wBn5cHd3fGj6aEe";

/// A text in which the secret is not: who writes it as a name has told it.
fn text(data: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(data).ok();
    text.filter(|text| !text.contains(SECRET))
}

/// A file of clients: one that is accepted declares each client once and breaks no rule; of one that is refused every fault is told with
/// its place in the file.
pub fn client_file(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let environment = BTreeMap::from([("SECRET".to_owned(), SECRET.to_owned())]);
    let path = Path::new("clients.toml");
    let secret_file = |path: &Path| match path.to_str() {
        Some("secret") => Ok(SECRET.to_owned() + "\n"),
        _ => Err(Error::from(ErrorKind::NotFound)),
    };
    match ClientFile::of_text(path, text, &environment, &secret_file) {
        Ok(file) => {
            assert!(!format!("{file:?}").contains(SECRET));
            let clients = &file.declaration.clients;
            let ids: BTreeSet<&str> = clients.iter().map(|client| client.client_id.as_str()).collect();
            assert_eq!(ids.len(), clients.len());
            assert!(clients.iter().all(|client| broken_rules(&client.metadata).is_empty()));
            let wrong = clients
                .iter()
                .map(|client| (client.client_id.clone(), "wrong".to_owned()));
            let ClientFileError::Refused(_, faults) = file.refusal(path, wrong) else {
                unreachable!("a refusal")
            };
            assert_eq!(faults.len(), clients.len(), "each has its place");
        }
        Err(ClientFileError::Refused(_, faults)) => {
            assert!(!faults.is_empty() && faults.is_sorted());
            for fault in faults {
                assert!(!fault.why.is_empty() && !fault.why.contains(SECRET), "{fault}");
                let line = text.split('\n').nth(fault.line - 1).expect("a line of the file");
                assert!((1..=line.chars().count() + 1).contains(&fault.column), "{fault}");
            }
        }
        Err(ClientFileError::NotToml(..)) => assert!(toml::from_str::<toml::Table>(text).is_err()),
        Err(ClientFileError::Unreadable(..)) => unreachable!("it was read"),
    }
}

/// A configuration file, with the master key in its first lines: whatever follows, neither a message nor a print shows it, and what is
/// accepted is shown as it is in force.
pub fn config(data: &[u8]) {
    let Some(text) = text(data) else { return };
    for text in [
        format!("master_key = \"{SECRET}\"\n{text}"),
        format!("master_key = \"{SECRET}\" {text}"),
    ] {
        match Config::of_text(&text) {
            Ok(config) => {
                let shown = config.show();
                assert!(
                    shown
                        .iter()
                        .any(|(key, value, _)| (*key, value.as_str()) == ("master_key", "[redacted]"))
                );
                assert!(!format!("{shown:?} {config:?}").contains(SECRET));
            }
            Err(refusal) => {
                let message = refusal.to_string();
                assert!(
                    !message.contains(SECRET) && !format!("{refusal:?}").contains(SECRET),
                    "{message}"
                );
            }
        }
    }
}
