use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{PublicKey, RsaBits};

/// A private key with its encoding, as it is between its birth and its sealing. Printing shows nothing of it; memory is wiped.
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    signer: Signer,
}

impl PrivateKey {
    /// A new RSA key with the exponent 65537, out of the library's own random numbers. Takes from a tenth of a second to seconds.
    pub fn generate(bits: RsaBits) -> Result<Self, KeyError> {
        let size = match bits {
            RsaBits::Bits2048 => KeySize::Rsa2048,
            RsaBits::Bits3072 => KeySize::Rsa3072,
            RsaBits::Bits4096 => KeySize::Rsa4096,
        };
        // aws-lc wipes whatever it gives back. The `rsa` crate leaves candidates for the primes lying about.
        let pair = rsa::KeyPair::generate(size).map_err(|_unspecified| KeyError::Generate)?;
        let document: Pkcs8V1Der<'_> = pair.as_der().map_err(|_unspecified| KeyError::Generate)?;
        Self::from_pkcs8(document.as_ref())
    }

    /// Reads an unencrypted PKCS#8 key (RFC 5208) of RSA with 2048 bits or more, and checks that its parts agree.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        Ok(PrivateKey {
            pkcs8: Zeroizing::new(der.to_vec()),
            signer: Signer::from_pkcs8(der)?,
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
    pair: rsa::KeyPair,
    public: PublicKey,
}

impl Signer {
    /// Parses an unencrypted PKCS#8 key of RSA.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = rsa::KeyPair::from_pkcs8(der).map_err(|_rejected| KeyError::Refused)?;
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_unspecified| KeyError::Refused)?;
        let public = PublicKey::from_spki(spki.as_ref()).ok_or(KeyError::Refused)?;
        Ok(Signer { pair, public })
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The length of every signature in bytes.
    pub fn signature_len(&self) -> usize {
        self.public.modulus().len()
    }

    /// Signs with RSASSA-PKCS1-v1_5 and SHA-256 (RFC 8017 §8.2). The same message always has the same signature.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        // The generator is demanded by the signature of the function and not used: PKCS #1 v1.5 is deterministic.
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_unspecified| KeyError::Sign)?;
        Ok(signature)
    }

    /// The public half as RSAPublicKey (RFC 8017 §A.1.1), as a certificate wants it.
    pub(super) fn pkcs1_public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
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
    #[error("no RSA key could be generated; try again")]
    Generate,
    /// The bytes are no acceptable key.
    #[error("the private key is refused: give an unencrypted PKCS#8 RSA key of 2048 bits or more")]
    Refused,
    /// The library could not sign.
    #[error("signing failed in the cryptographic library; if it happens again, rotate the key")]
    Sign,
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    #[test]
    fn a_generated_key_signs_what_its_public_half_verifies() {
        let key = PrivateKey::generate(RsaBits::Bits2048).unwrap();
        assert_eq!(key.public_key().modulus().len() * 8, 2048);
        assert_eq!(key.public_key().exponent(), [1, 0, 1]);
        let signer = key.into_signer();
        let signature = signer.sign(b"message").unwrap();
        assert_eq!(signature.len(), signer.signature_len());
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, signer.public_key().spki());
        public.verify(b"message", &signature).unwrap();
        assert!(public.verify(b"massage", &signature).is_err());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let der = testing::private_key(0).pkcs8();
        for bytes in [&[][..], b"-----BEGIN PRIVATE KEY-----", &der[..der.len() - 1]] {
            assert_eq!(PrivateKey::from_pkcs8(bytes).unwrap_err(), KeyError::Refused);
        }
        // A bit of a prime flipped: the parts no longer agree.
        let mut altered = der.to_vec();
        altered[900] ^= 1;
        assert_eq!(PrivateKey::from_pkcs8(&altered).unwrap_err(), KeyError::Refused);
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
            let signature = PrivateKey::from_pkcs8(&altered).and_then(|key| key.into_signer().sign(b"message"));
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
