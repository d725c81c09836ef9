use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::oauth::{NumericDate, Seconds};

/// The times at which this node could give nobody an answer, because the database was away or because the node itself stood still.
/// Who lost an answer then could not fetch it again, so that such time does not count against them.
#[derive(Debug)]
pub(super) struct Standstill {
    /// When the database was followed last; in the far future when nobody says.
    followed_at: AtomicI64,
    lately: Mutex<VecDeque<(NumericDate, NumericDate)>>,
}

/// The database is followed once a second. A longer pause is a standstill.
const A_PAUSE: Seconds = Seconds::new(3);
/// Most standstills that are remembered.
const MOST: usize = 16;
/// Most that is allowed for them all together: a successor that nobody used for so long is not fetched any more.
const LONGEST: Seconds = Seconds::hours(1);

impl Default for Standstill {
    fn default() -> Self {
        Standstill {
            followed_at: AtomicI64::new(i64::MAX),
            lately: Mutex::default(),
        }
    }
}

impl Standstill {
    /// The database was followed.
    pub(super) fn followed(&self, now: NumericDate) {
        // Held first, so that whoever asks sees the pause as the present one or as a past one.
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let before = NumericDate::from_epoch(self.followed_at.swap(now.epoch(), Ordering::Relaxed));
        if now.since(before) > A_PAUSE {
            if lately.len() == MOST {
                lately.pop_front();
            }
            lately.push_back((before, now));
        }
    }

    /// How much of the time from `earlier` until `now` was standstill.
    pub(super) fn since(&self, earlier: NumericDate, now: NumericDate) -> Seconds {
        let lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let followed_at = NumericDate::from_epoch(self.followed_at.load(Ordering::Relaxed));
        // It may be over, and not be known to be: requests do not wait for the next look.
        let present = (now.since(followed_at) > A_PAUSE).then_some((followed_at, now));
        let overlaps = lately.iter().copied().chain(present);
        let total = overlaps.fold(Seconds::new(0), |total, (begun, ended)| {
            total + ended.min(now).since(begun.max(earlier))
        });
        total.min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_in_which_nothing_was_followed_is_standstill_and_the_present_one_counts() {
        let at = NumericDate::from_epoch;
        let standstill = Standstill::default();
        let since = |earlier, now| standstill.since(at(earlier), at(now)).get();
        assert_eq!(since(0, 10_000), 0, "nobody follows");
        for second in [100, 101, 104, 130, 131] {
            standstill.followed(at(second));
        }
        assert_eq!(
            [since(90, 131), since(110, 131), since(110, 120), since(130, 131)],
            [26, 20, 10, 0]
        );
        assert_eq!(since(131, 134), 0, "a look may be late");
        assert_eq!([since(131, 161), since(140, 161), since(90, 161)], [30, 21, 56]);
        standstill.followed(at(131 + 7_200));
        assert_eq!(since(131, 131 + 7_200), 3_600);
        for second in 0..40 {
            standstill.followed(at(10_000 + 10 * second));
        }
        assert_eq!(since(10_000, 10_390), 160, "no more are remembered");
    }
}
