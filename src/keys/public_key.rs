use x509_parser::oid_registry::OID_EC_P256;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::pem::pem;
use crate::oauth::{Jwk, KeyType, SigningAlgorithm, Thumbprint};

/// A public key of one of the types with which keywheel signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    numbers: Numbers,
    /// DER of SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).
    spki: Vec<u8>,
}

/// The numbers of which a key consists.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Numbers {
    /// Big-endian without leading zeros.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    /// The coordinates of a point on P-256, in full.
    P256 { x: [u8; 32], y: [u8; 32] },
}

impl PublicKey {
    /// Reads the DER of a SubjectPublicKeyInfo; `None` when it is neither of an RSA key nor of one on the curve P-256.
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        let (rest, spki) = SubjectPublicKeyInfo::from_der(der).ok()?;
        let numbers = match spki.parsed().ok()? {
            x509_parser::public_key::PublicKey::RSA(key) => Numbers::Rsa {
                modulus: without_leading_zeros(key.modulus),
                exponent: without_leading_zeros(key.exponent),
            },
            x509_parser::public_key::PublicKey::EC(point) => {
                let curve = spki.algorithm.parameters.as_ref()?.as_oid().ok()?;
                if curve != OID_EC_P256 {
                    return None;
                }
                // Uncompressed (RFC 5480 §2.2), the only form that a JWK can be made of without arithmetic.
                let coordinates = point.data().strip_prefix(&[4])?;
                let (x, y) = coordinates.split_at_checked(32)?;
                Numbers::P256 {
                    x: x.try_into().ok()?,
                    y: y.try_into().ok()?,
                }
            }
            _ => return None,
        };
        rest.is_empty().then(|| PublicKey {
            numbers,
            spki: der.to_vec(),
        })
    }

    /// What the key is made of.
    pub fn key_type(&self) -> KeyType {
        match self.numbers {
            Numbers::Rsa { .. } => KeyType::Rsa,
            Numbers::P256 { .. } => KeyType::EcP256,
        }
    }

    /// The DER of the SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The `kid` of this key (RFC 7638), in which its algorithm has no part.
    pub fn thumbprint(&self) -> Thumbprint {
        self.jwk(SigningAlgorithm::default(), &[]).kid().clone()
    }

    /// This key as it is published for its one algorithm, with its certificate's DER.
    pub fn jwk(&self, algorithm: SigningAlgorithm, certificate: &[u8]) -> Jwk {
        match &self.numbers {
            Numbers::Rsa { modulus, exponent } => Jwk::rsa(algorithm, modulus, exponent, certificate),
            Numbers::P256 { x, y } => Jwk::p256(algorithm, x, y, certificate),
        }
    }

    /// `BEGIN PUBLIC KEY`, for verifiers without JWKS.
    pub fn pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki)
    }
}

fn without_leading_zeros(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::DecodingKey;

    use super::super::testing;
    use super::*;

    #[test]
    fn the_pem_of_a_public_key_is_read_back_by_others() {
        let key = testing::private_key(0).public_key();
        let text = key.pem();
        assert!(text.starts_with("-----BEGIN PUBLIC KEY-----\n") && text.ends_with("\n-----END PUBLIC KEY-----\n"));
        assert!(text.lines().all(|line| line.len() <= 64));
        DecodingKey::from_rsa_pem(text.as_bytes()).unwrap();
        let (_, read) = x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap();
        assert_eq!(PublicKey::from_spki(&read.contents).as_ref(), Some(key));
    }

    #[test]
    fn what_is_no_key_of_a_known_type_is_refused() {
        for key in [testing::private_key(0), testing::curve_key(0)] {
            let spki = key.public_key().spki().to_vec();
            assert_eq!(PublicKey::from_spki(&spki).as_ref(), Some(key.public_key()));
            assert_eq!(PublicKey::from_spki(&spki[1..]), None);
            assert_eq!(PublicKey::from_spki(&[spki.as_slice(), b"x"].concat()), None);
        }
        // The curve's name, prime256v1, turned into another one.
        let mut other = testing::curve_key(0).public_key().spki().to_vec();
        let curve = other.windows(8).position(|bytes| bytes == PRIME256V1).unwrap();
        other[curve + 7] = 1;
        assert_eq!(PublicKey::from_spki(&other), None);
    }

    const PRIME256V1: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

    #[test]
    fn the_pem_of_a_key_on_a_curve_is_read_by_others() {
        let text = testing::curve_key(0).public_key().pem();
        DecodingKey::from_ec_pem(text.as_bytes()).unwrap();
    }
}
