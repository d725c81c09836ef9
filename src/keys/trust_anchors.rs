use super::certificate::{Authorized as _, parsed};
use super::pem::pem;
use super::{CertificateError, KeyRing};
use crate::oauth::{NumericDate, certificate_sha256};

/// The certificate of an authority, whatever the algorithm of its key: what a verifier may pin (RFC 5280 §6.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustAnchor {
    der: Vec<u8>,
    subject: String,
    not_before: NumericDate,
    not_after: NumericDate,
}

impl TrustAnchor {
    /// Reads the certificate of an authority from its DER. Refuses one that may not sign certificates.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = parsed(der)?;
        if !certificate.may_certify() {
            return Err(CertificateError::NotAnAuthority);
        }
        let validity = certificate.validity();
        Ok(TrustAnchor {
            der: der.to_vec(),
            subject: certificate.subject().to_string(),
            not_before: NumericDate::from_epoch(validity.not_before.timestamp()),
            not_after: NumericDate::from_epoch(validity.not_after.timestamp()),
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

    /// SHA-256 of the DER.
    pub fn sha256(&self) -> [u8; 32] {
        certificate_sha256(&self.der)
    }

    /// Whether this authority signed the certificate. It may have signed its own.
    pub fn issued(&self, certificate: &[u8]) -> bool {
        let (Ok(certificate), Ok(authority)) = (parsed(certificate), parsed(&self.der)) else {
            return false;
        };
        certificate.issuer().as_raw() == authority.subject().as_raw()
            && certificate.verify_signature(Some(authority.public_key())).is_ok()
    }
}

/// All authorities that a deployment knows of: the one that certifies now, and others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustAnchors {
    present: TrustAnchor,
    others: Vec<TrustAnchor>,
}

impl TrustAnchors {
    /// The authority that certifies new keys, and the others: those before it, those above it, those of imported keys.
    pub fn new(present: TrustAnchor, others: Vec<TrustAnchor>) -> Self {
        TrustAnchors { present, others }
    }

    /// The authority that certifies new keys.
    pub fn present(&self) -> &TrustAnchor {
        &self.present
    }

    /// Every authority, whether or not a published key hangs on it; the present one first.
    pub fn all(&self) -> impl Iterator<Item = &TrustAnchor> {
        std::iter::once(&self.present).chain(&self.others)
    }

    /// Whether the certificate names one of these authorities as its issuer, and none of them signed it.
    pub fn disown(&self, certificate: &[u8]) -> bool {
        let Ok(parsed) = parsed(certificate) else {
            return true;
        };
        let issuer = parsed.issuer().to_string();
        let mut named = self.all().filter(|anchor| anchor.subject == issuer).peekable();
        named.peek().is_some() && !named.any(|anchor| anchor.issued(certificate))
    }

    /// What a verifier has to pin at `now`: the present authority first, then every other on which it or a published key hangs.
    ///
    /// So an authority that was replaced stays as long as a key that it certified is published, and no longer.
    pub fn in_force(&self, ring: &KeyRing, now: NumericDate) -> Vec<&TrustAnchor> {
        let mut found = vec![&self.present];
        let published = ring.published(now).map(|key| key.certificate().der());
        let mut hanging: Vec<&[u8]> = published.chain([self.present.der()]).collect();
        while let Some(certificate) = hanging.pop() {
            for anchor in &self.others {
                if !found.contains(&anchor) && anchor.not_after > now && anchor.issued(certificate) {
                    found.push(anchor);
                    hanging.push(anchor.der());
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::testing::{self, at, private_key, record, ring};
    use super::super::{CertificateAuthority, HOLD_MARGIN};
    use super::*;

    fn anchor(index: usize, now: i64) -> TrustAnchor {
        let mut rng = StdRng::seed_from_u64(index as u64);
        let authority = CertificateAuthority::generate(private_key(index), "new.example", at(now), &mut rng).unwrap();
        TrustAnchor::parse(authority.certificate().der()).unwrap()
    }

    fn old() -> TrustAnchor {
        TrustAnchor::parse(testing::authority().certificate().der()).unwrap()
    }

    #[test]
    fn an_authority_that_was_replaced_stays_while_a_key_of_it_is_published() {
        let (new, stranger) = (anchor(10, 0), anchor(9, 0));
        let anchors = TrustAnchors::new(new.clone(), vec![stranger, old()]);
        // Slot 2 is of the new authority as far as this test is concerned: it is not published yet at 1000.
        let keys = ring([record(0, 1, 0, 0), record(1, 2, 0, 5_000)]);
        assert_eq!(anchors.in_force(&keys, at(1_000)), [&new, &old()]);
        let removed = 5_000 + (testing::TOKEN_LIFE + HOLD_MARGIN).get();
        let mut late = record(1, 2, 0, 5_000);
        late.revoked_at = Some(at(6_000));
        let keys = ring([record(0, 1, 0, 0), late]);
        assert_eq!(
            anchors.in_force(&keys, at(removed - 1)),
            [&new, &old()],
            "the first key is held"
        );
        assert_eq!(
            anchors.in_force(&keys, at(removed)),
            [&new],
            "no key hangs on the old one any more"
        );
        assert_eq!(anchors.in_force(&KeyRing::default(), at(0)), [&new]);
        assert_eq!(
            TrustAnchors::new(old(), vec![old()]).in_force(&keys, at(0)),
            [&old()],
            "none twice"
        );
    }

    #[test]
    fn an_authority_that_has_ended_is_not_to_be_pinned() {
        let anchors = TrustAnchors::new(anchor(10, 0), vec![old()]);
        let keys = ring([record(0, 1, 0, 0)]);
        let end = old().not_after();
        assert_eq!(anchors.in_force(&keys, end - crate::oauth::Seconds::new(1)).len(), 2);
        assert_eq!(anchors.in_force(&keys, end).len(), 1);
    }

    // J-04
    #[test]
    fn a_certificate_that_was_altered_is_disowned_by_the_authority_that_it_names() {
        let anchors = TrustAnchors::new(anchor(10, 0), vec![old()]);
        let leaf = record(0, 1, 0, 0).certificate;
        assert!(!anchors.disown(&leaf));
        let mut altered = leaf.clone();
        *altered.last_mut().unwrap() ^= 1;
        assert!(anchors.disown(&altered));
        assert!(anchors.disown(b"nonsense"));
        let strangers = TrustAnchors::new(anchor(10, 0), vec![]);
        assert!(!strangers.disown(&leaf), "of an authority that nobody knows here");
    }

    #[test]
    fn the_certificate_of_a_signing_key_is_no_anchor() {
        let leaf = record(0, 1, 0, 0).certificate;
        assert_eq!(TrustAnchor::parse(&leaf).unwrap_err(), CertificateError::NotAnAuthority);
        assert!(old().issued(&leaf) && old().issued(old().der()) && !anchor(10, 0).issued(&leaf));
        assert!(!old().issued(b"nonsense"));
    }
    #[test]
    fn there_is_one_way_to_write_a_certificate() {
        let record = record(0, 1, 0, 0);
        let anchors = TrustAnchors::new(old(), vec![]);
        assert!(old().issued(&record.certificate) && !anchors.disown(&record.certificate));
        for place in 0..record.certificate.len() {
            for change in [0x01, 0x06, 0x10, 0x80, 0xff] {
                let mut altered = record.certificate.clone();
                altered[place] ^= change;
                assert!(!old().issued(&altered), "byte {place} ^ {change:#04x}");
            }
        }
        let longer = [&record.certificate[..], &[0]].concat();
        assert!(!old().issued(&longer));
    }
}
