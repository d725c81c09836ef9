use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{info, warn};

use super::journal::Journal;
use super::output;
use crate::server::{Context, Edge, Reach, Server};

/// Turns the wheel once a second on a thread of its own. A tick that fails is logged and tried again; what was in force stays so.
#[derive(Debug)]
pub(super) struct Ticker {
    stop: Sender<()>,
    thread: JoinHandle<()>,
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
                    let mut rng = edge.rng();
                    let mut cx = Context {
                        now: edge.now(),
                        rng: &mut rng,
                        reach: Reach::Storage,
                    };
                    match server.tick(&mut cx) {
                        Ok(()) if failing => {
                            failing = false;
                            info!(event = "tick.recovered", "the database answers again");
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
