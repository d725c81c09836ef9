use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::{AddressBlock, Failure, Interval};
use crate::oauth::{NumericDate, Seconds};
use crate::storage::{Fetches, MOST_FETCHERS, Store};

/// Who fetches the JWK set from this node, and what of it was not written down yet.
///
/// A fetch by somebody who was here before costs a hash, a look and a few additions.
#[derive(Debug)]
pub(super) struct Fetchers {
    known: RwLock<HashMap<u64, Known, BuildHasherDefault<Hashed>>>,
    hasher: RandomState,
    flushing: Interval,
}

/// For keys that were hashed, with a key of this process, when they were made.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, name: u64) {
        self.0 = name;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// One fetcher, and which set it got last.
#[derive(Debug)]
struct Known {
    user_agent: String,
    block: AddressBlock,
    newest_key_at: AtomicI64,
    /// Of that set, since the last writing.
    fetches: AtomicU64,
    last_fetched_at: AtomicI64,
}

/// Time between two writings.
const FLUSH_EVERY: Seconds = Seconds::new(5);
/// Most fetchers written in one tick, so that the tick is not held up.
const AT_ONCE: usize = 250;
/// Who did not come for so long makes room for others.
const FORGOTTEN_AFTER: Seconds = Seconds::days(1);
/// Longest `User-Agent` that is kept.
const LONGEST: usize = 100;
/// Looks now and then, and is no verifier.
const DOCTOR: &[u8] = b"keywheel-doctor/";

impl Default for Fetchers {
    fn default() -> Self {
        Fetchers {
            known: RwLock::default(),
            hasher: RandomState::new(),
            flushing: Interval::at_once(FLUSH_EVERY),
        }
    }
}

impl Fetchers {
    /// Counts a fetch of the set whose newest key was published at `newest_key_at`. When there are very many fetchers, strangers are
    /// not counted, so that they do not crowd out those who are known.
    pub(super) fn count(
        &self,
        user_agent: &[u8],
        address: Option<IpAddr>,
        newest_key_at: NumericDate,
        now: NumericDate,
    ) {
        if user_agent.starts_with(DOCTOR) {
            return;
        }
        let block = AddressBlock::of(address);
        let name = self.hasher.hash_one((user_agent, &block));
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            match known.get(&name) {
                Some(fetcher) => return fetcher.came(newest_key_at, now),
                None if known.len() >= MOST_FETCHERS => return,
                None => {}
            }
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let fetcher = known.entry(name).or_insert_with(|| Known {
            user_agent: readable(user_agent),
            block,
            newest_key_at: AtomicI64::new(newest_key_at.epoch()),
            fetches: AtomicU64::new(0),
            last_fetched_at: AtomicI64::new(now.epoch()),
        });
        fetcher.came(newest_key_at, now);
    }

    /// Writes down who came, now and then. What could not be written is tried again with what comes then.
    pub(super) fn flush(&self, store: &Store, now: NumericDate) -> Result<(), Failure> {
        if !self.flushing.is_due(now) {
            return Ok(());
        }
        let came = self.take(now);
        if came.len() < AT_ONCE {
            // Else the next tick goes on.
            self.flushing.done(now);
        }
        if came.is_empty() {
            return Ok(());
        }
        let fetches: Vec<Fetches> = came.iter().map(|(_, fetches)| fetches.clone()).collect();
        Ok(store.add_fetches(&fetches).inspect_err(|_| self.put_back(&came))?)
    }

    /// Who came since the last writing. Forgets who did not come for long.
    fn take(&self, now: NumericDate) -> Vec<(u64, Fetches)> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut came = Vec::new();
        known.retain(|name, fetcher| {
            let fetches = fetcher.fetches.load(Ordering::Relaxed);
            if fetches > 0 && came.len() < AT_ONCE {
                fetcher.fetches.store(0, Ordering::Relaxed);
                came.push((*name, fetcher.fetches(fetches)));
            }
            let last = NumericDate::from_epoch(fetcher.last_fetched_at.load(Ordering::Relaxed));
            fetches > 0 || now.since(last) < FORGOTTEN_AFTER
        });
        came
    }

    fn put_back(&self, unwritten: &[(u64, Fetches)]) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        for (name, fetches) in unwritten {
            if let Some(fetcher) = known.get(name) {
                fetcher.fetches.fetch_add(fetches.fetches, Ordering::Relaxed);
            }
        }
    }
}

impl Known {
    fn came(&self, newest_key_at: NumericDate, now: NumericDate) {
        if self.newest_key_at.load(Ordering::Relaxed) != newest_key_at.epoch() {
            // Fetches of the set before that were not written yet, of some seconds, are not told apart.
            self.newest_key_at.store(newest_key_at.epoch(), Ordering::Relaxed);
        }
        self.fetches.fetch_add(1, Ordering::Relaxed);
        self.last_fetched_at.fetch_max(now.epoch(), Ordering::Relaxed);
    }

    fn fetches(&self, fetches: u64) -> Fetches {
        Fetches {
            user_agent: self.user_agent.clone(),
            address_block: self.block.to_string(),
            newest_key_at: NumericDate::from_epoch(self.newest_key_at.load(Ordering::Relaxed)),
            fetches,
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

    fn taken(fetchers: &Fetchers, now: i64) -> Vec<(String, String, i64, u64, i64)> {
        let mut came: Vec<_> = fetchers
            .take(at(now))
            .into_iter()
            .map(|(_, one)| {
                let (newest, last) = (one.newest_key_at.epoch(), one.last_fetched_at.epoch());
                (one.user_agent, one.address_block, newest, one.fetches, last)
            })
            .collect();
        came.sort();
        came
    }

    #[test]
    fn fetches_are_counted_by_user_agent_and_network_with_the_newest_set() {
        let fetchers = Fetchers::default();
        let address = |text: &str| Some(text.parse().unwrap());
        fetchers.count(b"jose", address("192.0.2.1"), at(100), at(200));
        fetchers.count(b"jose", address("192.0.2.7"), at(205), at(210));
        fetchers.count(b"jose", address("192.0.3.1"), at(100), at(220));
        fetchers.count("\u{1b}[31m\u{e9}".as_bytes(), address("2001:db8::1"), at(100), at(240));
        fetchers.count(b"", None, at(100), at(250));
        fetchers.count(b"keywheel-doctor/0.1.0", None, at(100), at(250));
        let expected = [
            ("(none)", "-", 100, 1, 250),
            ("?[31m??", "2001:db8::/64", 100, 1, 240),
            ("jose", "192.0.2.0/24", 205, 2, 210),
            ("jose", "192.0.3.0/24", 100, 1, 220),
        ];
        let expected = expected
            .map(|(agent, block, newest, fetches, last)| (agent.to_owned(), block.to_owned(), newest, fetches, last));
        assert_eq!(taken(&fetchers, 300), expected);
        assert_eq!(taken(&fetchers, 300), []);
    }

    #[test]
    fn whoever_makes_up_user_agents_fills_no_memory_and_crowds_out_nobody_who_is_known() {
        let fetchers = Fetchers::default();
        fetchers.count(b"jose", None, at(0), at(1));
        for number in 0..3 * MOST_FETCHERS {
            let name = format!("{number}{}", "x".repeat(10_000));
            fetchers.count(name.as_bytes(), None, at(0), at(1));
        }
        fetchers.count(b"jose", None, at(0), at(2));
        let mut written = Vec::new();
        loop {
            let some = taken(&fetchers, 3);
            assert!(some.len() <= AT_ONCE);
            if some.is_empty() {
                break;
            }
            written.extend(some);
        }
        assert_eq!(written.len(), MOST_FETCHERS);
        assert!(written.iter().all(|one| one.0.len() <= LONGEST));
        assert!(written.contains(&("jose".to_owned(), "-".to_owned(), 0, 2, 2)));
        // A day later there is room again.
        assert_eq!(taken(&fetchers, 1 + FORGOTTEN_AFTER.get() + 1), []);
        fetchers.count(b"new", None, at(0), at(90_000));
        assert_eq!(taken(&fetchers, 90_000).len(), 1);
    }

    #[test]
    fn what_could_not_be_written_is_added_to_what_comes_then() {
        let fetchers = Fetchers::default();
        fetchers.count(b"a", None, at(0), at(1));
        fetchers.count(b"b", None, at(0), at(1));
        let unwritten = fetchers.take(at(1));
        fetchers.count(b"a", None, at(0), at(2));
        fetchers.put_back(&unwritten);
        let counts: Vec<_> = taken(&fetchers, 2)
            .into_iter()
            .map(|one| (one.0, one.3, one.4))
            .collect();
        assert_eq!(counts, [("a".to_owned(), 2, 2), ("b".to_owned(), 1, 1)]);
    }
}
