use thiserror::Error;

use super::audit_chain::{BEFORE_ALL, MOST_EVENTS, Run, is_genuine, seal};
use super::{Failure, Vault};
use crate::oauth::{NumericDate, base64url};
use crate::storage::{AuditSeal, Store};

/// What a look over the whole trail found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTrail {
    /// How many events are under unbroken seals.
    pub sealed: u64,
    /// How many came since, and are not sealed yet.
    pub unsealed: u64,
    /// How many are left of the time before the trail begins: nothing can be said about them any more.
    pub unverifiable: u64,
    /// The last seal, to be noted elsewhere: a trail that was cut off behind it does not have it any more.
    pub head: Option<SealName>,
    /// When the trail begins, if what was before has outlived `audit.retention`.
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
        "the audit trail is broken at seal {number}: of the {events} events up to id {last_id}, sealed at {sealed_at}, some were \
         altered, removed or added since. Compare them with a backup"
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
    /// The row of a seal was altered.
    #[error("seal {0} of the audit trail was altered. Compare the table audit_seals with a backup")]
    Altered(i64),
    /// An event was added to the time before the trail begins.
    #[error("audit event {0} was added among those that have outlived their retention")]
    Added(i64),
    /// The seal that was noted elsewhere is not there.
    #[error("the trail does not have the seal {0}: it was cut off or made anew since that was noted")]
    CutOff(String),
    /// The seal that was noted elsewhere is from before the trail begins.
    #[error("the trail begins after the seal {0}, whose events have outlived audit.retention: note a later one")]
    Outlived(String),
    /// The trail cannot be read.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Verifies the whole trail. `noted` is a seal that must be there.
pub fn verify_trail(store: &Store, vault: &Vault, noted: Option<&SealName>) -> Result<VerifiedTrail, BrokenTrail> {
    let mut tries = 0;
    loop {
        let begins = store.audit_seals_after(0, 1).map_err(Failure::from)?;
        match once(store, vault, noted) {
            // A server moved the beginning on meanwhile.
            Err(BrokenTrail::Seal { .. } | BrokenTrail::Missing(_))
                if tries < TRIES && store.audit_seals_after(0, 1).map_err(Failure::from)? != begins =>
            {
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

const TRIES: usize = 3;
const SEALS_AT_ONCE: u32 = 1_000;

fn once(store: &Store, vault: &Vault, noted: Option<&SealName>) -> Result<VerifiedTrail, BrokenTrail> {
    let mut trail = VerifiedTrail {
        sealed: 0,
        unsealed: 0,
        unverifiable: 0,
        head: None,
        begins: None,
    };
    let mut before: Option<AuditSeal> = None;
    let mut found = noted.is_none();
    loop {
        let after = before.as_ref().map_or(0, |seal| seal.number);
        let seals = store.audit_seals_after(after, SEALS_AT_ONCE).map_err(Failure::from)?;
        if seals.is_empty() {
            break;
        }
        for next in seals {
            if !is_genuine(vault.audit_key(), &next) {
                return Err(BrokenTrail::Altered(next.number));
            }
            match &before {
                None if next.pruned => {
                    if let Some(noted) = noted.filter(|noted| noted.number < next.number) {
                        return Err(BrokenTrail::Outlived(format!("{}:{}", noted.number, noted.code)));
                    }
                    trail.begins = Some(next.sealed_at);
                    trail.unverifiable = outlived(store, &next)?;
                }
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

/// What is left of the events before the trail begins: they are deleted bit by bit, and the newest of all stays. None of them is
/// younger than their seal.
fn outlived(store: &Store, begins: &AuditSeal) -> Result<u64, BrokenTrail> {
    let (mut left, mut last_id) = (0, BEFORE_ALL);
    loop {
        let mut events = store.audit_records_after(last_id, MOST_EVENTS).map_err(Failure::from)?;
        events.retain(|event| event.id <= begins.last_id);
        let Some(last) = events.last() else { return Ok(left) };
        last_id = last.id;
        if let Some(added) = events.iter().find(|event| event.at > begins.sealed_at) {
            return Err(BrokenTrail::Added(added.id));
        }
        left += events.len() as u64;
    }
}

/// How many events are under the seal, if they are those that were sealed.
fn unbroken(store: &Store, vault: &Vault, before: Option<&AuditSeal>, next: &AuditSeal) -> Result<u64, BrokenTrail> {
    // One more than there may be, so that one that was added shows.
    let run = Run {
        last_id: next.last_id,
        most: u32::try_from(next.events).map_or(MOST_EVENTS, |events| events.min(MOST_EVENTS)) + 1,
    };
    let made = seal(store, vault, before, run, next.sealed_at)?;
    if made.is_some_and(|made| made.mac == next.mac && made.last_id == next.last_id && made.events == next.events) {
        return Ok(u64::try_from(next.events).unwrap_or_default());
    }
    Err(BrokenTrail::Seal {
        number: next.number,
        events: next.events,
        last_id: next.last_id,
        sealed_at: next.sealed_at,
    })
}
