//! One connection to either backend, and the r2d2 manager that makes them.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::SqliteConnection;
use diesel::connection::SimpleConnection;

use super::error::{ConnectError, Error, Fault};
use super::postgres::{Connector, Link};
use super::sqlite::{self, Purpose};
use super::store::PreparedStatements;

/// A connection to either backend.
pub(super) enum Conn {
    Postgres(Box<Link>),
    Sqlite(Box<SqliteConnection>),
}

/// The same diesel expression for both backends, type-checked once for each. In it, `$c` is the connection.
macro_rules! on {
    ($conn:expr, $c:ident => $query:expr) => {
        match $conn {
            $crate::storage::connection::Conn::Postgres(link) => {
                let $c = &mut link.connection;
                $query
            }
            $crate::storage::connection::Conn::Sqlite(connection) => {
                let $c = &mut **connection;
                $query
            }
        }
    };
}
pub(super) use on;

impl Conn {
    /// Runs SQL that returns nothing and takes no values.
    pub(super) fn batch(&mut self, sql: &str) -> diesel::QueryResult<()> {
        on!(self, c => c.batch_execute(sql))
    }

    /// Whether the server is gone.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Conn::Postgres(link) => link.is_lost(),
            Conn::Sqlite(_) => false,
        }
    }

    /// Whether the server left a statement without an answer.
    pub(super) fn was_silent(&self) -> bool {
        match self {
            Conn::Postgres(link) => link.was_silent(),
            Conn::Sqlite(_) => false,
        }
    }

    /// Runs `intention` and tells apart why it failed.
    pub(super) fn run<T>(&mut self, intention: impl FnOnce(&mut Conn) -> Result<T, Fault>) -> Result<T, Error> {
        let outcome = match self {
            // What a statement is prepared in has to be what it runs in.
            Conn::Postgres(link) if link.prepared_statements == PreparedStatements::InTransaction => {
                self.transaction("", intention)
            }
            _ => intention(self),
        };
        if let (Err(fault), Conn::Postgres(link)) = (&outcome, &mut *self) {
            link.is_read_only |= fault.says_read_only();
        }
        outcome.map_err(|fault| fault.into_error(self.is_lost()))
    }

    /// Runs `intention` in a transaction of PostgreSQL that begins with `first`. SQLite's transactions belong to the
    /// [writer](super::writer), so there it just runs.
    pub(super) fn transaction<T>(
        &mut self,
        first: &str,
        intention: impl FnOnce(&mut Conn) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let Conn::Postgres(link) = self else {
            return intention(self);
        };
        if link.in_transaction {
            // That of `run` around this one.
            link.connection.batch_execute(first)?;
            return intention(self);
        }
        link.begin(first)?;
        let outcome = intention(self);
        let Conn::Postgres(link) = self else {
            return outcome;
        };
        match outcome {
            Ok(value) => {
                link.end("COMMIT")?;
                Ok(value)
            }
            Err(fault) => {
                if let Err(error) = link.end("ROLLBACK") {
                    tracing::debug!(%error, "a transaction could not be rolled back; its connection is closed");
                }
                Err(fault)
            }
        }
    }
}

/// Makes the pool's connections: all of them on PostgreSQL, those that read on SQLite.
#[derive(Clone)]
pub(super) enum Connections {
    Postgres(Box<Connector>),
    Sqlite {
        path: PathBuf,
        busy: Duration,
        statements: Arc<AtomicU64>,
    },
}

impl r2d2::ManageConnection for Connections {
    type Connection = Conn;
    type Error = ConnectError;

    fn connect(&self) -> Result<Conn, ConnectError> {
        match self {
            Connections::Postgres(connector) => connector.connect().map(|link| Conn::Postgres(Box::new(link))),
            Connections::Sqlite { path, busy, statements } => {
                let connection = sqlite::connect(path, Purpose::Reading, *busy, statements)?;
                Ok(Conn::Sqlite(Box::new(connection)))
            }
        }
    }

    /// Costs no round trip: a server that hung up is noticed, one that fell silent is noticed by the statement.
    fn is_valid(&self, conn: &mut Conn) -> Result<(), ConnectError> {
        let lost = match conn {
            Conn::Postgres(link) => link.is_lost_meanwhile(),
            Conn::Sqlite(_) => false,
        };
        if lost {
            return Err("the server closed the connection, or others to it fell silent"
                .to_owned()
                .into());
        }
        Ok(())
    }

    fn has_broken(&self, conn: &mut Conn) -> bool {
        match conn {
            // Whether the server hung up is asked before the next use.
            Conn::Postgres(link) => link.in_transaction || link.is_read_only || link.is_over(),
            Conn::Sqlite(_) => std::thread::panicking(),
        }
    }
}

/// Passes what goes wrong in the pool to the log, a line now and then: while the database is away several attempts fail in each
/// second. No message of [`ConnectError`] holds a password.
#[derive(Debug, Default)]
pub(super) struct LogFailures(Mutex<Option<Instant>>);

/// Time between two lines.
const NOW_AND_THEN: Duration = Duration::from_secs(10);

impl r2d2::HandleError<ConnectError> for LogFailures {
    fn handle_error(&self, error: ConnectError) {
        let now = Instant::now();
        let mut told_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told_at.is_none_or(|told_at| now.duration_since(told_at) >= NOW_AND_THEN) {
            *told_at = Some(now);
            tracing::warn!(%error, "no connection to the database");
        }
    }
}
