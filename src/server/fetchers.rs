use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::{AddressBlock, Failure};
use crate::oauth::{NumericDate, Seconds};
use crate::storage::{Fetches, MOST_FETCHERS, Store};

/// Who fetched the JWK set from this node since it was written down last.
///
/// A fetch that was seen before costs a hash and two additions, and waits for nobody.
#[derive(Debug, Default)]
pub(super) struct Fetchers {
    seen: RwLock<HashMap<u64, Seen>>,
    hasher: RandomState,
    flushed_at: AtomicI64,
}

/// One fetcher, and which set it got.
#[derive(Debug)]
struct Seen {
    user_agent: String,
    block: AddressBlock,
    newest_key_at: NumericDate,
    fetches: AtomicU64,
    last_fetched_at: AtomicI64,
}

/// Time between two writings.
const FLUSH_EVERY: Seconds = Seconds::new(5);
/// Longest `User-Agent` that is kept.
const LONGEST: usize = 100;

impl Fetchers {
    /// Counts a fetch of the set whose newest key was published at `newest_key_at`. Beyond so many fetchers between two writings
    /// strangers are not counted.
    pub(super) fn count(
        &self,
        user_agent: &[u8],
        address: Option<IpAddr>,
        newest_key_at: NumericDate,
        now: NumericDate,
    ) {
        let block = AddressBlock::of(address);
        let name = self.hasher.hash_one((user_agent, &block, newest_key_at));
        let again = |seen: &Seen| {
            seen.fetches.fetch_add(1, Ordering::Relaxed);
            seen.last_fetched_at.fetch_max(now.epoch(), Ordering::Relaxed);
        };
        if let Some(seen) = self.seen.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return again(seen);
        }
        let mut all = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        match all.get(&name) {
            Some(seen) => again(seen),
            None if all.len() < MOST_FETCHERS => {
                let seen = Seen {
                    user_agent: readable(user_agent),
                    block,
                    newest_key_at,
                    fetches: AtomicU64::new(1),
                    last_fetched_at: AtomicI64::new(now.epoch()),
                };
                all.insert(name, seen);
            }
            None => {}
        }
    }

    /// Writes down who came, now and then. What could not be written is tried again with what comes then.
    pub(super) fn flush(&self, store: &Store, now: NumericDate) -> Result<(), Failure> {
        let flushed_at = NumericDate::from_epoch(self.flushed_at.load(Ordering::Relaxed));
        if now.since(flushed_at) < FLUSH_EVERY && flushed_at <= now {
            return Ok(());
        }
        self.flushed_at.store(now.epoch(), Ordering::Relaxed);
        let seen = std::mem::take(&mut *self.seen.write().unwrap_or_else(PoisonError::into_inner));
        if seen.is_empty() {
            return Ok(());
        }
        let fetches: Vec<Fetches> = seen.values().map(Seen::fetches).collect();
        store.add_fetches(&fetches).inspect_err(|_| self.put_back(seen))?;
        Ok(())
    }

    fn put_back(&self, unwritten: HashMap<u64, Seen>) {
        let mut all = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        for (name, seen) in unwritten {
            if let Some(newer) = all.get(&name) {
                newer.fetches.fetch_add(seen.fetches.into_inner(), Ordering::Relaxed);
            } else if all.len() < MOST_FETCHERS {
                all.insert(name, seen);
            }
        }
    }
}

impl Seen {
    fn fetches(&self) -> Fetches {
        Fetches {
            user_agent: self.user_agent.clone(),
            address_block: self.block.to_string(),
            newest_key_at: self.newest_key_at,
            fetches: self.fetches.load(Ordering::Relaxed),
            last_fetched_at: NumericDate::from_epoch(self.last_fetched_at.load(Ordering::Relaxed)),
        }
    }
}

/// A `User-Agent` as it can be stored and shown on a terminal: what is not printable ASCII is a question mark.
fn readable(user_agent: &[u8]) -> String {
    let printable = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '?',
    };
    match user_agent {
        [] => "(none)".to_owned(),
        some => some.iter().take(LONGEST).map(printable).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> NumericDate {
        NumericDate::from_epoch(seconds)
    }

    fn seen(fetchers: &Fetchers) -> Vec<(String, String, i64, u64, i64)> {
        let all = fetchers.seen.read().unwrap();
        let mut seen: Vec<_> = all
            .values()
            .map(Seen::fetches)
            .map(|one| {
                let (newest, last) = (one.newest_key_at.epoch(), one.last_fetched_at.epoch());
                (one.user_agent, one.address_block, newest, one.fetches, last)
            })
            .collect();
        seen.sort();
        seen
    }

    #[test]
    fn fetches_are_counted_by_user_agent_network_and_set() {
        let fetchers = Fetchers::default();
        let address = |text: &str| Some(text.parse().unwrap());
        fetchers.count(b"jose", address("192.0.2.1"), at(100), at(200));
        fetchers.count(b"jose", address("192.0.2.7"), at(100), at(210));
        fetchers.count(b"jose", address("192.0.3.1"), at(100), at(220));
        fetchers.count(b"jose", address("192.0.2.1"), at(205), at(230));
        fetchers.count("\u{1b}[31m\u{e9}".as_bytes(), address("2001:db8::1"), at(100), at(240));
        fetchers.count(b"", None, at(100), at(250));
        let expected = [
            ("(none)", "-", 100, 1, 250),
            ("?[31m??", "2001:db8::/64", 100, 1, 240),
            ("jose", "192.0.2.0/24", 100, 2, 210),
            ("jose", "192.0.2.0/24", 205, 1, 230),
            ("jose", "192.0.3.0/24", 100, 1, 220),
        ];
        let expected = expected
            .map(|(agent, block, newest, fetches, last)| (agent.to_owned(), block.to_owned(), newest, fetches, last));
        assert_eq!(seen(&fetchers), expected);
    }

    #[test]
    fn whoever_makes_up_user_agents_fills_no_memory() {
        let fetchers = Fetchers::default();
        for number in 0..3 * MOST_FETCHERS {
            let name = format!("{number}{}", "x".repeat(10_000));
            fetchers.count(name.as_bytes(), None, at(0), at(1));
        }
        let seen = seen(&fetchers);
        assert_eq!(seen.len(), MOST_FETCHERS);
        assert!(seen.iter().all(|one| one.0.len() <= LONGEST));
    }

    #[test]
    fn what_could_not_be_written_is_added_to_what_comes_then() {
        let fetchers = Fetchers::default();
        fetchers.count(b"a", None, at(0), at(1));
        fetchers.count(b"b", None, at(0), at(1));
        let unwritten = std::mem::take(&mut *fetchers.seen.write().unwrap());
        fetchers.count(b"a", None, at(0), at(2));
        fetchers.put_back(unwritten);
        let counts: Vec<_> = seen(&fetchers).into_iter().map(|one| (one.0, one.3, one.4)).collect();
        assert_eq!(counts, [("a".to_owned(), 2, 2), ("b".to_owned(), 1, 1)]);
    }
}
