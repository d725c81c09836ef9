use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tracing::{error, info, warn};

use super::output;
use super::tls::TlsSource;
use crate::server::{Edge, Server};

/// Follows the files of TLS on a thread of its own, which may wait for a file system that has gone away. What cannot be used is
/// logged, and what was shown before is shown on.
#[derive(Debug)]
pub(super) struct TlsWatch {
    /// The thread ends when this is dropped, and is not waited for: it may be in such a look.
    ask: Sender<()>,
}

/// Why it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    ByItself,
    Asked,
}

/// Time between two looks. The whole files are read: their times say little where a directory is replaced by a link.
const INTERVAL: Duration = Duration::from_secs(2);

impl TlsWatch {
    pub(super) fn start(source: TlsSource, server: Arc<Server>, edge: Edge) -> std::io::Result<Self> {
        let (ask, asked) = channel();
        let mut watching = Watching {
            source,
            server,
            edge,
            complaint: None,
        };
        watching.begin();
        std::thread::Builder::new()
            .name("keywheel-tls".to_owned())
            .spawn(move || {
                loop {
                    let look = match asked.recv_timeout(INTERVAL) {
                        Err(RecvTimeoutError::Timeout) => Look::ByItself,
                        Ok(()) => Look::Asked,
                        Err(RecvTimeoutError::Disconnected) => break,
                    };
                    alone(|| watching.look(look));
                }
            })?;
        Ok(TlsWatch { ask })
    }

    /// Has it look at once, and say what it found.
    pub(super) fn look(&self) {
        let _ = self.ask.send(());
    }
}

/// A panic is this look's alone, and the hook has logged where: without the thread no new certificate would ever be shown.
fn alone(look: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(look)).is_err() {
        error!(event = "tls.panicked", "the certificate before it is shown on");
    }
}

struct Watching {
    source: TlsSource,
    server: Arc<Server>,
    edge: Edge,
    complaint: Option<Complaint>,
}

/// Why the files could not be used at the last look.
struct Complaint {
    text: String,
    is_told: bool,
}

impl Watching {
    fn begin(&self) {
        self.measure();
        let not_after = self.source.tls().identity().not_after();
        if not_after < self.edge.now() {
            warn!(event = "tls.ended", %not_after, "clients will refuse the certificate: have it renewed");
        }
    }

    fn measure(&self) {
        let identity = self.source.tls().identity();
        self.server
            .metrics()
            .tls_certificate(identity.sha256(), identity.not_after());
    }

    fn look(&mut self, look: Look) {
        match self.source.look(self.edge.now()) {
            Ok(true) => {
                self.complaint = None;
                self.measure();
                let identity = self.source.tls().identity();
                info!(
                    event = "tls.replaced",
                    certificate_sha256 = identity.sha256(),
                    not_after = %identity.not_after(),
                    "new connections are shown the new certificate"
                );
            }
            Ok(false) => {
                let was_told = self.complaint.take().is_some_and(|complaint| complaint.is_told);
                if was_told || look == Look::Asked {
                    info!(event = "tls.unchanged", "the files hold what is in use");
                }
            }
            Err(failure) => self.complain(output::chain(&failure), look),
        }
    }

    /// Certificate and key are two files. Who replaces one after the other makes a pair for a moment that does not fit, so what
    /// nobody asked for is told when it is found twice.
    fn complain(&mut self, text: String, look: Look) {
        let before = self.complaint.take().filter(|before| before.text == text);
        let is_told = before.as_ref().is_some_and(|before| before.is_told);
        let tells = !is_told && (before.is_some() || look == Look::Asked);
        if tells {
            error!(
                event = "tls.refused",
                cause = text,
                "the certificate before it is shown on"
            );
        }
        self.complaint = Some(Complaint {
            text,
            is_told: is_told || tells,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_panics_leaves_the_thread_to_the_next_one() {
        alone(|| panic!("on purpose"));
        let mut has_looked = false;
        alone(|| has_looked = true);
        assert!(has_looked);
    }
}
