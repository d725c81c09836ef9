use thiserror::Error;

use crate::oauth::Seconds;

/// A setting that would break a promise of the rotation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// A setting is too small.
    #[error("{setting} is {value}, but {reason}: set it to {smallest} or more")]
    TooSmall {
        /// Its name in the configuration.
        setting: &'static str,
        /// Its value.
        value: Seconds,
        /// The smallest value that would do.
        smallest: Seconds,
        /// What would go wrong.
        reason: BrokenPromise,
    },
    /// A setting is too large.
    #[error("{setting} is {value}, but {reason}: set it to {largest} or less")]
    TooLarge {
        /// Its name in the configuration.
        setting: &'static str,
        /// Its value.
        value: Seconds,
        /// The largest value that would do.
        largest: Seconds,
        /// What would go wrong.
        reason: BrokenPromise,
    },
}

/// What would go wrong with a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BrokenPromise {
    /// Verifiers could not keep the set at all.
    #[error("verifiers would fetch the keys for every token")]
    AskedTooOften,
    /// A compromised key could not be withdrawn soon.
    #[error("a revoked key would be trusted that long")]
    WithdrawnTooLate,
    /// Tokens would be dead at birth.
    #[error("every token would have expired when it is issued")]
    NeverValid,
    /// The lead is longer than the period.
    #[error("a key must be published longer than signing.jwks_max_age and signing.slowest_verifier before it signs")]
    NotYetKnown,
    /// The certificate of the key that signs meanwhile could end.
    #[error("certificates are made for turns that are one signing.period late at most")]
    CertifiedTooBriefly,
    /// NIST SP 800-57 part 1 §5.3.6 grants a private signature key one to three years.
    #[error("a signing key should not serve longer than a year")]
    TooOld,
}

pub(super) fn at_least(
    setting: &'static str,
    value: Seconds,
    smallest: Seconds,
    reason: BrokenPromise,
) -> Result<(), PolicyError> {
    (value >= smallest).then_some(()).ok_or(PolicyError::TooSmall {
        setting,
        value,
        smallest,
        reason,
    })
}

pub(super) fn at_most(
    setting: &'static str,
    value: Seconds,
    largest: Seconds,
    reason: BrokenPromise,
) -> Result<(), PolicyError> {
    (value <= largest).then_some(()).ok_or(PolicyError::TooLarge {
        setting,
        value,
        largest,
        reason,
    })
}
