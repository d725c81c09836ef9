use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Failure, audit};
use crate::oauth::{NumericDate, Seconds};
use crate::storage::{AuditFilter, Store};

/// The times at which this node could give nobody an answer: the database was away or took nothing, the node itself stood still, or
/// there was none. Who lost an answer then could not fetch it again, so that such time does not count against them.
#[derive(Debug)]
pub(super) struct Standstill {
    /// When the database was followed last, and when the process was awake; in the far future when nobody says.
    followed_at: AtomicI64,
    awake_at: AtomicI64,
    lately: Mutex<VecDeque<Span>>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    begun: NumericDate,
    ended: NumericDate,
    /// Whether requests may have come meanwhile that nobody read before it ended.
    unread: bool,
}

/// For so long after a standstill a request may have been waiting since before its end: in the socket of a process that stood still
/// nobody reads, and then there is a line.
const AFTERWARDS: Seconds = Seconds::new(5);
/// The database is followed once a second, and the process says more often that it is awake. A longer pause is a standstill.
const A_PAUSE: Seconds = Seconds::new(3);
/// Most standstills that are remembered.
const MOST: usize = 16;
/// Most that is allowed for them all together: a successor that nobody used for so long is not fetched any more.
const LONGEST: Seconds = Seconds::hours(1);

impl Default for Standstill {
    fn default() -> Self {
        Standstill {
            followed_at: AtomicI64::new(i64::MAX),
            awake_at: AtomicI64::new(i64::MAX),
            lately: Mutex::default(),
        }
    }
}

impl Standstill {
    /// A process begins. `before` is when anybody was served last, by this node or another.
    pub(super) fn begun(&self, before: Option<NumericDate>, now: NumericDate) {
        if let Some(begun) = before.filter(|before| now.since(*before) > A_PAUSE) {
            let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
            push(&mut lately, begun, now, false);
        }
        self.followed(now);
        self.awake(now);
    }

    /// The database was followed.
    pub(super) fn followed(&self, now: NumericDate) {
        self.went_on(&self.followed_at, now, false);
    }

    /// The process is awake, whatever the database does.
    pub(super) fn awake(&self, now: NumericDate) {
        self.went_on(&self.awake_at, now, true);
    }

    fn went_on(&self, at: &AtomicI64, now: NumericDate, unread: bool) {
        // Held first, so that whoever asks sees the pause as the present one or as a past one.
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let before = NumericDate::from_epoch(at.swap(now.epoch(), Ordering::Relaxed));
        if now.since(before) > A_PAUSE {
            push(&mut lately, before, now, unread);
        }
    }

    /// The database was asked to write something, and had not done it when nobody waited any more. It may answer who only reads.
    pub(super) fn held_up(&self, begun: NumericDate, ended: NumericDate) {
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        match lately.back_mut() {
            // Whoever comes again soon finds the same standstill.
            Some(last) if !last.unread && begun.since(last.ended) <= A_PAUSE => {
                last.begun = last.begun.min(begun);
                last.ended = last.ended.max(ended);
            }
            _ if ended > begun => push(&mut lately, begun, ended, false),
            _ => {}
        }
    }

    /// How much of the time from `earlier` until `now` was standstill, of whatever kind.
    pub(super) fn since(&self, earlier: NumericDate, now: NumericDate) -> Seconds {
        let lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let present = [&self.followed_at, &self.awake_at].map(|at| present(at, now));
        let mut spans: Vec<_> = lately.iter().map(|span| (span.begun, span.ended)).collect();
        spans.extend(present.into_iter().flatten().map(|begun| (begun, now)));
        spans.sort_unstable();
        // What is in two of them counts once.
        let mut counted = earlier;
        let mut total = Seconds::new(0);
        for (begun, ended) in spans {
            total = total + ended.min(now).since(begun.max(counted));
            counted = counted.max(ended);
        }
        total.min(LONGEST)
    }

    /// Since when a request that is decided `now` may have been on its way: whoever sent it may have given up waiting, and have been
    /// served elsewhere.
    pub(super) fn sent_since(&self, now: NumericDate) -> NumericDate {
        let lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let past = lately
            .iter()
            .filter(|span| span.unread && now.since(span.ended) <= AFTERWARDS);
        let begun = past.map(|span| span.begun).chain(present(&self.awake_at, now)).min();
        begun.unwrap_or(now).min(now).max(now - LONGEST)
    }
}

/// When one began that may be over, and is not known to be: requests do not wait until somebody says so.
fn present(at: &AtomicI64, now: NumericDate) -> Option<NumericDate> {
    let before = NumericDate::from_epoch(at.load(Ordering::Relaxed));
    (now.since(before) > A_PAUSE).then_some(before)
}

fn push(lately: &mut VecDeque<Span>, begun: NumericDate, ended: NumericDate, unread: bool) {
    if lately.len() == MOST {
        lately.pop_front();
    }
    lately.push_back(Span { begun, ended, unread });
}

/// When a refresh token was exchanged last, by any node, as far back as it matters; or else when the newest event was. Whoever
/// lost the answer to an exchange lost it then at the latest.
pub(super) fn last_served(store: &Store, now: NumericDate) -> Result<Option<NumericDate>, Failure> {
    let newest = |event: Option<&str>, since| {
        let found = store.audit_events(&AuditFilter {
            event: event.map(str::to_owned),
            since,
            limit: 1,
            ..AuditFilter::default()
        })?;
        Ok::<_, Failure>(found.first().map(|event| event.at))
    };
    // No farther back than it matters, so that a long trail without any is not read to its end.
    let exchanged = newest(Some(audit::REFRESH), Some(now - LONGEST * 2))?;
    exchanged.map_or_else(|| newest(None, None), |at| Ok(Some(at)))
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

    #[test]
    fn while_the_process_is_awake_requests_are_read_and_after_it_stood_still_they_may_be_old() {
        let at = NumericDate::from_epoch;
        let standstill = Standstill::default();
        let sent_since = |now| standstill.sent_since(at(now)).epoch();
        for second in [100, 101, 104, 130, 131] {
            standstill.awake(at(second));
        }
        assert_eq!([131, 134, 135, 136].map(sent_since), [104, 104, 104, 131]);
        standstill.awake(at(132));
        assert_eq!(
            [133, 135].map(sent_since),
            [104, 104],
            "the end was five seconds ago at most"
        );
        assert_eq!(sent_since(136), 132, "a standstill has begun");
        standstill.awake(at(133));
        standstill.awake(at(136));
        assert_eq!(sent_since(136), 136, "no request waits for so long in a line");
        // Meanwhile the database was not followed, which is another matter.
        standstill.followed(at(100));
        standstill.followed(at(136));
        assert_eq!(sent_since(136), 136);
        assert_eq!(standstill.since(at(90), at(136)).get(), 36, "each second counts once");
    }

    #[test]
    fn the_time_before_a_process_is_standstill_and_no_request_has_waited_for_it() {
        let at = NumericDate::from_epoch;
        let standstill = Standstill::default();
        standstill.begun(Some(at(100)), at(130));
        assert_eq!(standstill.since(at(95), at(131)).get(), 30);
        assert_eq!(standstill.sent_since(at(131)), at(131));
        let standstill = Standstill::default();
        standstill.begun(Some(at(128)), at(130));
        assert_eq!(standstill.since(at(95), at(131)).get(), 0, "others go on");
        let standstill = Standstill::default();
        standstill.begun(None, at(130));
        assert_eq!(standstill.since(at(95), at(131)).get(), 0, "nobody was ever served");
    }

    #[test]
    fn what_the_database_does_not_take_is_standstill_also_while_it_is_followed() {
        let at = NumericDate::from_epoch;
        let standstill = Standstill::default();
        for second in 100..140 {
            standstill.followed(at(second));
        }
        standstill.held_up(at(100), at(100));
        assert_eq!(standstill.since(at(90), at(139)).get(), 0, "refused at once");
        // Whoever was refused comes again, and is refused again.
        for (begun, ended) in [(101, 105), (100, 106), (108, 115), (118, 118), (120, 126)] {
            standstill.held_up(at(begun), at(ended));
        }
        assert_eq!(standstill.since(at(90), at(139)).get(), 26);
        assert_eq!(standstill.since(at(110), at(139)).get(), 16);
        assert_eq!(
            standstill.sent_since(at(127)),
            at(127),
            "requests are read all the time"
        );
    }
}
