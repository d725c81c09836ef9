use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use rand::TryRng as _;
use rand::rngs::{SysError, SysRng, ThreadRng};
use rustix::time::{ClockId, clock_gettime};
use tracing::{info, warn};

use crate::keys::CLOCK_SKEW;
use crate::oauth::NumericDate;
use crate::server::Edge;
use crate::storage::Store;

/// The time of the machine and the generator of the thread: the only place where either enters the process.
pub(super) fn system_edge(clock: &Arc<SteadyClock>) -> Edge {
    let clock = Arc::clone(clock);
    Edge::new(move || clock.now(), generator)
}

/// The machine's clock, which goes on evenly when it is set while the process runs. Whoever sets it by an hour, or by a year, may be
/// wrong, and keys that were destroyed and tokens that expired by a wrong clock are not mended by the right one. So a step is believed
/// once the database's clock says the same; where it has none, once the new time has lasted for a while.
///
/// To tell the time it reads the one clock that nobody can set; what the other shows is looked at once a second.
#[derive(Debug)]
pub(super) struct SteadyClock {
    /// By how much the machine's clock is ahead of the time since it was started, as is believed; in nanoseconds.
    believed: AtomicI64,
    /// When the machine's clock was found to say something else, since it was started; zero while it does not.
    stepped_at: AtomicI64,
    /// By how much it was ahead then.
    stepped_to: AtomicI64,
}

/// Both clocks at one moment, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// Since 1970, as the machine's clock has it.
    wall: i64,
    /// Of [`up`].
    up: i64,
}

impl Reading {
    #[expect(clippy::disallowed_methods, reason = "this is the edge of the process")]
    fn now() -> Self {
        Reading {
            wall: chrono::Utc::now().timestamp_nanos_opt().unwrap_or(i64::MAX),
            up: up(),
        }
    }

    fn ahead(self) -> i64 {
        self.wall.saturating_sub(self.up)
    }
}

impl SteadyClock {
    /// Believes the machine's clock as it is now.
    pub(super) fn start() -> Self {
        SteadyClock::at(Reading::now())
    }

    fn at(reading: Reading) -> Self {
        SteadyClock {
            believed: AtomicI64::new(reading.ahead()),
            stepped_at: AtomicI64::new(0),
            stepped_to: AtomicI64::new(0),
        }
    }

    /// The present instant.
    fn now(&self) -> NumericDate {
        self.at_uptime(up())
    }

    /// When the machine was started, in seconds since 1970, as far as is believed now.
    pub(super) fn booted_at(&self) -> f64 {
        self.believed.load(Ordering::Relaxed) as f64 / SECOND as f64
    }

    fn at_uptime(&self, up: i64) -> NumericDate {
        date(up.saturating_add(self.believed.load(Ordering::Relaxed)))
    }

    /// Less than what nodes may differ by is how clocks are kept right.
    fn is_believed(&self, reading: Reading) -> bool {
        reading
            .ahead()
            .saturating_sub(self.believed.load(Ordering::Relaxed))
            .saturating_abs()
            <= TOLERATED
    }

    /// Follows the machine's clock, and decides whether a step is to be believed. To be called once a second.
    pub(super) fn follow(&self, store: &Store) {
        let reading = Reading::now();
        // The database is asked only when there is a question.
        self.judge(reading, || {
            store.clock().map(|clock| clock.map(NumericDate::epoch)).ok()
        });
    }

    /// `database` tells the time of the database: `None` while it is out of reach, `Some(None)` when it has no clock.
    fn judge(&self, reading: Reading, database: impl FnOnce() -> Option<Option<i64>>) {
        if self.is_believed(reading) {
            self.believe(reading);
            if self.stepped_at.swap(0, Ordering::Relaxed) != 0 {
                info!(
                    event = "clock.put_right",
                    "this machine's clock shows again what it was expected to"
                );
            }
            return;
        }
        let (set_to, even) = (date(reading.wall), self.at_uptime(reading.up));
        let stepped_to = self.stepped_to.load(Ordering::Relaxed);
        let is_another = reading.ahead().saturating_sub(stepped_to).saturating_abs() > TOLERATED;
        if self.stepped_at.load(Ordering::Relaxed) == 0 || is_another {
            self.stepped_at.store(reading.up, Ordering::Relaxed);
            self.stepped_to.store(reading.ahead(), Ordering::Relaxed);
            warn!(event = "clock.stepped", %set_to, %even, "this machine's clock was set; going on evenly until it is known to be right");
        }
        let lasts = reading.up.saturating_sub(self.stepped_at.load(Ordering::Relaxed));
        let is_right = match database() {
            None => false,
            Some(Some(database)) => database.saturating_sub(set_to.epoch()).saturating_abs() <= CLOCK_SKEW.get(),
            Some(None) => lasts >= LONG_ENOUGH,
        };
        if is_right {
            info!(event = "clock.believed", %set_to, "this machine's clock is followed from here on");
            self.believe(reading);
            self.stepped_at.store(0, Ordering::Relaxed);
        }
    }

    fn believe(&self, reading: Reading) {
        self.believed.store(reading.ahead(), Ordering::Relaxed);
    }
}

/// Nanoseconds since the machine was started, the time included during which it was suspended.
fn up() -> i64 {
    let up = clock_gettime(ClockId::Boottime);
    up.tv_sec.saturating_mul(SECOND).saturating_add(up.tv_nsec)
}

fn date(nanoseconds: i64) -> NumericDate {
    NumericDate::from_epoch(nanoseconds.div_euclid(SECOND))
}

const SECOND: i64 = 1_000_000_000;
const TOLERATED: i64 = CLOCK_SKEW.get() * SECOND;
/// How long a step has to last where there is no clock to compare with.
const LONG_ENOUGH: i64 = 300 * SECOND;

/// What time it was at the instants of this process, by the machine's clock as it is now.
pub(super) struct WallClock {
    nanos: i128,
    instant: Instant,
}

impl WallClock {
    /// Reads both clocks.
    #[expect(clippy::disallowed_methods, reason = "this is the edge of the process")]
    pub(super) fn read() -> Self {
        let now = chrono::Utc::now();
        WallClock {
            nanos: i128::from(now.timestamp()) * 1_000_000_000 + i128::from(now.timestamp_subsec_nanos()),
            instant: Instant::now(),
        }
    }

    /// Nanoseconds since 1970 at an instant.
    pub(super) fn nanos(&self, instant: Instant) -> u64 {
        let nanos = |span: Duration| i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
        let before = nanos(self.instant.saturating_duration_since(instant));
        let after = nanos(instant.saturating_duration_since(self.instant));
        u64::try_from(self.nanos - before + after).unwrap_or(0)
    }
}

/// The generator of the thread, once the system has shown lately that it gives random numbers. Without them the generator panics
/// when it is to be seeded, and aws-lc ends the process when it blinds one of its next signatures: so a request that might come to
/// that is not begun. A thread asks again after a while, for the question is a system call.
#[expect(clippy::disallowed_methods, reason = "this is the edge of the process")]
fn generator() -> Result<ThreadRng, SysError> {
    thread_local! {
        static ASKED_AT: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    let now = Instant::now();
    if ASKED_AT
        .get()
        .is_none_or(|asked_at| now.duration_since(asked_at) >= A_WHILE)
    {
        ASKED_AT.set(None);
        SysRng.try_next_u32()?;
        ASKED_AT.set(Some(now));
    }
    Ok(rand::rng())
}

/// Much shorter than aws-lc takes to give up.
const A_WHILE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_900_000_800;
    const HOUR: i64 = 3_600;

    /// A machine that was started at noon, `up` seconds ago, and whose clock was set by `step` since.
    fn reading(up: i64, step: i64) -> Reading {
        Reading {
            wall: (NOON + up + step) * SECOND,
            up: up * SECOND,
        }
    }

    fn shows(clock: &SteadyClock, reading: Reading) -> i64 {
        clock.at_uptime(reading.up).epoch() - NOON
    }

    //
    #[test]
    fn a_clock_that_is_set_goes_on_evenly_until_the_databases_says_the_same() {
        for step in [HOUR, -HOUR, 365 * 24 * HOUR, -365 * 24 * HOUR, 6, -6] {
            let clock = SteadyClock::at(reading(0, 0));
            assert_eq!(shows(&clock, reading(10, step)), 10, "{step}");
            for (up, database) in [
                (11, None),
                (12, Some(Some(NOON + 12))),
                (13, Some(Some(NOON + 13 - step))),
            ] {
                clock.judge(reading(up, step), || database);
                assert_eq!(shows(&clock, reading(up, step)), up, "{step}");
            }
            clock.judge(reading(14, step), || Some(Some(NOON + 14 + step)));
            assert_eq!(shows(&clock, reading(15, step)), 15 + step, "the database agrees");
            assert_eq!(
                shows(&clock, reading(16, 0)),
                16 + step,
                "and now the old time is the step"
            );
        }
    }

    //
    #[test]
    fn where_there_is_no_other_clock_a_step_is_believed_when_it_has_lasted() {
        let clock = SteadyClock::at(reading(0, 0));
        let none = || Some(None);
        clock.judge(reading(10, HOUR), none);
        clock.judge(reading(300, HOUR), none);
        assert_eq!(shows(&clock, reading(300, HOUR)), 300);
        // It was put right: the next step begins anew.
        clock.judge(reading(301, 0), none);
        clock.judge(reading(400, -HOUR), none);
        clock.judge(reading(699, -HOUR), none);
        assert_eq!(shows(&clock, reading(699, -HOUR)), 699);
        clock.judge(reading(700, -HOUR), none);
        assert_eq!(shows(&clock, reading(700, -HOUR)), 700 - HOUR);
        // A step within a step has not lasted.
        clock.judge(reading(800, 0), none);
        clock.judge(reading(1_099, HOUR), none);
        clock.judge(reading(1_100, HOUR), none);
        assert_eq!(shows(&clock, reading(1_100, HOUR)), 1_100 - HOUR);
        clock.judge(reading(1_399, HOUR), none);
        assert_eq!(shows(&clock, reading(1_399, HOUR)), 1_399 + HOUR);
    }

    #[test]
    fn a_clock_that_is_kept_right_in_small_steps_is_followed_however_far_they_lead() {
        let clock = SteadyClock::at(reading(0, 0));
        for second in 1..100 {
            let drifted = reading(second, second);
            clock.judge(drifted, || panic!("there is no question"));
            assert_eq!(shows(&clock, drifted), 2 * second);
        }
    }
}
