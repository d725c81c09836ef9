use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::http::OTHER_CONNECTIONS;

/// Lets the process have as many files open as the system allows it, and says how many connections of those that are wanted fit into
/// that, so that accepting one never fails for want of a file.
pub(super) fn connections_that_fit(wanted: usize, workers: usize, database_connections: u32) -> usize {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        ..before
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!(%error, "the limit for open files cannot be raised");
    }
    let others = others(workers, database_connections);
    let fit = fitting(wanted, getrlimit(Resource::Nofile).current, others);
    if fit < wanted {
        let needed = wanted.saturating_add(others);
        warn!(
            event = "connections.limited",
            wanted,
            fit,
            "max_connections does not fit into the limit for open files: raise that to {needed} (ulimit -n, LimitNOFILE)"
        );
    }
    fit
}

/// Files besides the connections of the public listener.
fn others(workers: usize, database_connections: u32) -> usize {
    let database_connections = usize::try_from(database_connections).unwrap_or(usize::MAX);
    OTHER_CONNECTIONS
        .saturating_add(workers.saturating_mul(FILES_OF_A_WORKER))
        .saturating_add(database_connections.saturating_mul(FILES_OF_A_DATABASE_CONNECTION))
        .saturating_add(OTHER_FILES)
}

/// A worker has a runtime, which waits on several files.
const FILES_OF_A_WORKER: usize = 5;
/// A connection to PostgreSQL has a runtime of its own, beside its socket. One to SQLite has fewer files.
const FILES_OF_A_DATABASE_CONNECTION: usize = 6;
/// Keys, the log, the threads that there are whatever is set.
const OTHER_FILES: usize = 128;

/// `None` is no limit.
fn fitting(wanted: usize, limit: Option<u64>, others: usize) -> usize {
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    wanted.min(limit.saturating_sub(others)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    // H-22
    #[test]
    fn as_many_connections_are_taken_as_are_wanted_or_else_as_fit_and_one_at_least() {
        for (wanted, limit, expected) in [
            (10_000, None, 10_000),
            (10_000, Some(20_000), 10_000),
            (10_000, Some(1_024), 824),
            (10, Some(1_024), 10),
            (10_000, Some(100), 1),
        ] {
            assert_eq!(fitting(wanted, limit, 200), expected, "{limit:?}");
        }
    }

    #[test]
    fn what_waits_for_the_database_and_for_requests_has_its_files() {
        let before = others(4, 8);
        assert_eq!(others(6, 8), before + 10);
        assert_eq!(others(4, 108), before + 600);
    }
}
