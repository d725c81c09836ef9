use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::UnknownWord;

/// A grant type by its registered name (RFC 6749 §4, RFC 7591 §2 `grant_types`).
///
/// A client may be registered for any of these; which of them the server answers is a matter of its dispatch table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// The client acts for itself (RFC 6749 §4.4).
    ClientCredentials,
}

impl GrantType {
    /// Every grant type, in the order of RFC 6749.
    pub const ALL: [GrantType; 1] = [GrantType::ClientCredentials];

    /// The value of the parameter `grant_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            GrantType::ClientCredentials => "client_credentials",
        }
    }
}

impl fmt::Display for GrantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for GrantType {
    type Err = UnknownWord;

    /// Compares exactly: names are case-sensitive (RFC 6749 §1.9).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        UnknownWord::find(Self::ALL, Self::as_str, text)
    }
}
