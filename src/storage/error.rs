use std::fmt;
use std::sync::Arc;

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use thiserror::Error;

/// Why the database did not answer. That something is absent is never an error.
#[derive(Debug, Clone, Error)]
pub enum Error {
    /// The database cannot be reached, is busy, full, or answers too slowly; trying again later is safe. When the connection
    /// broke while a transaction was being committed, the transaction may have happened: every method's outcome tells
    /// (`Exists`, `false`) when it is tried again.
    #[error("the database is not available: {reason}")]
    Unavailable {
        /// Why, for the operator. Holds no password.
        reason: String,
    },
    /// A row that cannot be: somebody changed the database by hand, or it is damaged.
    #[error("table {table} holds {what}: restore the row from a backup or delete it")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What is wrong with the row.
        what: String,
    },
    /// The settings name something that cannot be used, such as a file of root certificates without a certificate.
    #[error("{0}")]
    Settings(String),
    /// A later version of keywheel has migrated the database beyond what this one can use. Nothing was done.
    #[error(
        "a later version of keywheel has migrated the database: it needs a program that knows migration {needs}, and this one knows \
         those up to {knows}. Run the version that migrated it, or a later one"
    )]
    SchemaTooNew {
        /// The number of the migration that a program must know.
        needs: String,
        /// The number of the newest that this one knows.
        knows: String,
    },
    /// Prepared statements do not stay where they were prepared.
    #[error(
        "a connection pooler gives each transaction another connection and keeps no track of prepared statements: set \
         database_prepared_statements to false, or have the pooler keep track (PgBouncer from 1.21 on, max_prepared_statements), or \
         give each session its connection (pool_mode = session)"
    )]
    StatementsLost,
    /// What was to be created once was created already, by the same request a moment ago. Nothing was done.
    #[error("the same request was answered a moment ago")]
    Repeated,
    /// No client of a kind would be left of which one has to be ([`Kept`](super::Kept)). Nothing was done.
    #[error("it would be the last client of its kind")]
    LastOfItsKind,
    /// Anything else: a defect, or a schema that does not fit.
    #[error("the database refused a statement: {0} (is the schema up to date? see `keywheel db status`)")]
    Database(#[source] Cause),
}

impl Error {
    pub(super) fn unavailable(reason: impl fmt::Display) -> Self {
        Error::Unavailable {
            reason: reason.to_string(),
        }
    }
}

/// Why there is no connection, in words and without the password.
#[derive(Debug, Error)]
#[error("{words}")]
pub(super) struct ConnectError {
    pub(super) words: String,
    /// Whether a server said that it takes no more connections (SQLSTATE 53300).
    pub(super) is_full: bool,
}

impl From<String> for ConnectError {
    fn from(words: String) -> Self {
        ConnectError { words, is_full: false }
    }
}

/// What the database or its driver said, for the log alone.
#[derive(Clone)]
pub struct Cause(Arc<dyn std::error::Error + Send + Sync>);

impl Cause {
    pub(super) fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Cause(Arc::from(cause.into()))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// What stops an intention half way; becomes an [`enum@Error`] where the state of the connection is known.
#[derive(Debug)]
pub(super) enum Fault {
    Diesel(DieselError),
    Corrupt { table: &'static str, what: String },
    Migration(Box<dyn std::error::Error + Send + Sync>),
    Repeated,
    LastOfItsKind,
}

impl Fault {
    pub(super) fn corrupt(table: &'static str, what: impl Into<String>) -> Self {
        Fault::Corrupt {
            table,
            what: what.into(),
        }
    }

    /// Whether the server takes no writes on this connection (SQLSTATE 25006): the primary became a standby, or was told so.
    pub(super) fn says_read_only(&self) -> bool {
        let read_only = |error: &DieselError| {
            matches!(
                error,
                DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _)
            )
        };
        match self {
            Fault::Diesel(error) => read_only(error),
            Fault::Migration(error) => error.downcast_ref().is_some_and(read_only),
            Fault::Corrupt { .. } | Fault::Repeated | Fault::LastOfItsKind => false,
        }
    }

    /// Whether a lock was waited for in vain (SQLSTATE 55P03). What a statement of a migration met is in a type that its crate does
    /// not show, so here, too, the text must do.
    pub(super) fn says_locked(&self) -> bool {
        match self {
            Fault::Diesel(error) => error.to_string().contains(LOCK_TIMEOUT),
            Fault::Migration(error) => error.to_string().contains(LOCK_TIMEOUT),
            Fault::Corrupt { .. } | Fault::Repeated | Fault::LastOfItsKind => false,
        }
    }

    /// `connection_is_lost` tells a server that went away from one that refused.
    pub(super) fn into_error(self, connection_is_lost: bool) -> Error {
        match self {
            Fault::Corrupt { table, what } => Error::Corrupt { table, what },
            Fault::Repeated => Error::Repeated,
            Fault::LastOfItsKind => Error::LastOfItsKind,
            Fault::Migration(error) => match error.downcast() {
                Ok(error) => Fault::Diesel(*error).into_error(connection_is_lost),
                Err(error) => Error::Database(Cause::new(error)),
            },
            Fault::Diesel(DieselError::DatabaseError(_, said)) if lost_a_statement(said.message()) => {
                Error::StatementsLost
            }
            Fault::Diesel(error) if connection_is_lost || is_passing(&error) => Error::unavailable(error),
            Fault::Diesel(error @ DieselError::DeserializationError(_)) => Error::Corrupt {
                table: "(unknown)",
                what: format!("a value of the wrong type ({error})"),
            },
            Fault::Diesel(error) => Error::Database(Cause::new(error)),
        }
    }
}

impl From<DieselError> for Fault {
    fn from(error: DieselError) -> Self {
        Fault::Diesel(error)
    }
}

/// Whether an error goes away by itself. The driver hides SQLSTATE and SQLite's code, so their texts must do: SQLite speaks
/// English only; a PostgreSQL that speaks another language makes some of these [`Error::Database`] instead.
fn is_passing(error: &DieselError) -> bool {
    match error {
        DieselError::DatabaseError(
            DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::SerializationFailure
            // The primary became a standby.
            | DatabaseErrorKind::ReadOnlyTransaction,
            _,
        )
        | DieselError::BrokenTransactionManager => true,
        DieselError::DatabaseError(_, information) => {
            PASSING.iter().any(|known| information.message().contains(known))
        }
        _ => false,
    }
}

/// Of those that the driver names. Nobody but a pooler can make them vanish, or have two of one name meet.
pub(super) fn lost_a_statement(message: &str) -> bool {
    message.starts_with("prepared statement \"s")
        && (message.ends_with("does not exist") || message.ends_with("already exists"))
}

const LOCK_TIMEOUT: &str = "due to lock timeout";
const PASSING: [&str; 16] = [
    // PostgreSQL
    "due to statement timeout",
    LOCK_TIMEOUT,
    "deadlock detected",
    "terminating connection",
    "the database system is",
    "too many clients",
    "too many connections",
    "remaining connection slots",
    "No space left on device",
    "could not extend file",
    // SQLite
    "database is locked",
    "database table is locked",
    "database or disk is full",
    "disk I/O error",
    "unable to open database file",
    "attempt to write a readonly database",
];

/// An error with all its causes in one line.
pub(super) fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_in_words = cause.to_string();
        // Some errors repeat their source in their own text.
        if !words.contains(&cause_in_words) {
            words.push_str(": ");
            words.push_str(&cause_in_words);
        }
        source = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: DatabaseErrorKind, message: &str) -> Error {
        Fault::from(DieselError::DatabaseError(kind, Box::new(message.to_owned()))).into_error(false)
    }

    #[test]
    fn what_passes_by_itself_is_unavailable_and_a_refusal_is_not() {
        for message in [
            "database is locked",
            "database or disk is full",
            "canceling statement due to lock timeout",
        ] {
            let error = error(DatabaseErrorKind::Unknown, message);
            assert!(matches!(error, Error::Unavailable { .. }), "{message}");
        }
        assert!(matches!(
            error(DatabaseErrorKind::UnableToSendCommand, "connection closed"),
            Error::Unavailable { .. }
        ));
        assert!(matches!(
            error(DatabaseErrorKind::Unknown, "no such table: clients"),
            Error::Database(_)
        ));
    }

    #[test]
    fn a_refusal_on_a_lost_connection_is_unavailable() {
        let refusal = DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new("arrêt en cours".to_owned()));
        assert!(matches!(
            Fault::from(refusal).into_error(true),
            Error::Unavailable { .. }
        ));
    }
}
