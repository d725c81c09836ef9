use actix_web::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::call::{Call, Nothing, Page, Reply, etag};
use super::members::{audiences, scope, word, words};
use super::operation::Operation;
use super::problem::Problem;
use crate::oauth::{
    ClaimProfile, Client, ClientAuthMethod, ClientId, ClientMetadata, NumericDate, Seconds, SigningAlgorithm,
    TokenQuota, TokenType,
};
use crate::server::admin::{ClientChange, ClientDocument, ClientFilter, CreatedSecret, NewClientRequest};

/// Clients.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(
            "/clients",
            "listClients",
            "Lists clients in the order of their identifiers.",
            list,
        ),
        Operation::send(
            Method::POST,
            "/clients",
            "createClient",
            "Registers a client and makes its first secret, which is shown this once.",
            create,
        )
        .creating(),
        Operation::get("/clients/{client_id}", "readClient", "Shows a client.", read),
        Operation::send(
            Method::PATCH,
            "/clients/{client_id}",
            "updateClient",
            "Changes the members that are sent; null returns to the server's own value.",
            update,
        )
        .conditional(),
        Operation::act(
            Method::DELETE,
            "/clients/{client_id}",
            "deleteClient",
            "Deletes a client with its secrets and everything that was granted to it.",
            delete,
        )
        .silent()
        .conditional()
        .conflicting(),
        Operation::act(
            Method::POST,
            "/clients/{client_id}/disable",
            "disableClient",
            "Disables a client and ends all that was granted to it.",
            disable,
        )
        .conditional()
        .conflicting(),
        Operation::act(
            Method::POST,
            "/clients/{client_id}/enable",
            "enableClient",
            "Enables a client.",
            enable,
        )
        .conditional(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only clients that are enabled, or that are not.
    enabled: Option<bool>,
    /// At most so many: 1 to 200, and 50 if nothing is said.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

fn list(call: &mut Call<'_, '_>, query: ListQuery) -> Result<Reply<Page<ClientDocument>>, Problem> {
    let list = format!("clients?enabled={:?}", query.enabled);
    let limit = call.limit(query.limit)?;
    let cursor = call.cursor(query.cursor.as_deref(), &list)?;
    let after = cursor.as_ref().and_then(|cursor| cursor.key().first());
    let filter = ClientFilter {
        enabled: query.enabled,
        after: after.and_then(|id| ClientId::parse(id).ok()),
        limit: limit + 1,
    };
    let read = call.clients().page(&filter)?;
    let key = |client: &Client| vec![client.client_id.to_string()];
    Ok(call.page((read, limit), &list, key, |client| client.into()).into())
}

/// A client to be registered. Lives are in seconds; an absent one is the server's to choose.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewClientDocument {
    /// The identifier; generated when it is absent.
    client_id: Option<String>,
    client_name: String,
    grant_types: Vec<String>,
    /// All that the server knows, when it is absent.
    token_endpoint_auth_methods: Option<Vec<String>>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    audience: Vec<String>,
    access_ttl: Option<i64>,
    /// How long a token is given again to who asks for the same with the same secret, at most 3600 and half of its life; absent for
    /// never.
    token_reuse_window: Option<i64>,
    /// How many tokens each node gives the client in which time, such as `1000/1m`; absent for as many as it asks for.
    token_quota: Option<String>,
    refresh_ttl: Option<i64>,
    refresh_absolute_ttl: Option<i64>,
    refresh_retry_window: Option<i64>,
    token_type: Option<String>,
    claim_profile: Option<String>,
    /// `RS256`, `PS256` or `ES256`; absent for the server's.
    signing_alg: Option<String>,
    #[serde(default)]
    introspect: bool,
}

/// A client just registered.
#[derive(Serialize, JsonSchema)]
struct CreatedClientDocument {
    #[serde(flatten)]
    client: ClientDocument,
    /// Shown this once.
    client_secret: String,
    /// By which the secret can be revoked.
    client_secret_id: String,
    /// NumericDate; 0 for never (RFC 7591 §3.2.1).
    client_secret_expires_at: i64,
}

fn create(
    call: &mut Call<'_, '_>,
    _: Nothing,
    new: NewClientDocument,
) -> Result<Reply<CreatedClientDocument>, Problem> {
    let client_id = match &new.client_id {
        Some(id) => Some(ClientId::parse(id).map_err(|error| Problem::invalid("client_id", error.to_string()))?),
        None => None,
    };
    let request = NewClientRequest {
        client_id,
        metadata: ClientMetadata {
            name: new.client_name,
            grant_types: words("grant_types", &new.grant_types)?,
            auth_methods: match &new.token_endpoint_auth_methods {
                Some(methods) => words("token_endpoint_auth_methods", methods)?,
                None => ClientAuthMethod::ALL.to_vec(),
            },
            scope: scope(&new.scope)?,
            audiences: audiences(&new.audience)?,
            access_ttl: new.access_ttl.map(Seconds::new),
            token_reuse_window: new.token_reuse_window.map(Seconds::new),
            token_quota: token_quota(new.token_quota.as_deref())?,
            refresh_ttl: new.refresh_ttl.map(Seconds::new),
            refresh_absolute_ttl: new.refresh_absolute_ttl.map(Seconds::new),
            refresh_retry_window: new.refresh_retry_window.map(Seconds::new),
            token_type: new
                .token_type
                .as_deref()
                .map_or(Ok(TokenType::default()), |name| word("token_type", name))?,
            claim_profile: new
                .claim_profile
                .as_deref()
                .map_or(Ok(ClaimProfile::default()), |name| word("claim_profile", name))?,
            signing_alg: signing_alg(new.signing_alg.as_deref())?,
            introspect: new.introspect,
        },
    };
    let once = call.once("createClient")?;
    let created = call.server.create_client(call.clients().once(once), request, call.cx)?;
    let client = ClientDocument::from(&created.client);
    let etag = etag(&client);
    let CreatedSecret { secret, record } = created.secret;
    let body = CreatedClientDocument {
        client,
        client_secret: secret.expose().to_owned(),
        client_secret_id: record.id,
        client_secret_expires_at: record.expires_at.map_or(0, NumericDate::epoch),
    };
    Ok(Reply { body, etag: Some(etag) })
}

fn read(call: &mut Call<'_, '_>, _: Nothing) -> Result<Reply<ClientDocument>, Problem> {
    Ok(Reply::tagged(ClientDocument::from(&the_client(call)?)))
}

/// What is to be different about a client; an absent member stays as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ClientPatch {
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "String")]
    client_name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>")]
    grant_types: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>")]
    token_endpoint_auth_methods: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "String")]
    scope: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>")]
    audience: Option<Vec<String>>,
    #[serde(default, deserialize_with = "or_null")]
    access_ttl: Option<Option<i64>>,
    /// null for never.
    #[serde(default, deserialize_with = "or_null")]
    token_reuse_window: Option<Option<i64>>,
    /// null for as many as it asks for.
    #[serde(default, deserialize_with = "or_null")]
    token_quota: Option<Option<String>>,
    #[serde(default, deserialize_with = "or_null")]
    refresh_ttl: Option<Option<i64>>,
    #[serde(default, deserialize_with = "or_null")]
    refresh_absolute_ttl: Option<Option<i64>>,
    #[serde(default, deserialize_with = "or_null")]
    refresh_retry_window: Option<Option<i64>>,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "String")]
    token_type: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "String")]
    claim_profile: Option<String>,
    #[serde(default, deserialize_with = "or_null")]
    signing_alg: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "bool")]
    introspect: Option<bool>,
}

/// null is no value of this member; absent, it stays as it is.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// What a client's tokens are signed with; `None` for what the server is set to.
fn signing_alg(name: Option<&str>) -> Result<Option<SigningAlgorithm>, Problem> {
    name.map(|name| word("signing_alg", name)).transpose()
}

/// How many tokens a client is given in which time; `None` for as many as it asks for.
fn token_quota(quota: Option<&str>) -> Result<Option<TokenQuota>, Problem> {
    quota.map(|quota| word("token_quota", quota)).transpose()
}

/// Tells null from absent.
fn or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn update(call: &mut Call<'_, '_>, _: Nothing, patch: ClientPatch) -> Result<Reply<ClientDocument>, Problem> {
    let seen = the_client(call)?;
    call.must_match(&etag(&ClientDocument::from(&seen)))?;
    let span = |life: Option<Option<i64>>| life.map(|life| life.map(Seconds::new));
    let change = ClientChange {
        name: patch.client_name,
        grant_types: patch
            .grant_types
            .map(|names| words("grant_types", &names))
            .transpose()?,
        auth_methods: patch
            .token_endpoint_auth_methods
            .map(|names| words("token_endpoint_auth_methods", &names))
            .transpose()?,
        scope: patch.scope.as_deref().map(scope).transpose()?,
        audiences: patch.audience.as_deref().map(audiences).transpose()?,
        access_ttl: span(patch.access_ttl),
        token_reuse_window: span(patch.token_reuse_window),
        token_quota: patch
            .token_quota
            .as_ref()
            .map(|quota| token_quota(quota.as_deref()))
            .transpose()?,
        refresh_ttl: span(patch.refresh_ttl),
        refresh_absolute_ttl: span(patch.refresh_absolute_ttl),
        refresh_retry_window: span(patch.refresh_retry_window),
        token_type: patch
            .token_type
            .as_deref()
            .map(|name| word("token_type", name))
            .transpose()?,
        claim_profile: patch
            .claim_profile
            .as_deref()
            .map(|name| word("claim_profile", name))
            .transpose()?,
        signing_alg: patch
            .signing_alg
            .as_ref()
            .map(|name| signing_alg(name.as_deref()))
            .transpose()?,
        introspect: patch.introspect,
    };
    let updated = call.clients().update_as_seen(&seen, change, call.cx.now)?;
    call.server.forget_client(&seen.client_id);
    Ok(Reply::tagged(ClientDocument::from(&updated)))
}

fn delete(call: &mut Call<'_, '_>, _: Nothing) -> Result<Reply<Nothing>, Problem> {
    let client = the_client_if_matching(call)?;
    call.clients().delete(&client.client_id, call.cx.now)?;
    call.server.forget_client(&client.client_id);
    Ok(Nothing {}.into())
}

fn disable(call: &mut Call<'_, '_>, _: Nothing) -> Result<Reply<ClientDocument>, Problem> {
    let client = the_client_if_matching(call)?;
    call.clients().set_enabled(&client.client_id, false, call.cx.now)?;
    call.server.forget_client(&client.client_id);
    Ok(Reply::tagged(ClientDocument::from(&the_client(call)?)))
}

fn enable(call: &mut Call<'_, '_>, _: Nothing) -> Result<Reply<ClientDocument>, Problem> {
    let client = the_client_if_matching(call)?;
    call.clients().set_enabled(&client.client_id, true, call.cx.now)?;
    call.server.forget_client(&client.client_id);
    Ok(Reply::tagged(ClientDocument::from(&the_client(call)?)))
}

/// The client that the path names.
pub(super) fn client_id(call: &Call<'_, '_>) -> Result<ClientId, Problem> {
    call.part("client_id", |id| ClientId::parse(id).ok())
}

fn the_client(call: &Call<'_, '_>) -> Result<Client, Problem> {
    Ok(call.clients().show(&client_id(call)?)?.0)
}

/// The client, if it is as the sender saw it; whoever says nothing of that sees it as it is.
fn the_client_if_matching(call: &Call<'_, '_>) -> Result<Client, Problem> {
    let client = the_client(call)?;
    if call.sent.if_match.is_some() {
        call.must_match(&etag(&ClientDocument::from(&client)))?;
    }
    Ok(client)
}
