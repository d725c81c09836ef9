use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use crate::oauth::{NumericDate, Seconds};
use crate::storage::{self, Store};

/// The access tokens that were revoked and have not expired yet, in memory: those of this node at once, those of other nodes
/// within a second. So introspection need not ask the database about each token of a service.
///
/// It answers only as long as it is sure: when it has not followed the database lately, or there are more revocations than it
/// keeps, the database has to be asked.
#[derive(Default)]
pub(super) struct RevokedTokens(RwLock<Known>);

struct Known {
    until: HashMap<String, NumericDate>,
    /// The last row that was read.
    last: i64,
    /// When all rows were read, the last time; `None` while there is more to be read or too much to be kept.
    synced_at: Option<NumericDate>,
    /// When the expired ones were last forgotten.
    cleared_at: NumericDate,
}

impl Default for Known {
    fn default() -> Self {
        Known {
            until: HashMap::new(),
            last: 0,
            synced_at: None,
            cleared_at: NumericDate::from_epoch(0),
        }
    }
}

/// Most revocations kept, of about 100 bytes each.
const MOST: usize = 100_000;
/// Most rows read at once.
const PAGE: u32 = 5_000;
/// What was not read for so long may have changed.
const SURE_FOR: Seconds = Seconds::new(5);
/// Time between two looks for what has expired.
const CLEAR_EVERY: Seconds = Seconds::minutes(1);

impl RevokedTokens {
    /// Whether the token is revoked, or `None` when only the database knows.
    pub(super) fn knows(&self, jti: &str, now: NumericDate) -> Option<bool> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.until.contains_key(jti) {
            return Some(true);
        }
        let sure = known
            .synced_at
            .is_some_and(|synced_at| now.since(synced_at) <= SURE_FOR);
        sure.then_some(false)
    }

    /// Reads all of them anew.
    pub(super) fn begin_anew(&self) {
        self.change(|known| *known = Known::default());
    }

    /// Remembers what this node has just revoked.
    pub(super) fn add(&self, jti: &str, until: NumericDate) {
        self.change(|known| known.keep(jti.to_owned(), until));
    }

    /// Follows the database.
    pub(super) fn poll(&self, store: &Store, now: NumericDate) -> Result<(), storage::Error> {
        self.change(|known| known.clear(now));
        loop {
            let last = self.0.read().unwrap_or_else(PoisonError::into_inner).last;
            let page = store.revoked_access_tokens_after(last, now, PAGE)?;
            let complete = page.len() < PAGE as usize;
            let fits = self.change(|known| {
                for revoked in page {
                    known.last = revoked.number;
                    known.keep(revoked.jti, revoked.expires_at);
                }
                let fits = known.until.len() <= MOST;
                known.synced_at = (complete && fits).then_some(now);
                fits
            });
            if complete || !fits {
                return Ok(());
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    fn keep(&mut self, jti: String, until: NumericDate) {
        // One too many is how it shows that there are too many.
        if self.until.len() <= MOST {
            self.until.insert(jti, until);
        } else {
            // What is not among them has to be asked for.
            self.synced_at = None;
        }
    }

    /// Forgets what has expired. If there had been too many, all that are left are read anew.
    fn clear(&mut self, now: NumericDate) {
        if now.since(self.cleared_at) < CLEAR_EVERY {
            return;
        }
        self.cleared_at = now;
        if self.until.len() > MOST {
            self.until = HashMap::new();
            self.last = 0;
            self.synced_at = None;
        }
        self.until.retain(|_, until| *until > now);
    }
}

impl fmt::Debug for RevokedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "RevokedTokens({})", known.until.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> NumericDate {
        NumericDate::from_epoch(1_000_000 + seconds)
    }

    fn followed(now: NumericDate) -> RevokedTokens {
        let revoked = RevokedTokens::default();
        revoked.change(|known| known.synced_at = Some(now));
        revoked
    }

    #[test]
    fn it_answers_while_it_follows_the_database_and_knows_its_own_revocations_always() {
        let revoked = followed(at(0));
        revoked.add("own", at(600));
        for (seconds, own, other) in [
            (0, Some(true), Some(false)),
            (5, Some(true), Some(false)),
            (6, Some(true), None),
        ] {
            assert_eq!(
                (revoked.knows("own", at(seconds)), revoked.knows("other", at(seconds))),
                (own, other)
            );
        }
        revoked.begin_anew();
        assert_eq!(revoked.knows("own", at(0)), None);
    }

    // N-03
    #[test]
    fn more_revocations_than_are_kept_are_left_to_the_database_and_memory_stays_bounded() {
        let revoked = followed(at(0));
        for n in 0..2 * MOST {
            revoked.add(&n.to_string(), at(600));
        }
        revoked.change(|known| {
            assert_eq!(known.until.len(), MOST + 1);
            // As a poll does that finds too many.
            known.synced_at = (known.until.len() <= MOST).then_some(at(0));
        });
        assert_eq!(
            (revoked.knows("0", at(1)), revoked.knows("x", at(1))),
            (Some(true), None)
        );
        revoked.change(|known| known.clear(at(700)));
        assert_eq!(
            revoked.change(|known| (known.until.len(), known.last)),
            (0, 0),
            "what is left is read anew"
        );
    }
}
