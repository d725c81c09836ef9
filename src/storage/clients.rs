use std::fmt::Display;
use std::str::FromStr;

use diesel::prelude::*;

use super::audit::AuditEvent;
use super::changes::ChangeKind;
use super::connection::{Conn, on};
use super::error::{Error, Fault};
use super::families::{self, Deletion, Holder};
use super::keys;
use super::schema::{client_secrets, clients};
use super::secrets::{self, SecretRow};
use super::store::{Effect, Store};
use crate::oauth::{Audiences, Client, ClientId, ClientMetadata, ClientSecretRecord, NumericDate, Scope, Seconds};

/// A client to be registered.
#[derive(Debug, Clone)]
pub struct NewClient {
    /// Its public identifier.
    pub client_id: ClientId,
    /// What is registered for it.
    pub metadata: ClientMetadata,
    /// When.
    pub created_at: NumericDate,
}

/// What became of [`Store::create_client`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is moved once")]
pub enum ClientCreation {
    /// The client is registered and enabled.
    Created(Client),
    /// Its identifier is taken.
    Exists,
}

impl Store {
    /// The client and its secrets, oldest first, live or not.
    pub fn client(&self, id: &ClientId) -> Result<Option<(Client, Vec<ClientSecretRecord>)>, Error> {
        self.read(|conn| {
            let rows: Vec<(ClientRow, Option<SecretRow>)> = on!(conn, c => clients::table
                .left_join(client_secrets::table)
                .filter(clients::client_id.eq(id.as_str()))
                .order((client_secrets::created_at, client_secrets::id))
                .select((ClientRow::as_select(), Option::<SecretRow>::as_select()))
                .load(c))?;
            let mut client = None;
            let mut records = Vec::new();
            for (row, secret) in rows {
                client.get_or_insert(row);
                records.extend(secret.map(SecretRow::into_record).transpose()?);
            }
            Ok(client
                .map(ClientRow::into_client)
                .transpose()?
                .map(|client| (client, records)))
        })
    }

    /// At most `limit` clients in the order of their identifiers, those after `after`.
    pub fn clients(&self, after: Option<&ClientId>, limit: u32) -> Result<Vec<Client>, Error> {
        self.read(|conn| {
            let rows: Vec<ClientRow> = on!(conn, c => clients::table
                .filter(clients::client_id.gt(after.map_or("", ClientId::as_str)))
                .order(clients::client_id)
                .limit(i64::from(limit))
                .select(ClientRow::as_select())
                .load(c))?;
            rows.into_iter().map(ClientRow::into_client).collect()
        })
    }

    /// Registers a client, with its first secret if it has one. Keys stay published for the life of its tokens.
    pub fn create_client(
        &self,
        new: &NewClient,
        secret: Option<&ClientSecretRecord>,
        event: &AuditEvent,
    ) -> Result<ClientCreation, Error> {
        let created_at = new.created_at.epoch();
        let row = NewRow {
            client_id: new.client_id.as_str().to_owned(),
            metadata: MetadataRow::from(&new.metadata),
            enabled: true,
            created_at,
            updated_at: created_at,
        };
        let (secret, event, access_ttl) = (secret.cloned(), event.clone(), new.metadata.access_ttl);
        self.administer(move |conn| {
            let created: Option<ClientRow> = on!(conn, c => diesel::insert_into(clients::table)
                .values(&row)
                .on_conflict_do_nothing()
                .returning(ClientRow::as_returning())
                .get_result(c)
                .optional())?;
            let Some(client) = created.map(ClientRow::into_client).transpose()? else {
                return Ok(Effect::none(ClientCreation::Exists));
            };
            if let Some(secret) = &secret {
                secrets::insert(conn, client.row, secret)?;
            }
            let raised = keys::raise_to(conn, access_ttl)?;
            let at = event.at.epoch();
            Ok(Effect::of(ClientCreation::Created(client), event)
                .changing(ChangeKind::Client, row.client_id, at)
                .changing_keys(raised, at))
        })
    }

    /// Replaces what is registered for a client, as of the event's instant; `None` when there is no such client.
    pub fn update_client(
        &self,
        id: &ClientId,
        metadata: &ClientMetadata,
        event: &AuditEvent,
    ) -> Result<Option<Client>, Error> {
        let (row, access_ttl) = (MetadataRow::from(metadata), metadata.access_ttl);
        self.change_client(id, event, move |conn, id, at| {
            let changed = on!(conn, c => diesel::update(clients::table.filter(clients::client_id.eq(id)))
                .set((&row, clients::updated_at.eq(at)))
                .returning(ClientRow::as_returning())
                .get_result(c)
                .optional())?;
            let raised = if changed.is_some() {
                keys::raise_to(conn, access_ttl)?
            } else {
                Vec::new()
            };
            Ok((changed, raised))
        })
    }

    /// Enables or disables a client, as of the event's instant; `None` when there is no such client. Disabling ends its token
    /// families, and enabling does not bring them back.
    pub fn set_client_enabled(
        &self,
        id: &ClientId,
        enabled: bool,
        event: &AuditEvent,
    ) -> Result<Option<Client>, Error> {
        let (id, event, at) = (id.as_str().to_owned(), event.clone(), event.at.epoch());
        let change = move |conn: &mut Conn| {
            let ended = i64::from(!enabled);
            let changed: Option<ClientRow> = on!(conn, c => diesel::update(clients::table)
                .filter(clients::client_id.eq(&id))
                .set((
                    clients::enabled.eq(enabled),
                    clients::epoch.eq(clients::epoch + ended),
                    clients::updated_at.eq(at),
                ))
                .returning(ClientRow::as_returning())
                .get_result(c)
                .optional())?;
            let Some(client) = changed.map(ClientRow::into_client).transpose()? else {
                return Ok(Effect::none(None));
            };
            Ok(Effect::of(Some(client), event).changing(ChangeKind::Client, id, at))
        };
        if enabled {
            self.administer(change)
        } else {
            self.end_families(change)
        }
    }

    /// Deletes a client with its secrets and token families; whether there was one.
    pub fn delete_client(&self, id: &ClientId, event: &AuditEvent) -> Result<bool, Error> {
        loop {
            match self.delete_client_unless_crowded(id, event)? {
                Deletion::Deleted => return Ok(true),
                Deletion::Absent => return Ok(false),
                Deletion::Crowded(families) => self.clear_families(families)?,
            }
        }
    }

    fn delete_client_unless_crowded(&self, id: &ClientId, event: &AuditEvent) -> Result<Deletion, Error> {
        let (id, event) = (id.as_str().to_owned(), event.clone());
        self.end_families(move |conn| {
            let at = event.at.epoch();
            let Some(row) = row_of(conn, &id)? else {
                return Ok(Effect::none(Deletion::Absent));
            };
            let effect = if families::are_many(conn, Holder::Client(row))? {
                on!(conn, c => diesel::update(clients::table.find(row))
                    .set((clients::enabled.eq(false), clients::epoch.eq(clients::epoch + 1)))
                    .execute(c))?;
                Effect::none(Deletion::Crowded(Holder::Client(row)))
            } else {
                on!(conn, c => diesel::delete(clients::table.find(row)).execute(c))?;
                Effect::of(Deletion::Deleted, event)
            };
            Ok(effect.changing(ChangeKind::Client, id, at))
        })
    }

    /// `change` gets the identifier and the instant, and returns the client and the keys whose token life it raised.
    fn change_client(
        &self,
        id: &ClientId,
        event: &AuditEvent,
        change: impl FnOnce(&mut Conn, &str, i64) -> Result<(Option<ClientRow>, Vec<String>), Fault> + Send + 'static,
    ) -> Result<Option<Client>, Error> {
        let (id, event, at) = (id.as_str().to_owned(), event.clone(), event.at.epoch());
        self.administer(move |conn| {
            let (changed, raised) = change(conn, &id, at)?;
            let Some(client) = changed.map(ClientRow::into_client).transpose()? else {
                return Ok(Effect::none(None));
            };
            Ok(Effect::of(Some(client), event)
                .changing(ChangeKind::Client, id, at)
                .changing_keys(raised, at))
        })
    }
}

/// The row number of a client.
pub(super) fn row_of(conn: &mut Conn, id: &str) -> Result<Option<i64>, Fault> {
    Ok(on!(conn, c => clients::table
        .filter(clients::client_id.eq(id))
        .select(clients::id)
        .get_result(c)
        .optional())?)
}

impl Store {
    /// The client whose access tokens live longest, of those with a life of their own.
    pub fn longest_lived_client(&self) -> Result<Option<(String, Seconds)>, Error> {
        self.read(|conn| {
            let longest: Vec<(String, Option<i64>)> = on!(conn, c => clients::table
                .filter(clients::access_ttl.is_not_null())
                .order((clients::access_ttl.desc(), clients::client_id))
                .limit(1)
                .select((clients::client_id, clients::access_ttl))
                .load(c))?;
            let client = longest.into_iter().next();
            Ok(client.and_then(|(client_id, life)| Some((client_id, Seconds::new(life?)))))
        })
    }
}

/// The longest life that a client of its own has for its tokens.
pub(super) fn longest_access_ttl(conn: &mut Conn) -> Result<Seconds, Fault> {
    let longest: Option<i64> = on!(conn, c => clients::table
        .select(diesel::dsl::max(clients::access_ttl))
        .get_result(c))?;
    Ok(Seconds::new(longest.unwrap_or(0)))
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = clients, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
struct ClientRow {
    id: i64,
    client_id: String,
    #[diesel(embed)]
    metadata: MetadataRow,
    enabled: bool,
    epoch: i64,
    created_at: i64,
    updated_at: i64,
}

#[derive(Insertable)]
#[diesel(table_name = clients)]
struct NewRow {
    client_id: String,
    #[diesel(embed)]
    metadata: MetadataRow,
    enabled: bool,
    created_at: i64,
    updated_at: i64,
}

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = clients, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
#[diesel(treat_none_as_default_value = false, treat_none_as_null = true)]
struct MetadataRow {
    name: String,
    grant_types: String,
    auth_methods: String,
    scope: String,
    audiences: String,
    access_ttl: Option<i64>,
    token_type: String,
    claim_profile: String,
    introspect: bool,
    refresh_ttl: Option<i64>,
    refresh_absolute_ttl: Option<i64>,
    refresh_retry_window: Option<i64>,
}

impl From<&ClientMetadata> for MetadataRow {
    fn from(metadata: &ClientMetadata) -> Self {
        MetadataRow {
            name: metadata.name.clone(),
            grant_types: words(&metadata.grant_types),
            auth_methods: words(&metadata.auth_methods),
            scope: metadata.scope.to_string(),
            audiences: metadata.audiences.to_string(),
            access_ttl: metadata.access_ttl.map(Seconds::get),
            token_type: metadata.token_type.to_string(),
            claim_profile: metadata.claim_profile.to_string(),
            introspect: metadata.introspect,
            refresh_ttl: metadata.refresh_ttl.map(Seconds::get),
            refresh_absolute_ttl: metadata.refresh_absolute_ttl.map(Seconds::get),
            refresh_retry_window: metadata.refresh_retry_window.map(Seconds::get),
        }
    }
}

impl ClientRow {
    fn into_client(self) -> Result<Client, Fault> {
        let ClientRow {
            client_id, metadata, ..
        } = self;
        let corrupt = |why: &dyn Display| Fault::corrupt("clients", format!("client {client_id:?}, of which {why}"));
        let metadata = ClientMetadata {
            name: metadata.name,
            grant_types: parsed_words(&metadata.grant_types).map_err(|error| corrupt(&error))?,
            auth_methods: parsed_words(&metadata.auth_methods).map_err(|error| corrupt(&error))?,
            scope: Scope::parse(&metadata.scope).map_err(|error| corrupt(&error))?,
            audiences: Audiences::parse(&metadata.audiences).map_err(|error| corrupt(&error))?,
            access_ttl: metadata.access_ttl.map(Seconds::new),
            refresh_ttl: metadata.refresh_ttl.map(Seconds::new),
            refresh_absolute_ttl: metadata.refresh_absolute_ttl.map(Seconds::new),
            refresh_retry_window: metadata.refresh_retry_window.map(Seconds::new),
            token_type: metadata.token_type.parse().map_err(|error| corrupt(&error))?,
            claim_profile: metadata.claim_profile.parse().map_err(|error| corrupt(&error))?,
            introspect: metadata.introspect,
        };
        Ok(Client {
            row: self.id,
            client_id: ClientId::parse(&client_id).map_err(|error| corrupt(&error))?,
            metadata,
            enabled: self.enabled,
            epoch: self.epoch,
            created_at: NumericDate::from_epoch(self.created_at),
            updated_at: NumericDate::from_epoch(self.updated_at),
        })
    }
}

fn words<T: Display>(set: &[T]) -> String {
    set.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

fn parsed_words<T: FromStr>(text: &str) -> Result<Vec<T>, T::Err> {
    text.split_ascii_whitespace().map(str::parse).collect()
}
