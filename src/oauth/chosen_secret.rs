use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use super::{SecretHash, base64url};

/// A client secret that somebody else made. Printing shows `[REDACTED]`; memory is wiped.
///
/// Stored secrets are hashed fast, for generated ones cannot be guessed; so neither may one that is brought along.
#[derive(Debug, Clone)]
pub struct ChosenSecret(SecretString);

impl ChosenSecret {
    /// Fewest characters.
    pub const MIN_LENGTH: usize = 32;
    /// Most characters.
    pub const MAX_LENGTH: usize = 1_024;
    /// Fewest different characters; 32 random hexadecimal digits as good as never have so few.
    const MIN_VARIETY: usize = 7;

    /// Accepts printable ASCII (RFC 6749 appendix A.2) that is long enough not to be guessed.
    pub fn parse(secret: SecretString) -> Result<Self, ChosenSecretError> {
        let text = secret.expose_secret();
        if !text.bytes().all(|b| matches!(b, 0x20..=0x7e)) {
            return Err(ChosenSecretError::Character);
        }
        if text.len() < Self::MIN_LENGTH || text.bytes().collect::<BTreeSet<u8>>().len() < Self::MIN_VARIETY {
            return Err(ChosenSecretError::Weak);
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(ChosenSecretError::TooLong);
        }
        Ok(ChosenSecret(secret))
    }

    /// The secret itself, to be hashed.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Four characters of its hash, by which people tell secrets apart. None of its own are shown: unlike those of a
    /// [`ClientSecret`](super::ClientSecret), all of them are secret.
    pub fn hint(hash: &SecretHash) -> String {
        let mut text = base64url(hash.as_bytes());
        text.truncate(4);
        text
    }
}

/// Why a text is refused as a client secret; says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChosenSecretError {
    /// Too short, or the same few characters again and again.
    #[error(
        "the secret can be guessed: it needs at least 32 characters, and random ones; make one with \"openssl rand -base64 32\""
    )]
    Weak,
    /// A character that RFC 6749 does not allow in a client secret.
    #[error(
        "the secret has a line break, or another character that is not printable ASCII; make one with \"openssl rand -base64 32\""
    )]
    Character,
    /// More than 1 024 characters.
    #[error("the secret is longer than 1024 characters; make one with \"openssl rand -base64 32\"")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::SecretHasher;

    fn parse(text: &str) -> Result<ChosenSecret, ChosenSecretError> {
        ChosenSecret::parse(SecretString::from(text))
    }

    #[test]
    fn what_could_be_guessed_or_sent_by_nobody_is_no_secret() {
        for (text, why) in [
            ("", ChosenSecretError::Weak),
            ("correct horse battery staple 12", ChosenSecretError::Weak),
            ("changechangechangechangechangechange", ChosenSecretError::Weak),
            ("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3\nODk=", ChosenSecretError::Character),
            ("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3é", ChosenSecretError::Character),
            (&"0123456789".repeat(103), ChosenSecretError::TooLong),
        ] {
            assert_eq!(parse(text).err(), Some(why), "{text}");
        }
        assert!(parse("9f86d081884c7d659a2feaa0c55ad015").is_ok());
    }

    // N-07
    #[test]
    fn neither_a_print_nor_the_hint_shows_a_character_of_the_secret() {
        let secret = parse("q9Yz7RmT4vXp2LsK8wBn5cHd3fGj6aEe").unwrap();
        let hint = ChosenSecret::hint(&SecretHasher::new(&[7; 32]).hash(secret.expose()));
        assert!(!secret.expose().contains(&hint), "{hint}");
        assert!(!format!("{secret:?}").contains("q9Yz"));
    }
}
