use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::SigningAlgorithm;
use super::pem::pem;
use crate::oauth::{Jwk, Thumbprint};

/// An RSA public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    /// DER of SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).
    spki: Vec<u8>,
}

impl PublicKey {
    /// Reads the DER of a SubjectPublicKeyInfo; `None` when it is not of an RSA key.
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        let (rest, spki) = SubjectPublicKeyInfo::from_der(der).ok()?;
        let x509_parser::public_key::PublicKey::RSA(key) = spki.parsed().ok()? else {
            return None;
        };
        rest.is_empty().then(|| PublicKey {
            modulus: without_leading_zeros(key.modulus),
            exponent: without_leading_zeros(key.exponent),
            spki: der.to_vec(),
        })
    }

    /// The modulus `n`, big-endian without leading zeros.
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// The exponent `e`, big-endian without leading zeros.
    pub fn exponent(&self) -> &[u8] {
        &self.exponent
    }

    /// The DER of the SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The `kid` of this key (RFC 7638).
    pub fn thumbprint(&self) -> Thumbprint {
        self.jwk(SigningAlgorithm::Rs256, &[]).kid().clone()
    }

    /// This key as it is published, with its certificate's DER.
    pub fn jwk(&self, algorithm: SigningAlgorithm, certificate: &[u8]) -> Jwk {
        Jwk::rsa(algorithm.as_str(), &self.modulus, &self.exponent, certificate)
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
    fn what_is_no_rsa_key_is_refused() {
        let spki = testing::private_key(0).public_key().spki().to_vec();
        assert_eq!(PublicKey::from_spki(&spki[1..]), None);
        assert_eq!(PublicKey::from_spki(&[spki.as_slice(), b"x"].concat()), None);
    }
}
