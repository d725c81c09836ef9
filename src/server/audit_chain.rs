//! The audit trail as a chain: each seal is a keyed hash over a run of events and over the seal before.
//!
//! Whoever can write to the database, but has no master key, cannot alter, remove or insert an event under a seal without breaking
//! it. Events are sealed a little after they happened and not with them: so an exchange of a refresh token waits for no other.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hmac;

use super::{Failure, Vault};
use crate::oauth::{NumericDate, Seconds};
use crate::storage::{AuditRecord, AuditSeal, Insertion, Store};

/// Makes seals now and then.
#[derive(Debug, Default)]
pub(super) struct Sealer {
    /// The newest event that was there, and when this node saw it.
    seen: Mutex<Option<(i64, NumericDate)>>,
}

/// Time after which events that were seen are sealed: by then every transaction with a lower number has ended, one way or the
/// other. Not by the dates of events, which are of many clocks.
const SETTLED: Seconds = Seconds::minutes(1);
/// Most events under one seal, and most seals in one tick.
pub(super) const MOST_EVENTS: u32 = 10_000;
const MOST_SEALS: usize = 2;
/// Less than the id of any event, also of one that somebody made up.
pub(super) const BEFORE_ALL: i64 = i64::MIN;

impl Sealer {
    /// Seals what has settled, if it is time. Of several nodes the first one's seal counts.
    pub(super) fn tick(&self, store: &Store, vault: &Vault, now: NumericDate) -> Result<(), Failure> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match *seen {
            Some((_, at)) if now < at + SETTLED && at <= now => return Ok(()),
            Some((up_to, _)) => {
                // What fails is tried again after a while, not at each tick.
                *seen = Some((up_to, now));
                if seal_up_to(store, vault, up_to, now)? == Sealed::Some {
                    // The next tick goes on.
                    *seen = Some((up_to, now - SETTLED));
                    return Ok(());
                }
            }
            None => {}
        }
        *seen = store.newest_audit_event()?.map(|newest| (newest, now));
        Ok(())
    }
}

/// How far the sealing came.
#[derive(Debug, PartialEq, Eq)]
enum Sealed {
    All,
    Some,
}

fn seal_up_to(store: &Store, vault: &Vault, up_to: i64, now: NumericDate) -> Result<Sealed, Failure> {
    for _ in 0..MOST_SEALS {
        let last = store.last_audit_seal()?;
        let run = Run {
            last_id: up_to,
            most: MOST_EVENTS,
        };
        let Some(seal) = seal(store, vault, last.as_ref(), run, now)? else {
            return Ok(Sealed::All);
        };
        // Another node is at it.
        if store.add_audit_seal(&seal)? == Insertion::Exists {
            return Ok(Sealed::All);
        }
    }
    Ok(Sealed::Some)
}

/// Deletes events that were sealed before `before`, about `limit` of them, the oldest first; whether there are more. The last of their
/// seals stays, marked: the rest is verified from there. What is not sealed stays too.
pub(super) fn prune(store: &Store, vault: &Vault, before: NumericDate, limit: usize) -> Result<bool, Failure> {
    let mut deleted = 0;
    while deleted < limit {
        let seals = store.audit_seals_after(0, 2)?;
        let is_old = |seal: &&AuditSeal| seal.sealed_at < before && is_genuine(vault.audit_key(), seal);
        let mut old = seals.iter().take_while(is_old);
        let Some(first) = old.next() else { break };
        if !first.pruned {
            begin_after(store, vault, first)?;
        }
        loop {
            let gone = store.delete_audit_events(first.last_id, PORTION)?;
            deleted += gone;
            if gone == 0 || deleted >= limit {
                break;
            }
        }
        let Some(second) = old.next().filter(|_| deleted < limit) else {
            break;
        };
        begin_after(store, vault, second)?;
    }
    Ok(deleted >= limit)
}

/// Events read, or deleted, in one statement. Ten thousand of them are megabytes of memory, which the allocator would keep.
const PORTION: u32 = 1_000;

fn begin_after(store: &Store, vault: &Vault, seal: &AuditSeal) -> Result<(), Failure> {
    let mut marked = seal.clone();
    marked.pruned = true;
    Ok(store.begin_audit_trail_after(seal.number, &row_mac(vault.audit_key(), &marked))?)
}

/// The events that follow a seal: up to an id, and at most so many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) last_id: i64,
    pub(super) most: u32,
}

/// The seal over a run of events, after the one before. `None` when there are no events.
pub(super) fn seal(
    store: &Store,
    vault: &Vault,
    before: Option<&AuditSeal>,
    run: Run,
    now: NumericDate,
) -> Result<Option<AuditSeal>, Failure> {
    let mut sealing = Sealing::begin(vault.audit_key(), before, now);
    let (mut after, mut left) = (before.map_or(BEFORE_ALL, |seal| seal.last_id), run.most);
    while left > 0 {
        let portion = left.min(PORTION);
        let events = store.audit_records_after(after, portion)?;
        for event in events.iter().take_while(|event| event.id <= run.last_id) {
            sealing.add(event);
        }
        match events.last() {
            Some(last) if events.len() == portion as usize && last.id < run.last_id => after = last.id,
            _ => break,
        }
        left -= portion;
    }
    Ok(sealing.end(vault.audit_key()))
}

/// A seal that is being made, event by event.
struct Sealing {
    context: hmac::Context,
    number: i64,
    sealed_at: NumericDate,
    last_id: Option<i64>,
    events: i64,
}

impl Sealing {
    fn begin(key: &hmac::Key, before: Option<&AuditSeal>, now: NumericDate) -> Self {
        let number = before.map_or(0, |seal| seal.number) + 1;
        let mut context = hmac::Context::with_key(key);
        context.update(b"keywheel audit seal 1\0");
        context.update(&before.map_or([0; 32], |seal| seal.mac));
        context.update(&number.to_be_bytes());
        context.update(&now.epoch().to_be_bytes());
        Sealing {
            context,
            number,
            sealed_at: now,
            last_id: None,
            events: 0,
        }
    }

    fn add(&mut self, event: &AuditRecord) {
        self.last_id = Some(event.id);
        self.events += 1;
        self.context.update(&event.id.to_be_bytes());
        self.context.update(&event.at.epoch().to_be_bytes());
        let texts = [
            Some(&event.event),
            Some(&event.actor),
            event.client_id.as_ref(),
            event.kid.as_ref(),
            Some(&event.detail),
        ];
        for text in texts {
            // Lengths, so that no text can pass for a part of its neighbour.
            match text {
                None => self.context.update(&[0]),
                Some(text) => {
                    self.context.update(&[1]);
                    self.context.update(&(text.len() as u64).to_be_bytes());
                    self.context.update(text.as_bytes());
                }
            }
        }
    }

    /// `None` when nothing was added.
    fn end(self, key: &hmac::Key) -> Option<AuditSeal> {
        let mut seal = AuditSeal {
            number: self.number,
            last_id: self.last_id?,
            events: self.events,
            mac: code(self.context),
            sealed_at: self.sealed_at,
            pruned: false,
            row_mac: [0; 32],
        };
        seal.row_mac = row_mac(key, &seal);
        Some(seal)
    }
}

/// Whether the row of a seal is as it was written, whatever has become of its events.
pub(super) fn is_genuine(key: &hmac::Key, seal: &AuditSeal) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(&row_mac(key, seal), &seal.row_mac).is_ok()
}

fn row_mac(key: &hmac::Key, seal: &AuditSeal) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    context.update(b"keywheel audit row 1\0");
    for number in [
        seal.number,
        seal.last_id,
        seal.events,
        seal.sealed_at.epoch(),
        i64::from(seal.pruned),
    ] {
        context.update(&number.to_be_bytes());
    }
    context.update(&seal.mac);
    code(context)
}

fn code(context: hmac::Context) -> [u8; 32] {
    let mut code = [0; 32];
    code.copy_from_slice(context.sign().as_ref());
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: i64) -> AuditRecord {
        AuditRecord {
            id,
            at: NumericDate::from_epoch(100),
            event: "login".to_owned(),
            actor: "usr_1".to_owned(),
            client_id: Some("shop".to_owned()),
            kid: None,
            detail: "{}".to_owned(),
        }
    }

    fn seal(key: &hmac::Key, before: Option<&AuditSeal>, events: &[AuditRecord], at: NumericDate) -> Option<AuditSeal> {
        let mut sealing = Sealing::begin(key, before, at);
        events.iter().for_each(|event| sealing.add(event));
        sealing.end(key)
    }

    #[test]
    fn a_seal_depends_on_every_part_of_every_event_and_on_the_seal_before() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        let at = NumericDate::from_epoch(1_000);
        let mac = |key: &hmac::Key, before: Option<&AuditSeal>, events: &[AuditRecord]| {
            seal(key, before, events, at).unwrap().mac
        };
        let events = [event(1), event(2)];
        let first = seal(&key, None, &events, at).unwrap();
        assert_eq!((first.number, first.last_id, first.events), (1, 2, 2));
        let mut seen = vec![first.mac];
        let mut differs = |other: [u8; 32], what: &str| {
            assert!(!seen.contains(&other), "{what}");
            seen.push(other);
        };
        type Change = (&'static str, fn(&mut AuditRecord));
        let changes: [Change; 8] = [
            ("id", |event| event.id = 3),
            ("at", |event| event.at = NumericDate::from_epoch(101)),
            ("event", |event| event.event = "logout".to_owned()),
            ("actor", |event| event.actor = "usr_2".to_owned()),
            ("client_id", |event| event.client_id = None),
            ("kid", |event| event.kid = Some(String::new())),
            ("detail", |event| event.detail = "{} ".to_owned()),
            // What one text loses its neighbour gains.
            ("border", |event| {
                (event.event, event.actor) = ("loginusr".to_owned(), "_1".to_owned())
            }),
        ];
        for (what, change) in changes {
            let mut changed = events.clone();
            change(&mut changed[1]);
            differs(mac(&key, None, &changed), what);
        }
        differs(mac(&key, None, &events[..1]), "removed");
        differs(mac(&key, None, &[event(2), event(1)]), "order");
        differs(mac(&key, Some(&first), &events), "before");
        differs(mac(&hmac::Key::new(hmac::HMAC_SHA256, &[8; 32]), None, &events), "key");
        assert_eq!(seal(&key, Some(&first), &[], at), None);
    }
}
