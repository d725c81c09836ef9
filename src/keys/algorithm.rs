use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, VerificationAlgorithm,
};
use jsonwebtoken::Algorithm;
use thiserror::Error;

use crate::oauth::SigningAlgorithm;

/// How the library that signs names the verification of an algorithm's signatures.
pub(super) fn verification(algorithm: SigningAlgorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        SigningAlgorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        SigningAlgorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
        SigningAlgorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
    }
}

/// How the library by which keys are proved names an algorithm.
pub(super) fn jwa(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::Rs256 => Algorithm::RS256,
        SigningAlgorithm::Ps256 => Algorithm::PS256,
        SigningAlgorithm::Es256 => Algorithm::ES256,
    }
}

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
    fn only_known_sizes_are_accepted() {
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
