use super::{Actor, Exposure, FetcherLine, Refusing};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use thiserror::Error;

use crate::failpoint::failpoint;
use crate::keys::{
    CertificateError, ImportError, KNOWN_VERIFIERS, KeyRing, LongestLife, OpenError, Plan, RotationPolicy, SigningKey,
    Urgency,
};
use crate::oauth::{NumericDate, Seconds, SigningAlgorithm, Thumbprint, base64url};
use crate::server::demand;
use crate::server::rotation::load_ring;
use crate::server::{Failure, Vault};
use crate::storage::{AuditEvent, Barred, Barring, Store};

/// Shows the signing keys, plans their turns, and turns them ahead of time.
#[derive(Debug)]
pub struct KeyAdmin<'a> {
    pub(super) store: &'a Store,
    pub(super) vault: &'a Vault,
    pub(super) policy: &'a RotationPolicy,
    /// Who acts, for the audit trail.
    pub(super) actor: Actor,
}

/// One signing key as people and programs see it. Times are RFC 3339.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct KeyLine {
    /// Its identifier in tokens and in the JWK set.
    pub kid: String,
    /// JOSE name of its algorithm.
    pub alg: &'static str,
    /// `next`, `active`, `retiring`, `retired`, `tainted` or `revoked`.
    pub state: &'static str,
    /// When it appeared in the JWK set.
    pub published_at: String,
    /// When it begins to sign, or began to.
    pub activates_at: String,
    /// When it stops signing; absent while no successor is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retires_at: Option<String>,
    /// When it leaves the JWK set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<String>,
    /// SHA-256 of its certificate in base64url, as in `x5t#S256`.
    pub certificate_sha256: String,
    /// When its certificate ends.
    pub certificate_not_after: String,
}

/// What a rotation did.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Rotation {
    /// The key that signs from then on.
    pub kid: String,
    /// JOSE name of its algorithm.
    pub alg: &'static str,
    /// From when on it signs.
    pub activates_at: String,
    /// When it was published.
    pub published_at: String,
    /// Whether every verifier within the configured bounds knows it by then.
    pub safe: bool,
    /// When not: verifiers with known defaults that may refuse its tokens, and for how long.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub verifiers: Vec<Refusing>,
    /// When not: who fetches the JWK set and has not got the key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub fetchers: Vec<FetcherLine>,
}

/// Why an act on the keys was refused.
#[derive(Debug, Error)]
pub enum KeyError {
    /// There is nothing to turn to yet.
    #[error("no next key is published yet: start a server, it publishes one at once")]
    NoNextKey,
    /// Nobody wants the algorithm.
    #[error(
        "nobody uses {0}: set signing.alg or a client's signing_alg to it, and a server publishes its first key at once"
    )]
    Unused(SigningAlgorithm),
    /// Somebody else turned the wheel in between.
    #[error("the keys changed meanwhile: look at \"keys list\" and try again")]
    Changed,
    /// No such key.
    #[error("there is no key with kid \"{0}\": \"keys list\" shows those that exist")]
    Unknown(String),
    /// It was barred before.
    #[error("the key \"{0}\" is {1} already")]
    BarredBefore(String, &'static str),
    /// An authority or a key is not fit to be imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The key is there, or was.
    #[error(
        "the key \"{0}\" is known here already, it is {1}: a key never comes back once it was barred or retired. Import another one"
    )]
    Known(String, &'static str),
    /// The authority is the present one.
    #[error("this authority certifies the signing keys already: nothing is to be done")]
    PresentAuthority,
    /// A key would sign before verifiers can know it.
    #[error(
        "the key would sign after {0}, but verifiers need {1} to learn of it: give --activate-at {1} or more, or \"now\" if some of \
         them may refuse its tokens until then"
    )]
    TooEarly(Seconds, Seconds),
    /// Nobody shall rely on the key.
    #[error("the key \"{0}\" is {1}: only a key that signs, will sign or signed until lately is certified anew")]
    NotRenewable(String, &'static str),
    /// It is not known whom the certificate should name.
    #[error("the issuer is not known, which the certificate has to name: set KEYWHEEL_ISSUER as for the server")]
    NoIssuer,
    /// The key could not be certified.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A key from elsewhere does not work.
    #[error(transparent)]
    Unusable(#[from] OpenError),
    /// The keys cannot be read.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl<'a> KeyAdmin<'a> {
    /// Acts in the name of `actor`.
    pub fn new(store: &'a Store, vault: &'a Vault, policy: &'a RotationPolicy, actor: impl Into<Actor>) -> Self {
        KeyAdmin {
            store,
            vault,
            policy,
            actor: actor.into(),
        }
    }

    /// The keys as they are in the database.
    pub fn ring(&self) -> Result<KeyRing, KeyError> {
        Ok(load_ring(self.store, self.vault)?)
    }

    /// All keys, the newest first.
    pub fn list(&self, now: NumericDate) -> Result<Vec<KeyLine>, KeyError> {
        let ring = self.ring()?;
        let line = |key: &SigningKey| {
            let kid = key.kid();
            KeyLine {
                kid: kid.to_string(),
                alg: key.record().alg.as_str(),
                state: ring.state(kid, now).map_or("unknown", |state| state.as_str()),
                published_at: key.record().published_at.to_string(),
                activates_at: key.record().activates_at.to_string(),
                retires_at: ring.superseded_at(kid).map(|at| at.to_string()),
                removed_at: ring.removed_at(kid).map(|at| at.to_string()),
                certificate_sha256: base64url(&key.certificate().sha256()),
                certificate_not_after: key.certificate().not_after().to_string(),
            }
        };
        Ok(ring.keys().map(|key| line(key)).collect())
    }

    /// The timeline of the next turns.
    pub fn plan(&self, now: NumericDate) -> Result<Plan, KeyError> {
        let longest = self.store.longest_lived_client().map_err(Failure::from)?;
        let longest = longest.map(|(client_id, life)| LongestLife { client_id, life });
        let demand = demand::look(self.store, now)?;
        Ok(self.policy.plan(&self.ring()?, &demand, longest.as_ref(), now))
    }

    /// Brings the activation of the next key of an algorithm forward, of the server's own when none is named. Running servers follow
    /// within a second.
    pub fn rotate(
        &self,
        algorithm: Option<SigningAlgorithm>,
        urgency: Urgency,
        now: NumericDate,
    ) -> Result<Rotation, KeyError> {
        let ring = self.ring()?;
        let algorithm = algorithm.unwrap_or(self.policy.settings().algorithm);
        let unknown = || match demand::look(self.store, now) {
            Ok(demand) if !self.policy.wants(&demand, algorithm, now) => KeyError::Unused(algorithm),
            Ok(_) => KeyError::NoNextKey,
            Err(failure) => failure.into(),
        };
        let early = self.policy.early_activation(&ring, algorithm, now, urgency);
        let (kid, activates_at) = early.ok_or_else(unknown)?;
        let record = ring.key(&kid).ok_or(KeyError::NoNextKey)?.record();
        let (planned, published_at) = (record.activates_at, record.published_at);
        let safe = activates_at >= published_at + self.policy.lead();
        let (mut verifiers, mut fetchers) = (Vec::new(), Vec::new());
        if !safe {
            verifiers.extend(KNOWN_VERIFIERS.iter().filter_map(Refusing::of));
            fetchers.extend(
                self.fetchers(now)?
                    .into_iter()
                    .filter(|line| line.has_next == Some(false)),
            );
        }
        let detail = json!({"planned": planned, "activates_at": activates_at, "safe": safe});
        let event = self.event("key.rotated", &kid, now, detail);
        if activates_at != planned {
            let moved = self.store.set_activation(&kid, planned, activates_at, &event);
            failpoint!("activation.answered");
            if !moved.map_err(Failure::from)? {
                return Err(KeyError::Changed);
            }
        }
        let (activates_at, published_at) = (activates_at.to_string(), published_at.to_string());
        Ok(Rotation {
            kid: kid.to_string(),
            alg: algorithm.as_str(),
            activates_at,
            published_at,
            safe,
            verifiers,
            fetchers,
        })
    }

    /// What barring a key would leave behind, without doing it.
    pub fn exposure(&self, kid: &str, how: Barring, now: NumericDate) -> Result<Exposure, KeyError> {
        let ring = self.ring()?;
        let kid = known(&ring, kid)?;
        Ok(Exposure::of(&ring, &kid, how, self.policy, now))
    }

    /// Stops a key from signing on every node within a second; its tokens stay good.
    pub fn taint(&self, kid: &str, reason: Option<&str>, now: NumericDate) -> Result<Exposure, KeyError> {
        self.bar(kid, Barring::Taint, reason, now)
    }

    /// Withdraws a key from every node's JWK set within a second; its tokens are refused by whoever reads the set, and by
    /// introspection.
    pub fn revoke(&self, kid: &str, reason: Option<&str>, now: NumericDate) -> Result<Exposure, KeyError> {
        self.bar(kid, Barring::Revoke, reason, now)
    }

    fn bar(&self, kid: &str, how: Barring, reason: Option<&str>, now: NumericDate) -> Result<Exposure, KeyError> {
        let exposure = self.exposure(kid, how, now)?;
        let name = match how {
            Barring::Taint => "key.tainted",
            Barring::Revoke => "key.revoked",
        };
        let detail = json!({"reason": reason, "state": exposure.state});
        let event = self.event(name, &exposure.kid, now, detail);
        failpoint!("barring.begun");
        let barred = self.store.bar_signing_key(&exposure.kid, how, &event);
        failpoint!("barring.answered");
        match barred.map_err(Failure::from)? {
            Barred::Now => Ok(exposure),
            Barred::Before => Err(KeyError::BarredBefore(kid.to_owned(), exposure.state)),
            Barred::Unknown => Err(KeyError::Unknown(kid.to_owned())),
        }
    }

    /// The public half of a key in PEM.
    pub fn public_pem(&self, kid: &str) -> Result<String, KeyError> {
        let ring = self.ring()?;
        let thumbprint = known(&ring, kid)?;
        let key = ring.key(&thumbprint).ok_or_else(|| KeyError::Unknown(kid.to_owned()))?;
        Ok(key.public_key().pem())
    }

    /// What the trail keeps of an act on a key.
    pub(super) fn event(
        &self,
        event: &str,
        kid: &Thumbprint,
        at: NumericDate,
        detail: serde_json::Value,
    ) -> AuditEvent {
        AuditEvent {
            kid: Some(kid.to_string()),
            ..self.actor.event(event, at, detail)
        }
    }
}

pub(super) fn known(ring: &KeyRing, kid: &str) -> Result<Thumbprint, KeyError> {
    Thumbprint::parse(kid)
        .filter(|kid| ring.key(kid).is_some())
        .ok_or_else(|| KeyError::Unknown(kid.to_owned()))
}
