use std::sync::Arc;

use rand::CryptoRng;

use super::{Context, Failure, Vault, VaultError};
use crate::keys::{
    Certificate, CertificateAuthority, CertificateError, Leaf, PrivateKey, SigningKey, TrustAnchor, TrustAnchors,
};
use crate::oauth::{IssuerUrl, NumericDate};
use crate::storage::{Insertion, Store, StoredAuthority};

/// Who certifies signing keys, as it was last read from the database.
#[derive(Debug)]
pub(super) struct Authority {
    /// The present authority with its private key.
    pub(super) certifying: Arc<CertificateAuthority>,
    /// Its certificate and those of all others that are known.
    pub(super) anchors: Arc<TrustAnchors>,
}

impl Authority {
    /// Opens the present authority, and makes one when there is none. Of several nodes that do so, the first one's counts.
    pub(super) fn open(
        store: &Store,
        vault: &Vault,
        issuer: &IssuerUrl,
        cx: &mut Context<'_>,
    ) -> Result<Self, Failure> {
        if store.certificate_authority()?.is_none() {
            let key = CertificateAuthority::generate_key().map_err(broken)?;
            let fresh = CertificateAuthority::generate(&key, issuer.as_str(), cx.now, cx.rng).map_err(broken)?;
            match store.store_certificate_authority(&sealed(&fresh, &key, vault, cx)?)? {
                Insertion::Inserted | Insertion::Exists => {}
            }
        }
        Self::load(store, vault)
    }

    /// The present authority and the certificates of the others, as they are in the database.
    pub(super) fn load(store: &Store, vault: &Vault) -> Result<Self, Failure> {
        Self::find(store, vault)?.ok_or(VANISHED)
    }

    /// The same where there may be none yet.
    pub(super) fn find(store: &Store, vault: &Vault) -> Result<Option<Self>, Failure> {
        let Some(stored) = store.certificate_authority()? else {
            return Ok(None);
        };
        let certifying = Arc::new(opened(&stored, vault)?);
        let anchors = Arc::new(anchors(store, &stored)?);
        Ok(Some(Authority { certifying, anchors }))
    }

    /// What became of `before`. The private key is opened again only when it is another one.
    pub(super) fn follow(before: Arc<Self>, store: &Store, vault: &Vault) -> Result<Arc<Self>, Failure> {
        let stored = store.certificate_authority()?.ok_or(VANISHED)?;
        let unchanged = stored.certificate == before.certifying.certificate().der();
        let anchors = anchors(store, &stored)?;
        if unchanged && anchors == *before.anchors {
            return Ok(before);
        }
        let certifying = if unchanged {
            Arc::clone(&before.certifying)
        } else {
            let subject = anchors.present().subject();
            tracing::info!(
                event = "authority.followed",
                subject,
                "another authority certifies signing keys from now on"
            );
            Arc::new(opened(&stored, vault)?)
        };
        let anchors = Arc::new(anchors);
        Ok(Arc::new(Authority { certifying, anchors }))
    }

    /// From when until when the present authority's certificate is valid.
    pub(super) fn validity(&self) -> (NumericDate, NumericDate) {
        let certificate = self.certifying.certificate();
        (certificate.not_before(), certificate.not_after())
    }

    /// Another certificate for a key.
    pub(super) fn renew(
        &self,
        key: &SigningKey,
        issuer: &IssuerUrl,
        (not_before, not_after): (NumericDate, NumericDate),
        rng: &mut dyn CryptoRng,
    ) -> Result<Certificate, CertificateError> {
        let leaf = Leaf {
            kid: key.kid(),
            public_key: key.public_key(),
            issuer,
            not_before,
            not_after,
        };
        self.certifying.certify(&leaf, rng)
    }
}

/// The authorities in the database, for who looks at them without their private keys; `None` before there is one.
pub(super) fn trust_anchors(store: &Store) -> Result<Option<TrustAnchors>, Failure> {
    let stored = store.certificate_authority()?;
    stored.map(|stored| anchors(store, &stored)).transpose()
}

/// An authority as it is stored: its private key sealed under the data key.
pub(super) fn sealed(
    authority: &CertificateAuthority,
    key: &PrivateKey,
    vault: &Vault,
    cx: &mut Context<'_>,
) -> Result<StoredAuthority, Failure> {
    let sealed = vault.data_key().seal(LABEL, key.pkcs8(), cx.rng).map_err(broken)?;
    Ok(StoredAuthority {
        certificate: authority.certificate().der().to_vec(),
        sealed_private_key: sealed,
        created_at: cx.now,
    })
}

fn opened(stored: &StoredAuthority, vault: &Vault) -> Result<CertificateAuthority, Failure> {
    let pkcs8 = vault.data_key().open(LABEL, &stored.sealed_private_key);
    let pkcs8 = pkcs8.map_err(|error| broken(VaultError::from(error)))?;
    CertificateAuthority::from_stored(&stored.certificate, &pkcs8).map_err(broken)
}

fn anchors(store: &Store, present: &StoredAuthority) -> Result<TrustAnchors, Failure> {
    let parse = |der: Vec<u8>| TrustAnchor::parse(&der).map_err(broken);
    let others = store.authority_certificates()?.into_iter().map(parse);
    Ok(TrustAnchors::new(
        parse(present.certificate.clone())?,
        others.collect::<Result<_, _>>()?,
    ))
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Broken("the certificate authority cannot be used", Box::new(error))
}

/// Nobody deletes an authority: it is only replaced.
const VANISHED: Failure = Failure::Unavailable("the certificate authority vanished", None);

/// Associated data of the authority's sealed key, where signing keys have their `kid`.
const LABEL: &str = "certificate authority";
