use std::fmt;

use serde::Serialize;
use thiserror::Error;

/// Whose file declares a client: a team, a repository, a pipeline. 1 to 100 characters of `A-Z a-z 0-9 . _ ~ / -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Owner(String);

impl Owner {
    /// Checks `text` against the rules of this type.
    pub fn parse(text: &str) -> Result<Self, OwnerError> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"._~/-".contains(&b);
        if text.is_empty() || text.len() > 100 || !text.bytes().all(fits) {
            return Err(OwnerError);
        }
        Ok(Owner(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text cannot name an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an owner is 1 to 100 characters of A-Z a-z 0-9 . _ ~ / -, such as \"platform-team\"")]
pub struct OwnerError;
