use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

/// A JWS algorithm with which keywheel signs (RFC 7518 §3.1).
///
/// The set holds RS256 alone as yet: one key of another algorithm in the JWKS makes some verifiers drop the whole set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, which every verifier knows.
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
}

impl SigningAlgorithm {
    /// Every algorithm.
    pub const ALL: [SigningAlgorithm; 1] = [SigningAlgorithm::Rs256];

    /// The value of `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            SigningAlgorithm::Rs256 => "RS256",
        }
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SigningAlgorithm {
    type Err = UnknownAlgorithm;

    /// Case matters (RFC 7515 §4.1.1).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| UnknownAlgorithm(text.to_owned()))
    }
}

/// An algorithm with which keywheel does not sign.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("signing.alg \"{0}\" is not supported: use RS256")]
pub struct UnknownAlgorithm(String);

/// The size of an RSA modulus. Twice the size costs about six times the processor per token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum RsaBits {
    /// 2048 bits, the smallest that RFC 7518 §3.3 allows.
    #[default]
    Bits2048,
    /// 3072 bits, the strength of AES-128 (NIST SP 800-57 part 1, table 2).
    Bits3072,
    /// 4096 bits.
    Bits4096,
}

impl RsaBits {
    /// The number of bits.
    pub const fn get(self) -> u32 {
        match self {
            RsaBits::Bits2048 => 2048,
            RsaBits::Bits3072 => 3072,
            RsaBits::Bits4096 => 4096,
        }
    }
}

impl TryFrom<u32> for RsaBits {
    type Error = RsaBitsError;

    fn try_from(bits: u32) -> Result<Self, Self::Error> {
        [RsaBits::Bits2048, RsaBits::Bits3072, RsaBits::Bits4096]
            .into_iter()
            .find(|size| size.get() == bits)
            .ok_or(RsaBitsError(bits))
    }
}

/// A size of RSA keys that keywheel does not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("signing.rsa_bits {0} is not supported: use 2048, 3072 or 4096")]
pub struct RsaBitsError(u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_algorithms_and_sizes_are_accepted() {
        assert_eq!("RS256".parse(), Ok(SigningAlgorithm::Rs256));
        for text in ["", "rs256", "RS512", "HS256", "none"] {
            assert!(text.parse::<SigningAlgorithm>().is_err(), "{text}");
        }
        for bits in [2048, 3072, 4096] {
            assert_eq!(RsaBits::try_from(bits).map(RsaBits::get), Ok(bits));
        }
        for bits in [0, 1024, 2047, 2049, 8192] {
            let refusal = RsaBits::try_from(bits).unwrap_err().to_string();
            assert!(
                refusal.contains(&bits.to_string()) && refusal.contains("3072"),
                "{refusal}"
            );
        }
    }
}
