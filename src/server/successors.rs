use std::fmt;
use std::sync::Arc;

use moka::sync::Cache;

use crate::oauth::SecretHash;
use crate::storage::{RefreshTokenRecord, Rotation};

/// Refresh tokens that this node gave out in exchange for others, by their hash: when one of them comes, it need not be looked up
/// to know what to sign, and the exchange is one statement.
///
/// What is remembered of a token never changes: its family, generation and expiry. Whether it was exchanged meanwhile, and
/// whether its family lives, is found out by the exchange itself, in the transaction that it is made in.
pub(super) struct Successors(Cache<[u8; 32], Arc<RefreshTokenRecord>>);

/// Most tokens remembered, of about half a kilobyte each.
const MOST: u64 = 20_000;

impl Default for Successors {
    fn default() -> Self {
        Successors(Cache::new(MOST))
    }
}

impl Successors {
    /// What is known of the token with that hash.
    pub(super) fn get(&self, hash: &SecretHash) -> Option<Arc<RefreshTokenRecord>> {
        self.0.get(hash.as_bytes())
    }

    /// A token was exchanged: its successor takes its place.
    pub(super) fn replace(&self, exchanged: &RefreshTokenRecord, rotation: &Rotation) {
        self.forget(&rotation.hash);
        let family = exchanged.family.clone();
        let expires_at = rotation.successor_expires_at.min(family.expires_at);
        let successor = RefreshTokenRecord {
            family,
            generation: exchanged.generation + 1,
            issued_at: rotation.at,
            expires_at,
            rotated_at: None,
            successor_rotated: None,
        };
        self.0.insert(*rotation.successor_hash.as_bytes(), Arc::new(successor));
    }

    /// What was remembered of a token is out of date.
    pub(super) fn forget(&self, hash: &SecretHash) {
        self.0.invalidate(hash.as_bytes());
    }
}

impl fmt::Debug for Successors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Successors({})", self.0.entry_count())
    }
}
