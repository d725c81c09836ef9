use std::fmt;
use std::sync::Arc;

use rand::CryptoRng;
use rand::rngs::{SysError, ThreadRng};

use super::{Exchanging, Failure};
use crate::oauth::NumericDate;

/// What one request or one tick is given: its time, its randomness, and how far it may reach.
pub struct Context<'a> {
    /// The instant of the request; every rule sees the same.
    pub now: NumericDate,
    /// A cryptographically secure generator.
    pub rng: &'a mut dyn CryptoRng,
    /// What the thread may wait for.
    pub reach: Reach,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("now", &self.now)
            .field("reach", &self.reach)
            .finish_non_exhaustive()
    }
}

/// How far a request may reach on the thread it runs on; each farther than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Memory alone: the thread serves other connections too.
    Memory,
    /// The database as well: the thread may wait.
    Storage,
    /// The hash of a password as well: the thread may wait for as long as a hundred of the database's answers.
    Passwords,
}

/// What a rule decided.
#[derive(Debug)]
pub enum Decision<T> {
    /// The answer.
    Answer(T),
    /// The answer as soon as a refresh token is exchanged, which goes on without the thread: [`Server::exchange`](super::Server::exchange).
    Once(T, Box<Exchanging>),
}

/// Where time and randomness enter: the application makes it, tests make another one.
#[derive(Clone)]
pub struct Edge {
    clock: Arc<dyn Fn() -> NumericDate + Send + Sync>,
    rng: Arc<dyn Fn() -> Result<ThreadRng, SysError> + Send + Sync>,
}

impl Edge {
    /// An edge with the given clock and generator.
    pub fn new(
        clock: impl Fn() -> NumericDate + Send + Sync + 'static,
        rng: impl Fn() -> Result<ThreadRng, SysError> + Send + Sync + 'static,
    ) -> Self {
        Edge {
            clock: Arc::new(clock),
            rng: Arc::new(rng),
        }
    }

    /// The present instant.
    pub fn now(&self) -> NumericDate {
        (self.clock)()
    }

    /// This thread's generator; [`Failure::Unavailable`] while the system gives no random numbers.
    pub fn rng(&self) -> Result<ThreadRng, Failure> {
        (self.rng)().map_err(|error| Failure::Unavailable("the system gives no random numbers", Some(Box::new(error))))
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Edge")
    }
}
