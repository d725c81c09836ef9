use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::oauth::{NumericDate, Seconds};
use crate::server::AddressBlock;

/// Slows guessing down: failures are counted for each user and address block together, and for each address block alone. A wait
/// grows with every failure and ends by itself, so nobody can lock anybody else out: not from another block at all, and from
/// the same one not for long.
#[derive(Clone)]
pub struct Throttle {
    counters: Cache<String, Arc<Mutex<Counter>>>,
}

/// An attempt that may be made. It counts as a failure until it is reported as a success, so parallel guesses cannot slip
/// through together.
#[derive(Debug)]
pub struct Admission {
    pair: Arc<Mutex<Counter>>,
    block: Arc<Mutex<Counter>>,
}

/// When the next attempt is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter(pub Seconds);

#[derive(Debug, Clone, Copy)]
struct Counter {
    failures: u32,
    blocked_until: NumericDate,
    last: NumericDate,
}

impl Counter {
    const NEW: Counter = Counter {
        failures: 0,
        blocked_until: NumericDate::from_epoch(0),
        last: NumericDate::from_epoch(0),
    };

    /// The counter after one more attempt, or how long to wait before it.
    fn attempt(self, free: u32, now: NumericDate) -> Result<Counter, RetryAfter> {
        // A clock that was set back makes nobody wait longer than the longest wait.
        if now < self.blocked_until && self.blocked_until.since(now) <= LONGEST_WAIT {
            return Err(RetryAfter(self.blocked_until.since(now)));
        }
        let failures = if now.since(self.last) >= FORGET_AFTER {
            0
        } else {
            self.failures
        } + 1;
        Ok(Counter {
            failures,
            blocked_until: now + delay(failures, free),
            last: now,
        })
    }
}

/// How long the next attempt waits after so many failures: not at all for the first few, then 1 s, 2 s, 4 s, up to five minutes.
fn delay(failures: u32, free: u32) -> Seconds {
    match failures.checked_sub(free) {
        None => Seconds::new(0),
        Some(over) => Seconds::new(1_i64.checked_shl(over.min(20)).unwrap_or(i64::MAX)).min(LONGEST_WAIT),
    }
}

/// Failures of one user from one block that cost nothing.
const FREE_FOR_A_USER: u32 = 5;
/// Failures of a block over all users that cost nothing: an office shares one.
const FREE_FOR_A_BLOCK: u32 = 50;
const LONGEST_WAIT: Seconds = Seconds::minutes(5);
/// A quarter of an hour without an attempt, and everything is forgotten.
const FORGET_AFTER: Seconds = Seconds::minutes(15);
/// Most counters kept; the least used are forgotten first.
const MOST_COUNTERS: u64 = 100_000;

impl Default for Throttle {
    fn default() -> Self {
        Throttle {
            // The least recently used goes first. The default policy would keep what is asked for most, and drop a newcomer's
            // failures at once when the cache is full.
            counters: Cache::builder()
                .max_capacity(MOST_COUNTERS)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
        }
    }
}

impl Throttle {
    /// Lets an attempt for a user (by the canonical name) from an address through, or says when.
    pub fn admit(&self, user: &str, address: Option<IpAddr>, now: NumericDate) -> Result<Admission, RetryAfter> {
        let of_block = AddressBlock::of(address).to_string();
        let block = self.counter(of_block.clone());
        count(&block, FREE_FOR_A_BLOCK, now)?;
        // Not before: a block that is turned away could push out everybody's counters with names that nobody has.
        let pair = self.counter(format!("{of_block} {user}"));
        // Turned away by the user's counter, it was no guess: the block is not charged for it.
        count(&pair, FREE_FOR_A_USER, now).inspect_err(|_| forgive(&block, FREE_FOR_A_BLOCK))?;
        Ok(Admission { pair, block })
    }

    /// The attempt was a success: the user's count begins afresh, and the block is not charged.
    pub fn succeeded(&self, admission: Admission) {
        *admission.pair.lock().unwrap_or_else(PoisonError::into_inner) = Counter::NEW;
        forgive(&admission.block, FREE_FOR_A_BLOCK);
    }

    /// The attempt was not evaluated: it was no guess.
    pub fn withdrawn(&self, admission: &Admission) {
        forgive(&admission.pair, FREE_FOR_A_USER);
        forgive(&admission.block, FREE_FOR_A_BLOCK);
    }

    fn counter(&self, key: String) -> Arc<Mutex<Counter>> {
        self.counters.get_with(key, || Arc::new(Mutex::new(Counter::NEW)))
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Throttle({} counters)", self.counters.entry_count())
    }
}

fn count(counter: &Mutex<Counter>, free: u32, now: NumericDate) -> Result<(), RetryAfter> {
    let mut counter = counter.lock().unwrap_or_else(PoisonError::into_inner);
    *counter = counter.attempt(free, now)?;
    Ok(())
}

fn forgive(counter: &Mutex<Counter>, free: u32) {
    let mut counter = counter.lock().unwrap_or_else(PoisonError::into_inner);
    counter.failures = counter.failures.saturating_sub(1);
    counter.blocked_until = counter.last + delay(counter.failures, free);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> NumericDate {
        NumericDate::from_epoch(1_000_000 + seconds)
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn the_first_failures_are_free_and_then_waits_double_up_to_five_minutes() {
        let waits: Vec<i64> = (0..16).map(|failures| delay(failures, 5).get()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    // P-07
    #[test]
    fn another_address_block_is_not_affected_and_a_wait_ends() {
        let throttle = Throttle::default();
        for _ in 0..5 {
            throttle.admit("alice", address("192.0.2.1"), at(0)).unwrap();
        }
        assert_eq!(
            throttle.admit("alice", address("192.0.2.99"), at(0)).unwrap_err(),
            RetryAfter(Seconds::new(1))
        );
        assert!(throttle.admit("alice", address("198.51.100.1"), at(0)).is_ok());
        assert!(throttle.admit("bob", address("192.0.2.1"), at(0)).is_ok());
        let admission = throttle.admit("alice", address("192.0.2.1"), at(1)).unwrap();
        throttle.succeeded(admission);
        for _ in 0..5 {
            throttle.admit("alice", address("192.0.2.1"), at(1)).unwrap();
        }
        assert!(throttle.admit("alice", address("192.0.2.1"), at(1)).is_err());
        assert!(throttle.admit("alice", address("192.0.2.1"), at(2_000)).is_ok());
    }

    #[test]
    fn an_attempt_that_was_not_evaluated_does_not_count_and_a_clock_set_back_locks_nobody_out() {
        let throttle = Throttle::default();
        for _ in 0..100 {
            let admission = throttle.admit("alice", address("192.0.2.1"), at(0)).unwrap();
            throttle.withdrawn(&admission);
        }
        for _ in 0..10 {
            let _ = throttle.admit("alice", address("192.0.2.1"), at(100_000));
        }
        assert!(throttle.admit("alice", address("192.0.2.1"), at(0)).is_ok());
    }

    // P-06
    #[test]
    fn of_parallel_guesses_no_more_than_the_free_ones_are_let_through() {
        let throttle = Throttle::default();
        let admitted: usize = std::thread::scope(|scope| {
            let guess = || scope.spawn(|| usize::from(throttle.admit("alice", address("2001:db8::1"), at(0)).is_ok()));
            let threads: Vec<_> = (0..64).map(|_| guess()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 5);
    }

    // P-11
    #[test]
    fn one_guess_for_each_of_many_users_is_slowed_down_by_the_block() {
        let throttle = Throttle::default();
        let admitted = (0..10_000)
            .filter(|n| {
                throttle
                    .admit(&format!("user{n}"), address("192.0.2.1"), at(n / 100))
                    .is_ok()
            })
            .count();
        assert!(admitted < 100, "{admitted}");
    }

    // P-11
    #[test]
    fn a_block_that_is_turned_away_pushes_out_nobodys_counters() {
        let throttle = Throttle::default();
        for _ in 0..FREE_FOR_A_USER {
            throttle.admit("alice", address("198.51.100.1"), at(0)).unwrap();
        }
        for n in 0..=MOST_COUNTERS {
            let _ = throttle.admit(&format!("user{n}"), address("192.0.2.1"), at(0));
        }
        throttle.counters.run_pending_tasks();
        assert!(throttle.admit("alice", address("198.51.100.1"), at(0)).is_err());
    }

    proptest! {
        #[test]
        fn a_wait_never_shrinks_with_more_failures(failures in 0u32..1_000, free in 0u32..100) {
            prop_assert!(delay(failures, free) <= delay(failures + 1, free));
            prop_assert!(delay(failures, free) <= LONGEST_WAIT);
        }
    }
}
