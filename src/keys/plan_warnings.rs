use thiserror::Error;

use super::plan::Turn;
use super::plan_reasons::too_slow;
use super::{Demand, KeyRing, RotationPolicy};
use crate::oauth::{NumericDate, Seconds, SigningAlgorithm, Thumbprint};

/// Something about the keys that is close to a bound, or beyond it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanWarning {
    /// Nothing can sign.
    #[error("no key can sign: start a server, it makes one at once")]
    NothingSigns,
    /// The next key is missing: the turn that comes will be late.
    #[error(
        "no next key is published: start a server, it makes one; the next turn waits until every verifier knows it"
    )]
    NoNextKey,
    /// An algorithm that is wanted does not sign yet.
    #[error(
        "{algorithm} is wanted and signs from {starts} on, when every verifier knows its first key: until then its tokens are signed with \
         {instead}"
    )]
    NotYet {
        /// The algorithm.
        algorithm: SigningAlgorithm,
        /// When its first key begins to sign.
        starts: NumericDate,
        /// What signs in its place.
        instead: SigningAlgorithm,
    },
    /// A key begins to sign before every verifier knows it.
    #[error(
        "{kid} begins to sign at {starts}, but the slowest verifier knows it only at {known_at}: verifiers may refuse its tokens until \
         then. It was brought forward by hand, or signing.slowest_verifier was raised since"
    )]
    TooSoon {
        /// The key.
        kid: Thumbprint,
        /// When it begins to sign.
        starts: NumericDate,
        /// When the slowest verifier has fetched it.
        known_at: NumericDate,
    },
    /// Libraries are slower by their defaults than the settings allow for.
    #[error(
        "by their defaults these refuse a new key for longer than signing.slowest_verifier and signing.jwks_max_age allow for: {0}. If one of \
         them verifies your tokens, raise signing.slowest_verifier to that, or have it fetch the JWK set sooner"
    )]
    SlowVerifiers(String),
    /// The period is hardly longer than it has to be.
    #[error(
        "signing.period ({period}) leaves little beyond what verifiers need to learn of a key ({lead}): a server that is away for longer \
         than {spare} turns late. Set it to {advised} or more"
    )]
    ShortPeriod {
        /// `signing.period`.
        period: Seconds,
        /// How long a key is published at least before it signs.
        lead: Seconds,
        /// The difference.
        spare: Seconds,
        /// A period that leaves room.
        advised: Seconds,
    },
}

impl RotationPolicy {
    /// What an operator should know of, beside the turns of every algorithm.
    pub(super) fn warnings(
        &self,
        ring: &KeyRing,
        demand: &Demand,
        turns: &[Turn],
        now: NumericDate,
    ) -> Vec<PlanWarning> {
        let mut warnings = Vec::new();
        let signs = ring.signer(demand.order(self.settings().algorithm), now);
        if signs.is_none() {
            warnings.push(PlanWarning::NothingSigns);
        }
        let is_wanted = |algorithm: &SigningAlgorithm| self.wants(demand, *algorithm, now);
        let mut wanted = SigningAlgorithm::ALL.into_iter().filter(is_wanted);
        if wanted.any(|algorithm| ring.next(algorithm, now).is_none()) {
            warnings.push(PlanWarning::NoNextKey);
        }
        for algorithm in SigningAlgorithm::ALL.into_iter().filter(is_wanted) {
            let first = turns.iter().find(|turn| turn.algorithm == algorithm);
            if let (None, Some(first), Some(instead)) = (ring.active(algorithm, now), first, signs) {
                let (starts, instead) = (first.starts, instead.record().alg);
                warnings.push(PlanWarning::NotYet {
                    algorithm,
                    starts,
                    instead,
                });
            }
        }
        let coming = turns.iter().filter(|turn| turn.starts > now);
        warnings.extend(coming.filter_map(|turn| {
            let known_at = turn.published_at + self.lead();
            let kid = turn.kid.clone()?;
            let starts = turn.starts;
            (starts < known_at).then_some(PlanWarning::TooSoon { kid, starts, known_at })
        }));
        let slow: Vec<String> = too_slow(self)
            .into_iter()
            .map(|(name, span)| format!("{name} ({span})"))
            .collect();
        if !slow.is_empty() {
            warnings.push(PlanWarning::SlowVerifiers(slow.join(", ")));
        }
        let (period, lead) = (self.settings().period, self.lead());
        if period < lead + lead / 4 {
            warnings.push(PlanWarning::ShortPeriod {
                period,
                lead,
                spare: Seconds::new(period.get() - lead.get()),
                advised: lead + lead / 4,
            });
        }
        warnings
    }
}
