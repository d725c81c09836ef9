use thiserror::Error;
use x509_parser::asn1_rs::{Any, Class};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::PublicKey;
use super::pem::pem;
use crate::oauth::{NumericDate, certificate_sha256};

/// A certificate and the facts that keywheel wants of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    subject: String,
    not_before: NumericDate,
    not_after: NumericDate,
    public_key: PublicKey,
    uris: Vec<String>,
}

impl Certificate {
    /// Reads a certificate from its DER. Its key is of a type with which keywheel signs.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = parsed(der)?;
        let validity = certificate.validity();
        Ok(Certificate {
            der: der.to_vec(),
            subject: certificate.subject().to_string(),
            not_before: NumericDate::from_epoch(validity.not_before.timestamp()),
            not_after: NumericDate::from_epoch(validity.not_after.timestamp()),
            public_key: PublicKey::from_spki(certificate.public_key().raw).ok_or(CertificateError::OtherKeyType)?,
            uris: uris(&certificate),
        })
    }

    /// The DER encoding.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// `BEGIN CERTIFICATE`.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// The subject's name, for people.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// First instant of validity.
    pub fn not_before(&self) -> NumericDate {
        self.not_before
    }

    /// Last instant of validity.
    pub fn not_after(&self) -> NumericDate {
        self.not_after
    }

    /// The key of which the certificate speaks.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The URIs among its alternative names (RFC 5280 §4.2.1.6). That of a signing key names the issuer of the tokens.
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// SHA-256 of the DER.
    pub fn sha256(&self) -> [u8; 32] {
        certificate_sha256(&self.der)
    }
}

/// Why a certificate cannot be read or issued.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// The bytes are no certificate.
    #[error("the certificate is unreadable: give one X.509 certificate in DER")]
    Unreadable,
    /// The certificate is of a key that keywheel cannot use.
    #[error(
        "the certificate is neither of an RSA key nor of one on the curve P-256: use an RSA key of 2048 bits or more"
    )]
    OtherKeyType,
    /// The authority's private key is unusable.
    #[error("the private key of the certificate authority: {0}")]
    Key(#[from] super::KeyError),
    /// Certificate and private key are of two keys.
    #[error("the certificate of the authority and its private key do not belong together: import them as one pair")]
    OtherKey,
    /// The certificate may not sign others.
    #[error("the certificate may not sign others: import one with CA:TRUE and the key usage keyCertSign")]
    NotAnAuthority,
    /// The authority is no longer valid.
    #[error(
        "the certificate authority expired at {0}: make or import a new one and give its certificate to the verifiers"
    )]
    Expired(NumericDate),
    /// A new certificate did not verify.
    #[error(
        "a new certificate does not verify under the authority: import an authority whose subject is UTF-8 or printable"
    )]
    Unverifiable,
    /// The certificate could not be written.
    #[error("the certificate could not be written: {0}")]
    Writing(String),
}

impl CertificateError {
    pub(super) fn from_rcgen(error: rcgen::Error) -> Self {
        CertificateError::Writing(error.to_string())
    }
}

/// What a certificate allows its key.
pub(super) trait Authorized {
    /// Whether the key may sign certificates (RFC 5280 §4.2.1.3, §4.2.1.9).
    fn may_certify(&self) -> bool;
}

impl Authorized for X509Certificate<'_> {
    fn may_certify(&self) -> bool {
        let usage = self.key_usage().ok().flatten();
        self.is_ca() && usage.is_none_or(|usage| usage.value.key_cert_sign())
    }
}

/// Reads one certificate and nothing after it.
pub(super) fn parsed(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) if written_anew(der).is_some_and(|again| again == der) => Ok(certificate),
        _ => Err(CertificateError::Unreadable),
    }
}

/// The same certificate, made of what its signature covers and of the signature (RFC 5280 §4.1.1): the algorithm is that of the signed part
/// (§4.1.1.2). What is not covered could else be written in several ways, of which others refuse some.
fn written_anew(der: &[u8]) -> Option<Vec<u8>> {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let (_, certificate) = Any::from_der(der).ok()?;
    let (unsigned, signed) = Any::from_der(certificate.data).ok()?;
    let (mut rest, first) = Any::from_der(signed.data).ok()?;
    if first.class() == Class::ContextSpecific {
        // That was the version, and the serial number follows.
        rest = Any::from_der(rest).ok()?.0;
    }
    let (after, _algorithm) = Any::from_der(rest).ok()?;
    let (_, signature) = Any::from_der(Any::from_der(unsigned).ok()?.0).ok()?;
    let before = |all: &'_ [u8], end: &[u8]| all.get(..all.len().checked_sub(end.len())?).map(<[u8]>::to_vec);
    let content = [
        before(certificate.data, unsigned)?,
        before(rest, after)?,
        // Of whole bytes: none of its last bits is unused.
        element(BIT_STRING, &[&[0], signature.data.get(1..)?].concat())?,
    ];
    element(SEQUENCE, &content.concat())
}

/// An element of DER (X.690 §8.1, §10.1).
fn element(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(content.len()).ok()?;
    let [high, low] = length.to_be_bytes();
    let header = match length {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    Some([&header, content].concat())
}

fn uris(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.iter());
    names
        .into_iter()
        .flatten()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        })
        .collect()
}
