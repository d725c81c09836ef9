use thiserror::Error;

use super::{QuotaLeft, Reach};
use crate::oauth::{ErrorCode, OAuthError, Seconds};
use crate::{keys, storage};

/// Why a request was not granted.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The client's doing; it is told.
    #[error(transparent)]
    Refused(#[from] OAuthError),
    /// The server's doing; the client learns only whether to come back.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// Too many attempts of this kind from there: come back after so long (RFC 6585 §4).
    #[error("too many attempts")]
    Throttled(Seconds),
    /// The client was given as many tokens as it is given in a time: come back when that is over (RFC 6585 §4).
    #[error("the client's quota of tokens is used up")]
    OverQuota(QuotaLeft),
    /// Answering needs what this thread may not wait for: ask again from one that may. Nothing has happened yet.
    #[error("the answer is out of this thread's reach: {0:?}")]
    Needs(Reach),
}

/// A fault of the server. Nothing of it reaches a client.
#[derive(Debug, Error)]
pub enum Failure {
    /// Something is out of reach for the moment: worth trying again.
    #[error("{0}")]
    Unavailable(&'static str, #[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// Something is broken: trying again is of no use.
    #[error("{0}")]
    Broken(&'static str, #[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Failure {
    /// The code that a client sees. Never one that would make it throw away its credentials.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Failure::Unavailable(..) => ErrorCode::TemporarilyUnavailable,
            Failure::Broken(..) => ErrorCode::ServerError,
        }
    }

    /// The failure and what caused it, in one line for the log.
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    }
}

impl From<storage::Error> for Failure {
    fn from(error: storage::Error) -> Self {
        match error {
            storage::Error::Corrupt { .. } => {
                Failure::Broken("the database holds something impossible", Box::new(error))
            }
            // The client cannot tell a lost connection from a full disk, and both may be gone in a moment.
            other => Failure::Unavailable("the database did not answer", Some(Box::new(other))),
        }
    }
}

impl From<storage::Error> for TokenError {
    fn from(error: storage::Error) -> Self {
        TokenError::Failed(error.into())
    }
}

impl From<keys::SignError> for TokenError {
    fn from(error: keys::SignError) -> Self {
        TokenError::Failed(Failure::Unavailable(
            "the token could not be signed",
            Some(Box::new(error)),
        ))
    }
}

impl From<super::password::Overloaded> for TokenError {
    fn from(error: super::password::Overloaded) -> Self {
        TokenError::Failed(Failure::Unavailable(
            "too many passwords are being checked",
            Some(Box::new(error)),
        ))
    }
}
