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
    /// The resource owner's name and password, by way of the client (RFC 6749 §4.3).
    Password,
    /// The client acts for itself (RFC 6749 §4.4).
    ClientCredentials,
    /// What follows from an earlier grant (RFC 6749 §6).
    RefreshToken,
}

impl GrantType {
    /// Every grant type, in the order of RFC 6749.
    pub const ALL: [GrantType; 3] = [
        GrantType::Password,
        GrantType::ClientCredentials,
        GrantType::RefreshToken,
    ];

    /// The value of the parameter `grant_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            GrantType::Password => "password",
            GrantType::ClientCredentials => "client_credentials",
            GrantType::RefreshToken => "refresh_token",
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
