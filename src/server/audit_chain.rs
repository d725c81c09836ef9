//! The audit trail as a chain: each seal is a keyed hash over a run of events and over the seal before.
//!
//! Whoever can write to the database, but has no master key, cannot alter, remove or insert an event under a seal without breaking
//! it. Events are sealed a little after they happened and not with them: so an exchange of a refresh token waits for no other.

use std::sync::atomic::{AtomicI64, Ordering};

use aws_lc_rs::hmac;
use thiserror::Error;

use super::{Failure, Vault};
use crate::oauth::{NumericDate, Seconds, base64url};
use crate::storage::{AuditRecord, AuditSeal, Insertion, Store};

/// Makes seals now and then.
#[derive(Debug, Default)]
pub(super) struct Sealer {
    sealed_at: AtomicI64,
}

/// Time between two seals.
const SEAL_EVERY: Seconds = Seconds::new(10);
/// Age from which on events are sealed: by then every transaction with a lower number has ended, one way or the other.
const SETTLED: Seconds = Seconds::minutes(1);
/// Less than the id of any event, also of one that somebody made up.
const BEFORE_ALL: i64 = i64::MIN;
/// Most events under one seal, and most seals in one tick.
const MOST_EVENTS: u32 = 10_000;
const MOST_SEALS: usize = 5;

impl Sealer {
    /// Seals what has settled, if it is time. Of several nodes the first one's seal counts.
    pub(super) fn tick(&self, store: &Store, vault: &Vault, now: NumericDate) -> Result<(), Failure> {
        let sealed_at = NumericDate::from_epoch(self.sealed_at.load(Ordering::Relaxed));
        if now.since(sealed_at) < SEAL_EVERY && sealed_at <= now {
            return Ok(());
        }
        self.sealed_at.store(now.epoch(), Ordering::Relaxed);
        for _ in 0..MOST_SEALS {
            let last = store.last_audit_seal()?;
            let mut events =
                store.audit_records_after(last.as_ref().map_or(BEFORE_ALL, |seal| seal.last_id), MOST_EVENTS)?;
            // One that a clock ahead of all others has dated must not hold up the rest until its time comes.
            let has_settled = |event: &&AuditRecord| event.at + SETTLED <= now || event.at > now + SETTLED;
            let settled = events.iter().take_while(has_settled).count();
            events.truncate(settled);
            let Some(seal) = seal(vault.audit_key(), last.as_ref(), &events, now) else {
                return Ok(());
            };
            if store.add_audit_seal(&seal)? == Insertion::Exists || settled < MOST_EVENTS as usize {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// What a look over the whole trail found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTrail {
    /// How many events are under unbroken seals.
    pub sealed: u64,
    /// How many came since, and are not sealed yet.
    pub unsealed: u64,
    /// The last seal, to be noted elsewhere: a trail that was cut off behind it does not have it any more.
    pub head: Option<SealName>,
    /// From when on the trail is there, if its beginning has been deleted after `audit.retention`.
    pub begins: Option<NumericDate>,
}

/// A seal by its number and code, as `NUMBER:CODE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealName {
    /// The number.
    pub number: i64,
    /// The code in base64url.
    pub code: String,
}

impl From<&AuditSeal> for SealName {
    fn from(seal: &AuditSeal) -> Self {
        SealName {
            number: seal.number,
            code: base64url(&seal.mac),
        }
    }
}

/// Why the trail is not what was written.
#[derive(Debug, Error)]
pub enum BrokenTrail {
    /// Events under a seal are not those that were sealed.
    #[error(
        "the audit trail is broken at seal {number}: of the {events} events up to id {last_id}, sealed at {sealed_at}, some were altered, removed \
         or added since. Compare them with a backup"
    )]
    Seal {
        /// The seal.
        number: i64,
        /// How many it is over.
        events: i64,
        /// The id of the last of them.
        last_id: i64,
        /// When it was made.
        sealed_at: NumericDate,
    },
    /// Seals are not there any more.
    #[error("seals of the audit trail were removed: {0} is missing. Compare the table audit_seals with a backup")]
    Missing(i64),
    /// The seal that was noted elsewhere is not there.
    #[error("the trail does not have the seal {0}: it was cut off or made anew since that was noted")]
    CutOff(String),
    /// The trail cannot be read.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Verifies the whole trail. Seals from before `kept_since` may be gone with their events. `noted` is a seal that must be there.
pub fn verify_trail(
    store: &Store,
    vault: &Vault,
    kept_since: NumericDate,
    noted: Option<&SealName>,
) -> Result<VerifiedTrail, BrokenTrail> {
    let mut trail = VerifiedTrail {
        sealed: 0,
        unsealed: 0,
        head: None,
        begins: None,
    };
    let mut before: Option<AuditSeal> = None;
    let mut found = noted.is_none();
    loop {
        let seals = store.audit_seals_after(before.as_ref().map_or(0, |seal| seal.number), SEALS_AT_ONCE);
        let seals = seals.map_err(Failure::from)?;
        if seals.is_empty() {
            break;
        }
        for next in seals {
            match &before {
                None if next.sealed_at < kept_since => trail.begins = Some(next.sealed_at),
                None if next.number > 1 => return Err(BrokenTrail::Missing(next.number - 1)),
                Some(before) if next.number != before.number + 1 => {
                    return Err(BrokenTrail::Missing(before.number + 1));
                }
                _ => trail.sealed += unbroken(store, vault, before.as_ref(), &next)?,
            }
            found |= noted == Some(&SealName::from(&next));
            before = Some(next);
        }
    }
    if let (false, Some(noted)) = (found, noted) {
        return Err(BrokenTrail::CutOff(format!("{}:{}", noted.number, noted.code)));
    }
    let mut last_id = before.as_ref().map_or(BEFORE_ALL, |seal| seal.last_id);
    loop {
        let events = store.audit_records_after(last_id, MOST_EVENTS).map_err(Failure::from)?;
        let Some(last) = events.last() else { break };
        last_id = last.id;
        trail.unsealed += events.len() as u64;
    }
    trail.head = before.as_ref().map(SealName::from);
    Ok(trail)
}

const SEALS_AT_ONCE: u32 = 1_000;

/// How many events are under the seal, if they are those that were sealed.
fn unbroken(store: &Store, vault: &Vault, before: Option<&AuditSeal>, next: &AuditSeal) -> Result<u64, BrokenTrail> {
    let first = before.map_or(BEFORE_ALL, |seal| seal.last_id);
    // One more than there may be, so that one that was added shows.
    let most = u32::try_from(next.events).map_or(MOST_EVENTS, |events| events.min(MOST_EVENTS)) + 1;
    let mut events = store.audit_records_after(first, most).map_err(Failure::from)?;
    events.retain(|event| event.id <= next.last_id);
    let made = seal(vault.audit_key(), before, &events, next.sealed_at);
    if made.as_ref() == Some(next) {
        return Ok(events.len() as u64);
    }
    Err(BrokenTrail::Seal {
        number: next.number,
        events: next.events,
        last_id: next.last_id,
        sealed_at: next.sealed_at,
    })
}

/// The seal over events, after the one before. `None` when there are no events.
fn seal(key: &hmac::Key, before: Option<&AuditSeal>, events: &[AuditRecord], now: NumericDate) -> Option<AuditSeal> {
    let last_id = events.last()?.id;
    let number = before.map_or(0, |seal| seal.number) + 1;
    let mut context = hmac::Context::with_key(key);
    context.update(b"keywheel audit seal 1\0");
    context.update(&before.map_or([0; 32], |seal| seal.mac));
    context.update(&number.to_be_bytes());
    context.update(&now.epoch().to_be_bytes());
    for event in events {
        context.update(&event.id.to_be_bytes());
        context.update(&event.at.epoch().to_be_bytes());
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
                None => context.update(&[0]),
                Some(text) => {
                    context.update(&[1]);
                    context.update(&(text.len() as u64).to_be_bytes());
                    context.update(text.as_bytes());
                }
            }
        }
    }
    let mut mac = [0; 32];
    mac.copy_from_slice(context.sign().as_ref());
    Some(AuditSeal {
        number,
        last_id,
        events: i64::try_from(events.len()).unwrap_or(i64::MAX),
        mac,
        sealed_at: now,
    })
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
