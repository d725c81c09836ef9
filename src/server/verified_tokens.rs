use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use moka::Expiry;
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
    /// How long it had to live.
    left: Duration,
}

/// Most tokens remembered, of about a kilobyte each.
const MOST: u64 = 10_000;

impl Default for VerifiedTokens {
    fn default() -> Self {
        VerifiedTokens(Cache::builder().max_capacity(MOST).expire_after(WithTheToken).build())
    }
}

/// Nobody asks for long about a token that has ended: its place is not kept until others need it.
struct WithTheToken;

impl Expiry<[u8; 32], Arc<Verified>> for WithTheToken {
    fn expire_after_create(
        &self,
        _name: &[u8; 32],
        verified: &Arc<Verified>,
        _created_at: Instant,
    ) -> Option<Duration> {
        Some(verified.left)
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
        let claims: IssuedClaims = serde_json::from_slice(&payload).ok()?;
        let left = u64::try_from(claims.exp.since(now).get()).unwrap_or(0);
        let verified = Arc::new(Verified {
            kid: key.kid().clone(),
            claims,
            left: Duration::from_secs(left),
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
