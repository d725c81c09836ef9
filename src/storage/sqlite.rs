//! Connections to an SQLite file.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use diesel::SqliteConnection;
use diesel::connection::{Connection, InstrumentationEvent, SimpleConnection};

use super::error::in_words;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Reads only; SQLite refuses anything else.
    Reading,
    /// The writer thread, and migrations.
    Writing,
}

/// Creates the file, readable by its owner alone, unless it is there. SQLite gives its journals the mode of the file.
pub(super) fn create_file(path: &Path) -> Result<(), String> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match created {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if let Ok(metadata) = path.metadata()
                && metadata.permissions().mode() & 0o077 != 0
            {
                tracing::warn!(file = %path.display(), "other users may read the database: run chmod 600");
            }
            Ok(())
        }
        Err(error) => Err(format!("cannot create the database file {}: {error}", path.display())),
    }
}

/// Opens the file. `busy` is how long a lock of another process is waited for.
pub(super) fn connect(
    path: &Path,
    purpose: Purpose,
    busy: Duration,
    statements: &Arc<AtomicU64>,
) -> Result<SqliteConnection, String> {
    open(path, purpose, busy, statements).map_err(|reason| format!("cannot open {}: {reason}", path.display()))
}

fn open(
    path: &Path,
    purpose: Purpose,
    busy: Duration,
    statements: &Arc<AtomicU64>,
) -> Result<SqliteConnection, String> {
    // A relative path could otherwise be read as one of SQLite's special names.
    let path = Path::new(".").join(path);
    let path = path.to_str().ok_or("the path is not UTF-8")?;
    let mut connection = SqliteConnection::establish(path).map_err(|error| in_words(&error))?;
    let busy = busy.as_millis();
    let set = match purpose {
        Purpose::Reading => format!("PRAGMA busy_timeout = {busy}; PRAGMA query_only = ON"),
        // FULL: what was answered survives a power cut. The checkpoint: a page that many commits change is copied into the file
        // once for all of them, at the price of a log of up to 16 MiB.
        Purpose::Writing => format!(
            "PRAGMA busy_timeout = {busy}; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; \
             PRAGMA wal_autocheckpoint = 4096"
        ),
    };
    connection.batch_execute(&set).map_err(|error| in_words(&error))?;
    if purpose == Purpose::Writing {
        use_write_ahead_log(&mut connection)?;
    }
    let statements = Arc::clone(statements);
    connection.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if matches!(event, InstrumentationEvent::StartQuery { .. }) {
            statements.fetch_add(1, Ordering::Relaxed);
        }
    });
    Ok(connection)
}

/// The switch to WAL, once in a file's life, does not honour the busy timeout when two processes do it at once.
fn use_write_ahead_log(connection: &mut SqliteConnection) -> Result<(), String> {
    let mut attempts = 0;
    loop {
        match connection.batch_execute("PRAGMA journal_mode = WAL") {
            Ok(()) => return Ok(()),
            Err(error) if attempts == 50 => return Err(in_words(&error)),
            Err(_busy) => {
                attempts += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
