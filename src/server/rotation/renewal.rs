//! Keys whose certificate would end before they do get another one.

use serde_json::json;
use tracing::info;

use super::{Wheel, by_the_wheel};
use crate::keys::{Certificate, SigningKey};
use crate::oauth::{NumericDate, Thumbprint, base64url};
use crate::server::{Context, Failure};
use crate::storage::{AuditEvent, Store};

impl Wheel {
    /// The validity of a better certificate for a key; `None` when the present authority can give none.
    pub(super) fn renewal(&self, kid: &Thumbprint, now: NumericDate) -> Option<(NumericDate, NumericDate)> {
        let turn = self.turn.load();
        let key = turn.ring().key(kid)?;
        let validity = self.authority.load().validity();
        let (begins, ends) = self.settings.policy.renewal(turn.ring(), key, validity, now)?;
        (ends > key.certificate().not_after()).then_some((begins, ends))
    }

    /// Certifies a key anew. When another node was first, its certificate counts.
    pub(super) fn renew(&self, store: &Store, kid: &Thumbprint, cx: &mut Context<'_>) -> Result<(), Failure> {
        let turn = self.turn.load();
        let (Some(key), Some(validity)) = (turn.ring().key(kid), self.renewal(kid, cx.now)) else {
            return Ok(());
        };
        let authority = self.authority.load();
        let renewed = authority
            .renew(key, &self.settings.issuer, validity, cx.rng)
            .map_err(|error| Failure::Broken("a signing key could not be certified anew", Box::new(error)))?;
        let event = AuditEvent {
            detail: renewal_detail(key, &renewed),
            ..by_the_wheel("key.renewed", kid, cx.now)
        };
        let before = key.certificate().der();
        if store.renew_certificate(kid, before, renewed.der(), &event)? {
            info!(%kid, not_after = %renewed.not_after(), "certified a signing key anew, its certificate would have ended too soon");
        }
        Ok(())
    }
}

/// What the audit trail keeps of a renewal.
pub(in crate::server) fn renewal_detail(key: &SigningKey, renewed: &Certificate) -> serde_json::Value {
    json!({
        "not_after": renewed.not_after(), "certificate_sha256": base64url(&renewed.sha256()),
        "before": {"not_after": key.certificate().not_after(), "certificate_sha256": base64url(&key.certificate().sha256())},
    })
}
