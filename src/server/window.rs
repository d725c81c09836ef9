use std::sync::atomic::{AtomicU64, Ordering};

use crate::oauth::{NumericDate, Seconds};

/// How often something happened in a span of time that begins with the first time, without a lock.
///
/// A number: the second in which the span began, and below that how often.
#[derive(Debug, Default)]
pub(super) struct Window(AtomicU64);

/// What a window shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    /// How often it happened.
    pub(super) times: u32,
    /// How long until it is forgotten: between one second and the span.
    pub(super) left: Seconds,
    /// When the span began, for who has to [take it back](Window::uncount).
    pub(super) begun: NumericDate,
}

impl Window {
    /// It happened once more.
    pub(super) fn count(&self, span: Seconds, now: NumericDate) -> Count {
        let counted = |packed: u64| match shown(packed, span, now) {
            Some((begun, times)) => begun << TIMES_BITS | (times + 1).min(MOST_TIMES),
            None => second(now) << TIMES_BITS | 1,
        };
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |packed| Some(counted(packed)));
        read(counted(before.unwrap_or_default()), span, now)
    }

    /// It did not happen after all in the span that began then. One that has begun since knows nothing of it.
    pub(super) fn uncount(&self, begun: NumericDate) {
        let uncounted = |packed: u64| {
            let is_counted = packed >> TIMES_BITS == second(begun) && packed & MOST_TIMES > 0;
            is_counted.then(|| packed - 1)
        };
        // Where there is nothing to take back there is nobody to tell.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, uncounted);
    }

    /// How often it happened.
    pub(super) fn look(&self, span: Seconds, now: NumericDate) -> Count {
        let packed = self.0.load(Ordering::Relaxed);
        match shown(packed, span, now) {
            Some(_) => read(packed, span, now),
            None => Count {
                times: 0,
                left: span,
                begun: now,
            },
        }
    }
}

/// When the span began and how often it happened in it; `None` when it is over, has not begun, or begins in the future, because the
/// clock was set back.
fn shown(packed: u64, span: Seconds, now: NumericDate) -> Option<(u64, u64)> {
    let (begun, times) = (packed >> TIMES_BITS, packed & MOST_TIMES);
    let passed = match second(now).checked_sub(begun) {
        Some(passed) => passed,
        // Whoever waited for a thread or a hash comes with the time at which he began.
        None if begun - second(now) <= LONGEST_WORK.get().unsigned_abs() => 0,
        None => return None,
    };
    (times > 0 && passed < span.get().unsigned_abs()).then_some((begun, times))
}

fn read(packed: u64, span: Seconds, now: NumericDate) -> Count {
    let begun = NumericDate::from_epoch(i64::try_from(packed >> TIMES_BITS).unwrap_or(i64::MAX));
    Count {
        times: u32::try_from(packed & MOST_TIMES).unwrap_or(u32::MAX),
        left: (begun + span).since(now).min(span),
        begun,
    }
}

fn second(now: NumericDate) -> u64 {
    u64::try_from(now.epoch()).unwrap_or(0)
}

/// Longer than a request is worked on.
const LONGEST_WORK: Seconds = Seconds::new(10);
/// Room for sixteen million times, and for seconds until the year 36000.
const TIMES_BITS: u32 = 24;
const MOST_TIMES: u64 = (1 << TIMES_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_begins_with_the_first_time_and_ends_by_itself_or_with_a_clock_that_was_set_back() {
        let (window, span) = (Window::default(), Seconds::minutes(1));
        let at = |seconds: i64| NumericDate::from_epoch(1_000_000 + seconds);
        let shown = |count: Count| (count.times, count.left.get());
        assert_eq!(shown(window.look(span, at(7))), (0, 60));
        for (second, times, left) in [
            (7, 1, 60),
            (8, 2, 59),
            (66, 3, 1),
            (67, 1, 60),
            (66, 2, 60),
            (57, 3, 60),
            (56, 1, 60),
            (115, 2, 1),
        ] {
            assert_eq!(shown(window.count(span, at(second))), (times, left), "{second}");
            assert_eq!(shown(window.look(span, at(second))), (times, left), "{second}");
        }
        assert_eq!(shown(window.look(span, at(116))), (0, 60));
    }

    #[test]
    fn what_did_not_happen_is_taken_from_its_own_span_and_never_from_nothing() {
        let (window, span) = (Window::default(), Seconds::minutes(1));
        let at = |seconds: i64| NumericDate::from_epoch(1_000_000 + seconds);
        window.uncount(at(7));
        window.count(span, at(7));
        window.count(span, at(8));
        for (begun, times) in [(8, 2), (7, 1), (7, 0), (7, 0)] {
            window.uncount(at(begun));
            assert_eq!(window.look(span, at(9)).times, times, "{begun}");
        }
        window.count(span, at(67));
        window.uncount(at(7));
        assert_eq!(window.look(span, at(67)).times, 1);
        // Whoever has waited comes with a time from before the span began, and is counted in it.
        let late = window.count(span, at(66));
        assert_eq!(late.times, 2);
        window.uncount(late.begun);
        assert_eq!(window.look(span, at(67)).times, 1);
    }
}
