use std::sync::Arc;
use std::time::Duration;

use super::breaker::Breaker;
use super::connection::{Conn, Connections, LogFailures};
use super::error::{Error, Fault};

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

/// Connections that are shared, and the [`Breaker`] in front of those to PostgreSQL. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Pool {
    connections: r2d2::Pool<Connections>,
    breaker: Option<Arc<Breaker>>,
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
        let breaker = match connections {
            Connections::Postgres(connector) => Some(Arc::new(Breaker::of((**connector).clone(), pool.clone()))),
            Connections::Sqlite { .. } => None,
        };
        Pool {
            connections: pool,
            breaker,
        }
    }

    /// Runs `intention` on a connection. At once [`Error::Unavailable`] while the database is known to be away.
    pub(super) fn run<T>(&self, intention: impl FnOnce(&mut Conn) -> Result<T, Fault>) -> Result<T, Error> {
        let Some(breaker) = &self.breaker else {
            return self.connections.get().map_err(Error::unavailable)?.run(intention);
        };
        if let Some(reason) = breaker.reason() {
            return Err(Error::unavailable(reason));
        }
        let answers = breaker.answers();
        // r2d2's error tells in words why the last attempt to connect failed.
        let mut conn = self.connections.get().map_err(|error| {
            // Where others were answered meanwhile the database is there, and the connections are too few.
            if breaker.answers() == answers {
                breaker.failed(&error);
            }
            Error::unavailable(error)
        })?;
        let outcome = conn.run(intention);
        match &outcome {
            Err(error) if conn.is_lost() => breaker.failed(error),
            // A refusal is an answer.
            _ => breaker.answered(),
        }
        outcome
    }

    /// Whether the database is known to be away.
    pub(super) fn is_away(&self) -> bool {
        self.breaker.as_ref().is_some_and(|breaker| breaker.reason().is_some())
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
