use std::sync::atomic::{AtomicI64, Ordering};

use crate::keys::CLOCK_SKEW;
use crate::oauth::{NumericDate, Seconds};

/// The latest instant that this node has seen. What had expired then has expired, also when the clock is set back afterwards.
///
/// A clock that was ahead is believed when it is put right and the database's clock shows the same; where the database has none, when
/// it was ahead by more than a day: else one absurd reading would end every login.
#[derive(Debug)]
pub(super) struct Latest(AtomicI64);

/// Farthest that a clock is set back without being believed.
const FARTHEST: Seconds = Seconds::days(1);

impl Latest {
    /// Nothing was seen before `now`.
    pub(super) fn new(now: NumericDate) -> Self {
        Latest(AtomicI64::new(now.epoch()))
    }

    /// The instant by which expiry is judged at `now`.
    pub(super) fn at(&self, now: NumericDate) -> NumericDate {
        // Written once a second, and read by every request: so that those do not contend for it.
        let seen = NumericDate::from_epoch(self.0.load(Ordering::Relaxed));
        if now > seen {
            self.0.fetch_max(now.epoch(), Ordering::Relaxed);
        }
        if seen.since(now) > FARTHEST {
            self.0.store(now.epoch(), Ordering::Relaxed);
            return now;
        }
        now.max(seen)
    }

    /// The database's clock shows `now`, too. Whatever is later by more than clocks may differ was never seen rightly, and what had
    /// expired by it had not.
    pub(super) fn confirmed(&self, now: NumericDate) {
        let seen = NumericDate::from_epoch(self.0.load(Ordering::Relaxed));
        if seen.since(now) > CLOCK_SKEW {
            self.0.store(now.epoch(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //
    #[test]
    fn a_clock_that_is_set_back_brings_nothing_back_and_one_that_was_absurd_is_put_right() {
        let at = NumericDate::from_epoch;
        let latest = Latest::new(at(1_000_000));
        assert_eq!(latest.at(at(1_000_010)), at(1_000_010));
        assert_eq!(latest.at(at(996_400)), at(1_000_010));
        assert_eq!(latest.at(at(1_000_011)), at(1_000_011));
        assert_eq!(latest.at(at(90_000_000)), at(90_000_000));
        assert_eq!(latest.at(at(1_000_012)), at(1_000_012));
        assert_eq!(latest.at(at(1_000_000)), at(1_000_012));
    }
    //
    #[test]
    fn a_clock_that_was_ahead_is_put_right_by_the_databases() {
        let at = NumericDate::from_epoch;
        let latest = Latest::new(at(1_000_000));
        assert_eq!(latest.at(at(1_003_600)), at(1_003_600));
        assert_eq!(
            latest.at(at(1_000_010)),
            at(1_003_600),
            "so far it is no more than a clock that was set back"
        );
        latest.confirmed(at(1_000_010));
        assert_eq!(latest.at(at(1_000_011)), at(1_000_011));
        // As far as clocks may differ, it says nothing.
        latest.confirmed(at(1_000_006));
        assert_eq!(latest.at(at(1_000_006)), at(1_000_011));
    }
}
