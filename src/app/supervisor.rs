use std::collections::BTreeMap;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tracing::warn;

/// Whoever started the process and wants to hear how it is: systemd (`sd_notify(3)`), or a container's runtime that speaks the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Supervisor {
    /// A path, or after `@` a name in Linux's abstract namespace.
    socket: Option<String>,
    /// Whether it ends a process that it does not hear from.
    watches: bool,
}

impl Supervisor {
    /// As the environment names it, if it does.
    pub(super) fn of(environment: &BTreeMap<String, String>) -> Self {
        let this_process = rustix::process::getpid().as_raw_nonzero().get();
        let is_meant = |pid: &String| pid.parse() == Ok(this_process);
        Supervisor {
            socket: environment
                .get("NOTIFY_SOCKET")
                .filter(|name| !name.is_empty())
                .cloned(),
            watches: environment.contains_key("WATCHDOG_USEC") && environment.get("WATCHDOG_PID").is_none_or(is_meant),
        }
    }

    /// Requests are answered from now on.
    pub(super) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The end has begun.
    pub(super) fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={status}"));
    }

    /// A sign of life. To be given far more often than once in the span that the supervisor waits for it.
    pub(super) fn alive(&self) {
        if self.watches {
            self.tell("WATCHDOG=1");
        }
    }

    /// One datagram. A supervisor that does not take it is no reason to serve nobody.
    fn tell(&self, state: &str) {
        let Some(name) = &self.socket else { return };
        let told = address(name).and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.send_to_addr(state.as_bytes(), &address)
        });
        if let Err(error) = told {
            warn!(%error, socket = name, "the supervisor cannot be told");
        }
    }
}

/// Longest wait for a supervisor that does not read what it is sent.
const PATIENCE: Duration = Duration::from_secs(1);

fn address(name: &str) -> std::io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.strip_prefix('@') {
        use std::os::linux::net::SocketAddrExt;
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(name)
}
