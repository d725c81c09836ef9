//! The threads that carry rotations to PostgreSQL, all that wait in one statement.
//!
//! Most of a rotation is the way to the database and the wait for its disk, and both cost the same for one and for a hundred. So
//! rotations queue here as writes do for SQLite, and nobody waits for company: what is there goes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::audit::AuditEvent;
use super::connection::Conn;
use super::error::Error;
use super::pool::Pool;
use super::refresh_tokens::Rotation;
use super::shared_rotation;
use super::turn::Turn;

/// Threads, each with one statement under way: while one waits for the disk, another takes what has come meanwhile.
const COURIERS: usize = 2;
/// Most rotations in one statement.
const BATCH: usize = 128;
/// Most rotations that wait; more is [`Error::Unavailable`] at once.
const QUEUE: usize = 1_024;

/// A rotation on its way.
pub(super) struct Parcel {
    pub(super) rotation: Rotation,
    pub(super) event: AuditEvent,
    pub(super) turn: Arc<Turn>,
    pub(super) done: Done,
}

/// Told whether the rotation happened. False says that it did not, and that asking alone tells why.
pub(super) type Done = Box<dyn FnOnce(Result<bool, Error>) + Send>;

/// The front of the threads. Dropping it ends them after what is queued.
pub(super) struct Couriers {
    queue: Option<SyncSender<Parcel>>,
    threads: Vec<JoinHandle<()>>,
}

impl Couriers {
    /// Starts the threads; connects to nothing.
    pub(super) fn start(pool: &Pool) -> Result<Self, Error> {
        let (queue, parcels) = sync_channel(QUEUE);
        let parcels = Arc::new(Mutex::new(parcels));
        let courier = |number: usize| {
            let (pool, parcels) = (pool.clone(), Arc::clone(&parcels));
            Builder::new()
                .name(format!("courier-{number}"))
                .spawn(move || while carry(&parcels, &pool) {})
        };
        let threads = (0..COURIERS).map(courier).collect::<Result<_, _>>();
        Ok(Couriers {
            queue: Some(queue),
            threads: threads.map_err(Error::unavailable)?,
        })
    }

    /// Takes a parcel on, or says at once why not.
    pub(super) fn take(&self, parcel: Parcel) {
        let Some(queue) = &self.queue else { return };
        let (parcel, reason) = match queue.try_send(parcel) {
            Err(TrySendError::Full(parcel)) => (parcel, "too many rotations are waiting"),
            Err(TrySendError::Disconnected(parcel)) => (parcel, "the couriers have ended"),
            Ok(()) => return,
        };
        (parcel.done)(Err(Error::unavailable(reason)));
    }
}

impl Drop for Couriers {
    fn drop(&mut self) {
        drop(self.queue.take());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a courier had panicked");
            }
        }
    }
}

/// Carries what waits; false when nothing will come any more.
fn carry(parcels: &Mutex<Receiver<Parcel>>, pool: &Pool) -> bool {
    let batch: Vec<Parcel> = {
        let parcels = parcels.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(first) = parcels.recv() else { return false };
        let waiting = std::iter::once(first).chain(parcels.try_iter().take(BATCH - 1));
        waiting.filter(|parcel| parcel.turn.begin()).collect()
    };
    if batch.is_empty() {
        return true;
    }
    let carried = catch_unwind(AssertUnwindSafe(|| carried(&batch, pool)))
        // Whether it happened is not known.
        .unwrap_or_else(|_panic| Err(Error::unavailable("a courier panicked")));
    for (place, parcel) in batch.into_iter().enumerate() {
        let outcome = match &carried {
            Ok(happened) => Ok(happened.get(place).is_some_and(|happened| *happened)),
            // Nothing of it happened, for something that may be the doing of one of them.
            Err(Error::Database(_)) => Ok(false),
            Err(error) => Err(error.clone()),
        };
        (parcel.done)(outcome);
    }
    true
}

fn carried(batch: &[Parcel], pool: &Pool) -> Result<Vec<bool>, Error> {
    pool.write(|conn| match conn {
        Conn::Postgres(link) => shared_rotation::rotate(link, batch),
        Conn::Sqlite(_) => Ok(Vec::new()),
    })
}
