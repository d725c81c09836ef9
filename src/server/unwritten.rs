use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Server;
use crate::oauth::{NumericDate, Seconds};

/// When the log was told last of what was counted in memory and could not be written down: not each time, which is once a second.
#[derive(Debug, Default)]
pub(super) struct Unwritten(Mutex<BTreeMap<&'static str, NumericDate>>);

/// Time between two lines about the same.
const TELL_EVERY: Seconds = Seconds::minutes(10);

impl Unwritten {
    /// Whether the log is to be told now that this failed.
    fn is_news(&self, what: &'static str, now: NumericDate) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_told = |at: &NumericDate| *at <= now && now.since(*at) < TELL_EVERY;
        if told.get(what).is_some_and(is_told) {
            return false;
        }
        told.insert(what, now);
        true
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
            if let Err(error) = written
                && self.unwritten.is_news(what, now)
            {
                tracing::warn!(event = "write_down.failed", what, %error, "tried again until it succeeds");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_told_once_in_a_while_of_each() {
        let at = NumericDate::from_epoch;
        let unwritten = Unwritten::default();
        assert!(unwritten.is_news("usage", at(1_000)) && unwritten.is_news("fetches", at(1_001)));
        assert!((1_000..1_600).all(|now| !unwritten.is_news("usage", at(now))));
        assert!(unwritten.is_news("usage", at(1_600)) && !unwritten.is_news("usage", at(1_601)));
        assert!(
            unwritten.is_news("usage", at(0)),
            "a clock that was set back is no reason to be silent"
        );
    }
}
