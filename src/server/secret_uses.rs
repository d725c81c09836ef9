use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::{Failure, Interval};
use crate::oauth::{NumericDate, Seconds};
use crate::storage::Store;

/// When each client secret was last used on this node. Nothing here fails a token, and none waits for the database, which is told by
/// the tick.
#[derive(Debug)]
pub(super) struct SecretUses {
    by_id: RwLock<HashMap<String, Use>>,
    flushing: Interval,
}

/// Of one secret, in seconds since the epoch.
#[derive(Debug)]
struct Use {
    used_at: AtomicI64,
    /// The use that the database knows of.
    written: AtomicI64,
}

/// Time between two writings.
const FLUSH_EVERY: Seconds = Seconds::minutes(1);
/// A secret in constant use is written so often: the database learns of it with this delay at most.
const RESOLUTION: Seconds = Seconds::minutes(10);
/// A secret that was not used for so long is followed no more until it is.
const FORGOTTEN_AFTER: Seconds = Seconds::hours(1);
/// Most secrets that are followed; beyond these, uses are not noted.
const MOST: usize = 100_000;
/// Most secrets written in one tick, so that the tick is not held up.
const AT_ONCE: usize = 250;

impl SecretUses {
    /// No use is known yet at `now`.
    pub(super) fn new(now: NumericDate) -> Self {
        SecretUses {
            by_id: RwLock::default(),
            flushing: Interval::after(now, FLUSH_EVERY),
        }
    }

    /// The secret with that id was just used.
    pub(super) fn note(&self, id: &str, now: NumericDate) {
        if let Some(of_secret) = self.by_id.read().unwrap_or_else(PoisonError::into_inner).get(id) {
            // Read first: a busy client's requests would contend for the line.
            if of_secret.used_at.load(Ordering::Relaxed) < now.epoch() {
                of_secret.used_at.fetch_max(now.epoch(), Ordering::Relaxed);
            }
            return;
        }
        let mut all = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST {
            let first = Use {
                used_at: AtomicI64::new(now.epoch()),
                written: AtomicI64::new(i64::MIN),
            };
            all.entry(id.to_owned()).or_insert(first);
        }
    }

    /// Tells the database now and then.
    pub(super) fn flush(&self, store: &Store, now: NumericDate) -> Result<(), Failure> {
        if !self.flushing.is_due(now) {
            return Ok(());
        }
        self.forget_unused(now);
        let unwritten = self.unwritten(RESOLUTION);
        if unwritten.len() <= AT_ONCE {
            // Else the next tick goes on.
            self.flushing.done(now);
        }
        self.write(store, unwritten.get(..AT_ONCE.min(unwritten.len())).unwrap_or_default())
    }

    /// Tells the database all, before the process ends.
    pub(super) fn flush_all(&self, store: &Store) -> Result<(), Failure> {
        self.unwritten(Seconds::new(1))
            .chunks(AT_ONCE)
            .try_for_each(|some| self.write(store, some))
    }

    fn write(&self, store: &Store, some: &[(String, NumericDate)]) -> Result<(), Failure> {
        if some.is_empty() {
            return Ok(());
        }
        store.note_secret_uses(some)?;
        let all = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        for (id, used_at) in some {
            if let Some(of_secret) = all.get(id) {
                of_secret.written.fetch_max(used_at.epoch(), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Makes room: secrets that are revoked, and those that are rarely used.
    fn forget_unused(&self, now: NumericDate) {
        let mut all = self.by_id.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, of_secret| {
            let used_at = of_secret.used_at.load(Ordering::Relaxed);
            used_at > of_secret.written.load(Ordering::Relaxed)
                || now.since(NumericDate::from_epoch(used_at)) < FORGOTTEN_AFTER
        });
    }

    fn unwritten(&self, resolution: Seconds) -> Vec<(String, NumericDate)> {
        let all = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        let of = |(id, of_secret): (&String, &Use)| {
            let (used, written) = (
                of_secret.used_at.load(Ordering::Relaxed),
                of_secret.written.load(Ordering::Relaxed),
            );
            (used.saturating_sub(written) >= resolution.get()).then(|| (id.clone(), NumericDate::from_epoch(used)))
        };
        all.iter().filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_constant_use_is_written_once_in_a_while_and_a_new_one_at_once() {
        let at = NumericDate::from_epoch;
        let uses = SecretUses::new(at(0));
        uses.note("a", at(1_000));
        uses.note("a", at(990));
        assert_eq!(uses.unwritten(RESOLUTION), [("a".to_owned(), at(1_000))]);
        uses.by_id.read().unwrap()["a"].written.store(1_000, Ordering::Relaxed);
        uses.note("a", at(1_000 + RESOLUTION.get() - 1));
        assert_eq!(uses.unwritten(RESOLUTION), []);
        uses.note("a", at(1_000 + RESOLUTION.get()));
        uses.note("b", at(5));
        assert_eq!(uses.unwritten(RESOLUTION).len(), 2);
        assert_eq!(uses.unwritten(Seconds::new(1)).len(), 2);
    }
}
