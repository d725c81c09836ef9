//! Floor 1: the key wheel.
//!
//! It makes signing keys, certifies and seals them, signs with them, and knows from the rows of all keys and the time of day
//! what each key may do: sign, verify, or nothing any more. Who stores the rows, who serves the public keys and who turns the
//! wheel is decided above; here is no storage, no HTTP, no clock and no source of randomness.

mod algorithm;
mod authority;
mod broken_promise;
mod certificate;
mod demand;
mod due;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod import;
mod jwks;
mod lane;
mod pem;
mod plan;
mod plan_reasons;
mod plan_warnings;
mod policy;
mod private_key;
mod private_key_file;
mod public_key;
mod renewal;
mod ring;
mod sealing;
mod signing_key;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod testing;
mod trust_anchors;
mod verifiers;

pub use algorithm::{RsaBits, RsaBitsError};
pub use authority::{CertificateAuthority, Leaf};
pub use broken_promise::{BrokenPromise, PolicyError};
pub use certificate::{Certificate, CertificateError};
pub use demand::{AlgorithmUse, Demand, LINGERING};
pub use due::{Slot, Step};
pub use import::{ImportError, ImportedAuthority, ImportedKey};
pub use jwks::Jwks;
pub use plan::{KeySpan, Plan, PlannedChange, PlannedEvent};
pub use plan_reasons::LongestLife;
pub use plan_warnings::PlanWarning;
pub use policy::{CLOCK_SKEW, HOLD_MARGIN, NODE_REFRESH, RotationPolicy, RotationSettings, Urgency};
pub use private_key::{KeyError, PrivateKey, Signer};
pub use public_key::PublicKey;
pub use ring::{KeyRing, KeyState, Turning};
pub use sealing::{DataKey, MasterKey, MasterKeyId, SealError};
pub use signing_key::{KeyRecord, OpenError, SignError, SigningKey};
pub use trust_anchors::{TrustAnchor, TrustAnchors};
pub use verifiers::{KNOWN_VERIFIERS, KnownVerifier, UnknownKid};
