use schemars::JsonSchema;
use serde::Serialize;

use crate::keys::{HOLD_MARGIN, KNOWN_VERIFIERS, KeyRing, KeyState, KnownVerifier, RotationPolicy};
use crate::oauth::{NumericDate, Seconds, SigningAlgorithm, Thumbprint};
use crate::storage::Barring;

/// What remains of a key once it is barred: who goes on trusting it, who does not know its successor yet, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Exposure {
    /// The key.
    #[schemars(with = "String")]
    pub kid: Thumbprint,
    /// What it was before.
    pub state: &'static str,
    /// When it began to sign; absent if it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>")]
    pub signed_from: Option<NumericDate>,
    /// When the last token that it signed has expired for the most lenient verifier; absent if it never signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>")]
    pub tokens_until: Option<NumericDate>,
    /// The key that signs from now on; absent if one has to be made first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub successor: Option<Thumbprint>,
    /// When the last verifier within `signing.slowest_verifier` knows the successor; absent if all do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>")]
    pub successor_known_at: Option<NumericDate>,
    /// When caches that obey `max-age` have let go of the key, if it is revoked now.
    #[schemars(with = "i64")]
    pub caches_until: NumericDate,
    /// When the last verifier within `signing.slowest_verifier` has let go of it, if it is revoked now.
    #[schemars(with = "i64")]
    pub verifiers_until: NumericDate,
    /// Verifiers with known defaults, and how long each is wrong.
    pub verifiers: Vec<VerifierExposure>,
}

/// How long a verifier is wrong about keys, in seconds; absent for "until it is restarted".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VerifierExposure {
    /// The library.
    pub name: &'static str,
    /// It trusts the revoked key at most so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>")]
    pub trusts_for: Option<Seconds>,
    /// It refuses a successor that was never published before at most so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>")]
    pub refuses_for: Option<Seconds>,
}

impl Exposure {
    pub(super) fn of(
        ring: &KeyRing,
        kid: &Thumbprint,
        how: Barring,
        policy: &RotationPolicy,
        now: NumericDate,
    ) -> Self {
        let state = ring.state(kid, now);
        let record = ring.key(kid).map(|key| key.record());
        let signed_from = ring.starts_at(kid).filter(|starts| *starts <= now);
        let signs_until = ring.superseded_at(kid).map_or(now, |superseded| superseded.min(now));
        let life = record.map_or(Seconds::new(0), |record| record.longest_token_life);
        let active = record.and_then(|record| ring.active(record.alg, now));
        let successor = match (active, record) {
            (Some(active), Some(record)) if active.kid() == kid => ring.next(record.alg, now),
            // Nobody wants its algorithm, or that does not sign yet.
            (None, _) => ring.signer(SigningAlgorithm::ALL, now),
            (other, _) => other,
        };
        let known_at = successor.map(|key| key.record().published_at + policy.lead());
        let settings = policy.settings();
        Exposure {
            kid: kid.clone(),
            state: state.map_or("unknown", KeyState::as_str),
            signed_from,
            tokens_until: signed_from.map(|_| signs_until + life + HOLD_MARGIN),
            successor: successor.map(|key| key.kid().clone()),
            successor_known_at: known_at.filter(|known_at| *known_at > now && state == Some(KeyState::Active)),
            caches_until: now + settings.jwks_max_age,
            verifiers_until: now + settings.slowest_verifier.max(settings.jwks_max_age),
            verifiers: match how {
                Barring::Revoke => KNOWN_VERIFIERS.iter().map(VerifierExposure::of).collect(),
                Barring::Taint => Vec::new(),
            },
        }
    }
}

impl VerifierExposure {
    fn of(known: &KnownVerifier) -> Self {
        VerifierExposure {
            name: known.name,
            trusts_for: known.forgets_within(),
            refuses_for: known.learns_within(),
        }
    }
}
