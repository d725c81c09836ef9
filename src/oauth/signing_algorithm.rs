use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::UnknownWord;

/// A JWS algorithm with which tokens are signed (RFC 7518 §3.1).
///
/// Whatever depends on the algorithm is a `match` without a wildcard, so that the compiler names every place that a new one
/// has to be thought of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, which every verifier knows (RFC 7518 §3.3).
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
    /// RSASSA-PSS with SHA-256 and a salt of 32 bytes (RFC 7518 §3.5).
    #[serde(rename = "PS256")]
    Ps256,
    /// ECDSA over P-256 with SHA-256: the shortest tokens, and the quickest to sign (RFC 7518 §3.4).
    #[serde(rename = "ES256")]
    Es256,
}

/// What a key is made of (RFC 7518 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// A modulus and an exponent.
    Rsa,
    /// A point on the curve P-256.
    EcP256,
}

impl SigningAlgorithm {
    /// Every algorithm, the most widely known first. The JWK set has the keys in this order.
    pub const ALL: [SigningAlgorithm; 3] = [
        SigningAlgorithm::Rs256,
        SigningAlgorithm::Ps256,
        SigningAlgorithm::Es256,
    ];

    /// The value of `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            SigningAlgorithm::Rs256 => "RS256",
            SigningAlgorithm::Ps256 => "PS256",
            SigningAlgorithm::Es256 => "ES256",
        }
    }

    /// What its keys are made of. Two algorithms may have keys of one type, and yet no key serves two (RFC 8725 §3.1).
    pub const fn key_type(self) -> KeyType {
        match self {
            SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256 => KeyType::Rsa,
            SigningAlgorithm::Es256 => KeyType::EcP256,
        }
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SigningAlgorithm {
    type Err = UnknownWord;

    /// Case matters (RFC 7515 §4.1.1).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        UnknownWord::find(Self::ALL, Self::as_str, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_to_the_letter_and_a_refusal_lists_all() {
        for algorithm in SigningAlgorithm::ALL {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
            assert_eq!(serde_json::to_value(algorithm).unwrap(), algorithm.as_str());
        }
        for text in ["", "rs256", "RS512", "HS256", "none", "ES384", "EdDSA"] {
            let refusal = text.parse::<SigningAlgorithm>().unwrap_err().to_string();
            assert!(refusal.ends_with("choose one of RS256, PS256, ES256"), "{refusal}");
        }
        assert_eq!(SigningAlgorithm::default(), SigningAlgorithm::Rs256);
        assert!(
            SigningAlgorithm::ALL.is_sorted(),
            "the order of the set is that of the variants"
        );
    }
}
