//! Rows of clients, and what is done to one of them in the transaction under way.

use std::fmt::{self, Display};
use std::str::FromStr;
use std::sync::Arc;

use diesel::prelude::*;

use super::clients::NewClient;
use super::connection::{Conn, on};
use super::error::Fault;
use super::schema::clients;
use crate::oauth::{Audiences, Client, ClientId, ClientMetadata, NumericDate, Owner, Scope, Seconds};

/// The client as it is.
pub(super) fn find(conn: &mut Conn, id: &str) -> Result<Option<Client>, Fault> {
    let found: Option<ClientRow> = on!(conn, c => clients::table
        .filter(clients::client_id.eq(id))
        .select(ClientRow::as_select())
        .get_result(c)
        .optional())?;
    found.map(ClientRow::into_client).transpose()
}

/// A kind of enabled clients, of which one has to be left.
#[derive(Clone)]
pub struct Kept(Arc<dyn Fn(&Client) -> bool + Send + Sync>);

impl Kept {
    /// Those for which `is_one` holds.
    pub fn new(is_one: impl Fn(&Client) -> bool + Send + Sync + 'static) -> Self {
        Kept(Arc::new(is_one))
    }

    /// Whether the client is one of them.
    pub fn has(&self, client: &Client) -> bool {
        client.enabled && (self.0)(client)
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}

/// Whether there is a client of the kind.
pub(super) fn is_any(conn: &mut Conn, kept: &Kept) -> Result<bool, Fault> {
    let mut after = String::new();
    loop {
        let page: Vec<ClientRow> = on!(conn, c => clients::table
            .filter(clients::enabled.and(clients::client_id.gt(&after)))
            .order(clients::client_id)
            .limit(LOOKED_AT_ONCE)
            .select(ClientRow::as_select())
            .load(c))?;
        let Some(last) = page.last() else { return Ok(false) };
        after.clone_from(&last.client_id);
        for row in page {
            if kept.has(&row.into_client()?) {
                return Ok(true);
            }
        }
    }
}

/// Clients in one statement that looks for one of a kind.
const LOOKED_AT_ONCE: i64 = 500;

/// The row number of a client.
pub(super) fn row_of(conn: &mut Conn, id: &str) -> Result<Option<i64>, Fault> {
    Ok(on!(conn, c => clients::table
        .filter(clients::client_id.eq(id))
        .select(clients::id)
        .get_result(c)
        .optional())?)
}

/// Registers an enabled client; `None` when its identifier is taken.
pub(super) fn insert(conn: &mut Conn, new: &NewClient) -> Result<Option<Client>, Fault> {
    let created_at = new.created_at.epoch();
    let row = NewRow {
        client_id: new.client_id.as_str().to_owned(),
        metadata: MetadataRow::from(&new.metadata),
        enabled: true,
        created_at,
        updated_at: created_at,
    };
    let inserted: Option<i64> = on!(conn, c => diesel::insert_into(clients::table)
        .values(&row)
        .on_conflict_do_nothing()
        .returning(clients::id)
        .get_result(c)
        .optional())?;
    let Some(inserted) = inserted else { return Ok(None) };
    let created: ClientRow = on!(conn, c => diesel::update(clients::table.find(inserted))
        .set(clients::epoch.eq(first_epoch(inserted)))
        .returning(ClientRow::as_returning())
        .get_result(c))?;
    created.into_client().map(Some)
}

/// The epoch at which a client or a user begins. Rows are never numbered alike, so no token of somebody who was deleted is good for
/// whoever has the same identifier later.
pub(super) const fn first_epoch(row: i64) -> i64 {
    row << EPOCHS_OF_ONE
}

/// How many bits an epoch may rise by until it would be another one's first.
const EPOCHS_OF_ONE: u32 = 20;

/// Replaces what is registered; `None` when there is no such client.
pub(super) fn update(conn: &mut Conn, id: &str, metadata: &ClientMetadata, at: i64) -> Result<Option<Client>, Fault> {
    let row = MetadataRow::from(metadata);
    let changed: Option<ClientRow> = on!(conn, c => diesel::update(clients::table.filter(clients::client_id.eq(id)))
        .set((&row, clients::updated_at.eq(at)))
        .returning(ClientRow::as_returning())
        .get_result(c)
        .optional())?;
    changed.map(ClientRow::into_client).transpose()
}

/// Enables the client, or disables it and ends its token families; `None` when there is no such client.
pub(super) fn set_enabled(conn: &mut Conn, id: &str, enabled: bool, at: i64) -> Result<Option<Client>, Fault> {
    let ended = i64::from(!enabled);
    let changed: Option<ClientRow> = on!(conn, c => diesel::update(clients::table)
        .filter(clients::client_id.eq(id))
        .set((
            clients::enabled.eq(enabled),
            clients::epoch.eq(clients::epoch + ended),
            clients::updated_at.eq(at),
        ))
        .returning(ClientRow::as_returning())
        .get_result(c)
        .optional())?;
    changed.map(ClientRow::into_client).transpose()
}

/// Marks the client with the row number `row` as declared by the owner's file.
pub(super) fn set_owner(conn: &mut Conn, row: i64, owner: &Owner, at: i64) -> Result<(), Fault> {
    on!(conn, c => diesel::update(clients::table.find(row))
        .set((clients::owner.eq(owner.as_str()), clients::updated_at.eq(at)))
        .execute(c))?;
    Ok(())
}

/// Deletes the client with the row number `row`, with its secrets and token families.
pub(super) fn delete(conn: &mut Conn, row: i64) -> Result<(), Fault> {
    on!(conn, c => diesel::delete(clients::table.find(row)).execute(c))?;
    Ok(())
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = clients, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
pub(super) struct ClientRow {
    pub(super) id: i64,
    client_id: String,
    #[diesel(embed)]
    metadata: MetadataRow,
    enabled: bool,
    epoch: i64,
    created_at: i64,
    updated_at: i64,
    owner: Option<String>,
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
pub(super) struct MetadataRow {
    name: String,
    grant_types: String,
    auth_methods: String,
    scope: String,
    audiences: String,
    access_ttl: Option<i64>,
    token_reuse_window: Option<i64>,
    token_type: String,
    claim_profile: String,
    introspect: bool,
    refresh_ttl: Option<i64>,
    refresh_absolute_ttl: Option<i64>,
    refresh_retry_window: Option<i64>,
    signing_alg: Option<String>,
    token_quota: Option<String>,
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
            token_reuse_window: metadata.token_reuse_window.map(Seconds::get),
            token_type: metadata.token_type.to_string(),
            claim_profile: metadata.claim_profile.to_string(),
            introspect: metadata.introspect,
            refresh_ttl: metadata.refresh_ttl.map(Seconds::get),
            refresh_absolute_ttl: metadata.refresh_absolute_ttl.map(Seconds::get),
            refresh_retry_window: metadata.refresh_retry_window.map(Seconds::get),
            signing_alg: metadata.signing_alg.map(|algorithm| algorithm.to_string()),
            token_quota: metadata.token_quota.map(|quota| quota.to_string()),
        }
    }
}

impl ClientRow {
    pub(super) fn into_client(self) -> Result<Client, Fault> {
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
            token_reuse_window: metadata.token_reuse_window.map(Seconds::new),
            token_quota: metadata
                .token_quota
                .map(|text| text.parse())
                .transpose()
                .map_err(|error| corrupt(&error))?,
            refresh_ttl: metadata.refresh_ttl.map(Seconds::new),
            refresh_absolute_ttl: metadata.refresh_absolute_ttl.map(Seconds::new),
            refresh_retry_window: metadata.refresh_retry_window.map(Seconds::new),
            token_type: metadata.token_type.parse().map_err(|error| corrupt(&error))?,
            claim_profile: metadata.claim_profile.parse().map_err(|error| corrupt(&error))?,
            introspect: metadata.introspect,
            signing_alg: metadata
                .signing_alg
                .map(|name| name.parse())
                .transpose()
                .map_err(|error| corrupt(&error))?,
        };
        Ok(Client {
            row: self.id,
            client_id: ClientId::parse(&client_id).map_err(|error| corrupt(&error))?,
            metadata,
            enabled: self.enabled,
            owner: self
                .owner
                .map(|owner| Owner::parse(&owner))
                .transpose()
                .map_err(|error| corrupt(&error))?,
            epoch: self.epoch,
            created_at: NumericDate::from_epoch(self.created_at),
            updated_at: NumericDate::from_epoch(self.updated_at),
        })
    }
}

/// Words separated by spaces, as they stand in the database.
pub(super) fn words<T: Display>(set: &[T]) -> String {
    set.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

/// What [`words`] wrote.
pub(super) fn parsed_words<T: FromStr>(text: &str) -> Result<Vec<T>, T::Err> {
    text.split_ascii_whitespace().map(str::parse).collect()
}
