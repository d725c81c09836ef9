use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;

use super::config::LogSettings;

/// Starts the log on stderr: text for people, JSON for everything else. Values are escaped, so nothing that a client sends can
/// forge a line.
pub(super) fn start(settings: &LogSettings, default_level: &str) {
    let filter = settings.filter.as_deref().unwrap_or(default_level);
    let filter = EnvFilter::builder().parse_lossy(filter);
    let terminal = std::io::stderr().is_terminal();
    let subscriber = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal);
    // A second start in one process, as in tests, keeps the first log.
    let _ = if settings.json.unwrap_or(!terminal) {
        subscriber.json().flatten_event(true).finish().try_init()
    } else {
        subscriber.with_target(false).finish().try_init()
    };
}
