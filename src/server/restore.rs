use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Failure;
use crate::keys::KeyRing;
use crate::oauth::Thumbprint;
use crate::storage::{self, Barring, Position, Store};

/// What a node keeps outside of the database, so that it notices when an older state of the database is put in its place: that
/// would make refresh tokens good that were exchanged or revoked since, and bring back keys that were barred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// How far the database was.
    pub position: Position,
    /// Keys that were barred from signing.
    pub barred: Vec<BarredKey>,
}

/// A key that was barred from signing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarredKey {
    /// The key.
    pub kid: String,
    /// How it was barred.
    pub how: Barring,
}

impl Remembered {
    /// The barred keys, by their identifiers.
    pub fn barred_keys(&self) -> Vec<(Thumbprint, Barring)> {
        let barred = self.barred.iter();
        barred
            .filter_map(|key| Some((Thumbprint::parse(&key.kid)?, key.how)))
            .collect()
    }

    /// Whether the database is in an earlier state than it was: at `position`, and with these keys, each with how it is barred.
    pub fn outlived<'a>(
        &self,
        position: &Position,
        keys: impl IntoIterator<Item = (&'a Thumbprint, Option<Barring>)>,
    ) -> bool {
        let barred = self.barred_keys();
        let is_back = |(kid, how): (&Thumbprint, Option<Barring>)| match barred.iter().find(|(known, _)| known == kid) {
            Some((_, Barring::Revoke)) => how != Some(Barring::Revoke),
            Some((_, Barring::Taint)) => how.is_none(),
            None => false,
        };
        position.is_behind(&self.position) || (self.position.uid == position.uid && keys.into_iter().any(is_back))
    }

    /// Whether the database, now at `position`, has lost the newest that was seen in it, though it may have come farther since.
    pub fn is_lost_by(&self, store: &Store, position: &Position) -> Result<bool, storage::Error> {
        let is_same = position.uid == self.position.uid && position.finalized == self.position.finalized;
        Ok(is_same && !store.still_has(&self.position)?)
    }
}

/// The database was put back to an earlier state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the database was put back to an earlier state, from a backup or by a fail-over that lost writes: refresh tokens that were used \
     or revoked since, and keys that were barred since, would be good again. Run \"keywheel restore finalize\" with the keys_dir of a node \
     that says this: it ends every login and bars those keys once more. Servers that run notice it by themselves"
)]
pub struct Restored;

/// Watches whether the database only goes forward.
#[derive(Debug)]
pub(super) struct Watch {
    remembered: Mutex<Remembered>,
    restored: AtomicBool,
}

impl Watch {
    /// Begins with what was remembered by the process before. Refused when the database is in an earlier state.
    pub(super) fn begin(store: &Store, before: Option<&Remembered>, ring: &KeyRing) -> Result<Self, Failure> {
        let position = store
            .position()?
            .ok_or(Failure::Unavailable("the database has no identity", None))?;
        if let Some(before) = before
            && (before.outlived(&position, barrings(ring)) || before.is_lost_by(store, &position)?)
        {
            return Err(Failure::Broken("this database cannot be served", Box::new(Restored)));
        }
        Ok(Watch {
            remembered: Mutex::new(Remembered {
                position,
                barred: barred(ring),
            }),
            restored: AtomicBool::new(false),
        })
    }

    /// Looks how far the database is. `Some` when somebody finalized a restoration since: then nothing that was read before
    /// counts any more.
    pub(super) fn look(&self, store: &Store, ring: &KeyRing) -> Result<Option<Position>, Failure> {
        let Some(position) = store.position()? else {
            return Ok(None);
        };
        let is_lost = self.remembered().is_lost_by(store, &position)?;
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if is_lost || remembered.outlived(&position, barrings(ring)) {
            if !self.restored.swap(true, Ordering::AcqRel) {
                tracing::error!(event = "database.restored", "{Restored}");
            }
            return Ok(None);
        }
        let finalized = position.uid != remembered.position.uid || position.finalized != remembered.position.finalized;
        remembered.position = position.clone();
        remembered.barred = barred(ring);
        self.restored.store(false, Ordering::Release);
        Ok(finalized.then_some(position))
    }

    /// Whether the database is in an earlier state than it was.
    pub(super) fn is_restored(&self) -> bool {
        self.restored.load(Ordering::Acquire)
    }

    /// What is to be kept outside of the database.
    pub(super) fn remembered(&self) -> Remembered {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn barrings(ring: &KeyRing) -> impl Iterator<Item = (&Thumbprint, Option<Barring>)> {
    ring.keys()
        .map(|key| (key.kid(), Barring::of(key.record().tainted_at, key.record().revoked_at)))
}

fn barred(ring: &KeyRing) -> Vec<BarredKey> {
    let barred = barrings(ring).filter_map(|(kid, how)| {
        Some(BarredKey {
            kid: kid.to_string(),
            how: how?,
        })
    });
    barred.collect()
}
