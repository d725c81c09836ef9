use ::rsa::pkcs1::der::{Decode as _, Encode as _, asn1::OctetStringRef};
use ::rsa::pkcs1::{ALGORITHM_ID, RsaPrivateKey as Pkcs1Key, UintRef};
use ::rsa::pkcs8::PrivateKeyInfoRef;
use rand::CryptoRng;
use thiserror::Error;
use x509_parser::oid_registry::{
    OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
    OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ED25519,
};
use zeroize::Zeroizing;

use super::certificate::parsed;
use super::pem::{self, Block, PemError};
use super::{Certificate, CertificateAuthority, CertificateError, Leaf, PrivateKey, RotationPolicy, Slot, TrustAnchor};
use crate::oauth::{IssuerUrl, NumericDate, Seconds};

/// An operator's own authority, checked as far as that can be done before it certifies the first key.
#[derive(Debug)]
pub struct ImportedAuthority {
    /// The authority.
    pub authority: CertificateAuthority,
    /// Its private key, to be sealed at once.
    pub key: PrivateKey,
    /// The authorities above it, the next one first.
    pub issuers: Vec<TrustAnchor>,
}

impl ImportedAuthority {
    /// Reads the PEM of a certificate, followed by those above it if there are any, and the PEM of its private key.
    pub fn read(
        certificates: &str,
        key: &str,
        policy: &RotationPolicy,
        now: NumericDate,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, ImportError> {
        let key = private_key(key)?;
        let (der, issuers) = chain(certificates, now)?;
        let authority = CertificateAuthority::from_stored(&der, key.pkcs8()).map_err(ImportError::from)?;
        // The next key is made at the latest when the present one stops: a period from now. It must be able to serve to its end.
        let slot = Slot {
            slot: 0,
            published_at: now,
            activates_at: now + policy.settings().period,
        };
        let needed = policy.certificate_needed_for(&slot);
        outlasts(&der, &issuers, needed)?;
        tries(&authority, now, rng)?;
        Ok(ImportedAuthority {
            authority,
            key,
            issuers,
        })
    }
}

/// A signing key that was made elsewhere, with its certificate.
#[derive(Debug)]
pub struct ImportedKey {
    /// The certificate of the key.
    pub certificate: Certificate,
    /// The private key, to be sealed at once.
    pub key: PrivateKey,
    /// The authorities above it, the next one first.
    pub issuers: Vec<TrustAnchor>,
}

impl ImportedKey {
    /// Reads the PEM of a certificate, followed by those above it, and the PEM of its private key. An issuer that is among `known`
    /// need not be repeated. The key is to sign from `activates_at` on.
    pub fn read(
        certificates: &str,
        key: &str,
        known: &[TrustAnchor],
        policy: &RotationPolicy,
        activates_at: NumericDate,
        now: NumericDate,
    ) -> Result<Self, ImportError> {
        let key = private_key(key)?;
        let (der, issuers) = chain(certificates, now)?;
        let certificate = Certificate::parse(&der).map_err(ImportError::from)?;
        if certificate.public_key() != key.public_key() {
            return Err(ImportError::OtherKey);
        }
        let facts = parsed(&der).map_err(ImportError::from)?;
        if facts.is_ca() {
            return Err(ImportError::IsAnAuthority);
        }
        let usage = facts.key_usage().ok().flatten();
        if usage.is_some_and(|usage| !usage.value.digital_signature()) {
            return Err(ImportError::NoDigitalSignature);
        }
        if issuers.is_empty() && !known.iter().any(|known| known.issued(&der)) {
            return Err(ImportError::NoIssuer(facts.issuer().to_string()));
        }
        let slot = Slot {
            slot: 0,
            published_at: now,
            activates_at,
        };
        outlasts(&der, &issuers, policy.certificate_needed_for(&slot))?;
        Ok(ImportedKey {
            certificate,
            key,
            issuers,
        })
    }
}

/// Why an authority or a key is not imported. Each message says how to mend it; none tells anything of a private key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ImportError {
    #[error("the file of the certificate cannot be used: {0}")]
    CertificateFile(String),
    #[error("the file of the private key cannot be used: {0}")]
    KeyFile(String),
    #[error("the file of the certificate holds none: it must begin with a block CERTIFICATE, the one of the key first")]
    NoCertificate,
    #[error(
        "the file of the private key holds none, but {0}: give a block PRIVATE KEY (PKCS#8) or RSA PRIVATE KEY (PKCS#1)"
    )]
    NoPrivateKey(String),
    #[error("the file of the private key holds {0} of them: give the one that belongs to the first certificate, alone")]
    SeveralPrivateKeys(usize),
    #[error(
        "the private key is encrypted: decrypt it on the way with \"openssl pkey -in FILE | keywheel keys import … --key -\""
    )]
    Encrypted,
    #[error(
        "the private key is not of RSA: make one with \"openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072\""
    )]
    NotRsa,
    #[error("the private key has {0} bits: use one of 2048 to 4096 bits")]
    Size(u32),
    #[error("the private key is damaged, its parts do not agree: export it anew from where it was made")]
    Damaged,
    #[error("the first certificate is of another key: give the certificate and the private key of one pair")]
    OtherKey,
    #[error("certificate {position} in the file: {error}")]
    Certificate { position: usize, error: CertificateError },
    #[error("{0}")]
    Other(CertificateError),
    #[error("the certificate of {subject} is valid only from {from} on: wait until then, or have it issued anew")]
    NotYetValid { subject: String, from: NumericDate },
    #[error("the certificate of {subject} expired at {at}: have it issued anew")]
    Expired { subject: String, at: NumericDate },
    #[error(
        "the certificate of {subject} is signed with {algorithm}, which is weak or cannot be verified here: have it issued anew with \
         SHA-256"
    )]
    WeakSignature { subject: String, algorithm: String },
    #[error(
        "the certificate of {0} is not signed by the next one in the file: give each certificate before that of its issuer"
    )]
    NotInOrder(String),
    #[error(
        "the certificate is that of an authority: a signing key needs one with CA:FALSE; an authority is imported with \"keys import ca\""
    )]
    IsAnAuthority,
    #[error("the certificate does not allow signatures: have it issued anew with the key usage digitalSignature")]
    NoDigitalSignature,
    #[error(
        "the certificate of the issuer \"{0}\" is not known here: append it to the file, so that verifiers can be given it"
    )]
    NoIssuer(String),
    #[error(
        "the certificate of {subject} ends at {ends}, but is needed until {needed} (signing.period, and the time for which a key is held): {remedy}"
    )]
    EndsTooSoon {
        subject: String,
        ends: NumericDate,
        needed: NumericDate,
        remedy: &'static str,
    },
}

impl From<CertificateError> for ImportError {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::OtherKey => ImportError::OtherKey,
            other => ImportError::Other(other),
        }
    }
}

/// The one private key in a PEM file.
fn private_key(text: &str) -> Result<PrivateKey, ImportError> {
    let blocks = pem::blocks(text).map_err(|error| match error {
        PemError::Encrypted(_) => ImportError::Encrypted,
        other => ImportError::KeyFile(other.to_string()),
    })?;
    let labels: Vec<&str> = blocks.iter().map(|block| block.label.as_str()).collect();
    let keys: Vec<&Block> = blocks
        .iter()
        .filter(|block| block.label.ends_with("PRIVATE KEY"))
        .collect();
    let [block] = keys[..] else {
        return Err(match keys.len() {
            0 => ImportError::NoPrivateKey(labels.join(", ")),
            several => ImportError::SeveralPrivateKeys(several),
        });
    };
    let pkcs8 = match block.label.as_str() {
        "ENCRYPTED PRIVATE KEY" => return Err(ImportError::Encrypted),
        "PRIVATE KEY" => block.der.clone(),
        "RSA PRIVATE KEY" => in_pkcs8(&block.der).ok_or(ImportError::Damaged)?,
        _ => return Err(ImportError::NotRsa),
    };
    let info = PrivateKeyInfoRef::try_from(pkcs8.as_slice()).map_err(|_malformed| ImportError::Damaged)?;
    if info.algorithm.oid != ALGORITHM_ID.oid {
        return Err(ImportError::NotRsa);
    }
    let bits = modulus_bits(info.private_key.as_bytes()).ok_or(ImportError::Damaged)?;
    if !(SMALLEST_KEY..=LARGEST_KEY).contains(&bits) {
        return Err(ImportError::Size(bits));
    }
    PrivateKey::from_pkcs8(&pkcs8).map_err(|_refused| ImportError::Damaged)
}

const SMALLEST_KEY: u32 = 2_048;
/// A larger key makes each token so slow that a few clients could occupy the server.
const LARGEST_KEY: u32 = 4_096;

fn in_pkcs8(pkcs1: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let info = PrivateKeyInfoRef::new(ALGORITHM_ID, OctetStringRef::new(pkcs1).ok()?);
    info.to_der().ok().map(Zeroizing::new)
}

fn modulus_bits(pkcs1: &[u8]) -> Option<u32> {
    let key = Pkcs1Key::<UintRef<'_>>::from_der(pkcs1).ok()?;
    let modulus = key.modulus.as_bytes();
    let length = u32::try_from(modulus.len()).ok()?;
    Some(length * 8 - modulus.first()?.leading_zeros())
}

/// The first certificate in a PEM file and the authorities above it. Each is valid now, and signed by the next one with a hash that
/// is not weak.
fn chain(text: &str, now: NumericDate) -> Result<(Vec<u8>, Vec<TrustAnchor>), ImportError> {
    let blocks = pem::blocks(text).map_err(|error| ImportError::CertificateFile(error.to_string()))?;
    let ders: Vec<&[u8]> = blocks
        .iter()
        .filter(|block| block.label == "CERTIFICATE")
        .map(|block| block.der.as_slice())
        .collect();
    let (first, above) = ders.split_first().ok_or(ImportError::NoCertificate)?;
    for (position, der) in (1..).zip(&ders) {
        let certificate = parsed(der).map_err(|error| ImportError::Certificate { position, error })?;
        let subject = certificate.subject().to_string();
        let date = |time: x509_parser::time::ASN1Time| NumericDate::from_epoch(time.timestamp());
        let (from, at) = (
            date(certificate.validity().not_before),
            date(certificate.validity().not_after),
        );
        if now < from {
            return Err(ImportError::NotYetValid { subject, from });
        }
        if at <= now {
            return Err(ImportError::Expired { subject, at });
        }
        let algorithm = &certificate.signature_algorithm.algorithm;
        if !STRONG.contains(algorithm) {
            let algorithm = x509_parser::objects::oid2sn(algorithm, x509_parser::objects::oid_registry())
                .map_or_else(|_unknown| algorithm.to_id_string(), str::to_owned);
            return Err(ImportError::WeakSignature { subject, algorithm });
        }
    }
    let anchor = |(position, der): (usize, &&[u8])| {
        TrustAnchor::parse(der).map_err(|error| ImportError::Certificate { position, error })
    };
    let issuers: Vec<TrustAnchor> = (2..).zip(above).map(anchor).collect::<Result<_, _>>()?;
    for (certificate, issuer) in ders.iter().zip(&issuers) {
        if !issuer.issued(certificate) {
            let subject = parsed(certificate).map_err(ImportError::from)?.subject().to_string();
            return Err(ImportError::NotInOrder(subject));
        }
    }
    Ok((first.to_vec(), issuers))
}

const STRONG: [x509_parser::der_parser::Oid<'static>; 7] = [
    OID_PKCS1_SHA256WITHRSA,
    OID_PKCS1_SHA384WITHRSA,
    OID_PKCS1_SHA512WITHRSA,
    OID_PKCS1_RSASSAPSS,
    OID_SIG_ECDSA_WITH_SHA256,
    OID_SIG_ECDSA_WITH_SHA384,
    OID_SIG_ED25519,
];

/// No certificate of the chain ends before the keys that hang on it do.
fn outlasts(first: &[u8], issuers: &[TrustAnchor], needed: NumericDate) -> Result<(), ImportError> {
    let first = parsed(first).map_err(ImportError::from)?;
    let ends = NumericDate::from_epoch(first.validity().not_after.timestamp());
    let above = issuers
        .iter()
        .map(|issuer| (issuer.subject().to_owned(), issuer.not_after()));
    let mut all = [(first.subject().to_string(), ends)].into_iter().chain(above);
    match all.find(|(_, ends)| *ends < needed) {
        None => Ok(()),
        Some((subject, ends)) => Err(ImportError::EndsTooSoon {
            subject,
            ends,
            needed,
            remedy: "have it issued anew for longer, or shorten signing.period",
        }),
    }
}

/// Certifies something, so that an authority whose name cannot be written back is not found out by the next key.
fn tries(authority: &CertificateAuthority, now: NumericDate, rng: &mut dyn CryptoRng) -> Result<(), ImportError> {
    let public_key = authority.certificate().public_key();
    let Ok(issuer) = IssuerUrl::parse("https://issuer.invalid") else {
        return Ok(());
    };
    let leaf = Leaf {
        kid: &public_key.thumbprint(),
        public_key,
        issuer: &issuer,
        not_before: now,
        not_after: now + Seconds::days(1),
    };
    authority.certify(&leaf, rng).map(drop).map_err(ImportError::from)
}
