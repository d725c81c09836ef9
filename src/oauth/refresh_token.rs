use std::fmt;

use aws_lc_rs::hmac;
use rand::CryptoRng;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use zeroize::Zeroizing;

use super::base64url;
use super::secret::written;

/// A refresh token (RFC 6749 §1.5): `kwr_`, 43 base64url characters, and a checksum of 6.
///
/// It is not random but follows from its family and generation under a key that the database does not hold, so that a client
/// whose answer was lost can be given the same successor once more. What a client presents is never parsed: it is hashed and
/// looked up. Printing shows `[REDACTED]`; memory is wiped.
#[derive(Debug)]
pub struct RefreshToken(SecretString);

impl RefreshToken {
    /// What every refresh token begins with. Never change it: scanners look for it.
    pub const PREFIX: &'static str = "kwr_";

    /// Whether a text has the form of a refresh token, whoever made it up.
    pub fn is_shaped_like(text: &str) -> bool {
        text.starts_with(Self::PREFIX)
    }

    /// The token of a family's generation, the same whenever it is derived under the same key.
    pub fn derive(key: &RefreshKey, family: &FamilyId, generation: u64) -> Self {
        let mut context = hmac::Context::with_key(&key.0);
        context.update(family.as_str().as_bytes());
        context.update(&generation.to_be_bytes());
        let mut bits = Zeroizing::new([0; 32]);
        bits.copy_from_slice(context.sign().as_ref());
        RefreshToken(written(Self::PREFIX, &bits))
    }

    /// The token itself, for the client alone.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// The key under which refresh tokens are derived (HMAC-SHA-256).
pub struct RefreshKey(hmac::Key);

impl RefreshKey {
    /// The given key.
    pub fn new(key: &[u8; 32]) -> Self {
        RefreshKey(hmac::Key::new(hmac::HMAC_SHA256, key))
    }
}

impl fmt::Debug for RefreshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshKey([REDACTED])")
    }
}

/// Identifies a token family: everything that follows from one grant. 128 random bits in 22 base64url characters; not a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FamilyId(String);

impl FamilyId {
    const LENGTH: usize = 22;

    /// A new identifier.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        FamilyId(random_word(rng))
    }

    /// Checks `text` against the form of this type.
    pub fn parse(text: &str) -> Result<Self, FamilyIdError> {
        if text.len() != Self::LENGTH || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
            return Err(FamilyIdError);
        }
        Ok(FamilyId(text.to_owned()))
    }

    /// The identifier as it is stored and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// 128 random bits in 22 base64url characters.
pub(super) fn random_word(rng: &mut dyn CryptoRng) -> String {
    let mut random = [0; 16];
    rng.fill_bytes(&mut random);
    base64url(&random)
}

impl fmt::Display for FamilyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot identify a token family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a token family is identified by 22 base64url characters")]
pub struct FamilyIdError;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::oauth::ClientSecret;

    fn families() -> [FamilyId; 2] {
        let mut rng = StdRng::seed_from_u64(1);
        [FamilyId::generate(&mut rng), FamilyId::generate(&mut rng)]
    }

    #[test]
    fn a_token_follows_from_key_family_and_generation_and_from_nothing_else() {
        let mut seen = BTreeSet::new();
        for key in [[1; 32], [2; 32]] {
            for family in families() {
                for generation in [0, 1, 256, u64::MAX] {
                    let token = RefreshToken::derive(&RefreshKey::new(&key), &family, generation);
                    let again = RefreshToken::derive(&RefreshKey::new(&key), &family, generation);
                    assert_eq!(token.expose(), again.expose());
                    seen.insert(token.expose().to_owned());
                }
            }
        }
        assert_eq!(seen.len(), 16);
    }

    #[test]
    fn a_token_has_the_form_of_a_client_secret_and_its_own_prefix() {
        let [family, _] = families();
        let token = RefreshToken::derive(&RefreshKey::new(&[1; 32]), &family, 0);
        let secret = ClientSecret::generate(&mut StdRng::seed_from_u64(1));
        assert_eq!(token.expose().len(), secret.expose().len());
        assert!(token.expose().starts_with("kwr_"));
    }

    // N-07
    #[test]
    fn neither_token_nor_key_can_be_printed() {
        let [family, _] = families();
        let key = RefreshKey::new(&[1; 32]);
        let token = RefreshToken::derive(&key, &family, 0);
        let printed = format!("{token:?} {key:?}");
        assert!(
            !printed.contains(token.expose()) && printed.matches("REDACTED").count() == 2,
            "{printed}"
        );
    }
}
