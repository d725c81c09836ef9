use std::collections::BTreeMap;

use diesel::prelude::*;

use super::audit::AuditEvent;
use super::changes::ChangeKind;
use super::client_rows::{self, ClientRow};
use super::connection::{Conn, on};
use super::deletion::{self, DELETED_TOGETHER, Deletion, Holder};
use super::error::{Error, Fault};
use super::keys;
use super::schema::{client_secrets, clients};
use super::secrets::{self, SecretRow};
use super::store::{Effect, Store};
use crate::oauth::{Client, ClientId, ClientMetadata, ClientSecretRecord, NumericDate, Seconds};

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

/// What became of [`Store::update_client`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is moved once")]
pub enum ClientUpdate {
    /// The client is as it was to be.
    Updated(Client),
    /// Somebody has changed it, or deleted it, since it was read. Nothing is stored.
    Changed,
}

/// Which clients are asked for.
#[derive(Debug, Clone)]
pub struct ClientFilter {
    /// Only those that are enabled, or that are not.
    pub enabled: Option<bool>,
    /// Only those whose identifier comes after this one.
    pub after: Option<ClientId>,
    /// At most so many.
    pub limit: u32,
}

impl Default for ClientFilter {
    /// The first five hundred.
    fn default() -> Self {
        ClientFilter {
            enabled: None,
            after: None,
            limit: 500,
        }
    }
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

    /// The clients that pass the filter, in the order of their identifiers.
    pub fn clients(&self, filter: &ClientFilter) -> Result<Vec<Client>, Error> {
        self.read(|conn| {
            let rows: Vec<ClientRow> = on!(conn, c => {
                let mut query = clients::table
                    .filter(clients::client_id.gt(filter.after.as_ref().map_or("", ClientId::as_str)))
                    .select(ClientRow::as_select())
                    .into_boxed();
                if let Some(enabled) = filter.enabled {
                    query = query.filter(clients::enabled.eq(enabled));
                }
                query.order(clients::client_id).limit(i64::from(filter.limit)).load(c)
            })?;
            rows.into_iter().map(ClientRow::into_client).collect()
        })
    }

    /// The same with the secrets of each, oldest first, in two statements.
    pub fn clients_with_secrets(&self, filter: &ClientFilter) -> Result<Vec<(Client, Vec<ClientSecretRecord>)>, Error> {
        let clients = self.clients(filter)?;
        let rows: Vec<i64> = clients.iter().map(|client| client.row).collect();
        let mut secrets: BTreeMap<i64, Vec<ClientSecretRecord>> = BTreeMap::new();
        self.read(|conn| {
            let found: Vec<(i64, SecretRow)> = on!(conn, c => client_secrets::table
                .filter(client_secrets::client.eq_any(&rows))
                .order((client_secrets::created_at, client_secrets::id))
                .select((client_secrets::client, SecretRow::as_select()))
                .load(c))?;
            for (client, secret) in found {
                secrets.entry(client).or_default().push(secret.into_record()?);
            }
            Ok(())
        })?;
        let with_secrets = |client: Client| {
            let own = secrets.remove(&client.row).unwrap_or_default();
            (client, own)
        };
        Ok(clients.into_iter().map(with_secrets).collect())
    }

    /// Registers a client, with its first secret if it has one. Keys stay published for the life of its tokens.
    pub fn create_client(
        &self,
        new: &NewClient,
        secret: Option<&ClientSecretRecord>,
        event: &AuditEvent,
    ) -> Result<ClientCreation, Error> {
        let (new, secret, event) = (new.clone(), secret.cloned(), event.clone());
        self.administer(move |conn| {
            let Some(client) = client_rows::insert(conn, &new)? else {
                return Ok(Effect::none(ClientCreation::Exists));
            };
            if let Some(secret) = &secret {
                secrets::insert(conn, client.row, secret)?;
            }
            let raised = keys::raise_to(conn, new.metadata.access_ttl)?;
            let at = event.at.epoch();
            Ok(Effect::of(ClientCreation::Created(client), event)
                .changing(ChangeKind::Client, new.client_id.as_str(), at)
                .changing_keys(raised, at))
        })
    }

    /// Replaces what is registered for a client, as of the event's instant, if the client is still as it was read.
    pub fn update_client(
        &self,
        before: &Client,
        metadata: &ClientMetadata,
        event: &AuditEvent,
    ) -> Result<ClientUpdate, Error> {
        let (before, metadata, event) = (before.clone(), metadata.clone(), event.clone());
        self.administer(move |conn| {
            let (id, at) = (before.client_id.as_str(), event.at.epoch());
            if client_rows::find(conn, id)?.as_ref() != Some(&before) {
                return Ok(Effect::none(ClientUpdate::Changed));
            }
            let Some(client) = client_rows::update(conn, id, &metadata, at)? else {
                return Ok(Effect::none(ClientUpdate::Changed));
            };
            let raised = keys::raise_to(conn, metadata.access_ttl)?;
            Ok(Effect::of(ClientUpdate::Updated(client), event)
                .changing(ChangeKind::Client, id, at)
                .changing_keys(raised, at))
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
            let Some(client) = client_rows::set_enabled(conn, &id, enabled, at)? else {
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
            let Some(row) = client_rows::row_of(conn, &id)? else {
                return Ok(Effect::none(Deletion::Absent));
            };
            let holder = Holder::Client(row);
            if deletion::room_beside(conn, holder, DELETED_TOGETHER)?.is_some() {
                client_rows::delete(conn, row)?;
                return Ok(Effect::of(Deletion::Deleted, event).changing(ChangeKind::Client, id, at));
            }
            let crowded = Deletion::Crowded(holder);
            let disabled = on!(conn, c => diesel::update(clients::table.find(row).filter(clients::enabled))
                .set((
                    clients::enabled.eq(false),
                    clients::epoch.eq(clients::epoch + 1),
                    clients::updated_at.eq(at),
                ))
                .execute(c))?;
            if disabled == 0 {
                return Ok(Effect::none(crowded));
            }
            // It stays so if what follows fails.
            let event = AuditEvent {
                event: "client.disabled".to_owned(),
                ..event
            };
            Ok(Effect::of(crowded, event).changing(ChangeKind::Client, id, at))
        })
    }

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
