use diesel::prelude::*;

use super::audit::AuditEvent;
use super::changes::ChangeKind;
use super::clients;
use super::connection::{Conn, on};
use super::error::{Error, Fault};
use super::keys::{Insertion, KeyRow, ONLY, StoredAuthority, StoredKey};
use super::schema::{authority_certificates, certificate_authorities, signing_keys};
use super::store::{Effect, Store};
use crate::oauth::{NumericDate, Thumbprint, certificate_sha256};

impl Store {
    /// The certificates in DER of all authorities besides the present one, the newest first: those before it, those above it, and
    /// those of imported keys.
    pub fn authority_certificates(&self) -> Result<Vec<Vec<u8>>, Error> {
        self.read(|conn| {
            Ok(on!(conn, c => authority_certificates::table
                .order((authority_certificates::added_at.desc(), authority_certificates::sha256))
                .select(authority_certificates::certificate)
                .load(c))?)
        })
    }

    /// Puts another authority in the place of the present one, whose private key is destroyed and whose certificate is kept, with
    /// those of the new one's issuers. Keys that are certified from now on are certified by the new one.
    pub fn replace_certificate_authority(
        &self,
        authority: &StoredAuthority,
        issuers: &[Vec<u8>],
        event: &AuditEvent,
    ) -> Result<(), Error> {
        let (authority, issuers, event) = (authority.clone(), issuers.to_vec(), event.clone());
        self.administer(move |conn| {
            let at = event.at;
            let before: Option<Vec<u8>> = on!(conn, c => certificate_authorities::table
                .find(ONLY)
                .select(certificate_authorities::certificate)
                .get_result(c)
                .optional())?;
            let kept: Vec<Vec<u8>> = before.into_iter().chain(issuers).collect();
            keep(conn, &kept, at)?;
            on!(conn, c => diesel::delete(certificate_authorities::table.find(ONLY)).execute(c))?;
            on!(conn, c => diesel::insert_into(certificate_authorities::table)
                .values((
                    certificate_authorities::id.eq(ONLY),
                    certificate_authorities::certificate.eq(&authority.certificate),
                    certificate_authorities::sealed_private_key.eq(&authority.sealed_private_key),
                    certificate_authorities::created_at.eq(authority.created_at.epoch()),
                ))
                .execute(c))?;
            // Whoever reads the keys anew reads the authorities, too.
            Ok(Effect::of((), event).changing(ChangeKind::SigningKey, "*", at.epoch()))
        })
    }

    /// Stores a signing key from elsewhere in the next free slot, unless it is there, with the certificates of its issuers.
    pub fn import_signing_key(
        &self,
        key: &StoredKey,
        issuers: &[Vec<u8>],
        event: &AuditEvent,
    ) -> Result<Insertion, Error> {
        let (mut row, issuers, event) = (KeyRow::from(key), issuers.to_vec(), event.clone());
        self.administer(move |conn| {
            let known: i64 = on!(conn, c => signing_keys::table
                .filter(signing_keys::kid.eq(&row.kid))
                .count()
                .get_result(c))?;
            if known > 0 {
                return Ok(Effect::none(Insertion::Exists));
            }
            let newest: Option<i64> = on!(conn, c => signing_keys::table
                .filter(signing_keys::alg.eq(&row.alg))
                .select(diesel::dsl::max(signing_keys::slot))
                .get_result(c))?;
            row.slot = newest.unwrap_or(0) + 1;
            row.longest_token_life = row.longest_token_life.max(clients::longest_access_ttl(conn)?.get());
            keep(conn, &issuers, event.at)?;
            on!(conn, c => diesel::insert_into(signing_keys::table).values(&row).execute(c))?;
            let at = event.at.epoch();
            Ok(Effect::of(Insertion::Inserted, event).changing(ChangeKind::SigningKey, row.kid, at))
        })
    }

    /// Gives a key another certificate in the place of `expected`; `false` when it has another one by now, or was revoked.
    pub fn renew_certificate(
        &self,
        kid: &Thumbprint,
        expected: &[u8],
        certificate: &[u8],
        event: &AuditEvent,
    ) -> Result<bool, Error> {
        let (kid, event) = (kid.as_str().to_owned(), event.clone());
        let (expected, certificate) = (expected.to_vec(), certificate.to_vec());
        self.administer(move |conn| {
            let renewed = on!(conn, c => diesel::update(signing_keys::table)
                .filter(signing_keys::kid.eq(&kid).and(signing_keys::certificate.eq(&expected)))
                .filter(signing_keys::revoked_at.is_null())
                .set(signing_keys::certificate.eq(&certificate))
                .execute(c))?;
            if renewed == 0 {
                return Ok(Effect::none(false));
            }
            let at = event.at.epoch();
            Ok(Effect::of(true, event).changing(ChangeKind::SigningKey, kid, at))
        })
    }
}

/// Remembers certificates of authorities in the transaction under way.
fn keep(conn: &mut Conn, certificates: &[Vec<u8>], at: NumericDate) -> Result<(), Fault> {
    for certificate in certificates {
        let sha256 = certificate_sha256(certificate).to_vec();
        on!(conn, c => diesel::insert_into(authority_certificates::table)
            .values((
                authority_certificates::sha256.eq(&sha256),
                authority_certificates::certificate.eq(certificate),
                authority_certificates::added_at.eq(at.epoch()),
            ))
            .on_conflict_do_nothing()
            .execute(c))?;
    }
    Ok(())
}
