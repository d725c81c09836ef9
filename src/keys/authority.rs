use std::fmt;
use std::time::Duration;

use rand::CryptoRng;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose, PKCS_RSA_SHA256,
    PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, SubjectPublicKeyInfo,
};
use x509_parser::x509::X509Name;

use super::certificate::{Authorized as _, parsed};
use super::{Certificate, CertificateError, KeyError, PrivateKey, PublicKey, RsaBits, Signer};
use crate::oauth::{IssuerUrl, NumericDate, Seconds, SigningAlgorithm, Thumbprint};

/// What a certificate says of a signing key.
#[derive(Debug, Clone, Copy)]
pub struct Leaf<'a> {
    /// The key's identifier, which becomes the subject's common name.
    pub kid: &'a Thumbprint,
    /// The key.
    pub public_key: &'a PublicKey,
    /// The issuer of the tokens, which becomes the alternative name: it ties the key to this server.
    pub issuer: &'a IssuerUrl,
    /// First instant of validity: the key's publication.
    pub not_before: NumericDate,
    /// Last instant of validity. It is cut to that of the authority.
    pub not_after: NumericDate,
}

/// The certificate authority of one deployment, which certifies every signing key. A verifier that pins its certificate
/// accepts every future key without asking.
pub struct CertificateAuthority {
    certificate: Certificate,
    issuer: rcgen::Issuer<'static, AuthorityKey>,
}

impl CertificateAuthority {
    /// What an authority signs certificates with, whatever the certified keys sign with: every tool knows it.
    pub(super) const ALGORITHM: SigningAlgorithm = SigningAlgorithm::Rs256;

    /// The size of the authority's key. It outlives hundreds of signing keys, so it is stronger than they are.
    const BITS: RsaBits = RsaBits::Bits3072;

    /// How long an authority is valid. Pinning it is manual work, so it outlives the verifiers that do so.
    pub const LIFE: Seconds = Seconds::days(20 * 365);

    /// A key for a new authority.
    pub fn generate_key() -> Result<PrivateKey, KeyError> {
        PrivateKey::generate(Self::ALGORITHM, Self::BITS)
    }

    /// A new authority with `key`; `organization` says whose it is, the issuer's host for example.
    pub fn generate(
        key: &PrivateKey,
        organization: &str,
        now: NumericDate,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, CertificateError> {
        let mut params = params("keywheel signing CA", rng);
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now, now + Self::LIFE);
        let signed = params
            .self_signed(&AuthorityKey::parse(key.pkcs8())?)
            .map_err(CertificateError::from_rcgen)?;
        Self::from_stored(signed.der(), key.pkcs8())
    }

    /// An authority from its certificate's DER and its private key in PKCS#8. Refuses a certificate that speaks of another
    /// key or may not sign certificates.
    pub fn from_stored(certificate: &[u8], pkcs8: &[u8]) -> Result<Self, CertificateError> {
        let key = AuthorityKey::parse(pkcs8)?;
        let facts = Certificate::parse(certificate)?;
        if facts.public_key() != key.0.public_key() {
            return Err(CertificateError::OtherKey);
        }
        let read = parsed(certificate)?;
        if !read.may_certify() {
            return Err(CertificateError::NotAnAuthority);
        }
        if !can_be_written(read.subject()) {
            return Err(CertificateError::Unverifiable);
        }
        let issuer = rcgen::Issuer::from_ca_cert_der(&certificate.into(), key).map_err(CertificateError::from_rcgen)?;
        Ok(CertificateAuthority {
            certificate: facts,
            issuer,
        })
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Certifies a signing key: it may sign data and nothing else (RFC 5280 §4.2.1.3).
    pub fn certify(&self, leaf: &Leaf<'_>, rng: &mut dyn CryptoRng) -> Result<Certificate, CertificateError> {
        let authority = &self.certificate;
        if leaf.not_before >= authority.not_after() {
            return Err(CertificateError::Expired(authority.not_after()));
        }
        let mut params = params(leaf.kid.as_str(), rng);
        let issuer = leaf.issuer.as_str().try_into().map_err(CertificateError::from_rcgen)?;
        params.subject_alt_names = vec![SanType::URI(issuer)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, leaf.not_before, leaf.not_after.min(authority.not_after()));
        let key = SubjectPublicKeyInfo::from_der(leaf.public_key.spki()).map_err(CertificateError::from_rcgen)?;
        let signed = params
            .signed_by(&key, &self.issuer)
            .map_err(CertificateError::from_rcgen)?;
        self.check(signed.der())?;
        Certificate::parse(signed.der())
    }

    /// Verifies a new certificate as a stranger would. An imported authority may carry a name that is not written back as it
    /// was read, and a fault of the processor must not leave the house.
    fn check(&self, leaf: &[u8]) -> Result<(), CertificateError> {
        let (leaf, authority) = (parsed(leaf)?, parsed(self.certificate.der())?);
        let named = leaf.issuer().as_raw() == authority.subject().as_raw();
        let verified = leaf.verify_signature(Some(authority.public_key())).is_ok();
        (named && verified).then_some(()).ok_or(CertificateError::Unverifiable)
    }
}

/// Whether the types of a name's attributes are ones that can be written again (X.660 §7.6): whoever writes others panics.
fn can_be_written(name: &X509Name<'_>) -> bool {
    name.iter_attributes().all(|attribute| {
        let mut arcs = attribute.attr_type().iter().into_iter().flatten();
        matches!(
            (arcs.next(), arcs.next()),
            (Some(0 | 1), Some(0..40)) | (Some(2), Some(_))
        )
    })
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateAuthority({}, [REDACTED])", self.certificate.subject())
    }
}

/// What all certificates share: a common name, and 128 random bits as serial number (RFC 5280 §4.1.2.2: positive and at most
/// 20 octets).
fn params(common_name: &str, rng: &mut dyn CryptoRng) -> CertificateParams {
    let mut serial = [0; 16];
    rng.fill_bytes(&mut serial);
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn set_validity(params: &mut CertificateParams, not_before: NumericDate, not_after: NumericDate) {
    // The year 9999 means "without end" (RFC 5280 §4.1.2.5); nothing later can be written.
    const LAST: i64 = 253_402_300_799;
    let at = |date: NumericDate| {
        let seconds = u64::try_from(date.epoch().clamp(0, LAST)).unwrap_or_default();
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    params.not_before = at(not_before);
    params.not_after = at(not_after);
}

/// Lets the certificate writer sign with our parsed key, so that no second copy of the private key stays in memory.
struct AuthorityKey(Signer);

impl AuthorityKey {
    fn parse(pkcs8: &[u8]) -> Result<Self, CertificateError> {
        Ok(AuthorityKey(Signer::from_pkcs8(
            CertificateAuthority::ALGORITHM,
            pkcs8,
        )?))
    }
}

impl PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.subject_public_key()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl rcgen::SigningKey for AuthorityKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message).map_err(|_failed| rcgen::Error::RemoteKeyError)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use x509_parser::certificate::X509Certificate;
    use x509_parser::extensions::{GeneralName, ParsedExtension};

    use super::super::testing;
    use super::*;

    const NOW: NumericDate = NumericDate::from_epoch(1_000_000);

    fn leaf(authority: &CertificateAuthority, from: NumericDate, seed: u64) -> Result<Certificate, CertificateError> {
        let key = testing::private_key(0).public_key();
        let leaf = Leaf {
            kid: &key.thumbprint(),
            public_key: key,
            issuer: &IssuerUrl::parse("https://auth.example").unwrap(),
            not_before: from,
            not_after: from + Seconds::days(61),
        };
        authority.certify(&leaf, &mut StdRng::seed_from_u64(seed))
    }

    fn key_ids(certificate: &X509Certificate<'_>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let (mut subject, mut authority) = (None, None);
        for extension in certificate.iter_extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => subject = Some(id.0.to_vec()),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    authority = id.key_identifier.as_ref().map(|id| id.0.to_vec());
                }
                _ => {}
            }
        }
        (subject, authority)
    }

    #[test]
    fn the_authority_may_sign_leaves_and_lists_and_nothing_else() {
        let authority = testing::authority();
        let certificate = parsed(authority.certificate().der()).unwrap();
        let constraints = certificate.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca && constraints.value.path_len_constraint == Some(0));
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
        assert_eq!(usage.value.flags, (1 << 5) | (1 << 6));
        assert!(key_ids(&certificate).0.is_some(), "SKI");
        let subject = authority.certificate().subject();
        assert!(
            subject.contains("CN=keywheel signing CA") && subject.contains("O=auth.example"),
            "{subject}"
        );
        assert_eq!(certificate.subject().as_raw(), certificate.issuer().as_raw());
        certificate.verify_signature(None).unwrap();
        let facts = authority.certificate();
        assert_eq!(facts.not_after().since(facts.not_before()), CertificateAuthority::LIFE);
    }

    // A run of the fuzzer found the panic.
    #[test]
    fn an_authority_whose_name_cannot_be_written_again_is_refused_and_nothing_panics() {
        let key = testing::private_key(11);
        for arcs in [&[2, 60, 1][..], &[2, 999], &[2, 5, 4, 65]] {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CustomDnType(arcs.to_vec()), "x");
            let signed = params.self_signed(&AuthorityKey::parse(key.pkcs8()).unwrap()).unwrap();
            match CertificateAuthority::from_stored(signed.der(), key.pkcs8()) {
                Ok(authority) => drop(leaf(&authority, NOW, 1).unwrap()),
                Err(refused) => assert_eq!(refused, CertificateError::Unverifiable, "{arcs:?}"),
            }
        }
    }

    #[test]
    fn the_certificate_of_a_signing_key_keeps_its_profile() {
        let authority = testing::authority();
        let facts = leaf(authority, NOW, 1).unwrap();
        let certificate = parsed(facts.der()).unwrap();

        let kid = testing::private_key(0).public_key().thumbprint();
        assert_eq!(facts.subject(), format!("CN={kid}"));
        assert_eq!((facts.not_before(), facts.not_after()), (NOW, NOW + Seconds::days(61)));
        assert_eq!(facts.public_key(), testing::private_key(0).public_key());

        let constraints = certificate.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && !constraints.value.ca && constraints.value.path_len_constraint.is_none());
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.digital_signature());
        assert_eq!(usage.value.flags, 1, "digitalSignature alone");
        assert!(certificate.extended_key_usage().unwrap().is_none());

        let names = &certificate
            .subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names;
        assert!(
            matches!(names[..], [GeneralName::URI("https://auth.example")]),
            "{names:?}"
        );

        let authority = parsed(authority.certificate().der()).unwrap();
        let ((own, by), (of, _)) = (key_ids(&certificate), key_ids(&authority));
        assert!(own.is_some() && own != of);
        assert!(by.is_some() && by == of, "AKI names the authority's SKI");
        assert_eq!(certificate.issuer().as_raw(), authority.subject().as_raw());
        certificate.verify_signature(Some(authority.public_key())).unwrap();
        assert!(
            certificate.verify_signature(None).is_err(),
            "signed by the authority, not by itself"
        );
    }

    #[test]
    fn serial_numbers_are_random_positive_and_short() {
        let serials: Vec<Vec<u8>> = (0..20)
            .map(|seed| {
                let facts = leaf(testing::authority(), NOW, seed).unwrap();
                parsed(facts.der()).unwrap().raw_serial().to_vec()
            })
            .collect();
        for serial in &serials {
            assert!(
                serial.len() <= 20 && serial.len() >= 14 && serial[0] & 0x80 == 0,
                "{serial:?}"
            );
        }
        let distinct: std::collections::HashSet<_> = serials.iter().collect();
        assert_eq!(distinct.len(), serials.len());
    }

    #[test]
    fn no_leaf_outlives_its_authority() {
        let authority = testing::authority();
        let end = authority.certificate().not_after();
        assert_eq!(leaf(authority, end - Seconds::days(5), 1).unwrap().not_after(), end);
        assert_eq!(leaf(authority, end, 1).unwrap_err(), CertificateError::Expired(end));
        // An absurd date is written as the last one that can be.
        let far = NumericDate::from_epoch(i64::MAX);
        let mut rng = StdRng::seed_from_u64(1);
        let eternal = CertificateAuthority::generate(testing::private_key(1), "x", far, &mut rng).unwrap();
        assert_eq!(eternal.certificate().not_after().to_string(), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn an_authority_is_refused_when_its_parts_do_not_agree() {
        let authority = testing::authority();
        let stored = |certificate: &[u8], key: &PrivateKey| {
            CertificateAuthority::from_stored(certificate, key.pkcs8())
                .map(drop)
                .unwrap_err()
        };
        let certificate = authority.certificate().der();
        assert_eq!(stored(certificate, testing::private_key(2)), CertificateError::OtherKey);
        let leaf = leaf(authority, NOW, 1).unwrap();
        assert_eq!(
            stored(leaf.der(), testing::private_key(0)),
            CertificateError::NotAnAuthority
        );
        assert_eq!(
            stored(&certificate[1..], testing::private_key(0)),
            CertificateError::Unreadable
        );
        assert!(!format!("{authority:?}").contains("pair"));
    }
}
