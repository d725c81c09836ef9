use std::collections::BTreeMap;

use diesel::prelude::*;

use super::audit::AuditEvent;
use super::changes::ChangeKind;
use super::client_rows::{self, ClientRow};
use super::clients::NewClient;
use super::connection::{Conn, on};
use super::deletion::{self, DELETED_TOGETHER, Holder};
use super::error::{Error, Fault};
use super::keys;
use super::schema::{client_secrets, clients};
use super::secrets::{self, SecretRow};
use super::store::{Effect, Store};
use crate::failpoint::failpoint;
use crate::oauth::{Client, ClientId, ClientMetadata, ClientSecretRecord, NumericDate, Owner};

/// A client as it was at some moment, with its secrets, oldest first.
#[derive(Debug, Clone)]
pub struct SeenClient {
    /// The client.
    pub client: Client,
    /// Its secrets, live or not.
    pub secrets: Vec<ClientSecretRecord>,
}

impl SeenClient {
    /// Whether nothing differs between the two moments.
    fn is_still(&self, other: &SeenClient) -> bool {
        let same = |(a, b): (&ClientSecretRecord, &ClientSecretRecord)| {
            a.id == b.id && a.expires_at == b.expires_at && a.hash.matches(&b.hash)
        };
        self.client == other.client
            && self.secrets.len() == other.secrets.len()
            && self.secrets.iter().zip(&other.secrets).all(same)
    }
}

/// What is to become of one client. When `before` and `after` say the same and there is no secret to write, nothing is.
#[derive(Debug, Clone)]
pub struct ClientWrite {
    /// Which client.
    pub client_id: ClientId,
    /// How it was when this was decided; it must be so still. `None`: there was no such client.
    pub before: Option<SeenClient>,
    /// How it is to be; `None`: there is to be no such client.
    pub after: Option<ClientState>,
    /// What is done to its secrets, in this order.
    pub secrets: Vec<SecretWrite>,
    /// What the audit trail keeps of all this.
    pub events: Vec<AuditEvent>,
}

/// How a client is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientState {
    /// What is registered for it.
    pub metadata: ClientMetadata,
    /// Whether it is accepted.
    pub enabled: bool,
}

/// What is done to one secret of a client.
#[derive(Debug, Clone)]
pub enum SecretWrite {
    /// A further one.
    Add(ClientSecretRecord),
    /// The one with this identifier is refused from then on; `None`: it never is.
    Expire(String, Option<NumericDate>),
    /// The one with this identifier is deleted.
    Delete(String),
}

/// What became of [`Store::apply_clients`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Application {
    /// All of it was written.
    Applied,
    /// This client is not as it was any more. Nothing was written.
    Overtaken(ClientId),
    /// With this client, which was to be deleted, more would be deleted than is in one transaction, the other clients' logins
    /// included. Nothing was written.
    Crowded(ClientId),
}

impl Store {
    /// The clients that have this owner, or one of these identifiers, in the order of their identifiers.
    pub fn clients_of(&self, owner: &Owner, named: &[ClientId]) -> Result<Vec<SeenClient>, Error> {
        self.read(|conn| {
            let mut ids: Vec<String> = on!(conn, c => clients::table
                .filter(clients::owner.eq(owner.as_str()))
                .select(clients::client_id)
                .load(c))?;
            ids.extend(named.iter().map(ClientId::to_string));
            Ok(seen(conn, &ids)?.into_values().collect())
        })
    }

    /// Makes every client what its `after` says, as of the instant `at`: all of them, or none when one is not as it was.
    /// Those that are written belong to `owner` from then on. Keys stay published for the life of their tokens; disabling or
    /// deleting a client ends its token families. While it runs, other administrators wait.
    pub fn apply_clients(
        &self,
        owner: &Owner,
        writes: Vec<ClientWrite>,
        at: NumericDate,
    ) -> Result<Application, Error> {
        let ends_families = writes.iter().any(|write| match (&write.before, &write.after) {
            (_, None) => true,
            (before, Some(after)) => before.as_ref().is_none_or(|seen| seen.client.enabled) && !after.enabled,
        });
        let owner = owner.clone();
        let apply = move |conn: &mut Conn| {
            if let Some(refused) = refusal(conn, &writes)? {
                return Ok(Effect::none(refused));
            }
            let mut effect = Effect::none(Application::Applied);
            for write in writes {
                let (changed, raised) = perform(conn, &owner, &write, at)?;
                failpoint!("apply.changed");
                if changed {
                    effect = effect
                        .telling(write.events)
                        .changing(ChangeKind::Client, write.client_id.as_str(), at.epoch())
                        .changing_keys(raised, at.epoch());
                }
            }
            Ok(effect)
        };
        if ends_families {
            self.end_families(apply)
        } else {
            self.administer(apply)
        }
    }
}

/// Identifiers in one statement: SQLite takes only so many values.
const NAMED_AT_ONCE: usize = 500;

/// Those of the clients that exist, by their identifiers.
fn seen(conn: &mut Conn, ids: &[String]) -> Result<BTreeMap<String, SeenClient>, Fault> {
    let mut found: BTreeMap<String, SeenClient> = BTreeMap::new();
    for some in ids.chunks(NAMED_AT_ONCE) {
        let rows: Vec<(ClientRow, Option<SecretRow>)> = on!(conn, c => clients::table
            .left_join(client_secrets::table)
            .filter(clients::client_id.eq_any(some))
            .order((client_secrets::created_at, client_secrets::id))
            .select((ClientRow::as_select(), Option::<SecretRow>::as_select()))
            .load(c))?;
        let mut these: BTreeMap<String, SeenClient> = BTreeMap::new();
        for (row, secret) in rows {
            let client = row.into_client()?;
            let secrets = Vec::new();
            let entry = these.entry(client.client_id.to_string());
            let entry = entry.or_insert(SeenClient { client, secrets });
            entry.secrets.extend(secret.map(SecretRow::into_record).transpose()?);
        }
        // One that was named twice, in two portions, counts once.
        found.extend(these);
    }
    Ok(found)
}

/// Why nothing may be written. Asked before anything is; nobody changes a client in between.
fn refusal(conn: &mut Conn, writes: &[ClientWrite]) -> Result<Option<Application>, Fault> {
    let ids: Vec<String> = writes.iter().map(|write| write.client_id.to_string()).collect();
    let present = seen(conn, &ids)?;
    let mut room = DELETED_TOGETHER;
    for write in writes {
        let as_it_was = match (&write.before, present.get(write.client_id.as_str())) {
            (Some(before), Some(now)) => before.is_still(now),
            (None, None) => true,
            _ => false,
        };
        if !as_it_was {
            return Ok(Some(Application::Overtaken(write.client_id.clone())));
        }
        if let (Some(before), None) = (&write.before, &write.after) {
            let Some(left) = deletion::room_beside(conn, Holder::Client(before.client.row), room)? else {
                return Ok(Some(Application::Crowded(write.client_id.clone())));
            };
            room = left;
        }
    }
    Ok(None)
}

/// Whether anything had to be written, and the keys whose token life it raised.
fn perform(conn: &mut Conn, owner: &Owner, write: &ClientWrite, at: NumericDate) -> Result<(bool, Vec<String>), Fault> {
    let id = write.client_id.as_str();
    let mut changed = false;
    let mut raised = Vec::new();
    let (row, enabled) = match (&write.before, &write.after) {
        (None, None) => return Ok((false, raised)),
        (Some(before), None) => {
            client_rows::delete(conn, before.client.row)?;
            return Ok((true, raised));
        }
        (None, Some(after)) => {
            let new = NewClient {
                client_id: write.client_id.clone(),
                metadata: after.metadata.clone(),
                created_at: at,
            };
            let created = client_rows::insert(conn, &new)?.ok_or(diesel::result::Error::NotFound)?;
            (created.row, true)
        }
        (Some(before), Some(after)) => {
            if before.client.metadata != after.metadata {
                client_rows::update(conn, id, &after.metadata, at.epoch())?;
                changed = true;
            }
            (before.client.row, before.client.enabled)
        }
    };
    if let Some(after) = &write.after {
        if changed || write.before.is_none() {
            raised = keys::raise_to(conn, after.metadata.access_ttl)?;
        }
        if enabled != after.enabled {
            client_rows::set_enabled(conn, id, after.enabled, at.epoch())?;
            changed = true;
        }
    }
    if write
        .before
        .as_ref()
        .is_none_or(|before| before.client.owner.as_ref() != Some(owner))
    {
        client_rows::set_owner(conn, row, owner, at.epoch())?;
        changed = true;
    }
    for secret in &write.secrets {
        match secret {
            SecretWrite::Add(record) => secrets::insert(conn, row, record)?,
            SecretWrite::Expire(id, expires_at) => secrets::set_expiry(conn, row, id, *expires_at)?,
            SecretWrite::Delete(id) => drop(secrets::delete(conn, row, id)?),
        }
        changed = true;
    }
    Ok((changed, raised))
}
