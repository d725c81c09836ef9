use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that a server heeds. They are caught from when this is made.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

/// Who asks for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// A supervisor (SIGTERM): others may be about to send requests.
    Supervisor,
    /// Somebody at a terminal (SIGINT), who waits for it.
    Person,
}

impl Signals {
    pub(super) fn catch() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: None,
        })
    }

    /// From now on SIGHUP asks to read files anew; before, it ends the process.
    pub(super) fn catch_hangup(&mut self) -> std::io::Result<()> {
        self.hangup = Some(signal(SignalKind::hangup())?);
        Ok(())
    }

    /// Waits until somebody asks for the end. `reread` is called whenever somebody asks for that.
    pub(super) async fn end(&mut self, reread: impl Fn()) -> Asked {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Asked::Supervisor,
                _ = self.interrupt.recv() => return Asked::Person,
                () = next(self.hangup.as_mut()) => reread(),
            }
        }
    }
}

/// Waits for a signal, for ever where none is listened for.
async fn next(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
