use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{PublicKey, RsaBits};
use crate::oauth::{KeyType, SigningAlgorithm};

/// A private key with its encoding, as it is between its birth and its sealing. Printing shows nothing of it; memory is wiped.
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    signer: Signer,
}

impl PrivateKey {
    /// A new key for an algorithm, out of the library's own random numbers. An RSA key has the exponent 65537 and so many bits, and
    /// takes from a tenth of a second to seconds; a key on a curve takes no time.
    pub fn generate(algorithm: SigningAlgorithm, bits: RsaBits) -> Result<Self, KeyError> {
        // aws-lc wipes whatever it gives back. The `rsa` crate leaves candidates for the primes lying about.
        match algorithm.key_type() {
            KeyType::Rsa => {
                let size = match bits {
                    RsaBits::Bits2048 => KeySize::Rsa2048,
                    RsaBits::Bits3072 => KeySize::Rsa3072,
                    RsaBits::Bits4096 => KeySize::Rsa4096,
                };
                let pair = rsa::KeyPair::generate(size).map_err(|_unspecified| KeyError::Generate)?;
                let document: Pkcs8V1Der<'_> = pair.as_der().map_err(|_unspecified| KeyError::Generate)?;
                Self::from_pkcs8(algorithm, document.as_ref())
            }
            KeyType::EcP256 => {
                let document = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                    .and_then(|pair| pair.to_pkcs8v1())
                    .map_err(|_unspecified| KeyError::Generate)?;
                Self::from_pkcs8(algorithm, document.as_ref())
            }
        }
    }

    /// Reads an unencrypted PKCS#8 key (RFC 5208) of the algorithm's type, and checks that its parts agree. One of RSA has 2048 bits or
    /// more.
    pub fn from_pkcs8(algorithm: SigningAlgorithm, der: &[u8]) -> Result<Self, KeyError> {
        Ok(PrivateKey {
            pkcs8: Zeroizing::new(der.to_vec()),
            signer: Signer::from_pkcs8(algorithm, der)?,
        })
    }

    /// The unencrypted PKCS#8 encoding, to be sealed at once.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        self.signer.public_key()
    }

    /// The same key without its encoding.
    pub fn into_signer(self) -> Signer {
        self.signer
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey([REDACTED])")
    }
}

/// A private key ready to sign: parsed once, and shared by all threads.
pub struct Signer {
    pair: Pair,
    public: PublicKey,
}

/// A key of one algorithm, as the library has it.
enum Pair {
    Rsa(rsa::KeyPair, &'static dyn RsaEncoding),
    P256(EcdsaKeyPair),
}

impl Signer {
    /// Parses an unencrypted PKCS#8 key of the algorithm's type.
    pub fn from_pkcs8(algorithm: SigningAlgorithm, der: &[u8]) -> Result<Self, KeyError> {
        let refused = |_rejected| KeyError::Refused(algorithm.key_type());
        let unspecified = |_unspecified| KeyError::Refused(algorithm.key_type());
        let pair = match algorithm {
            SigningAlgorithm::Rs256 => Pair::Rsa(rsa::KeyPair::from_pkcs8(der).map_err(refused)?, &RSA_PKCS1_SHA256),
            SigningAlgorithm::Ps256 => Pair::Rsa(rsa::KeyPair::from_pkcs8(der).map_err(refused)?, &RSA_PSS_SHA256),
            SigningAlgorithm::Es256 => {
                Pair::P256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map_err(refused)?)
            }
        };
        let spki: PublicKeyX509Der<'_> = match &pair {
            Pair::Rsa(pair, _) => pair.public_key().as_der(),
            Pair::P256(pair) => pair.public_key().as_der(),
        }
        .map_err(unspecified)?;
        let public = PublicKey::from_spki(spki.as_ref()).ok_or(KeyError::Refused(algorithm.key_type()))?;
        Ok(Signer { pair, public })
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The length of every signature in bytes.
    pub fn signature_len(&self) -> usize {
        match &self.pair {
            Pair::Rsa(pair, _) => pair.public_modulus_len(),
            Pair::P256(_) => 64,
        }
    }

    /// Signs with the key's algorithm: RSASSA-PKCS1-v1_5 (RFC 8017 §8.2), of which the same message always has the same signature,
    /// RSASSA-PSS (RFC 8017 §8.1), or ECDSA as the two numbers in a row (RFC 7518 §3.4).
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        // The library draws what it needs from its own generator, whatever it is given.
        let rng = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &rng, message, &mut signature)
                    .map_err(|_unspecified| KeyError::Sign)?;
                Ok(signature)
            }
            Pair::P256(pair) => {
                let signature = pair.sign(&rng, message).map_err(|_unspecified| KeyError::Sign)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }

    /// The public half as a certificate wants it: RSAPublicKey (RFC 8017 §A.1.1), or a point (RFC 5480 §2.2).
    pub(super) fn subject_public_key(&self) -> &[u8] {
        match &self.pair {
            Pair::Rsa(pair, _) => pair.public_key().as_ref(),
            Pair::P256(pair) => pair.public_key().as_ref(),
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer([REDACTED])")
    }
}

/// Why a private key cannot be made, read or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// No key was found.
    #[error("no key could be generated; try again")]
    Generate,
    /// The bytes are no acceptable key.
    #[error("the private key is refused: give an unencrypted PKCS#8 key {}", match .0 {
        KeyType::Rsa => "of RSA with 2048 bits or more",
        KeyType::EcP256 => "on the curve P-256",
    })]
    Refused(KeyType),
    /// The library could not sign.
    #[error("signing failed in the cryptographic library; if it happens again, rotate the key")]
    Sign,
}

#[cfg(test)]
mod tests {
    use super::super::algorithm::verification;
    use super::super::testing;
    use super::*;
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    fn rsa(der: &[u8]) -> Result<PrivateKey, KeyError> {
        PrivateKey::from_pkcs8(SigningAlgorithm::Rs256, der)
    }

    #[test]
    fn a_generated_key_signs_what_its_public_half_verifies() {
        for (algorithm, length) in [
            (SigningAlgorithm::Rs256, 256),
            (SigningAlgorithm::Ps256, 256),
            (SigningAlgorithm::Es256, 64),
        ] {
            let key = PrivateKey::generate(algorithm, RsaBits::Bits2048).unwrap();
            assert_eq!(key.public_key().key_type(), algorithm.key_type());
            let again = PrivateKey::from_pkcs8(algorithm, key.pkcs8()).unwrap();
            assert_eq!(again.public_key(), key.public_key());
            let signer = key.into_signer();
            let signature = signer.sign(b"message").unwrap();
            assert_eq!((signature.len(), signer.signature_len()), (length, length));
            for other in SigningAlgorithm::ALL {
                let public = UnparsedPublicKey::new(verification(other), signer.public_key().spki());
                let verified = public.verify(b"message", &signature).is_ok();
                assert_eq!(verified, other == algorithm, "{algorithm} as {other}");
                assert!(public.verify(b"massage", &signature).is_err());
            }
        }
    }

    #[test]
    fn a_key_of_the_other_type_is_refused() {
        let rsa = testing::private_key(0).pkcs8();
        let curve = PrivateKey::generate(SigningAlgorithm::Es256, RsaBits::default()).unwrap();
        for (algorithm, der) in [(SigningAlgorithm::Es256, rsa), (SigningAlgorithm::Ps256, curve.pkcs8())] {
            let refusal = PrivateKey::from_pkcs8(algorithm, der).unwrap_err();
            assert_eq!(refusal, KeyError::Refused(algorithm.key_type()));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let der = testing::private_key(0).pkcs8();
        for bytes in [&[][..], b"-----BEGIN PRIVATE KEY-----", &der[..der.len() - 1]] {
            assert_eq!(rsa(bytes).unwrap_err(), KeyError::Refused(KeyType::Rsa));
        }
        // A bit of a prime flipped: the parts no longer agree.
        let mut altered = der.to_vec();
        altered[900] ^= 1;
        assert_eq!(rsa(&altered).unwrap_err(), KeyError::Refused(KeyType::Rsa));
    }

    // a fault in one half of the Chinese remainder would give the key away. The library verifies each of its signatures before
    // it lets it out; here the fault is in the stored key.
    #[test]
    fn no_key_with_a_flipped_bit_makes_a_signature_that_does_not_verify() {
        let der = testing::private_key(0).pkcs8();
        let public = testing::private_key(0).public_key().spki().to_vec();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
        // The primes, the exponents and the coefficient are the last four fifths.
        let mut refused = 0;
        for at in (der.len() / 5..der.len()).step_by(11) {
            let mut altered = der.to_vec();
            altered[at] ^= 1 << (at % 8);
            let signature = rsa(&altered).and_then(|key| key.into_signer().sign(b"message"));
            match signature {
                Err(_) => refused += 1,
                Ok(signature) => public.verify(b"message", &signature).unwrap(),
            }
        }
        assert!(refused > 80, "{refused}");
    }

    // N-07
    #[test]
    fn no_private_byte_can_be_printed() {
        let key = testing::private_key(0);
        assert_eq!(
            format!("{key:?} {:?}", key.signer),
            "PrivateKey([REDACTED]) Signer([REDACTED])"
        );
    }
}
