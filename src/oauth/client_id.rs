use std::fmt;

use rand::CryptoRng;
use serde::Serialize;
use thiserror::Error;

use super::base64url;

/// A client identifier (RFC 6749 §2.2).
///
/// Narrower than the RFC's VSCHAR: 1 to 100 characters of `A-Z a-z 0-9 . _ ~ -`, which read the same whether or not a
/// client form-encodes them for HTTP Basic. Identifiers that could be mistaken for a user's are refused, because
/// `sub` carries either (RFC 9068 §5, RFC 9700 §4.15): those of digits alone, and those that begin with `usr_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ClientId(String);

impl ClientId {
    /// Checks `text` against the rules of this type.
    pub fn parse(text: &str) -> Result<Self, ClientIdError> {
        if text.is_empty() || text.len() > 100 {
            return Err(ClientIdError::Length);
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b)) {
            return Err(ClientIdError::Character);
        }
        if text.starts_with("usr_") || text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ClientIdError::LooksLikeUser);
        }
        Ok(ClientId(text.to_owned()))
    }

    /// A new identifier of 96 random bits, `kwc_` and 16 base64url characters.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut random = [0; 12];
        rng.fill_bytes(&mut random);
        ClientId(format!("kwc_{}", base64url(&random)))
    }

    /// The identifier as it stands in `client_id` and `sub`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text cannot be a client identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClientIdError {
    /// Empty, or more than 100 characters.
    #[error("a client_id has 1 to 100 characters")]
    Length,
    /// A character outside the alphabet.
    #[error("a client_id consists of A-Z a-z 0-9 . _ ~ - only")]
    Character,
    /// It could be taken for a user's identifier.
    #[error("a client_id must not consist of digits alone nor begin with \"usr_\": that is how users are identified")]
    LooksLikeUser,
}

#[cfg(test)]
mod tests {
    use super::*;

    // T-34: the subject of a client's token can never equal a user's id.
    #[test]
    fn an_identifier_that_could_be_a_users_is_refused() {
        assert_eq!(ClientId::parse("42"), Err(ClientIdError::LooksLikeUser));
        assert_eq!(ClientId::parse("usr_abc"), Err(ClientIdError::LooksLikeUser));
        assert!(ClientId::parse("billing-2").is_ok());
    }

    #[test]
    fn an_identifier_reads_the_same_form_encoded_or_not() {
        for text in ["a:b", "a b", "é", "a%41", "a+b", "", &"x".repeat(101)] {
            assert!(ClientId::parse(text).is_err(), "{text}");
        }
        assert!(ClientId::parse(&"x".repeat(100)).is_ok());
    }
}
