//! Clients that a file declares: what would have to change so that the database says the same, and the change.

use serde_json::{Value, json};
use thiserror::Error;

use super::client_rules::{self, BrokenRule, Member};
use super::client_secrets::CreatedSecret;
use super::clients::{ClientAdmin, facts};
use super::declared_secret::{DeclaredSecret, SecretChange, SecretChanges, TooMany};
use crate::failpoint::failpoint;
use crate::oauth::{Client, ClientId, ClientMetadata, ClientSecretRecord, NumericDate, Owner, SecretHasher};
use crate::server::Context;
use crate::storage::{self, Application, AuditEvent, ClientState, ClientWrite, SecretWrite, SeenClient};

/// What a file says.
#[derive(Debug)]
pub struct Declaration {
    /// Whose clients they are.
    pub owner: Owner,
    /// The clients, each once.
    pub clients: Vec<DeclaredClient>,
}

/// A client as a file has it.
#[derive(Debug)]
pub struct DeclaredClient {
    /// Its public identifier.
    pub client_id: ClientId,
    /// All that is registered for it.
    pub metadata: ClientMetadata,
    /// Whether it is accepted; `None` leaves that to whoever disables it, so that no file undoes what was done in an emergency.
    pub enabled: Option<bool>,
    /// Where its secret comes from.
    pub secret: DeclaredSecret,
}

/// What becomes of the owner's clients that the file does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// They are removed.
    Unnamed,
    /// They are listed.
    Nothing,
}

/// What becomes of clients that the file names and that somebody else made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopt {
    /// They become the owner's.
    Named,
    /// They are a conflict.
    Nothing,
}

/// What would have to change.
#[derive(Debug)]
pub struct Plan {
    /// Whose clients these are.
    pub owner: Owner,
    /// What becomes of each client: those of the file in its order, then those that are removed.
    pub clients: Vec<ClientPlan>,
    /// Clients of the owner that the file does not name, and that stay.
    pub unnamed: Vec<ClientId>,
    writes: Vec<ClientWrite>,
    at: NumericDate,
}

/// What becomes of one client.
#[derive(Debug)]
pub struct ClientPlan {
    /// Which client.
    pub client_id: ClientId,
    /// What is done, in a word.
    pub act: Act,
    /// The members that change.
    pub changes: Vec<MemberChange>,
    /// The secrets that change.
    pub secrets: Vec<SecretChange>,
    /// A secret to be shown once, when the plan has been carried out.
    pub generated: Option<CreatedSecret>,
    /// How the client is to be; `None` when it is removed.
    pub metadata: Option<ClientMetadata>,
    /// Whether it is disabled without the file saying so.
    pub stays_disabled: bool,
}

/// What is done to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Act {
    Create,
    Update,
    Delete,
    Keep,
}

/// A member that changes. A value is null when there is none, or when it is the server's to choose.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct MemberChange {
    pub member: &'static str,
    pub before: Value,
    pub after: Value,
}

/// Why a declaration was refused. Nothing was changed.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// Clients that the file names are not the owner's.
    #[error("the file names clients that are not of its owner")]
    Conflicts(Vec<Conflict>),
    /// Metadata breaks a rule.
    #[error("client \"{0}\": {1}")]
    Metadata(ClientId, #[source] BrokenRule),
    /// Too many secrets.
    #[error(
        "client \"{0}\" has as many live secrets as a client may have: revoke one first (\"client secret list {0}\")"
    )]
    TooManySecrets(ClientId),
    /// Somebody else changed a client between plan and write.
    #[error("client \"{0}\" was changed by somebody else at this moment, so nothing was applied: run it again")]
    Overtaken(ClientId),
    /// The clients that are to be removed have very many logins.
    #[error(
        "client \"{0}\" has more logins than are removed at once with all the rest, so nothing was applied: remove it alone first (\"client delete {0}\")"
    )]
    Crowded(ClientId),
    /// The database did not answer.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// A client that is not the owner's.
#[derive(Debug, Error)]
#[error(
    "client \"{client_id}\" exists already and {}: choose another client_id, or take it over with --adopt",
    .owner.as_ref().map_or_else(|| "was made by hand".to_owned(), |owner| format!("belongs to \"{owner}\""))
)]
pub struct Conflict {
    /// The client.
    pub client_id: ClientId,
    /// Whose it is; `None` when it was made by hand.
    pub owner: Option<Owner>,
}

impl Plan {
    /// Whether everything is as the file says.
    pub fn is_empty(&self) -> bool {
        self.clients.iter().all(|client| client.act == Act::Keep)
    }
}

impl ClientAdmin<'_> {
    /// Compares the declaration with the database and changes nothing.
    pub fn plan(
        &self,
        declaration: &Declaration,
        prune: Prune,
        adopt: Adopt,
        hasher: &SecretHasher,
        cx: &mut Context<'_>,
    ) -> Result<Plan, ApplyError> {
        let owner = &declaration.owner;
        let named: Vec<ClientId> = declaration
            .clients
            .iter()
            .map(|client| client.client_id.clone())
            .collect();
        let present = self.store.clients_of(owner, &named)?;
        let (known, unnamed): (Vec<SeenClient>, Vec<SeenClient>) = present
            .into_iter()
            .partition(|seen| named.contains(&seen.client.client_id));
        let foreign = known.iter().filter(|seen| seen.client.owner.as_ref() != Some(owner));
        let conflicts: Vec<Conflict> = foreign
            .map(|seen| Conflict {
                client_id: seen.client.client_id.clone(),
                owner: seen.client.owner.clone(),
            })
            .collect();
        if adopt == Adopt::Nothing && !conflicts.is_empty() {
            return Err(ApplyError::Conflicts(conflicts));
        }
        let mut plan = Plan {
            owner: owner.clone(),
            clients: Vec::new(),
            unnamed: Vec::new(),
            writes: Vec::new(),
            at: cx.now,
        };
        for declared in &declaration.clients {
            let seen = known.iter().find(|seen| seen.client.client_id == declared.client_id);
            let (client, write) = self.plan_one(owner, declared, seen.cloned(), hasher, cx)?;
            plan.clients.push(client);
            plan.writes.push(write);
        }
        for seen in unnamed {
            if prune == Prune::Unnamed {
                let (client, write) = self.plan_removal(owner, seen, cx.now);
                plan.clients.push(client);
                plan.writes.push(write);
            } else {
                plan.unnamed.push(seen.client.client_id);
            }
        }
        Ok(plan)
    }

    /// Carries the plan out: all of it, or nothing.
    pub fn apply(&self, plan: &Plan) -> Result<(), ApplyError> {
        failpoint!("apply.planned");
        if plan.is_empty() {
            return Ok(());
        }
        match self.store.apply_clients(&plan.owner, plan.writes.clone(), plan.at)? {
            Application::Applied => Ok(()),
            Application::Overtaken(client_id) => Err(ApplyError::Overtaken(client_id)),
            Application::Crowded(client_id) => Err(ApplyError::Crowded(client_id)),
        }
    }

    fn plan_one(
        &self,
        owner: &Owner,
        declared: &DeclaredClient,
        seen: Option<SeenClient>,
        hasher: &SecretHasher,
        cx: &mut Context<'_>,
    ) -> Result<(ClientPlan, ClientWrite), ApplyError> {
        let (client_id, metadata) = (&declared.client_id, &declared.metadata);
        client_rules::check(metadata).map_err(|broken| ApplyError::Metadata(client_id.clone(), broken))?;
        let present = seen.as_ref().map(|seen| seen.secrets.as_slice()).unwrap_or_default();
        let SecretChanges {
            writes,
            changes: secrets,
            generated,
        } = declared
            .secret
            .compare(present, hasher, cx)
            .map_err(|TooMany| ApplyError::TooManySecrets(client_id.clone()))?;
        let before = seen.as_ref().map(|seen| &seen.client);
        let was_enabled = before.is_none_or(|client| client.enabled);
        let enabled = declared.enabled.unwrap_or(was_enabled);
        let changes = changes(before, owner, metadata, enabled);
        let act = match before {
            None => Act::Create,
            Some(_) if changes.is_empty() && secrets.is_empty() => Act::Keep,
            Some(_) => Act::Update,
        };
        let event = |name, detail| self.actor.event_of(name, client_id, cx.now, detail);
        let mut events = Vec::new();
        let after = whole(metadata, enabled, Some(owner));
        match before {
            None => events.push(event("client.created", told(owner, Value::Null, after))),
            Some(client) => {
                if client.metadata != *metadata || client.owner.as_ref() != Some(owner) {
                    // Whether it is accepted has an event of its own.
                    let mut before = whole(&client.metadata, enabled, client.owner.as_ref());
                    let mut after = after;
                    keep_differences(&mut before, &mut after);
                    events.push(event("client.updated", told(owner, before, after)));
                }
                if client.enabled != enabled {
                    let name = if enabled { "client.enabled" } else { "client.disabled" };
                    let (before, after) = (json!({"enabled": client.enabled}), json!({"enabled": enabled}));
                    events.push(event(name, told(owner, before, after)));
                }
            }
        }
        events.extend(writes.iter().map(|write| {
            let (name, detail) = of_secret(owner, present, write);
            event(name, detail)
        }));
        let plan = ClientPlan {
            client_id: client_id.clone(),
            act,
            changes,
            secrets,
            generated,
            metadata: Some(metadata.clone()),
            stays_disabled: declared.enabled.is_none() && !enabled,
        };
        Ok((
            plan,
            write_of(client_id, seen, Some((metadata, enabled)), writes, events),
        ))
    }

    fn plan_removal(&self, owner: &Owner, seen: SeenClient, now: NumericDate) -> (ClientPlan, ClientWrite) {
        let client = &seen.client;
        let client_id = client.client_id.clone();
        let before = whole(&client.metadata, client.enabled, client.owner.as_ref());
        let event = self
            .actor
            .event_of("client.deleted", &client_id, now, told(owner, before, Value::Null));
        let plan = ClientPlan {
            client_id: client_id.clone(),
            act: Act::Delete,
            changes: Vec::new(),
            secrets: Vec::new(),
            generated: None,
            metadata: None,
            stays_disabled: false,
        };
        let write = write_of(&client_id, Some(seen), None, Vec::new(), vec![event]);
        (plan, write)
    }
}

fn write_of(
    client_id: &ClientId,
    before: Option<SeenClient>,
    after: Option<(&ClientMetadata, bool)>,
    secrets: Vec<SecretWrite>,
    events: Vec<AuditEvent>,
) -> ClientWrite {
    ClientWrite {
        client_id: client_id.clone(),
        before,
        after: after.map(|(metadata, enabled)| ClientState {
            metadata: metadata.clone(),
            enabled,
        }),
        secrets,
        events,
    }
}

/// The members that differ; of a new client all that are set.
fn changes(before: Option<&Client>, owner: &Owner, metadata: &ClientMetadata, enabled: bool) -> Vec<MemberChange> {
    let of_metadata = Member::ALL.into_iter().map(|member| {
        let before = before.map_or(Value::Null, |client| member.of(&client.metadata));
        (member.as_str(), before, member.of(metadata))
    });
    let others = [
        (
            "enabled",
            before.map_or(Value::Null, |client| json!(client.enabled)),
            json!(enabled),
        ),
        (
            "owner",
            before.map_or(Value::Null, |client| json!(client.owner)),
            json!(owner),
        ),
    ];
    let all = of_metadata.chain(others).filter(|(_, before, after)| before != after);
    all.map(|(member, before, after)| MemberChange { member, before, after })
        .collect()
}

/// What the audit trail keeps of a client.
fn whole(metadata: &ClientMetadata, enabled: bool, owner: Option<&Owner>) -> Value {
    let mut whole = facts(metadata);
    if let Some(members) = whole.as_object_mut() {
        members.insert("enabled".to_owned(), enabled.into());
        members.insert("owner".to_owned(), json!(owner));
    }
    whole
}

/// Takes away what is the same in both.
fn keep_differences(before: &mut Value, after: &mut Value) {
    if let (Some(before), Some(after)) = (before.as_object_mut(), after.as_object_mut()) {
        let whole = before.clone();
        before.retain(|member, value| after.get(member) != Some(value));
        after.retain(|member, value| whole.get(member) != Some(value));
    }
}

/// What the audit trail keeps of a change; `applied` tells it from those made by hand.
fn told(owner: &Owner, before: Value, after: Value) -> Value {
    json!({"applied": owner, "before": before, "after": after})
}

/// The event of a change of a secret, with nothing of the secret itself.
fn of_secret(owner: &Owner, present: &[ClientSecretRecord], write: &SecretWrite) -> (&'static str, Value) {
    match write {
        SecretWrite::Add(record) => ("client.secret_added", json!({"applied": owner, "secret_id": record.id})),
        SecretWrite::Expire(id, expires_at) => {
            let before = present
                .iter()
                .find(|record| record.id == *id)
                .and_then(|record| record.expires_at);
            let mut detail = told(owner, json!({"expires_at": before}), json!({"expires_at": expires_at}));
            if let Some(members) = detail.as_object_mut() {
                members.insert("secret_id".to_owned(), json!(id));
            }
            ("client.secret_expiry_set", detail)
        }
        SecretWrite::Delete(id) => ("client.secret_revoked", json!({"applied": owner, "secret_id": id})),
    }
}
