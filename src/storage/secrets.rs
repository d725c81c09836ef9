use diesel::dsl::{count, exists, not};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text};

use super::audit::AuditEvent;
use super::changes::ChangeKind;
use super::client_rows;
use super::connection::{Conn, on};
use super::error::{Error, Fault};
use super::postgres::Link;
use super::schema::{client_secrets, clients};
use super::store::{Effect, Store};
use crate::oauth::{ClientId, ClientSecretRecord, NumericDate, SecretHash};

/// What became of [`Store::add_client_secret`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretAddition {
    /// The secret is accepted from now on.
    Added,
    /// There is no such client.
    UnknownClient,
    /// The client has [`Store::MAX_SECRETS`] that have not expired; revoke one first.
    TooMany,
}

impl Store {
    /// Most secrets that a client may have: each is one more that a presented secret is compared with.
    pub const MAX_SECRETS: usize = 10;

    /// The client's secrets, oldest first, live or not; `None` when there is no such client.
    pub fn client_secrets(&self, id: &ClientId) -> Result<Option<Vec<ClientSecretRecord>>, Error> {
        Ok(self.client(id)?.map(|(_, secrets)| secrets))
    }

    /// Adds a secret beside those that the client has. Where there is no room for it, one that has expired by the event's instant goes, with
    /// an event of its own.
    pub fn add_client_secret(
        &self,
        id: &ClientId,
        secret: &ClientSecretRecord,
        event: &AuditEvent,
    ) -> Result<SecretAddition, Error> {
        let (id, secret, event) = (id.as_str().to_owned(), secret.clone(), event.clone());
        self.administer(move |conn| {
            let Some(client) = client_rows::row_of(conn, &id)? else {
                return Ok(Effect::none(SecretAddition::UnknownClient));
            };
            let present: Vec<(String, Option<i64>)> = on!(conn, c => client_secrets::table
                .filter(client_secrets::client.eq(client))
                .order((client_secrets::expires_at, client_secrets::id))
                .select((client_secrets::id, client_secrets::expires_at))
                .load(c))?;
            let present_count = present.len();
            let (expired, others): (Vec<_>, Vec<_>) = present
                .into_iter()
                .partition(|(_, expires_at)| expires_at.is_some_and(|expires_at| expires_at <= event.at.epoch()));
            if others.len() >= Store::MAX_SECRETS {
                return Ok(Effect::none(SecretAddition::TooMany));
            }
            let mut events = Vec::new();
            let too_many = (present_count + 1).saturating_sub(Store::MAX_SECRETS);
            for (old, _) in expired.iter().take(too_many) {
                delete(conn, client, old)?;
                events.push(making_room(old, &event));
            }
            insert(conn, client, &secret)?;
            let at = event.at.epoch();
            events.push(event);
            Ok(Effect::all_of(SecretAddition::Added, events).changing(ChangeKind::Client, id, at))
        })
    }

    /// Notes when secrets were used, by their ids; of two nodes that saw one the later use stays.
    pub fn note_secret_uses(&self, uses: &[(String, NumericDate)]) -> Result<(), Error> {
        let uses = uses.to_vec();
        self.act(move |conn| {
            match conn {
                Conn::Postgres(link) => note_all(link, &uses)?,
                Conn::Sqlite(connection) => {
                    for (id, used_at) in &uses {
                        note(connection, id, *used_at)?;
                    }
                }
            }
            Ok(Effect::none(()))
        })
    }

    /// Of how many enabled clients the last secret ends after `now` and not after `until`.
    pub fn secrets_expiring(&self, now: NumericDate, until: NumericDate) -> Result<i64, Error> {
        self.read(|conn| {
            let others = diesel::alias!(client_secrets as others);
            let outlasts = others
                .field(client_secrets::expires_at)
                .is_null()
                .or(others.field(client_secrets::expires_at).gt(until.epoch()));
            let outlasted = exists(
                others
                    .filter(others.field(client_secrets::client).eq(client_secrets::client))
                    .filter(outlasts),
            );
            Ok(on!(conn, c => client_secrets::table
                .inner_join(clients::table)
                .filter(clients::enabled)
                .filter(client_secrets::expires_at.gt(now.epoch()))
                .filter(client_secrets::expires_at.le(until.epoch()))
                .filter(not(outlasted))
                .select(count(client_secrets::client).aggregate_distinct())
                .get_result(c))?)
        })
    }

    /// Deletes one of the client's secrets, which is refused from now on; whether there was one.
    pub fn revoke_client_secret(&self, id: &ClientId, secret_id: &str, event: &AuditEvent) -> Result<bool, Error> {
        let (id, secret_id, event) = (id.as_str().to_owned(), secret_id.to_owned(), event.clone());
        self.administer(move |conn| {
            let Some(client) = client_rows::row_of(conn, &id)? else {
                return Ok(Effect::none(false));
            };
            if !delete(conn, client, &secret_id)? {
                return Ok(Effect::none(false));
            }
            let at = event.at.epoch();
            Ok(Effect::of(true, event).changing(ChangeKind::Client, id, at))
        })
    }
}

/// The removal of a secret by whoever adds another.
fn making_room(old: &str, addition: &AuditEvent) -> AuditEvent {
    let mut event = AuditEvent {
        event: "client.secret_revoked".to_owned(),
        ..addition.clone()
    };
    if let Some(members) = event.detail.as_object_mut() {
        // What is left tells who and from where.
        members.retain(|name, _| name != "not_before" && name != "expires_at");
        members.insert("secret_id".to_owned(), old.into());
    }
    event
}

fn note(connection: &mut SqliteConnection, id: &str, used_at: NumericDate) -> Result<(), Fault> {
    let used_at = used_at.epoch();
    let earlier = client_secrets::last_used_at
        .is_null()
        .or(client_secrets::last_used_at.lt(used_at));
    diesel::update(client_secrets::table)
        .filter(client_secrets::id.eq(id))
        .filter(earlier)
        .set(client_secrets::last_used_at.eq(used_at))
        .execute(connection)?;
    Ok(())
}

/// All in one statement: a tick is not to wait for a hundred answers. The rows are held in one order on all nodes, so that two of them do
/// not wait for each other in a circle.
fn note_all(link: &mut Link, uses: &[(String, NumericDate)]) -> Result<(), Fault> {
    let (ids, dates): (Vec<_>, Vec<_>) = uses.iter().map(|(id, at)| (id.as_str(), at.epoch())).unzip();
    diesel::sql_query(
        "WITH used AS (SELECT id, at FROM unnest($1, $2) AS used (id, at)), \
         held AS (SELECT client_secrets.id FROM client_secrets JOIN used ON used.id = client_secrets.id \
         ORDER BY client_secrets.id FOR UPDATE OF client_secrets) \
         UPDATE client_secrets SET last_used_at = used.at FROM used JOIN held ON held.id = used.id \
         WHERE client_secrets.id = used.id AND (last_used_at IS NULL OR last_used_at < used.at)",
    )
    .bind::<Array<Text>, _>(ids)
    .bind::<Array<BigInt>, _>(dates)
    .execute(&mut link.connection)?;
    Ok(())
}

/// Stores a secret of the client with the row number `client`, in the transaction under way.
pub(super) fn insert(conn: &mut Conn, client: i64, secret: &ClientSecretRecord) -> Result<(), Fault> {
    let row = SecretRow {
        id: secret.id.clone(),
        client,
        hash: secret.hash.as_bytes().to_vec(),
        hint: secret.hint.clone(),
        created_at: secret.created_at.epoch(),
        expires_at: secret.expires_at.map(NumericDate::epoch),
        not_before: secret.not_before.map(NumericDate::epoch),
        last_used_at: None,
    };
    on!(conn, c => diesel::insert_into(client_secrets::table).values(&row).execute(c))?;
    Ok(())
}

/// Deletes a secret of the client with the row number `client`, in the transaction under way; whether there was one.
pub(super) fn delete(conn: &mut Conn, client: i64, id: &str) -> Result<bool, Fault> {
    let deleted = on!(conn, c => diesel::delete(client_secrets::table)
        .filter(client_secrets::id.eq(id).and(client_secrets::client.eq(client)))
        .execute(c))?;
    Ok(deleted > 0)
}

/// Sets from when on a secret of the client with the row number `client` is refused, in the transaction under way.
pub(super) fn set_expiry(conn: &mut Conn, client: i64, id: &str, at: Option<NumericDate>) -> Result<(), Fault> {
    on!(conn, c => diesel::update(client_secrets::table)
        .filter(client_secrets::id.eq(id).and(client_secrets::client.eq(client)))
        .set(client_secrets::expires_at.eq(at.map(NumericDate::epoch)))
        .execute(c))?;
    Ok(())
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = client_secrets, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
#[diesel(treat_none_as_default_value = false)]
pub(super) struct SecretRow {
    id: String,
    client: i64,
    hash: Vec<u8>,
    hint: String,
    created_at: i64,
    expires_at: Option<i64>,
    not_before: Option<i64>,
    last_used_at: Option<i64>,
}

impl SecretRow {
    pub(super) fn into_record(self) -> Result<ClientSecretRecord, Fault> {
        let hash = SecretHash::from_bytes(&self.hash).ok_or_else(|| {
            Fault::corrupt(
                "client_secrets",
                format!("secret {:?} without a hash of 32 bytes", self.id),
            )
        })?;
        Ok(ClientSecretRecord {
            id: self.id,
            hash,
            hint: self.hint,
            created_at: NumericDate::from_epoch(self.created_at),
            expires_at: self.expires_at.map(NumericDate::from_epoch),
            not_before: self.not_before.map(NumericDate::from_epoch),
            last_used_at: self.last_used_at.map(NumericDate::from_epoch),
        })
    }
}
