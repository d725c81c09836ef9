use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use rand::CryptoRng;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::base64url;

/// A client secret that keywheel generated: `kws_`, 256 random bits in 43 base64url characters, and a checksum of 6.
///
/// The prefix and the checksum let a scanner of source code recognise a leaked secret without asking the server. It reads
/// the same whether or not a client form-encodes it. Printing shows `[REDACTED]`; memory is wiped.
#[derive(Debug)]
pub struct ClientSecret(SecretString);

impl ClientSecret {
    /// What every client secret begins with. Never change it: scanners look for it.
    pub const PREFIX: &'static str = "kws_";

    /// A new secret.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        ClientSecret(generated(Self::PREFIX, rng))
    }

    /// The secret itself, to be shown once to whoever asked for it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The last four characters, by which people tell secrets apart. They belong to the checksum.
    pub fn hint(&self) -> &str {
        last_four(self.expose())
    }
}

/// A new secret in the form of all that keywheel makes.
pub(super) fn generated(prefix: &str, rng: &mut dyn CryptoRng) -> SecretString {
    let mut random = Zeroizing::new([0; 32]);
    rng.fill_bytes(random.as_mut());
    written(prefix, &random)
}

/// The end of a secret's checksum.
pub(super) fn last_four(secret: &str) -> &str {
    let start = secret.len().checked_sub(4);
    start.and_then(|start| secret.get(start..)).unwrap_or_default()
}

/// The form of every secret that keywheel makes: prefix, 256 bits, checksum.
pub(super) fn written(prefix: &str, bits: &[u8; 32]) -> SecretString {
    let body = Zeroizing::new(format!("{prefix}{}", base64url(bits)));
    SecretString::from(format!("{}{}", body.as_str(), checksum(&body)))
}

/// Six characters that follow from the rest (36 bits of its SHA-256).
fn checksum(body: &str) -> String {
    let mut text = base64url(digest(&SHA256, body.as_bytes()).as_ref());
    text.truncate(6);
    text
}

/// Hashes secrets under a key that the database does not hold (HMAC-SHA-256).
///
/// A generated secret carries 256 bits, so a slow hash would add nothing but a way to exhaust the server.
pub struct SecretHasher(hmac::Key);

impl SecretHasher {
    /// A hasher with the given key.
    pub fn new(key: &[u8; 32]) -> Self {
        SecretHasher(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The hash of a presented or generated secret.
    pub fn hash(&self, secret: &str) -> SecretHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(hmac::sign(&self.0, secret.as_bytes()).as_ref());
        SecretHash(hash)
    }
}

impl fmt::Debug for SecretHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHasher([REDACTED])")
    }
}

/// A keyed hash of a secret, as it is stored. There is no `==`: comparing takes the same time wherever two hashes differ.
#[derive(Clone)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// A hash read from the database; `None` when it has not 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().map(SecretHash).ok()
    }

    /// A hash that no secret has, to be compared with when there is nothing to compare with.
    pub const fn nobodys() -> Self {
        SecretHash([0; 32])
    }

    /// The bytes to be stored.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both hashes are of one secret, in constant time.
    pub fn matches(&self, other: &SecretHash) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn a_secret_has_its_prefix_256_bits_and_a_checksum() {
        let secret = ClientSecret::generate(&mut StdRng::seed_from_u64(1));
        let text = secret.expose();
        assert_eq!(text.len(), 4 + 43 + 6);
        assert!(text.starts_with(ClientSecret::PREFIX));
        let (body, sum) = text.split_at(47);
        assert_eq!(checksum(body), sum);
        assert!(text.ends_with(secret.hint()) && secret.hint().len() == 4);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)));
    }

    // N-07
    #[test]
    fn no_secret_can_be_printed() {
        let secret = ClientSecret::generate(&mut StdRng::seed_from_u64(1));
        let hasher = SecretHasher::new(&[7; 32]);
        let printed = format!("{secret:?} {hasher:?} {:?}", hasher.hash(secret.expose()));
        assert!(
            !printed.contains(secret.expose()) && printed.matches("REDACTED").count() == 3,
            "{printed}"
        );
    }

    // C-22: what the database holds is not a secret.
    #[test]
    fn a_hash_matches_its_secret_alone() {
        let hasher = SecretHasher::new(&[7; 32]);
        let stored = hasher.hash("kws_one");
        assert!(stored.matches(&hasher.hash("kws_one")));
        assert!(!stored.matches(&hasher.hash("kws_two")));
        assert!(!stored.matches(&SecretHasher::new(&[8; 32]).hash("kws_one")));
        assert!(!stored.matches(&hasher.hash(&base64url(stored.as_bytes()))));
    }
}
