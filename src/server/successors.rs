use std::fmt;
use std::sync::Arc;

use moka::policy::EvictionPolicy;
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
        // What was given out last is asked for next; how often a token was asked for says nothing, for it comes once.
        let cache = Cache::builder()
            .max_capacity(MOST)
            .eviction_policy(EvictionPolicy::lru());
        Successors(cache.build())
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

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::oauth::{Audiences, ClientId, FamilyId, NumericDate, Scope, SecretHasher};
    use crate::storage::TokenFamily;

    #[test]
    fn what_was_given_out_last_is_remembered_also_when_all_places_are_taken() {
        let at = NumericDate::from_epoch;
        let hash = |number: u64, generation: u64| SecretHasher::new(&[7; 32]).hash(&format!("{number}.{generation}"));
        let exchanged = RefreshTokenRecord {
            family: TokenFamily {
                id: FamilyId::generate(&mut StdRng::seed_from_u64(1)),
                client_row: 1,
                client_id: ClientId::parse("shop").unwrap(),
                user_id: None,
                scope: Scope::parse("read").unwrap(),
                audiences: Audiences::default(),
                created_at: at(0),
                expires_at: at(1_000),
                revoked: None,
                client_stands: true,
                user_stands: true,
            },
            generation: 0,
            issued_at: at(0),
            expires_at: at(500),
            rotated_at: None,
            successor_rotated: None,
        };
        let successors = Successors::default();
        for number in 0..3 * MOST {
            let rotation = Rotation {
                hash: hash(number, 0),
                successor_hash: hash(number, 1),
                at: at(10),
                successor_expires_at: at(2_000),
            };
            successors.replace(&exchanged, &rotation);
        }
        successors.0.run_pending_tasks();
        assert!(successors.0.entry_count() <= MOST);
        let last = successors.get(&hash(3 * MOST - 1, 1)).unwrap();
        assert_eq!(
            (last.generation, last.expires_at),
            (1, at(1_000)),
            "no longer than its family"
        );
        assert!(successors.get(&hash(0, 1)).is_none());
    }
}
