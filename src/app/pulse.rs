use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::server::{Edge, Server};

/// Says again and again that the process is awake, on a thread that waits for nothing else. So it is known when the process stood still, as it
/// does while a machine is moved or frozen: the ticker may as well have waited for the database.
#[derive(Debug)]
pub(super) struct Pulse {
    /// The thread ends when this is dropped.
    _beats: Sender<()>,
}

const INTERVAL: Duration = Duration::from_millis(500);

impl Pulse {
    pub(super) fn start(server: Arc<Server>, edge: Edge) -> std::io::Result<Self> {
        let (beats, ended) = channel::<()>();
        std::thread::Builder::new()
            .name("keywheel-pulse".to_owned())
            .spawn(move || {
                while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(INTERVAL) {
                    server.awake(edge.now());
                }
            })?;
        Ok(Pulse { _beats: beats })
    }
}
