use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use moka::sync::Cache;

use crate::keys::KeyRing;
use crate::oauth::{IssuedClaims, NumericDate, Thumbprint};

/// Access tokens whose signature was found to be ours, by their SHA-256: resource servers ask about the same token again and
/// again, and a signature does not change. Nothing else is remembered: whether the key is still published, the token has expired
/// or was ended, is asked each time.
pub(super) struct VerifiedTokens(Cache<[u8; 32], Arc<Verified>>);

/// A token that one of our keys signed.
#[derive(Debug)]
pub(super) struct Verified {
    kid: Thumbprint,
    /// What it says.
    pub(super) claims: IssuedClaims,
}

/// Most tokens remembered, of about a kilobyte each.
const MOST: u64 = 10_000;

impl Default for VerifiedTokens {
    fn default() -> Self {
        VerifiedTokens(Cache::new(MOST))
    }
}

impl VerifiedTokens {
    /// What the token says, if a key that is published at `now` signed it.
    pub(super) fn verify(&self, token: &str, ring: &KeyRing, now: NumericDate) -> Option<Arc<Verified>> {
        let name: [u8; 32] = digest(&SHA256, token.as_bytes()).as_ref().try_into().ok()?;
        if let Some(verified) = self.0.get(&name) {
            let state = ring.state(&verified.kid, now)?;
            return state.is_published().then_some(verified);
        }
        let (key, payload) = ring.verify_jwt(token, now)?;
        let verified = Arc::new(Verified {
            kid: key.kid().clone(),
            claims: serde_json::from_slice(&payload).ok()?,
        });
        self.0.insert(name, Arc::clone(&verified));
        Some(verified)
    }
}

impl fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedTokens({})", self.0.entry_count())
    }
}
