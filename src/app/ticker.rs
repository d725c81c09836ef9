use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{info, warn};

use super::journal::Journal;
use super::output;
use crate::server::{Context, Edge, Failure, Reach, Server};

/// Turns the wheel once a second on a thread of its own. A tick that fails is logged and tried again; what was in force stays so.
#[derive(Debug)]
pub(super) struct Ticker {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

fn tick(server: &Server, edge: &Edge) -> Result<(), Failure> {
    let mut rng = edge.rng()?;
    server.tick(&mut Context {
        now: edge.now(),
        rng: &mut rng,
        reach: Reach::Storage,
    })
}

/// A panic is this tick's alone: without the thread no key would ever turn again, and nobody would say so.
fn alone(tick: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let ticked = catch_unwind(AssertUnwindSafe(tick));
    ticked.unwrap_or_else(|_panic| Err(Failure::Unavailable("it panicked; the lines before say where", None)))
}

/// Time between two looks at the change feed: what is changed anywhere is known everywhere within it.
const INTERVAL: Duration = Duration::from_secs(1);

impl Ticker {
    pub(super) fn start(server: Arc<Server>, edge: Edge, mut journal: Journal) -> std::io::Result<Self> {
        journal.keep(&server.remembered());
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("keywheel-ticker".to_owned())
            .spawn(move || {
                let mut failing = false;
                while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(INTERVAL) {
                    match alone(|| tick(&server, &edge)) {
                        Ok(()) if failing => {
                            failing = false;
                            info!(event = "tick.recovered", "following the database again");
                        }
                        Ok(()) => {}
                        // One line when it starts to fail, not one a second.
                        Err(failure) if !failing => {
                            failing = true;
                            warn!(
                                event = "tick.failed",
                                cause = output::chain(&failure),
                                "serving from memory until it succeeds"
                            );
                        }
                        Err(_) => {}
                    }
                    journal.keep(&server.remembered());
                }
                if let Err(failure) = server.farewell() {
                    warn!(
                        event = "farewell.failed",
                        cause = output::chain(&failure),
                        "when client secrets were used last may be older in the database than it was"
                    );
                }
            })?;
        Ok(Ticker { stop, thread })
    }

    /// Ends the thread after the tick under way.
    pub(super) fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_that_panics_has_failed_and_the_thread_lives() {
        assert!(alone(|| panic!("on purpose")).is_err());
        assert!(alone(|| Ok(())).is_ok());
    }
}
