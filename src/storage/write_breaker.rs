//! What keeps everybody from writing while PostgreSQL answers who reads and leaves who writes without an answer.
//!
//! It does so while its synchronous standby is away: a commit waits for the standby, and no timeout of the server's ends that. Whoever
//! gives up leaves a session behind that goes on waiting, so that a node which tries again and again uses up the sessions that there
//! are, and then nobody can read either. So after the first commit that is known to wait nobody writes but one thread, until it gets
//! an answer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::breaker::Breaker;
use super::postgres::{Connector, Written};

/// How long the first attempt may go unanswered, and how long any may: the answer could have been lost on its way. Each attempt that is
/// given up leaves a session behind, so each may take twice as long as the one before.
const PATIENCE: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(600)];
/// Time between two attempts.
const TRY_EVERY: Duration = Duration::from_millis(100);
/// Most of the time it was a network or a process that stood still, and the first attempt is answered at once.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// Knows whether what is written is left without an answer.
pub(super) struct WriteBreaker {
    connector: Connector,
    /// Knows whether there is a database at all.
    breaker: Arc<Breaker>,
    is_open: AtomicBool,
    /// How often who read got no answer in time: connections may lead nowhere any more.
    silent_reads: AtomicU64,
}

impl WriteBreaker {
    /// Stands in front of those who write, as `breaker` does in front of all. Writes are taken to be answered.
    pub(super) fn of(connector: Connector, breaker: &Arc<Breaker>) -> Self {
        WriteBreaker {
            connector,
            breaker: Arc::clone(breaker),
            is_open: AtomicBool::new(false),
            silent_reads: AtomicU64::new(0),
        }
    }

    /// Whether nobody is to write now.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// What was read got no answer in time.
    pub(super) fn read_was_silent(&self) {
        self.silent_reads.fetch_add(1, Ordering::Relaxed);
    }

    /// What was written got no answer in time, here or at another node. The first one has somebody ask whether anything does.
    pub(super) fn hung(self: &Arc<Self>) {
        if self.is_open.swap(true, Ordering::AcqRel) {
            return;
        }
        let breaker = Arc::downgrade(self);
        let asking = Builder::new()
            .name("write-probe".to_owned())
            .spawn(move || ask(&breaker));
        if asking.is_err() {
            // Who would close it again?
            self.close();
        }
    }

    fn close(&self) {
        self.is_open.store(false, Ordering::Release);
    }

    /// Writes once, unless somebody asks already whether the database is back. `wait` is called while there is no answer.
    fn attempt(self: &Arc<Self>, patience: Duration, wait: &mut dyn FnMut()) -> Written {
        let reads = self.silent_reads.load(Ordering::Relaxed);
        let mut is_pointless = || {
            wait();
            let leads_nowhere = self.silent_reads.load(Ordering::Relaxed) != reads;
            self.breaker.reason().is_some() || leads_nowhere || Arc::strong_count(self) == 1
        };
        if is_pointless() {
            return Written::Pointless;
        }
        self.connector.write_nothing(patience, is_pointless)
    }
}

/// Writes until that is answered, or nobody wants to know any more.
fn ask(breaker: &Weak<WriteBreaker>) {
    let (begun, mut is_told) = (Instant::now(), false);
    let [mut patience, most_patience] = PATIENCE;
    while let Some(breaker) = breaker.upgrade() {
        let mut tell = || {
            if !is_told && begun.elapsed() > TELL_AFTER && breaker.breaker.reason().is_none() {
                is_told = true;
                tracing::warn!(
                    event = "database.leaves_writes",
                    "the database answers who reads, and nobody who writes, as PostgreSQL does while its synchronous standby is away"
                );
            }
        };
        match breaker.attempt(patience, &mut tell) {
            // Where there is no connection for this, those of the pool have to find out.
            Written::Answered | Written::NoRoom => {
                breaker.close();
                if is_told {
                    let lasted = begun.elapsed();
                    tracing::info!(
                        event = "database.answers_writes",
                        ?lasted,
                        "who writes is let through again"
                    );
                }
                return;
            }
            Written::Unanswered => patience = (patience * 2).min(most_patience),
            Written::Pointless => {}
        }
        drop(breaker);
        std::thread::sleep(TRY_EVERY);
    }
}
