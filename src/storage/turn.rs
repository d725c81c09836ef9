use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The turn of somebody who waits for another thread. Either who waits gives up or the thread begins, never both.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicU8);

impl Turn {
    /// Stops waiting. False when the thread has begun: then the outcome is known soon, and must be known.
    pub(super) fn give_up(&self) -> bool {
        self.decide(1)
    }

    /// Whether somebody still waits; from now on they do until they are answered.
    pub(super) fn begin(&self) -> bool {
        self.decide(2)
    }

    fn decide(&self, how: u8) -> bool {
        self.0
            .compare_exchange(0, how, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// A write that waits for its turn. Dropping this gives it up, if its turn has not come.
#[derive(Debug)]
pub struct Waiting(pub(super) Arc<Turn>);

impl Waiting {
    /// Gives it up: it will not happen. False when its turn has come: then its outcome is known soon.
    pub fn give_up(&self) -> bool {
        self.0.give_up()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.give_up();
    }
}
