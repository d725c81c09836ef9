use std::sync::atomic::{AtomicI64, Ordering};

use crate::oauth::{NumericDate, Seconds};

/// Something that is done now and then: how often, and when it was done last.
#[derive(Debug)]
pub(super) struct Interval {
    every: Seconds,
    done_at: AtomicI64,
}

impl Interval {
    /// Due once `every` has passed since `now`.
    pub(super) fn after(now: NumericDate, every: Seconds) -> Self {
        Interval {
            every,
            done_at: AtomicI64::new(now.epoch()),
        }
    }

    /// Due at once, and then `every` so often.
    pub(super) const fn at_once(every: Seconds) -> Self {
        Interval {
            every,
            done_at: AtomicI64::new(i64::MIN),
        }
    }

    /// Whether it is time. A clock that was set back behind the last time is no reason to wait until it is there again.
    pub(super) fn is_due(&self, now: NumericDate) -> bool {
        let done_at = NumericDate::from_epoch(self.done_at.load(Ordering::Relaxed));
        now.since(done_at) >= self.every || now < done_at
    }

    /// It was done at `now`.
    pub(super) fn done(&self, now: NumericDate) {
        self.done_at.store(now.epoch(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_when_the_time_has_passed_or_the_clock_was_set_back() {
        let at = NumericDate::from_epoch;
        let interval = Interval::after(at(100), Seconds::new(10));
        for (now, due) in [(100, false), (109, false), (110, true), (99, true)] {
            assert_eq!(interval.is_due(at(now)), due, "{now}");
        }
        interval.done(at(110));
        assert!(!interval.is_due(at(119)) && interval.is_due(at(120)));
        assert!(Interval::at_once(Seconds::days(1)).is_due(at(0)));
    }
}
