use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::audit::AuditEvent;
use super::changes::ChangeKind;
use super::clients;
use super::connection::{Conn, on};
use super::error::{Error, Fault};
use super::schema::{certificate_authorities, data_keys, signing_keys};
use super::store::{Effect, Store};
use crate::failpoint::failpoint;
use crate::oauth::{NumericDate, Seconds, Thumbprint};

/// The data key that seals private keys, wrapped by the master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDataKey {
    /// Which master key wraps it; not a secret.
    pub master_key_id: String,
    /// The data key, encrypted.
    pub wrapped: Vec<u8>,
    /// When it was made.
    pub created_at: NumericDate,
}

/// The authority that certifies signing keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAuthority {
    /// Its certificate in DER.
    pub certificate: Vec<u8>,
    /// Its private key, encrypted under the data key.
    pub sealed_private_key: Vec<u8>,
    /// When it was made or imported.
    pub created_at: NumericDate,
}

/// A signing key as it is stored. What it may do at an instant follows from these fields and is stored nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its identifier.
    pub kid: Thumbprint,
    /// The JOSE name of its algorithm.
    pub alg: String,
    /// Its place in the order of keys of its algorithm; two nodes that make the same next key choose the same.
    pub slot: i64,
    /// From when on it is published.
    pub published_at: NumericDate,
    /// From when on it signs.
    pub activates_at: NumericDate,
    /// Its certificate in DER.
    pub certificate: Vec<u8>,
    /// Its private key, encrypted under the data key; `None` once destroyed.
    pub sealed_private_key: Option<Vec<u8>>,
    /// The longest life of any token that it may have signed.
    pub longest_token_life: Seconds,
    /// From when on it signs no more because nobody wants its algorithm.
    pub withdrawn_at: Option<NumericDate>,
    /// From when on it signs no more.
    pub tainted_at: Option<NumericDate>,
    /// From when on it is not published any more.
    pub revoked_at: Option<NumericDate>,
}

/// What became of storing something that there may be only once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insertion {
    /// It is stored.
    Inserted,
    /// There was one already, perhaps another node's a moment ago; it is unchanged.
    Exists,
}

/// How a signing key is barred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Barring {
    /// It signs never again, and stays published until its tokens have expired.
    Taint,
    /// It is not published either: whoever reads the JWK set refuses its tokens.
    Revoke,
}

impl Barring {
    /// How a key with these dates is barred, if it is.
    pub const fn of(tainted_at: Option<NumericDate>, revoked_at: Option<NumericDate>) -> Option<Self> {
        match (revoked_at, tainted_at) {
            (Some(_), _) => Some(Barring::Revoke),
            (None, Some(_)) => Some(Barring::Taint),
            (None, None) => None,
        }
    }
}

/// What became of [`Store::bar_signing_key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barred {
    /// It is from now on.
    Now,
    /// It was before.
    Before,
    /// There is no such key.
    Unknown,
}

impl Insertion {
    pub(super) fn from_count(rows: usize) -> Self {
        if rows == 0 {
            Insertion::Exists
        } else {
            Insertion::Inserted
        }
    }
}

/// The tables with one row know it by this number.
pub(super) const ONLY: i64 = 1;

impl Store {
    /// The data key.
    pub fn data_key(&self) -> Result<Option<StoredDataKey>, Error> {
        self.read(|conn| {
            let row: Option<(String, Vec<u8>, i64)> = on!(conn, c => data_keys::table
                .filter(data_keys::id.eq(ONLY))
                .select((data_keys::master_key_id, data_keys::wrapped, data_keys::created_at))
                .get_result(c)
                .optional())?;
            Ok(row.map(|(master_key_id, wrapped, created_at)| StoredDataKey {
                master_key_id,
                wrapped,
                created_at: NumericDate::from_epoch(created_at),
            }))
        })
    }

    /// Stores the data key unless there is one.
    pub fn store_data_key(&self, key: &StoredDataKey) -> Result<Insertion, Error> {
        let key = key.clone();
        self.write(move |conn| {
            let inserted = on!(conn, c => diesel::insert_into(data_keys::table)
                .values((
                    data_keys::id.eq(ONLY),
                    data_keys::master_key_id.eq(&key.master_key_id),
                    data_keys::wrapped.eq(&key.wrapped),
                    data_keys::created_at.eq(key.created_at.epoch()),
                ))
                .on_conflict_do_nothing()
                .execute(c))?;
            Ok(Insertion::from_count(inserted))
        })
    }

    /// The certificate authority.
    pub fn certificate_authority(&self) -> Result<Option<StoredAuthority>, Error> {
        self.read(|conn| {
            let row: Option<(Vec<u8>, Vec<u8>, i64)> = on!(conn, c => certificate_authorities::table
                .filter(certificate_authorities::id.eq(ONLY))
                .select((
                    certificate_authorities::certificate,
                    certificate_authorities::sealed_private_key,
                    certificate_authorities::created_at,
                ))
                .get_result(c)
                .optional())?;
            Ok(
                row.map(|(certificate, sealed_private_key, created_at)| StoredAuthority {
                    certificate,
                    sealed_private_key,
                    created_at: NumericDate::from_epoch(created_at),
                }),
            )
        })
    }

    /// Stores the certificate authority unless there is one.
    pub fn store_certificate_authority(&self, authority: &StoredAuthority) -> Result<Insertion, Error> {
        let authority = authority.clone();
        self.write(move |conn| {
            let inserted = on!(conn, c => diesel::insert_into(certificate_authorities::table)
                .values((
                    certificate_authorities::id.eq(ONLY),
                    certificate_authorities::certificate.eq(&authority.certificate),
                    certificate_authorities::sealed_private_key.eq(&authority.sealed_private_key),
                    certificate_authorities::created_at.eq(authority.created_at.epoch()),
                ))
                .on_conflict_do_nothing()
                .execute(c))?;
            Ok(Insertion::from_count(inserted))
        })
    }

    /// Every signing key there ever was, in the order of algorithm and slot.
    pub fn signing_keys(&self) -> Result<Vec<StoredKey>, Error> {
        self.read(|conn| {
            let rows: Vec<KeyRow> = on!(conn, c => signing_keys::table
                .order((signing_keys::slot, signing_keys::alg))
                .select(KeyRow::as_select())
                .load(c))?;
            rows.into_iter().map(KeyRow::into_key).collect()
        })
    }

    /// Stores a signing key unless its slot is taken or it is there. Its longest token life is at least that of any client.
    pub fn create_signing_key(&self, key: &StoredKey, event: &AuditEvent) -> Result<Insertion, Error> {
        let (mut row, event) = (KeyRow::from(key), event.clone());
        self.administer(move |conn| {
            let longest = clients::longest_access_ttl(conn)?;
            row.longest_token_life = row.longest_token_life.max(longest.get());
            let inserted = on!(conn, c => diesel::insert_into(signing_keys::table)
                .values(&row)
                .on_conflict_do_nothing()
                .execute(c))?;
            if inserted == 0 {
                return Ok(Effect::none(Insertion::Exists));
            }
            failpoint!("key.inserted");
            let at = event.at.epoch();
            Ok(Effect::of(Insertion::Inserted, event).changing(ChangeKind::SigningKey, row.kid, at))
        })
    }

    /// Moves a key's activation from `expected` to `new`; `false` when it is not `expected` (any more).
    pub fn set_activation(
        &self,
        kid: &Thumbprint,
        expected: NumericDate,
        new: NumericDate,
        event: &AuditEvent,
    ) -> Result<bool, Error> {
        let (kid, event) = (kid.as_str().to_owned(), event.clone());
        self.administer(move |conn| {
            let moved = on!(conn, c => diesel::update(signing_keys::table)
                .filter(signing_keys::kid.eq(&kid).and(signing_keys::activates_at.eq(expected.epoch())))
                .set(signing_keys::activates_at.eq(new.epoch()))
                .execute(c))?;
            if moved == 0 {
                return Ok(Effect::none(false));
            }
            failpoint!("activation.moved");
            let at = event.at.epoch();
            Ok(Effect::of(true, event).changing(ChangeKind::SigningKey, kid, at))
        })
    }

    /// Lets a key sign no more from the instant of `event` on; `false` when it was withdrawn before.
    pub fn withdraw_signing_key(&self, kid: &Thumbprint, event: &AuditEvent) -> Result<bool, Error> {
        let (kid, event) = (kid.as_str().to_owned(), event.clone());
        self.administer(move |conn| {
            let at = event.at.epoch();
            let withdrawn = on!(conn, c => diesel::update(signing_keys::table.find(&kid))
                .filter(signing_keys::withdrawn_at.is_null())
                .set(signing_keys::withdrawn_at.eq(at))
                .execute(c))?;
            if withdrawn == 0 {
                return Ok(Effect::none(false));
            }
            Ok(Effect::of(true, event).changing(ChangeKind::SigningKey, kid, at))
        })
    }

    /// Bars a key from signing, and from being published if it is revoked; its private half is destroyed with it. Nothing takes
    /// that back.
    pub fn bar_signing_key(&self, kid: &Thumbprint, how: Barring, event: &AuditEvent) -> Result<Barred, Error> {
        let (kid, event, at) = (kid.as_str().to_owned(), event.clone(), event.at.epoch());
        self.administer(move |conn| match bar(conn, &kid, how, at)? {
            Barred::Now => Ok(Effect::of(Barred::Now, event).changing(ChangeKind::SigningKey, kid, at)),
            unchanged => Ok(Effect::none(unchanged)),
        })
    }

    /// Destroys the private halves of keys; how many there still were. `event` is recorded once for each of those, with its
    /// `kid`; of two nodes that destroy the same key, one records it.
    pub fn destroy_private_keys(&self, kids: &[Thumbprint], event: &AuditEvent) -> Result<usize, Error> {
        if kids.is_empty() {
            return Ok(0);
        }
        let kids: Vec<String> = kids.iter().map(|kid| kid.as_str().to_owned()).collect();
        let event = event.clone();
        self.administer(move |conn| {
            let destroyed: Vec<String> = on!(conn, c => diesel::update(signing_keys::table)
                .filter(signing_keys::kid.eq_any(&kids).and(signing_keys::sealed_private_key.is_not_null()))
                .set(signing_keys::sealed_private_key.eq(None::<Vec<u8>>))
                .returning(signing_keys::kid)
                .get_results(c))?;
            failpoint!("key.emptied");
            let events = destroyed
                .iter()
                .map(|kid| AuditEvent {
                    kid: Some(kid.clone()),
                    ..event.clone()
                })
                .collect();
            Ok(Effect::all_of(destroyed.len(), events).changing_keys(destroyed, event.at.epoch()))
        })
    }

    /// Raises the longest token life of every key that can still sign to `life`, and never lowers it; how many were raised.
    /// To be called with the server's own token life before it issues tokens.
    pub fn raise_token_life(&self, life: Seconds, now: NumericDate) -> Result<usize, Error> {
        self.administer(move |conn| {
            let raised = raise_to(conn, Some(life))?;
            Ok(Effect::none(raised.len()).changing_keys(raised, now.epoch()))
        })
    }
}

/// Bars a key in the transaction under way.
pub(super) fn bar(conn: &mut Conn, kid: &str, how: Barring, at: i64) -> Result<Barred, Fault> {
    let row: Option<(Option<i64>, Option<i64>)> = on!(conn, c => signing_keys::table
        .find(kid)
        .select((signing_keys::tainted_at, signing_keys::revoked_at))
        .get_result(c)
        .optional())?;
    let (tainted_at, revoked_at) = match (row, how) {
        (None, _) => return Ok(Barred::Unknown),
        (Some((_, Some(_))), _) | (Some((Some(_), _)), Barring::Taint) => return Ok(Barred::Before),
        (Some(_), Barring::Taint) => (Some(at), None),
        (Some((tainted_at, None)), Barring::Revoke) => (tainted_at, Some(at)),
    };
    on!(conn, c => diesel::update(signing_keys::table.find(kid))
        .set((
            signing_keys::tainted_at.eq(tainted_at),
            signing_keys::revoked_at.eq(revoked_at),
            signing_keys::sealed_private_key.eq(None::<Vec<u8>>),
        ))
        .execute(c))?;
    failpoint!("barring.marked");
    Ok(Barred::Now)
}

/// Raises the longest token life of every key that can still sign, in the transaction under way; the keys it raised.
///
/// A key stays published until the last token it may have signed has expired, so it must know before the first such token.
pub(super) fn raise_to(conn: &mut Conn, life: Option<Seconds>) -> Result<Vec<String>, Fault> {
    let Some(life) = life else {
        return Ok(Vec::new());
    };
    Ok(on!(conn, c => diesel::update(signing_keys::table)
        .filter(signing_keys::sealed_private_key.is_not_null())
        .filter(signing_keys::longest_token_life.lt(life.get()))
        .set(signing_keys::longest_token_life.eq(life.get()))
        .returning(signing_keys::kid)
        .get_results(c))?)
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = signing_keys, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
#[diesel(treat_none_as_default_value = false)]
pub(super) struct KeyRow {
    pub(super) kid: String,
    pub(super) alg: String,
    pub(super) slot: i64,
    published_at: i64,
    activates_at: i64,
    certificate: Vec<u8>,
    sealed_private_key: Option<Vec<u8>>,
    pub(super) longest_token_life: i64,
    tainted_at: Option<i64>,
    revoked_at: Option<i64>,
    withdrawn_at: Option<i64>,
}

impl From<&StoredKey> for KeyRow {
    fn from(key: &StoredKey) -> Self {
        KeyRow {
            kid: key.kid.as_str().to_owned(),
            alg: key.alg.clone(),
            slot: key.slot,
            published_at: key.published_at.epoch(),
            activates_at: key.activates_at.epoch(),
            certificate: key.certificate.clone(),
            sealed_private_key: key.sealed_private_key.clone(),
            longest_token_life: key.longest_token_life.get(),
            tainted_at: key.tainted_at.map(NumericDate::epoch),
            revoked_at: key.revoked_at.map(NumericDate::epoch),
            withdrawn_at: key.withdrawn_at.map(NumericDate::epoch),
        }
    }
}

impl KeyRow {
    fn into_key(self) -> Result<StoredKey, Fault> {
        let kid = Thumbprint::parse(&self.kid).ok_or_else(|| {
            Fault::corrupt(
                "signing_keys",
                format!("the kid {:?}, which is no thumbprint", self.kid),
            )
        })?;
        Ok(StoredKey {
            kid,
            alg: self.alg,
            slot: self.slot,
            published_at: NumericDate::from_epoch(self.published_at),
            activates_at: NumericDate::from_epoch(self.activates_at),
            certificate: self.certificate,
            sealed_private_key: self.sealed_private_key,
            longest_token_life: Seconds::new(self.longest_token_life),
            withdrawn_at: self.withdrawn_at.map(NumericDate::from_epoch),
            tainted_at: self.tainted_at.map(NumericDate::from_epoch),
            revoked_at: self.revoked_at.map(NumericDate::from_epoch),
        })
    }
}
