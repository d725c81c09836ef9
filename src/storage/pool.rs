use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::breaker::Breaker;
use super::connection::{Conn, Connections, LogFailures};
use super::error::{Error, Fault};
use super::postgres::Connector;
use super::write_breaker::WriteBreaker;

/// The pool of connections at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// Open connections.
    pub connections: u32,
    /// Those of them that nobody uses.
    pub idle: u32,
    /// Most there may be.
    pub max: u32,
}

/// Longest wait for a free connection, of which one is had while the database answers.
const CHECKOUT: Duration = Duration::from_secs(1);

/// Connections that are shared, and the breakers in front of those to PostgreSQL. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Pool {
    connections: r2d2::Pool<Connections>,
    breakers: Option<Breakers>,
}

#[derive(Clone)]
struct Breakers {
    all: Arc<Breaker>,
    writes: Arc<WriteBreaker>,
}

impl Breakers {
    fn of(connector: &Connector, connections: &r2d2::Pool<Connections>) -> Self {
        let all = Arc::new(Breaker::of(connector.clone(), connections.clone()));
        let writes = Arc::new(WriteBreaker::of(connector.clone(), &all));
        Breakers { all, writes }
    }

    fn let_through(&self) -> Result<(), Error> {
        self.all
            .reason()
            .map_or(Ok(()), |reason| Err(Error::unavailable(reason)))
    }
}

impl Pool {
    /// A pool of at most `size` connections; none is made yet, and none has to be possible.
    pub(super) fn of(connections: &Connections, size: u32) -> Self {
        let pool = r2d2::Pool::builder()
            .max_size(size.max(1))
            .min_idle(Some(1))
            .connection_timeout(CHECKOUT)
            .error_handler(Box::new(LogFailures::default()))
            .build_unchecked(connections.clone());
        let breakers = match connections {
            Connections::Postgres(connector) => Some(Breakers::of(connector, &pool)),
            Connections::Sqlite { .. } => None,
        };
        Pool {
            connections: pool,
            breakers,
        }
    }

    /// Runs `intention`, which reads, on a connection. At once [`Error::Unavailable`] while the database is known to be away.
    pub(super) fn read<T>(&self, intention: impl FnOnce(&mut Conn) -> Result<T, Fault>) -> Result<T, Error> {
        let Some(breakers) = &self.breakers else {
            return self.connections.get().map_err(Error::unavailable)?.run(intention);
        };
        breakers.let_through()?;
        let (outcome, was_silent) = self.run(&breakers.all, intention);
        if was_silent {
            breakers.writes.read_was_silent();
        }
        outcome
    }

    /// The same for one that writes. At once [`Error::Unavailable`] also while the database is known to leave what is written without
    /// an answer.
    pub(super) fn write<T>(&self, intention: impl FnOnce(&mut Conn) -> Result<T, Fault>) -> Result<T, Error> {
        let Some(breakers) = &self.breakers else {
            return self.read(intention);
        };
        breakers.let_through()?;
        if breakers.writes.is_open() {
            return Err(Error::unavailable(
                "the database leaves what is written without an answer",
            ));
        }
        let (outcome, was_silent) = self.run(&breakers.all, intention);
        if was_silent {
            breakers.writes.hung();
        }
        outcome
    }

    /// What came of it, and whether the server left a statement without an answer.
    fn run<T>(
        &self,
        breaker: &Arc<Breaker>,
        intention: impl FnOnce(&mut Conn) -> Result<T, Fault>,
    ) -> (Result<T, Error>, bool) {
        let answers = breaker.answers();
        let failed = |error: &dyn fmt::Display| {
            // Where others were answered meanwhile the database is there: connections are too few, or this alone has to wait.
            if breaker.answers() == answers {
                breaker.failed(error);
            }
        };
        let mut conn = match self.connections.get() {
            Ok(conn) => conn,
            // It tells in words why the last attempt to connect failed.
            Err(error) => {
                failed(&error);
                return (Err(Error::unavailable(error)), false);
            }
        };
        let outcome = conn.run(intention);
        match &outcome {
            Err(error) if conn.was_silent() => failed(error),
            Err(error) if conn.is_lost() => breaker.failed(error),
            // A refusal is an answer.
            _ => breaker.answered(),
        }
        (outcome, conn.was_silent())
    }

    /// Somebody's commit was found to wait for so long that nobody who writes is answered.
    pub(super) fn found_waiting(&self) {
        if let Some(breakers) = &self.breakers {
            breakers.writes.hung();
        }
    }

    /// Whether the database is known to be away.
    pub(super) fn is_away(&self) -> bool {
        let breakers = self.breakers.as_ref();
        breakers.is_some_and(|breakers| breakers.all.reason().is_some())
    }

    /// Whether the database is known to leave what is written without an answer.
    pub(super) fn leaves_writes(&self) -> bool {
        self.breakers.as_ref().is_some_and(|breakers| breakers.writes.is_open())
    }

    /// How many connections there are now.
    pub(super) fn state(&self) -> PoolState {
        let state = self.connections.state();
        PoolState {
            connections: state.connections,
            idle: state.idle_connections,
            max: self.connections.max_size(),
        }
    }
}
