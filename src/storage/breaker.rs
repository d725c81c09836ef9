//! What keeps everybody from waiting for a database that is away.
//!
//! Without it each request would wait for a connection, a second long, and each that is given one that leads nowhere for as long as a
//! statement may take. So after a few failures in a row nobody is let through, and one thread asks the database until it answers.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::connection::Connections;
use super::error::ConnectError;
use super::postgres::Connector;

/// Failures in a row after which the database is taken to be away.
const FAILURES: u32 = 3;
/// Time between two questions whether it is back.
const PROBE_EVERY: Duration = Duration::from_millis(250);

/// Knows whether the database is away.
pub(super) struct Breaker {
    connector: Connector,
    connections: r2d2::Pool<Connections>,
    answers: AtomicU64,
    failures: AtomicU32,
    is_open: AtomicBool,
    /// What was said last of the absence.
    reason: Mutex<String>,
}

impl Breaker {
    /// Stands in front of `connections`. The database is taken to be there.
    pub(super) fn of(connector: Connector, connections: r2d2::Pool<Connections>) -> Self {
        Breaker {
            connector,
            connections,
            answers: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            is_open: AtomicBool::new(false),
            reason: Mutex::default(),
        }
    }

    /// Why the database is not to be asked now; `None` when it is.
    pub(super) fn reason(&self) -> Option<String> {
        let is_open = self.is_open.load(Ordering::Acquire);
        is_open.then(|| self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// The database answered, whatever it said.
    pub(super) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        // Read by every statement, and written by the first one after a failure.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// How often it answered.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// There was no connection, or it was lost. The first one too many begins to ask whether the database is back.
    pub(super) fn failed(self: &Arc<Self>, why: &dyn fmt::Display) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < FAILURES || self.is_open.swap(true, Ordering::AcqRel) {
            return;
        }
        self.say(why.to_string());
        tracing::warn!(event = "database.away", reason = %why, "answering 503 at once until the database is back");
        let breaker = Arc::downgrade(self);
        let asking = Builder::new()
            .name("database-probe".to_owned())
            .spawn(move || ask(&breaker));
        if asking.is_err() {
            // Who would close it again?
            self.close();
        }
    }

    fn say(&self, reason: String) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Whether the database is there although it gives no connection for this: it has given away as many as it may, some of them to
    /// the pool, and those can be used.
    fn is_merely_full(&self, error: &ConnectError) -> bool {
        error.is_full && self.connections.state().connections > 0
    }

    fn close(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.is_open.store(false, Ordering::Release);
    }
}

/// Asks until the database is back, or nobody wants to know any more.
fn ask(breaker: &Weak<Breaker>) {
    let begun = Instant::now();
    while let Some(breaker) = breaker.upgrade() {
        match breaker.connector.connect().map(drop) {
            Err(error) if !breaker.is_merely_full(&error) => breaker.say(error.words),
            Ok(()) | Err(_) => {
                let away = begun.elapsed();
                tracing::info!(event = "database.back", ?away, "the database answers again");
                breaker.close();
                return;
            }
        }
        drop(breaker);
        std::thread::sleep(PROBE_EVERY);
    }
}
