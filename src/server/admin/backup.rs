use serde::Serialize;

use crate::oauth::{NumericDate, SigningAlgorithm};
use crate::server::authority::Authority;
use crate::server::rotation::load_ring;
use crate::server::{Failure, Vault};
use crate::storage::{Position, Store};

/// What a backup holds, once everything in it was found whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// How far the database was; absent when no server had used it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// Signing keys, all of them.
    pub signing_keys: usize,
    /// Those of them whose private half opened and signed.
    pub private_halves: usize,
    /// The key that would sign now; absent when none could.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_key: Option<String>,
    /// Whether there is a certificate authority; its key opened, and the certificates of all others were read.
    pub authority: bool,
    /// Clients.
    pub clients: u64,
    /// Users.
    pub users: u64,
}

impl BackupReport {
    /// Opens everything that is sealed in a database, and has every key sign a probe. Whoever gets a report can restore.
    pub fn of(store: &Store, vault: &Vault, now: NumericDate) -> Result<Self, Failure> {
        let ring = load_ring(store, vault)?;
        let authority = Authority::find(store, vault)?;
        let (clients, users) = store.census()?;
        Ok(BackupReport {
            position: store.position()?,
            signing_keys: ring.keys().count(),
            private_halves: ring.keys().filter(|key| key.can_sign()).count(),
            active_key: ring.signer(SigningAlgorithm::ALL, now).map(|key| key.kid().to_string()),
            authority: authority.is_some(),
            clients,
            users,
        })
    }
}
