//! Budgets of failures (RFC 6749 §2.3.1): who fails to authenticate again and again is told to wait.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::budget::{Budget, Spent};
use crate::oauth::{ClientId, NumericDate, Seconds};
use crate::server::{AddressBlock, Failure, Interval};
use crate::storage::{AuditEvent, Store};

/// Failed client authentications of the last minute, by client and by address block.
///
/// Only who fails is told to wait. A right secret is accepted whatever was tried before, so nobody can lock a client out; and a
/// request that succeeds never comes here. Secrets have 256 random bits: this is not what keeps them from being guessed, but
/// what keeps an attempt from being worth making, and from going unnoticed.
#[derive(Debug)]
pub(in crate::server) struct Failures {
    clients: Budget,
    blocks: Budget,
    /// Makes the places in the tables unforeseeable.
    seed: u64,
    untold: Mutex<Untold>,
    telling: Interval,
}

/// Whose budget ran out, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::server) enum Exhausted {
    /// That of a client, wherever its failures came from.
    Client,
    /// That of an address block, whichever clients it named.
    Address,
}

impl Exhausted {
    /// Both.
    pub(in crate::server) const ALL: [Exhausted; 2] = [Exhausted::Client, Exhausted::Address];

    /// The name.
    pub(in crate::server) const fn as_str(self) -> &'static str {
        match self {
            Exhausted::Client => "client",
            Exhausted::Address => "address",
        }
    }
}

/// What came of a failure.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::server) struct Counted {
    /// How long to wait, when there were too many.
    pub(in crate::server) wait: Option<Seconds>,
    /// Budgets of which this failure was the first too many.
    pub(in crate::server) exhausted: Vec<Exhausted>,
}

/// Budgets that ran out and that the audit trail does not know of yet.
#[derive(Debug, Default)]
struct Untold {
    events: Vec<AuditEvent>,
    /// How many there are no events of.
    left_out: u64,
}

/// Failures a minute that are answered as such: of one client, wherever they come from, and of one address block, whatever the
/// client. A library that tries both ways to authenticate fails once each time.
const MOST_OF_A_CLIENT: u32 = 60;
const MOST_OF_A_BLOCK: u32 = 120;
/// Events in the trail between two tellings: whoever has many addresses must not be able to fill it.
const MOST_EVENTS: usize = 20;
/// Time between two tellings.
const TELL_EVERY: Seconds = Seconds::minutes(1);

impl Failures {
    /// Nobody has failed yet at `now`; `seed` is random.
    pub(in crate::server) fn new(seed: u64, now: NumericDate) -> Self {
        Failures {
            clients: Budget::new(MOST_OF_A_CLIENT),
            blocks: Budget::new(MOST_OF_A_BLOCK),
            seed,
            untold: Mutex::default(),
            telling: Interval::after(now, TELL_EVERY),
        }
    }

    /// Counts a failure of whoever said to be that client, from that address. `is_known` says whether there is such a client: the trail
    /// keeps no other name, for people type secrets into the wrong field.
    pub(in crate::server) fn count(
        &self,
        client_id: Option<&ClientId>,
        is_known: impl Fn(&ClientId) -> bool,
        address: Option<IpAddr>,
        now: NumericDate,
    ) -> Counted {
        let block = AddressBlock::of(address);
        let of_block = self.blocks.spend(self.place(&block), now);
        let of_client = client_id.map(|id| self.clients.spend(self.place(&id), now));
        let mut exhausted = Vec::new();
        for (spent, which) in [(of_client, Exhausted::Client), (Some(of_block), Exhausted::Address)] {
            if matches!(spent, Some(Spent::Over { first: true, .. })) {
                self.tell_of(which, client_id.filter(|id| is_known(id)), block, now);
                exhausted.push(which);
            }
        }
        let wait = |spent: Spent| match spent {
            Spent::Within => None,
            Spent::Over { wait, .. } => Some(wait),
        };
        Counted {
            wait: wait(of_block).max(of_client.and_then(wait)),
            exhausted,
        }
    }

    fn place(&self, of: &impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.seed.hash(&mut hasher);
        of.hash(&mut hasher);
        hasher.finish()
    }

    fn tell_of(&self, which: Exhausted, client_id: Option<&ClientId>, block: AddressBlock, now: NumericDate) {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        if untold.events.len() >= MOST_EVENTS {
            untold.left_out += 1;
            return;
        }
        let (budget, block) = (which.as_str(), block.to_string());
        tracing::warn!(
            event = "failure_budget.exhausted",
            budget,
            client = client_id.map_or("-", ClientId::as_str),
            block
        );
        untold.events.push(AuditEvent {
            at: now,
            event: "failure_budget.exhausted".to_owned(),
            actor: "server".to_owned(),
            client_id: client_id.map(ClientId::to_string),
            kid: None,
            detail: json!({"budget": budget, "address_block": block}),
        });
    }

    /// Tells the audit trail now and then.
    pub(in crate::server) fn flush(&self, store: &Store, now: NumericDate) -> Result<(), Failure> {
        if !self.telling.is_due(now) {
            return Ok(());
        }
        self.telling.done(now);
        self.flush_all(store)
    }

    /// Tells it at once. What it cannot be told is told another time.
    pub(in crate::server) fn flush_all(&self, store: &Store) -> Result<(), Failure> {
        let mut untold = std::mem::take(&mut *self.untold.lock().unwrap_or_else(PoisonError::into_inner));
        if let (Some(last), 1..) = (untold.events.last_mut(), untold.left_out)
            && let Some(detail) = last.detail.as_object_mut()
        {
            // It may not have been written down the time before.
            let before = detail.get("left_out").and_then(Value::as_u64).unwrap_or_default();
            detail.insert("left_out".to_owned(), (before + untold.left_out).into());
        }
        while let Some(event) = untold.events.first() {
            if let Err(error) = store.record(event) {
                let mut since = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
                untold.events.append(&mut since.events);
                since.events = untold.events;
                return Err(error.into());
            }
            untold.events.remove(0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> NumericDate {
        NumericDate::from_epoch(1_000_000 + seconds)
    }

    fn named(id: &str) -> ClientId {
        ClientId::parse(id).unwrap()
    }

    fn address(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4(number.rotate_left(8).into()))
    }

    // C-21
    #[test]
    fn a_client_is_counted_over_all_addresses_and_an_address_over_all_clients_and_a_minute_ends() {
        let failures = Failures::new(7, at(0));
        let waits = |id: &str, from: u32, now| failures.count(Some(&named(id)), |_| true, address(from), now).wait;
        assert!((0..MOST_OF_A_CLIENT).all(|n| waits("billing", n, at(7)).is_none()));
        assert_eq!(waits("billing", 1_000, at(7)), Some(Seconds::new(60)));
        assert_eq!(waits("billing", 1, at(66)), Some(Seconds::new(1)));
        assert_eq!(waits("billing", 1, at(67)), None);
        assert!((0..MOST_OF_A_BLOCK).all(|n| waits(&format!("client-{n}"), 9_999, at(7)).is_none()));
        assert!(waits("client-1000", 9_999, at(7)).is_some());
        assert_eq!(waits("client-1", 8_888, at(7)), None);
    }

    #[test]
    fn the_end_of_a_budget_is_told_once_and_names_no_client_that_there_is_not() {
        let failures = Failures::new(7, at(0));
        let count = |id: &str, from: u32| {
            let counted = failures.count(Some(&named(id)), |id| id.as_str() == "billing", address(from), at(0));
            counted.exhausted
        };
        for n in 0..MOST_OF_A_CLIENT {
            assert_eq!(count("billing", n), []);
        }
        assert_eq!(count("billing", 1_000), [Exhausted::Client]);
        assert_eq!(count("billing", 1_001), []);
        for _ in 0..MOST_OF_A_CLIENT {
            assert_eq!(count("hunter2", 2_000), []);
        }
        assert_eq!(count("hunter2", 2_000), [Exhausted::Client]);
        let untold = failures.untold.lock().unwrap();
        let told: Vec<_> = untold.events.iter().map(|event| event.client_id.as_deref()).collect();
        assert_eq!(told, [Some("billing"), None]);
    }

    // N-03
    #[test]
    fn whoever_has_many_addresses_does_not_fill_the_trail() {
        let failures = Failures::new(7, at(0));
        for block in 0..200 {
            for _ in 0..=MOST_OF_A_BLOCK {
                failures.count(None, |_| false, address(block), at(0));
            }
        }
        let untold = failures.untold.lock().unwrap();
        assert_eq!(untold.events.len(), MOST_EVENTS);
        assert!(untold.left_out > 100);
    }
}
