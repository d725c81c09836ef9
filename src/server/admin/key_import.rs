use serde::Serialize;
use serde_json::json;

use super::keys::{KeyAdmin, KeyError, known};
use crate::keys::{
    CertificateError, ImportedAuthority, ImportedKey, KeyRecord, KeyState, PlannedChange, SigningKey, TrustAnchor,
};
use crate::oauth::{IssuerUrl, NumericDate, Seconds, SigningAlgorithm, Thumbprint, base64url};
use crate::server::authority::{Authority, sealed, trust_anchors};
use crate::server::demand;
use crate::server::rotation::renewal_detail;
use crate::server::{Context, Failure};
use crate::storage::{Insertion, StoredKey};

/// An authority as people and programs see it. Times are RFC 3339.
#[derive(Debug, Clone, Serialize)]
pub struct AuthorityLine {
    /// Its name.
    pub subject: String,
    /// First instant of its validity.
    pub not_before: String,
    /// Last instant of its validity.
    pub not_after: String,
    /// SHA-256 of its certificate in base64url.
    pub certificate_sha256: String,
    /// Its certificate in PEM.
    pub certificate_pem: String,
}

impl AuthorityLine {
    fn of(anchor: &TrustAnchor) -> Self {
        AuthorityLine {
            subject: anchor.subject().to_owned(),
            not_before: anchor.not_before().to_string(),
            not_after: anchor.not_after().to_string(),
            certificate_sha256: base64url(&anchor.sha256()),
            certificate_pem: anchor.pem(),
        }
    }
}

/// What the import of an authority did.
#[derive(Debug, Clone, Serialize)]
pub struct AuthorityImport {
    /// The authorities in force: the new one first.
    pub authorities: Vec<AuthorityLine>,
    /// When the first key that it certifies signs, unless somebody turns the keys earlier: verifiers that pin must know it by then.
    pub signs_from: Option<String>,
}

/// When an imported key begins to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// As soon as every verifier knows it.
    WhenSafe,
    /// After this time, which must be long enough for every verifier to know it.
    After(Seconds),
    /// At once. Verifiers that have not fetched the key yet refuse its tokens until they do.
    Now,
}

/// What the import of a key did.
#[derive(Debug, Clone, Serialize)]
pub struct KeyImport {
    /// The key.
    pub kid: String,
    /// When it begins to sign.
    pub activates_at: String,
    /// Whether every verifier within the configured bounds knows it by then.
    pub safe: bool,
    /// Whether its certificate names the issuer; absent where the issuer is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names_issuer: Option<bool>,
    /// When its certificate ends.
    pub certificate_not_after: String,
}

/// What a renewal did.
#[derive(Debug, Clone, Serialize)]
pub struct Renewal {
    /// The key, which is the same.
    pub kid: String,
    /// SHA-256 of its new certificate in base64url, as in `x5t#S256`.
    pub certificate_sha256: String,
    /// When that ends.
    pub certificate_not_after: String,
    /// Until when the key needs one.
    pub needed_until: String,
    /// Whether it lasts that long. It does not when the authority ends before.
    pub suffices: bool,
}

impl KeyAdmin<'_> {
    /// The authorities in force, the one that certifies new keys first; none before a server has run.
    pub fn authorities(&self, now: NumericDate) -> Result<Vec<AuthorityLine>, KeyError> {
        let Some(anchors) = trust_anchors(self.store)? else {
            return Ok(Vec::new());
        };
        let ring = self.ring()?;
        Ok(anchors
            .in_force(&ring, now)
            .into_iter()
            .map(AuthorityLine::of)
            .collect())
    }

    /// Has another authority certify keys from now on. Keys that are certified keep their certificates, and the authority before
    /// is published as long as one of its keys is.
    pub fn import_authority(
        &self,
        certificates: &str,
        private_key: &str,
        cx: &mut Context<'_>,
    ) -> Result<AuthorityImport, KeyError> {
        let imported = ImportedAuthority::read(certificates, private_key, self.policy, cx.now, cx.rng)?;
        let certificate = imported.authority.certificate();
        let present = self.store.certificate_authority().map_err(Failure::from)?;
        if present.is_some_and(|present| present.certificate == certificate.der()) {
            return Err(KeyError::PresentAuthority);
        }
        let stored = sealed(&imported.authority, &imported.key, self.vault, cx)?;
        let detail = json!({
            "subject": certificate.subject(), "not_after": certificate.not_after(),
            "certificate_sha256": base64url(&certificate.sha256()),
        });
        let event = self.actor.event("authority.imported", cx.now, detail);
        self.store
            .replace_certificate_authority(&stored, &ders(&imported.issuers), &event)
            .map_err(Failure::from)?;
        let demand = demand::look(self.store, cx.now)?;
        let plan = self.policy.plan(&self.ring()?, &demand, None, cx.now);
        let first = plan
            .events
            .iter()
            .find(|event| event.kid.is_none() && event.what == PlannedChange::Activate);
        Ok(AuthorityImport {
            authorities: self.authorities(cx.now)?,
            signs_from: first.map(|event| event.at.to_string()),
        })
    }

    /// Publishes a key that was made elsewhere, to sign when its turn comes: with `alg`, or with the server's own algorithm. A key that was ever known is refused; so is one of
    /// `barred`, the keys that this machine remembers as barred, whatever the database says.
    pub fn import_key(
        &self,
        (certificates, private_key, alg): (&str, &str, Option<SigningAlgorithm>),
        activation: Activation,
        (issuer, barred): (Option<&IssuerUrl>, &[Thumbprint]),
        cx: &mut Context<'_>,
    ) -> Result<KeyImport, KeyError> {
        let now = cx.now;
        let lead = self.policy.lead();
        let alg = alg.unwrap_or(self.policy.settings().algorithm);
        if !self.policy.wants(&demand::look(self.store, now)?, alg, now) {
            // It would be withdrawn at once.
            return Err(KeyError::Unused(alg));
        }
        let activates_at = match activation {
            Activation::WhenSafe => now + lead,
            Activation::After(span) if span < lead => return Err(KeyError::TooEarly(span, lead)),
            Activation::After(span) => now + span,
            Activation::Now => now,
        };
        let anchors = trust_anchors(self.store)?;
        let anchors: Vec<TrustAnchor> = anchors.map_or_else(Vec::new, |anchors| anchors.all().cloned().collect());
        let imported = ImportedKey::read(
            (certificates, private_key, alg),
            &anchors,
            self.policy,
            activates_at,
            now,
        )?;
        let certificate = &imported.certificate;
        let kid = certificate.public_key().thumbprint();
        let ring = self.ring()?;
        if let Some(state) = ring.state(&kid, now) {
            return Err(KeyError::Known(kid.to_string(), state.as_str()));
        }
        if barred.contains(&kid) {
            return Err(KeyError::Known(kid.to_string(), "barred"));
        }
        let token_life = self.policy.settings().longest_access_ttl;
        let record = KeyRecord {
            kid: kid.clone(),
            alg,
            slot: 0,
            published_at: now,
            activates_at,
            certificate: certificate.der().to_vec(),
            longest_token_life: token_life,
            withdrawn_at: None,
            tainted_at: None,
            revoked_at: None,
        };
        // Its first signature is verified before it is stored: one that fails would keep servers from starting.
        SigningKey::open(record, Some(imported.key.pkcs8()))?;
        let sealed = self.vault.data_key().seal(kid.as_str(), imported.key.pkcs8(), cx.rng);
        let stored = StoredKey {
            kid: kid.clone(),
            alg: alg.as_str().to_owned(),
            slot: 0,
            published_at: now,
            activates_at,
            certificate: certificate.der().to_vec(),
            sealed_private_key: Some(
                sealed.map_err(|error| Failure::Broken("the key cannot be sealed", Box::new(error)))?,
            ),
            longest_token_life: token_life,
            withdrawn_at: None,
            tainted_at: None,
            revoked_at: None,
        };
        let safe = activates_at >= now + lead;
        let detail = json!({
            "activates_at": activates_at, "safe": safe, "subject": certificate.subject(),
            "certificate_sha256": base64url(&certificate.sha256()),
        });
        let event = self.event("key.imported", &kid, now, detail);
        match self
            .store
            .import_signing_key(&stored, &ders(&imported.issuers), &event)
            .map_err(Failure::from)?
        {
            Insertion::Inserted => {}
            Insertion::Exists => return Err(KeyError::Changed),
        }
        Ok(KeyImport {
            kid: kid.to_string(),
            activates_at: activates_at.to_string(),
            safe,
            names_issuer: issuer.map(|issuer| certificate.uris().iter().any(|uri| uri == issuer.as_str())),
            certificate_not_after: certificate.not_after().to_string(),
        })
    }

    /// Has the present authority certify a published key anew. The key and its name stay; the certificate and its hash change. It
    /// names `issuer`, or where that is not known whom the certificate before named.
    pub fn renew(&self, kid: &str, issuer: Option<&IssuerUrl>, cx: &mut Context<'_>) -> Result<Renewal, KeyError> {
        let ring = self.ring()?;
        let thumbprint = known(&ring, kid)?;
        let key = ring.key(&thumbprint).ok_or_else(|| KeyError::Unknown(kid.to_owned()))?;
        let authority = Authority::load(self.store, self.vault)?;
        let (_, ends) = authority.validity();
        if ends <= cx.now {
            return Err(CertificateError::Expired(ends).into());
        }
        let renewal = self.policy.renewal(&ring, key, authority.validity(), cx.now);
        let needed = self.policy.certificate_needed_until(&ring, key, cx.now);
        let (Some(validity), Some(needed)) = (renewal, needed) else {
            let state = ring.state(&thumbprint, cx.now).map_or("unknown", KeyState::as_str);
            return Err(KeyError::NotRenewable(kid.to_owned(), state));
        };
        let before = key.certificate();
        let named = before.uris().iter().find_map(|uri| IssuerUrl::parse(uri).ok());
        let issuer = issuer.cloned().or(named).ok_or(KeyError::NoIssuer)?;
        let renewed = authority.renew(key, &issuer, validity, cx.rng)?;
        let event = self.event("key.renewed", &thumbprint, cx.now, renewal_detail(key, &renewed));
        if !self
            .store
            .renew_certificate(&thumbprint, before.der(), renewed.der(), &event)
            .map_err(Failure::from)?
        {
            return Err(KeyError::Changed);
        }
        Ok(Renewal {
            kid: thumbprint.to_string(),
            certificate_sha256: base64url(&renewed.sha256()),
            certificate_not_after: renewed.not_after().to_string(),
            needed_until: needed.to_string(),
            suffices: renewed.not_after() >= needed,
        })
    }
}

fn ders(anchors: &[TrustAnchor]) -> Vec<Vec<u8>> {
    anchors.iter().map(|anchor| anchor.der().to_vec()).collect()
}
