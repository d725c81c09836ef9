use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use super::{Failure, Interval};
use crate::oauth::{Client, NumericDate, Seconds};
use crate::storage::{Store, TokensGiven, UsageDay};

/// How many tokens each client was given by this node since that was written down last.
#[derive(Debug)]
pub(super) struct Usage {
    given: RwLock<HashMap<UsageDay, Given>>,
    /// What was given before, and is written down portion by portion before anything newer: else those of the lowest numbers, who are
    /// given tokens each second, would come first each time.
    writing: Mutex<Vec<(UsageDay, TokensGiven)>>,
    flushing: Interval,
}

/// On one day to one client.
#[derive(Debug, Default)]
struct Given {
    signed: AtomicU64,
    reused: AtomicU64,
}

impl Given {
    fn add(&self, tokens: TokensGiven) {
        // Not what adds nothing: the line is shared by all threads.
        for (count, more) in [(&self.signed, tokens.signed), (&self.reused, tokens.reused)] {
            if more > 0 {
                count.fetch_add(more, Ordering::Relaxed);
            }
        }
    }
}

/// Time between two writings.
const FLUSH_EVERY: Seconds = Seconds::minutes(1);
/// Most clients between two writings; tokens of others are not counted.
const MOST: usize = 100_000;
/// Most clients written in one tick, so that the tick is not held up.
const AT_ONCE: usize = 250;

impl Usage {
    /// Nothing was given yet at `now`.
    pub(super) fn new(now: NumericDate) -> Self {
        Usage {
            given: RwLock::default(),
            writing: Mutex::default(),
            flushing: Interval::after(now, FLUSH_EVERY),
        }
    }

    /// The client is given a new token.
    pub(super) fn signed(&self, client: &Client, now: NumericDate) {
        self.count(UsageDay::of(client.row, now), TokensGiven { signed: 1, reused: 0 });
    }

    /// The client is given a token again.
    pub(super) fn reused(&self, client: &Client, now: NumericDate) {
        self.count(UsageDay::of(client.row, now), TokensGiven { signed: 0, reused: 1 });
    }

    fn count(&self, of: UsageDay, tokens: TokensGiven) {
        if let Some(given) = self.given.read().unwrap_or_else(PoisonError::into_inner).get(&of) {
            given.add(tokens);
            return;
        }
        let mut given = self.given.write().unwrap_or_else(PoisonError::into_inner);
        if given.len() < MOST {
            given.entry(of).or_default().add(tokens);
        }
    }

    /// Writes it down now and then.
    pub(super) fn flush(&self, store: &Store, now: NumericDate) -> Result<(), Failure> {
        if !self.flushing.is_due(now) {
            return Ok(());
        }
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if writing.is_empty() {
            *writing = self.take();
        }
        let first = writing.len().saturating_sub(AT_ONCE);
        if let Err(error) = store.add_usage(writing.get(first..).unwrap_or_default()) {
            // What fails is tried again after a while, not at each tick.
            self.flushing.done(now);
            return Err(error.into());
        }
        writing.truncate(first);
        if writing.is_empty() {
            // Else the next tick goes on.
            self.flushing.done(now);
        }
        Ok(())
    }

    /// Writes it down at once.
    pub(super) fn flush_all(&self, store: &Store) -> Result<(), Failure> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = self.take();
        writing
            .chunks(AT_ONCE)
            .chain(newer.chunks(AT_ONCE))
            .try_for_each(|some| store.add_usage(some))?;
        writing.clear();
        Ok(())
    }

    /// In one order on all nodes, so that two of them do not wait for each other in a circle.
    fn take(&self) -> Vec<(UsageDay, TokensGiven)> {
        let given = std::mem::take(&mut *self.given.write().unwrap_or_else(PoisonError::into_inner));
        let mut given: Vec<_> = given
            .into_iter()
            .map(|(of, Given { signed, reused })| {
                let (signed, reused) = (signed.into_inner(), reused.into_inner());
                (of, TokensGiven { signed, reused })
            })
            .collect();
        given.sort_unstable_by_key(|(of, _)| (of.client, of.day));
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_one_client_and_day_are_added_up() {
        let at = NumericDate::from_epoch;
        let usage = Usage::new(at(0));
        let of = UsageDay::of(7, at(-1));
        assert_eq!(
            (of.day, UsageDay::of(7, at(0)).day, UsageDay::of(7, at(86_400)).day),
            (-1, 0, 1)
        );
        let tokens = |signed, reused| TokensGiven { signed, reused };
        usage.count(of, tokens(3, 10));
        usage.count(UsageDay::of(6, at(0)), tokens(1, 0));
        usage.count(of, tokens(4, 1));
        assert_eq!(
            usage.take(),
            [(UsageDay::of(6, at(0)), tokens(1, 0)), (of, tokens(7, 11))]
        );
        assert!(usage.take().is_empty());
    }
}
