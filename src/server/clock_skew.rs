use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use crate::oauth::{NumericDate, Seconds};
use crate::storage::{self, Store};

/// How far this node's clock is from the database's, which all nodes share. Keys turn by each node's own clock, and the policy
/// allows for so much between two of them and no more.
#[derive(Debug)]
pub(super) struct ClockSkew {
    /// Most that is tolerated; `None` when it is not asked.
    tolerance: Option<Seconds>,
    /// Seconds that this clock is ahead; negative when it is behind.
    ahead: AtomicI64,
}

impl ClockSkew {
    pub(super) fn new(tolerance: Option<Seconds>) -> Self {
        ClockSkew {
            tolerance,
            ahead: AtomicI64::new(0),
        }
    }

    /// Compares the clocks. Whether there is another one, and it shows the same as far as is tolerated.
    pub(super) fn look(&self, store: &Store, now: NumericDate) -> Result<bool, storage::Error> {
        let Some(tolerance) = self.tolerance else {
            return Ok(false);
        };
        let asked = Instant::now();
        let Some(database) = store.clock()? else {
            return Ok(false);
        };
        // It was read at some moment since: a slow answer is no skew.
        let taken = i64::try_from(asked.elapsed().as_secs())
            .unwrap_or(i64::MAX)
            .saturating_add(1);
        let early = now.epoch().saturating_sub(database.epoch());
        let ahead = early.max(early.saturating_add(taken).min(0));
        let was_off = self.is_off();
        self.ahead.store(ahead, Ordering::Relaxed);
        match (was_off, self.is_off()) {
            (false, true) => tracing::error!(
                event = "clock.off",
                ahead,
                tolerance = tolerance.get(),
                "this node's clock is off from the database's: it reports that it is not ready; set the clock"
            ),
            (true, false) => tracing::info!(
                event = "clock.right",
                ahead,
                "this node's clock agrees with the database's again"
            ),
            _ => {}
        }
        Ok(!self.is_off())
    }

    /// Seconds that this node's clock is ahead of the database's; negative when it is behind.
    pub(super) fn ahead(&self) -> i64 {
        self.ahead.load(Ordering::Relaxed)
    }

    /// What the database's clock shows when this one shows `at`.
    pub(super) fn there(&self, at: NumericDate) -> NumericDate {
        NumericDate::from_epoch(at.epoch().saturating_sub(self.ahead()))
    }

    /// What this clock shows when the database's shows `at`.
    pub(super) fn here(&self, at: NumericDate) -> NumericDate {
        NumericDate::from_epoch(at.epoch().saturating_add(self.ahead()))
    }

    /// Whether that is more than the rotation of keys allows for.
    pub(super) fn is_off(&self) -> bool {
        self.tolerance
            .is_some_and(|tolerance| self.ahead().saturating_abs() > tolerance.get())
    }
}
