use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use super::config::LogSettings;
use super::log_lines::LogLines;

/// Who writes to the log, and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// A server, which nothing that happens to the log may hold up.
    Server,
    /// A command, which says what went wrong before it ends.
    Command,
}

/// The log of a server, written out when this is dropped.
#[derive(Debug)]
pub(super) struct Log(Option<LogLines>);

impl Log {
    /// The lines of a server.
    pub(super) fn lines(&self) -> Option<LogLines> {
        self.0.clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(lines) = &self.0 {
            lines.finish();
        }
    }
}

/// Starts the log on stderr: text for people, JSON for everything else. Values are escaped, so nothing that a client sends can
/// forge a line.
pub(super) fn start(settings: &LogSettings, voice: Voice) -> Log {
    let lines = match voice {
        // Where no thread can be started, it is written as a command's is.
        Voice::Server => LogLines::to(io::stderr()).ok(),
        Voice::Command => None,
    };
    match lines.clone() {
        Some(lines) => begin(settings, "info", lines),
        None => begin(
            settings,
            if voice == Voice::Server { "info" } else { "warn" },
            io::stderr,
        ),
    }
    Log(lines)
}

fn begin<W>(settings: &LogSettings, default_level: &str, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = settings.filter.as_deref().unwrap_or(default_level);
    // It calls each request that it cannot read an error: strangers could fill a disk with them, or push other lines out.
    let filter = match filter.contains("actix_http") {
        true => filter.to_owned(),
        false => format!("{filter},actix_http::h1=off"),
    };
    let filter = EnvFilter::builder().parse_lossy(filter);
    let terminal = io::stderr().is_terminal();
    let subscriber = fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(terminal)
        // On a full disk the complaint could not be written either, and that would be a panic.
        .log_internal_errors(false);
    // A second start in one process, as in tests, keeps the first log.
    let _ = if settings.json.unwrap_or(!terminal) {
        subscriber.json().flatten_event(true).finish().try_init()
    } else {
        subscriber.with_target(false).finish().try_init()
    };
    tell_panics();
}

/// A panic is a line of the log like any other, escaped like any other.
fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(
            event = "panicked",
            place,
            backtrace,
            "{}",
            panic.payload_as_str().unwrap_or_default()
        );
    }));
}
