use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::Server;
use crate::oauth::NumericDate;

/// What is counted in memory and could not be written down. The log tells when that begins and when it is over, not once a second.
#[derive(Debug, Default)]
pub(super) struct Unwritten(Mutex<BTreeSet<&'static str>>);

impl Unwritten {
    /// What came of an attempt.
    fn tried<E: fmt::Display>(&self, what: &'static str, outcome: Result<(), E>) {
        let mut unwritten = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) if unwritten.remove(what) => {
                tracing::info!(event = "write_down.recovered", what, "it is written down again");
            }
            Ok(()) => {}
            Err(error) if unwritten.insert(what) => {
                tracing::warn!(event = "write_down.failed", what, %error, "tried again each second until it succeeds");
            }
            Err(_) => {}
        }
    }
}

impl Server {
    /// Writes down what was counted in memory, a bounded number of rows at a time. It is for reports: what fails is tried again, and
    /// holds up nothing.
    pub(super) fn write_down(&self, now: NumericDate) {
        for (what, written) in [
            ("fetches", self.fetchers.flush(&self.store, now)),
            ("secret uses", self.secret_uses.flush(&self.store, now)),
            ("usage", self.usage.flush(&self.store, now)),
            ("failure budgets", self.failures.flush(&self.store, now)),
            ("audit seals", self.sealer.tick(&self.store, &self.vault, now)),
        ] {
            self.unwritten.tried(what, written);
        }
    }
}
