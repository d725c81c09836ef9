use std::borrow::Cow;

use serde_json::json;
use thiserror::Error;

use super::client_rules::{self, BrokenRule};
use super::client_secrets::{CreatedSecret, new_secret};
use super::once::KeyReused;
use super::{Actor, Once};
use crate::oauth::{
    Audiences, ClaimProfile, Client, ClientAuthMethod, ClientId, ClientMetadata, ClientSecretRecord, GrantType,
    NumericDate, Scope, Seconds, SigningAlgorithm, TokenQuota, TokenType,
};
use crate::server::{Context, Vault};
use crate::storage::{self, ClientCreation, ClientFilter, ClientUpdate, Kept, NewClient, Store};

/// Registers clients, changes them, and makes and revokes their secrets. Every act leaves an audit event in its transaction.
#[derive(Debug)]
pub struct ClientAdmin<'a> {
    pub(super) store: &'a Store,
    /// Who acts, for the audit trail.
    pub(super) actor: Actor,
    pub(super) once: Option<Once>,
    kept: Option<Kept>,
}

/// A client to be registered.
#[derive(Debug, Clone)]
pub struct NewClientRequest {
    /// The identifier; generated when there is none.
    pub client_id: Option<ClientId>,
    /// Everything else.
    pub metadata: ClientMetadata,
}

/// What a client may have changed about it; `None` leaves a member as it is.
#[derive(Debug, Clone, Default)]
#[expect(
    missing_docs,
    reason = "each member is named like the member of ClientMetadata that it replaces"
)]
pub struct ClientChange {
    pub name: Option<String>,
    pub grant_types: Option<Vec<GrantType>>,
    pub auth_methods: Option<Vec<ClientAuthMethod>>,
    pub scope: Option<Scope>,
    pub audiences: Option<Audiences>,
    /// `Some(None)` returns to the server's own life.
    pub access_ttl: Option<Option<Seconds>>,
    /// `Some(None)` is for never.
    pub token_reuse_window: Option<Option<Seconds>>,
    /// `Some(None)` is for as many as it asks for.
    pub token_quota: Option<Option<TokenQuota>>,
    pub refresh_ttl: Option<Option<Seconds>>,
    pub refresh_absolute_ttl: Option<Option<Seconds>>,
    pub refresh_retry_window: Option<Option<Seconds>>,
    pub token_type: Option<TokenType>,
    pub claim_profile: Option<ClaimProfile>,
    /// `Some(None)` returns to the server's own algorithm.
    pub signing_alg: Option<Option<SigningAlgorithm>>,
    pub introspect: Option<bool>,
}

impl ClientChange {
    /// What comes out when a client had `old`.
    pub fn applied_to(self, old: &ClientMetadata) -> ClientMetadata {
        ClientMetadata {
            name: self.name.unwrap_or_else(|| old.name.clone()),
            grant_types: self.grant_types.unwrap_or_else(|| old.grant_types.clone()),
            auth_methods: self.auth_methods.unwrap_or_else(|| old.auth_methods.clone()),
            scope: self.scope.unwrap_or_else(|| old.scope.clone()),
            audiences: self.audiences.unwrap_or_else(|| old.audiences.clone()),
            access_ttl: self.access_ttl.unwrap_or(old.access_ttl),
            token_reuse_window: self.token_reuse_window.unwrap_or(old.token_reuse_window),
            token_quota: self.token_quota.unwrap_or(old.token_quota),
            refresh_ttl: self.refresh_ttl.unwrap_or(old.refresh_ttl),
            refresh_absolute_ttl: self.refresh_absolute_ttl.unwrap_or(old.refresh_absolute_ttl),
            refresh_retry_window: self.refresh_retry_window.unwrap_or(old.refresh_retry_window),
            token_type: self.token_type.unwrap_or(old.token_type),
            claim_profile: self.claim_profile.unwrap_or(old.claim_profile),
            signing_alg: self.signing_alg.unwrap_or(old.signing_alg),
            introspect: self.introspect.unwrap_or(old.introspect),
        }
    }
}

/// A client just registered. Its secret is here and nowhere else.
#[derive(Debug)]
pub struct CreatedClient {
    /// The client.
    pub client: Client,
    /// Its first secret.
    pub secret: CreatedSecret,
}

/// Why an act on a client was refused.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The identifier is taken.
    #[error("a client with client_id \"{0}\" exists already: choose another --id, or use \"client update\"")]
    Exists(ClientId),
    /// No such client.
    #[error("there is no client with client_id \"{0}\": \"client list\" shows those that exist")]
    Unknown(ClientId),
    /// No such secret.
    #[error("client \"{0}\" has no secret with id \"{1}\": \"client secret list\" shows those that exist")]
    UnknownSecret(ClientId, String),
    /// Somebody uses the secret.
    #[error(
        "secret \"{0}\" was used at {1}: whoever uses it would be refused. Give them another one first (\"client secret add\"), or revoke it \
         nevertheless with --force"
    )]
    SecretInUse(String, NumericDate),
    /// A secret would end before it begins.
    #[error("the secret would begin at {0} and end at {1}: let it end later than it begins")]
    NeverAccepted(NumericDate, NumericDate),
    /// Somebody else changed it.
    #[error("client \"{0}\" was changed meanwhile: look at it and try again")]
    Changed(ClientId),
    /// Something else was made with the same key.
    #[error("the Idempotency-Key was used for another request: use a new one for each")]
    KeyReused,
    /// It was made with the same key, and is not there any more.
    #[error("what was made with this Idempotency-Key is gone: use a new one to make another")]
    MadeAndGone,
    /// Too many secrets.
    #[error("client \"{0}\" has as many secrets as a client may have: revoke one first")]
    TooManySecrets(ClientId),
    /// The metadata breaks a rule.
    #[error(transparent)]
    Metadata(#[from] BrokenRule),
    /// The database did not answer.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl From<KeyReused> for ClientError {
    fn from(_: KeyReused) -> Self {
        ClientError::KeyReused
    }
}

impl<'a> ClientAdmin<'a> {
    /// Acts in the name of `actor`.
    pub fn new(store: &'a Store, actor: impl Into<Actor>) -> Self {
        ClientAdmin {
            store,
            actor: actor.into(),
            once: None,
            kept: None,
        }
    }

    /// The same, to make something that may have been made before.
    #[must_use]
    pub fn once(self, once: Option<Once>) -> Self {
        ClientAdmin { once, ..self }
    }

    /// The same, and a client of that kind is left.
    #[must_use]
    pub(super) fn keeping(self, kept: Kept) -> Self {
        ClientAdmin {
            kept: Some(kept),
            ..self
        }
    }

    /// Registers a client and makes its first secret.
    pub fn create(
        &self,
        request: NewClientRequest,
        vault: &Vault,
        cx: &mut Context<'_>,
    ) -> Result<CreatedClient, ClientError> {
        client_rules::check(&request.metadata)?;
        let (client_id, secret) = match &self.once {
            None => (
                request.client_id.unwrap_or_else(|| ClientId::generate(cx.rng)),
                new_secret(vault.hasher(), (None, None), cx.now, cx.rng),
            ),
            Some(once) => (
                request
                    .client_id
                    .unwrap_or_else(|| ClientId::generate(&mut once.identifiers())),
                new_secret(vault.hasher(), (None, None), cx.now, &mut once.secrets()),
            ),
        };
        if let Some(once) = &self.once
            && once.is_repeated()?
        {
            let (client, secret) = self.made_before(&client_id, secret, cx.now)?;
            return Ok(CreatedClient { client, secret });
        }
        let event = self
            .actor
            .event_of("client.created", &client_id, cx.now, facts(&request.metadata));
        let new = NewClient {
            client_id,
            metadata: request.metadata,
            created_at: cx.now,
        };
        match self.making().create_client(&new, Some(&secret.record), &event)? {
            ClientCreation::Created(client) => Ok(CreatedClient { client, secret }),
            ClientCreation::Exists => Err(ClientError::Exists(new.client_id)),
        }
    }

    /// Through which `client` is changed: if it is of a kind of which one has to be left, one is.
    fn changing(&self, client: &Client) -> Cow<'a, Store> {
        match &self.kept {
            Some(kept) if kept.has(client) => Cow::Owned(self.store.keeping(kept.clone())),
            _ => Cow::Borrowed(self.store),
        }
    }

    /// Through which things are made once, if they have to be.
    pub(super) fn making(&self) -> Cow<'a, Store> {
        match &self.once {
            Some(once) => Cow::Owned(once.store(self.store)),
            None => Cow::Borrowed(self.store),
        }
    }

    /// All clients in the order of their identifiers.
    pub fn list(&self) -> Result<Vec<Client>, ClientError> {
        let mut clients: Vec<Client> = Vec::new();
        loop {
            let filter = ClientFilter {
                after: clients.last().map(|client| client.client_id.clone()),
                ..ClientFilter::default()
            };
            let page = self.store.clients(&filter)?;
            let is_last = page.len() < filter.limit as usize;
            clients.extend(page);
            if is_last {
                return Ok(clients);
            }
        }
    }

    /// The clients that pass the filter.
    pub fn page(&self, filter: &ClientFilter) -> Result<Vec<Client>, ClientError> {
        Ok(self.store.clients(filter)?)
    }

    /// One client with its secrets.
    pub fn show(&self, client_id: &ClientId) -> Result<(Client, Vec<ClientSecretRecord>), ClientError> {
        self.store
            .client(client_id)?
            .ok_or_else(|| ClientError::Unknown(client_id.clone()))
    }

    /// Changes what `change` names. The rules apply to the result, not to the change.
    pub fn update(&self, client_id: &ClientId, change: ClientChange, now: NumericDate) -> Result<Client, ClientError> {
        // Somebody who changes the client in between does so a few times at the most.
        for _ in 0..MOST_ATTEMPTS {
            match self.update_as_seen(&self.show(client_id)?.0, change.clone(), now) {
                Err(ClientError::Changed(_)) => {}
                done => return done,
            }
        }
        Err(ClientError::Changed(client_id.clone()))
    }

    /// The same for a client that was looked at before: [`ClientError::Changed`] if it is not as it was then.
    pub fn update_as_seen(&self, seen: &Client, change: ClientChange, now: NumericDate) -> Result<Client, ClientError> {
        let metadata = change.applied_to(&seen.metadata);
        client_rules::check(&metadata)?;
        let detail = facts_of_change(&seen.metadata, &metadata);
        let event = self.actor.event_of("client.updated", &seen.client_id, now, detail);
        match self.changing(seen).update_client(seen, &metadata, &event)? {
            ClientUpdate::Updated(client) => Ok(client),
            ClientUpdate::Changed => Err(ClientError::Changed(seen.client_id.clone())),
        }
    }

    /// Enables or disables a client.
    pub fn set_enabled(&self, client_id: &ClientId, enabled: bool, now: NumericDate) -> Result<(), ClientError> {
        let (client, _) = self.show(client_id)?;
        let event = self.actor.event_of(
            if enabled { "client.enabled" } else { "client.disabled" },
            client_id,
            now,
            json!({}),
        );
        self.known(
            client_id,
            self.changing(&client)
                .set_client_enabled(client_id, enabled, &event)?
                .is_some(),
        )
    }

    /// Removes a client and its secrets for good.
    pub fn delete(&self, client_id: &ClientId, now: NumericDate) -> Result<(), ClientError> {
        let (client, _) = self.show(client_id)?;
        let event = self.actor.event_of("client.deleted", client_id, now, json!({}));
        self.known(client_id, self.changing(&client).delete_client(client_id, &event)?)
    }

    fn known(&self, client_id: &ClientId, found: bool) -> Result<(), ClientError> {
        if found {
            Ok(())
        } else {
            Err(ClientError::Unknown(client_id.clone()))
        }
    }
}

/// How often a change is tried that others get in the way of.
const MOST_ATTEMPTS: usize = 8;
/// What the audit trail keeps of a client's metadata; there is no secret in it.
pub(in crate::server) fn facts(metadata: &ClientMetadata) -> serde_json::Value {
    json!({
        "name": metadata.name,
        "grant_types": metadata.grant_types,
        "auth_methods": metadata.auth_methods,
        "scope": metadata.scope,
        "audiences": metadata.audiences.to_string(),
        "access_ttl": metadata.access_ttl,
        "token_reuse_window": metadata.token_reuse_window,
        "token_quota": metadata.token_quota,
        "refresh_ttl": metadata.refresh_ttl,
        "refresh_absolute_ttl": metadata.refresh_absolute_ttl,
        "refresh_retry_window": metadata.refresh_retry_window,
        "token_type": metadata.token_type,
        "claim_profile": metadata.claim_profile,
        "signing_alg": metadata.signing_alg,
        "introspect": metadata.introspect,
    })
}

/// The same of a change: what comes out, and what the members that are different were.
pub(in crate::server) fn facts_of_change(before: &ClientMetadata, after: &ClientMetadata) -> serde_json::Value {
    let mut facts = facts(after);
    if let Some(members) = facts.as_object_mut() {
        members.insert("before".to_owned(), client_rules::differences(before, after));
    }
    facts
}
