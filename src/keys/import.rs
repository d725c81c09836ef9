use rand::CryptoRng;
use thiserror::Error;
use x509_parser::oid_registry::{
    OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
    OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ED25519,
};

use super::certificate::parsed;
use super::pem;
use super::private_key_file::private_key;
use super::{Certificate, CertificateAuthority, CertificateError, Leaf, PrivateKey, RotationPolicy, Slot, TrustAnchor};
use crate::oauth::{IssuerUrl, KeyType, NumericDate, Seconds, SigningAlgorithm};

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
        let key = private_key(key, CertificateAuthority::ALGORITHM)?;
        let (der, issuers) = chain(certificates, now)?;
        let authority = CertificateAuthority::from_stored(&der, key.pkcs8()).map_err(ImportError::from)?;
        // The next key is made at the latest when the present one stops: a period from now. It must be able to serve to its end.
        let slot = Slot {
            algorithm: policy.settings().algorithm,
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
    /// need not be repeated. The key is to sign with `algorithm` from `activates_at` on.
    pub fn read(
        (certificates, key, algorithm): (&str, &str, SigningAlgorithm),
        known: &[TrustAnchor],
        policy: &RotationPolicy,
        activates_at: NumericDate,
        now: NumericDate,
    ) -> Result<Self, ImportError> {
        let key = private_key(key, algorithm)?;
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
            algorithm,
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
    #[error("the private key is not {}\"", match algorithm.key_type() {
        KeyType::Rsa => "of RSA: make one with \"openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072",
        KeyType::EcP256 => "on the curve P-256: make one with \"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    })]
    OtherKeyType { algorithm: SigningAlgorithm },
    #[error(
        "the private key is not in PKCS#8: convert it on the way with \"openssl pkey -in FILE | keywheel keys import … --key -\""
    )]
    NotPkcs8,
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

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::pem::pem;
    use super::super::policy::default_settings;
    use super::super::testing::{self, at, private_key, record};
    use super::*;

    const DAY: i64 = 86_400;
    /// Of the authority and of the leaf in these tests.
    const AUTHORITY: usize = 11;
    const LEAF: usize = 0;

    fn policy() -> RotationPolicy {
        RotationPolicy::new(default_settings()).unwrap()
    }

    fn ca() -> Vec<u8> {
        testing::authority().certificate().der().to_vec()
    }

    /// Signs from 0 on; its certificate ends after 61 days.
    fn leaf() -> Vec<u8> {
        record(LEAF, 1, 0, 0).certificate
    }

    fn pems(ders: &[&[u8]]) -> String {
        ders.iter().map(|der| pem("CERTIFICATE", der)).collect()
    }

    fn key(index: usize) -> String {
        pem("PRIVATE KEY", private_key(index).pkcs8())
    }

    fn authority(certificates: &[&[u8]], of: usize, now: i64) -> Result<ImportedAuthority, ImportError> {
        let mut rng = StdRng::seed_from_u64(1);
        ImportedAuthority::read(&pems(certificates), &key(of), &policy(), at(now), &mut rng)
    }

    fn signing_key(certificates: &[&[u8]], of: usize, activates_at: i64) -> Result<ImportedKey, ImportError> {
        ImportedKey::read(
            (&pems(certificates), &key(of), SigningAlgorithm::Rs256),
            &[],
            &policy(),
            at(activates_at),
            at(0),
        )
    }

    /// The certificate with the OID of its signature turned into SHA-1 with RSA. The signature is spoilt, but the hash is looked at
    /// first.
    fn with_sha1(der: &[u8]) -> Vec<u8> {
        const SHA256: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
        let mut der = der.to_vec();
        while let Some(position) = der.windows(9).position(|bytes| bytes == SHA256) {
            der[position + 8] = 5;
        }
        der
    }

    fn other_ca() -> Vec<u8> {
        let mut rng = StdRng::seed_from_u64(2);
        let other = CertificateAuthority::generate(private_key(10), "other.example", at(0), &mut rng).unwrap();
        other.certificate().der().to_vec()
    }

    #[test]
    fn an_authority_is_read_and_certifies() {
        let imported = authority(&[&ca()], AUTHORITY, 0).unwrap();
        assert_eq!(imported.authority.certificate().der(), ca());
        assert_eq!(imported.issuers, []);
        assert!(!format!("{imported:?}").contains("pkcs8"));
        let twice = authority(&[&ca(), &ca()], AUTHORITY, 0).unwrap();
        assert_eq!(
            twice.issuers.len(),
            1,
            "one that signed itself may stand for its issuer"
        );
    }

    #[test]
    fn an_authority_that_would_fail_later_is_refused_now() {
        let life = CertificateAuthority::LIFE.get();
        let late = life - policy().settings().period.get() * 2 - policy().hold().get();
        assert!(authority(&[&ca()], AUTHORITY, late).is_ok());
        for (certificates, of, now, reason) in [
            (vec![], AUTHORITY, 0, "cannot be used"),
            (vec![ca()], LEAF, 0, "of another key"),
            (vec![leaf()], LEAF, 0, "may not sign others"),
            (vec![b"nonsense".to_vec()], AUTHORITY, 0, "certificate 1 in the file"),
            (
                vec![ca(), leaf()],
                AUTHORITY,
                0,
                "certificate 2 in the file: the certificate may not sign others",
            ),
            (vec![ca(), other_ca()], AUTHORITY, 0, "is not signed by the next one"),
            (vec![ca()], AUTHORITY, -1, "valid only from"),
            (vec![ca()], AUTHORITY, life, "expired at"),
            (vec![ca()], AUTHORITY, late + 1, "is needed until"),
            (
                vec![with_sha1(&ca())],
                AUTHORITY,
                0,
                "signed with sha1WithRSAEncryption",
            ),
        ] {
            let certificates: Vec<&[u8]> = certificates.iter().map(Vec::as_slice).collect();
            let refusal = authority(&certificates, of, now).map(drop).unwrap_err().to_string();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }

    #[test]
    fn a_key_is_read_with_the_authorities_above_it_or_under_one_that_is_known() {
        let imported = signing_key(&[&leaf(), &ca()], LEAF, 0).unwrap();
        assert_eq!(imported.certificate.der(), leaf());
        assert_eq!(imported.issuers, [TrustAnchor::parse(&ca()).unwrap()]);
        let known = [
            TrustAnchor::parse(&other_ca()).unwrap(),
            TrustAnchor::parse(&ca()).unwrap(),
        ];
        let read = |known: &[TrustAnchor]| {
            ImportedKey::read(
                (&pems(&[&leaf()]), &key(LEAF), SigningAlgorithm::Rs256),
                known,
                &policy(),
                at(0),
                at(0),
            )
            .map(drop)
        };
        assert_eq!(read(&known), Ok(()));
        let refusal = read(&known[..1]).unwrap_err().to_string();
        assert!(
            refusal.contains("keywheel signing CA") && refusal.contains("append it"),
            "{refusal}"
        );
    }

    #[test]
    fn a_key_that_verifiers_would_refuse_is_refused() {
        // The leaf ends 61 days after 0, and must last for a period and the hold.
        let latest = 61 * DAY - 30 * DAY - policy().hold().get();
        assert!(signing_key(&[&leaf(), &ca()], LEAF, latest).is_ok());
        let encipherment = {
            // keyUsage digitalSignature (bit 0) turned into keyEncipherment (bit 2).
            let mut der = leaf();
            let usage = [0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff, 0x04, 0x04, 0x03, 0x02];
            let position = der.windows(12).position(|bytes| bytes == usage).unwrap();
            der[position + 12] = 5;
            der[position + 13] = 0x20;
            der
        };
        for (certificates, of, activates_at, reason) in [
            (vec![leaf(), ca()], 1, 0, "of another key"),
            (vec![ca()], AUTHORITY, 0, "keys import ca"),
            (vec![leaf()], LEAF, 0, "append it"),
            (vec![leaf(), other_ca()], LEAF, 0, "is not signed by the next one"),
            (vec![leaf(), ca()], LEAF, latest + 1, "or shorten signing.period"),
            (
                vec![with_sha1(&leaf()), ca()],
                LEAF,
                0,
                "have it issued anew with SHA-256",
            ),
            (vec![encipherment], LEAF, 0, "digitalSignature"),
        ] {
            let certificates: Vec<&[u8]> = certificates.iter().map(Vec::as_slice).collect();
            let refusal = signing_key(&certificates, of, activates_at)
                .map(drop)
                .unwrap_err()
                .to_string();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }
}
