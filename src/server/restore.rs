use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Failure;
use crate::keys::{KeyRing, KeyState};
use crate::oauth::{NumericDate, Thumbprint};
use crate::storage::{Barring, Position, Store};

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

    /// Whether the database is in an earlier state than it was.
    fn outlived(&self, position: &Position, ring: &KeyRing, now: NumericDate) -> bool {
        let is_back = |(kid, how): &(Thumbprint, Barring)| match ring.state(kid, now) {
            None | Some(KeyState::Revoked) => false,
            Some(_) => *how == Barring::Revoke || ring.key(kid).is_some_and(|key| key.record().barred_at().is_none()),
        };
        position.is_behind(&self.position)
            || (self.position.uid == position.uid && self.barred_keys().iter().any(is_back))
    }
}

/// The database was put back to an earlier state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the database was put back to an earlier state, from a backup or by a fail-over that lost writes: refresh tokens that were used \
     or revoked since, and keys that were barred since, would be good again. Stop all servers and run \"keywheel restore finalize\", \
     which ends every login and bars those keys once more"
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
    pub(super) fn begin(
        store: &Store,
        before: Option<&Remembered>,
        ring: &KeyRing,
        now: NumericDate,
    ) -> Result<Self, Failure> {
        let position = store
            .position()?
            .ok_or(Failure::Unavailable("the database has no identity", None))?;
        if before.is_some_and(|before| before.outlived(&position, ring, now)) {
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
    pub(super) fn look(&self, store: &Store, ring: &KeyRing, now: NumericDate) -> Result<Option<Position>, Failure> {
        let Some(position) = store.position()? else {
            return Ok(None);
        };
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.outlived(&position, ring, now) {
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

fn barred(ring: &KeyRing) -> Vec<BarredKey> {
    let barred = ring.keys().filter_map(|key| {
        let record = key.record();
        let how = match (record.revoked_at, record.tainted_at) {
            (Some(_), _) => Barring::Revoke,
            (None, Some(_)) => Barring::Taint,
            (None, None) => return None,
        };
        Some(BarredKey {
            kid: key.kid().to_string(),
            how,
        })
    });
    barred.collect()
}
