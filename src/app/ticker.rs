use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::clock::SteadyClock;
use super::journal::Scribe;
use super::log_lines::LogLines;
use super::output;
use super::process_figures;
use super::supervisor::Supervisor;
use crate::server::{Context, Edge, Failure, Following, Reach, Server};
use crate::storage::Store;

/// Turns the wheel once a second on a thread of its own. A tick that fails is logged and tried again; what was in force stays so.
#[derive(Debug)]
pub(super) struct Ticker {
    stop: Sender<()>,
    ended: oneshot::Receiver<()>,
}

/// What a tick needs.
pub(super) struct Ticking {
    pub(super) server: Arc<Server>,
    pub(super) edge: Edge,
    pub(super) clock: Arc<SteadyClock>,
    pub(super) store: Store,
    pub(super) journal: Scribe,
    /// The lines of the log, if they are written by a thread of its own.
    pub(super) lines: Option<LogLines>,
    /// Given a sign of life after each tick, be it a good one or not: what must never hang is this thread.
    pub(super) supervisor: Supervisor,
}

fn tick(server: &Server, edge: &Edge) -> Result<(), Failure> {
    match server.follow(edge.now())? {
        Following::Unfit => Ok(()),
        Following::Fit => server.turn(&mut Context {
            now: edge.now(),
            rng: &mut edge.rng()?,
            reach: Reach::Storage,
        }),
    }
}

/// A panic is this tick's alone: without the thread no key would ever turn again, and nobody would say so.
fn alone(tick: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let ticked = catch_unwind(AssertUnwindSafe(tick));
    ticked.unwrap_or_else(|_panic| Err(Failure::Unavailable("it panicked; the lines before say where", None)))
}

/// Counts the lines that were left out of the log and, once it flows again, says in it how many. Returns how many it told of so far.
fn tell_dropped(server: &Server, lines: &LogLines, told: u64) -> u64 {
    let dropped = lines.dropped();
    server.metrics().lines_dropped(dropped);
    if dropped == told || !lines.flows() {
        return told;
    }
    warn!(
        event = "log.dropped",
        lines = dropped.saturating_sub(told),
        "the log was not read, or could not be written"
    );
    dropped
}

/// What the system says of the process, where it says anything.
fn tell_process(server: &Server, booted_at: f64) {
    if let Some(figures) = process_figures::read(booted_at) {
        server.metrics().process(&figures);
    }
}

/// What ticks fail of: the log is told when that begins, when the cause is another, and now and then; not each second.
#[derive(Debug, Default)]
struct Failing(Option<(String, Instant)>);

/// Time between two lines about the same cause.
const TELL_EVERY: Duration = Duration::from_secs(300);

impl Failing {
    fn is_news(&mut self, cause: &str, now: Instant) -> bool {
        let is_told = |(told, at): &(String, Instant)| told == cause && now.duration_since(*at) < TELL_EVERY;
        if self.0.as_ref().is_some_and(is_told) {
            return false;
        }
        self.0 = Some((cause.to_owned(), now));
        true
    }

    /// Whether it failed before.
    fn ended(&mut self) -> bool {
        self.0.take().is_some()
    }
}

/// Time between two looks at the change feed: what is changed anywhere is known everywhere within it.
const INTERVAL: Duration = Duration::from_secs(1);

impl Ticker {
    pub(super) fn start(ticking: Ticking) -> std::io::Result<Self> {
        // Once, so that a clock which is put right does not look like a start.
        let booted_at = ticking.clock.booted_at();
        tell_process(&ticking.server, booted_at);
        let (stop, stopped) = channel();
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("keywheel-ticker".to_owned())
            .spawn(move || {
                tick_until(ticking, booted_at, &stopped);
                // Nobody may be waiting any more.
                let _ = end.send(());
            })?;
        Ok(Ticker { stop, ended })
    }

    /// Ends the thread after the tick under way, and waits for that without holding up who else is waited for.
    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.ended.await;
    }
}

fn tick_until(ticking: Ticking, booted_at: f64, stopped: &Receiver<()>) {
    let Ticking {
        server,
        edge,
        clock,
        store,
        mut journal,
        lines,
        supervisor,
    } = ticking;
    let (mut failing, mut told) = (Failing::default(), 0);
    server.begun(edge.now());
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(INTERVAL) {
        if let Some(lines) = &lines {
            told = tell_dropped(&server, lines, told);
        }
        tell_process(&server, booted_at);
        let begun = edge.now();
        let ticked = alone(|| {
            clock.follow(&store);
            tick(&server, &edge)
        });
        server.ticked(begun, edge.now());
        match ticked {
            Ok(()) if failing.ended() => info!(event = "tick.recovered", "following the database again"),
            Ok(()) => {}
            Err(failure) => {
                let cause = output::chain(&failure);
                if failing.is_news(&cause, Instant::now()) {
                    warn!(event = "tick.failed", cause, "serving from memory until it succeeds");
                }
            }
        }
        journal.keep(server.remembered());
        supervisor.alive();
    }
    journal.stop();
    if let Err(failure) = server.farewell() {
        warn!(
            event = "farewell.failed",
            cause = output::chain(&failure),
            "when client secrets were used last may be older in the database than it was"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_told_of_each_cause_and_of_one_that_stays_now_and_then() {
        let (mut failing, begun) = (Failing::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert!(!failing.ended());
        assert!(failing.is_news("it is away", at(0)) && !failing.is_news("it is away", at(299)));
        assert!(failing.is_news("it is read-only", at(299)) && !failing.is_news("it is read-only", at(300)));
        assert!(failing.is_news("it is read-only", at(599)));
        assert!(failing.ended() && !failing.ended());
    }

    #[test]
    fn a_tick_that_panics_has_failed_and_the_thread_lives() {
        assert!(alone(|| panic!("on purpose")).is_err());
        assert!(alone(|| Ok(())).is_ok());
    }
}
