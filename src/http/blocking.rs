use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Bounds of a kind of work that waits.
#[derive(Debug, Clone, Copy)]
pub struct BlockingSettings {
    /// Pieces of work at once.
    pub permits: usize,
    /// Pieces of work that wait for a permit.
    pub most_waiting: usize,
    /// Longest wait for a permit.
    pub deadline: Duration,
}

impl BlockingSettings {
    /// For work that waits for the database.
    pub const STORAGE: BlockingSettings = BlockingSettings {
        permits: 16,
        most_waiting: 512,
        deadline: Duration::from_secs(1),
    };

    /// For work that waits for a password to be hashed, by so many threads: each of them has the next login at hand when it is
    /// done with one. More would not be served in time.
    pub const fn logins(hashing_threads: usize) -> Self {
        BlockingSettings {
            permits: hashing_threads.saturating_mul(2),
            most_waiting: 64,
            deadline: Duration::from_secs(2),
        }
    }
}

/// The one way off the connection's thread. More work than the bounds allow is turned away at once instead of piling up.
#[derive(Debug)]
pub struct Blocking {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
    deadline: Duration,
}

/// Why a piece of work did not run to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotDone {
    /// Too much is under way: worth trying again.
    Overloaded,
    /// The work panicked.
    Panicked,
}

impl Blocking {
    /// A pool with the given bounds.
    pub fn new(settings: BlockingSettings) -> Self {
        Blocking {
            permits: Arc::new(Semaphore::new(settings.permits)),
            waiting: AtomicUsize::new(0),
            most_waiting: settings.most_waiting,
            deadline: settings.deadline,
        }
    }

    /// How many pieces of work wait for a permit.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Runs `work` on a thread that may wait. The permit travels with the work, so it is held until the work is done, even when
    /// the connection is gone.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, NotDone> {
        let place = Place::take(&self.waiting, self.most_waiting).ok_or(NotDone::Overloaded)?;
        let permit = match timeout(self.deadline, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => return Err(NotDone::Overloaded),
        };
        drop(place);
        let laid_down = Arc::new(Mutex::new(Some((permit, work))));
        let handed = Arc::clone(&laid_down);
        let taken = move || take(&handed).map(|(_permit, work)| work());
        #[expect(clippy::disallowed_methods, reason = "this is the bounded pool")]
        let running = catch_unwind(AssertUnwindSafe(|| tokio::task::spawn_blocking(taken)));
        let Ok(running) = running else {
            // The system gives no thread, and what was handed over lies in tokio's queue, which nobody may ever come to. Neither the permit
            // nor the work is to lie there as well.
            drop(take(&laid_down));
            return Err(NotDone::Overloaded);
        };
        match running.await {
            Ok(done) => done.ok_or(NotDone::Overloaded),
            Err(_cancelled_or_panicked) => Err(NotDone::Panicked),
        }
    }
}

/// What was laid down, for whoever is first.
fn take<T>(laid_down: &Mutex<Option<T>>) -> Option<T> {
    laid_down.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// A place among those who wait; given back however the wait ends.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let place = Place(waiting);
        (waiting.fetch_add(1, Ordering::AcqRel) < most).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
