//! What programs are shown of clients, secrets, users, families and events: by the command line and by the API alike. Never a
//! secret, nor a hash of one. Times are RFC 3339, but for those that RFC 7591 §3.2.1 has as numbers.

use schemars::JsonSchema;
use serde::Serialize;

use super::FetcherLine;
use crate::keys::{Plan, PlannedChange};
use crate::oauth::{Client, ClientSecretRecord, InitialAccessTokenRecord, NumericDate, SigningAlgorithm, User};
use crate::storage::{AuditEvent, FamilyEnd, TokenFamily};

/// A client, with the member names of RFC 7591 §2 where it has them. Lives are in seconds; an absent one is the server's to choose.
/// Without `token_reuse_window` every request gets a token of its own, and without `token_quota` as many are given as are asked for.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[expect(
    missing_docs,
    reason = "each member is named like the member of ClientMetadata that it shows"
)]
pub struct ClientDocument {
    pub client_id: String,
    pub client_name: String,
    pub grant_types: Vec<&'static str>,
    pub token_endpoint_auth_methods: Vec<&'static str>,
    pub scope: String,
    pub audience: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_ttl: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_reuse_window: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_quota: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_ttl: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_absolute_ttl: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_retry_window: Option<i64>,
    pub token_type: &'static str,
    pub claim_profile: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_alg: Option<&'static str>,
    pub introspect: bool,
    pub enabled: bool,
    /// Whose file declares it; absent for a client that was made by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// NumericDate.
    pub client_id_issued_at: i64,
    /// NumericDate.
    pub updated_at: i64,
}

impl From<&Client> for ClientDocument {
    fn from(client: &Client) -> Self {
        let metadata = &client.metadata;
        ClientDocument {
            client_id: client.client_id.to_string(),
            client_name: metadata.name.clone(),
            grant_types: metadata.grant_types.iter().map(|grant| grant.as_str()).collect(),
            token_endpoint_auth_methods: metadata.auth_methods.iter().map(|method| method.as_str()).collect(),
            scope: metadata.scope.to_string(),
            audience: metadata
                .audiences
                .iter()
                .map(|audience| audience.as_str().to_owned())
                .collect(),
            access_ttl: metadata.access_ttl.map(|life| life.get()),
            token_reuse_window: metadata.token_reuse_window.map(|window| window.get()),
            token_quota: metadata.token_quota.map(|quota| quota.to_string()),
            refresh_ttl: metadata.refresh_ttl.map(|life| life.get()),
            refresh_absolute_ttl: metadata.refresh_absolute_ttl.map(|life| life.get()),
            refresh_retry_window: metadata.refresh_retry_window.map(|span| span.get()),
            token_type: metadata.token_type.as_str(),
            claim_profile: metadata.claim_profile.as_str(),
            signing_alg: metadata.signing_alg.map(SigningAlgorithm::as_str),
            introspect: metadata.introspect,
            enabled: client.enabled,
            owner: client.owner.as_ref().map(ToString::to_string),
            client_id_issued_at: client.created_at.epoch(),
            updated_at: client.updated_at.epoch(),
        }
    }
}

/// A client's secret, without the secret.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SecretDocument {
    /// Its public identifier.
    pub id: String,
    /// The characters by which people tell it from others.
    pub hint: String,
    /// When it was made.
    pub created_at: String,
    /// From when on it is accepted; absent for since it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// From when on it is refused; absent for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was used last, to a few minutes; absent for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
    /// Whether it is accepted now.
    pub live: bool,
}

impl SecretDocument {
    /// The secret as it stands at `now`.
    pub fn of(secret: &ClientSecretRecord, now: NumericDate) -> Self {
        let date = |at: Option<NumericDate>| at.map(|at| at.to_string());
        SecretDocument {
            id: secret.id.clone(),
            hint: secret.hint.clone(),
            created_at: secret.created_at.to_string(),
            not_before: date(secret.not_before),
            expires_at: date(secret.expires_at),
            last_used_at: date(secret.last_used_at),
            live: secret.is_live(now),
        }
    }
}

/// An initial access token, without the token.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct InitialAccessTokenDocument {
    /// Its public identifier.
    pub id: String,
    /// The characters by which people tell it from others.
    pub hint: String,
    /// Whom it was given to.
    pub name: String,
    /// How many clients it may still register.
    pub uses_left: u32,
    /// Grants that those may have registered.
    pub grant_types: Vec<&'static str>,
    /// Scope, likewise.
    pub scope: String,
    /// Audiences, likewise; empty for the issuer.
    pub audience: Vec<String>,
    /// When it was made.
    pub created_at: String,
    /// From when on it is refused.
    pub expires_at: String,
    /// Whether a client can be registered with it now.
    pub live: bool,
}

impl InitialAccessTokenDocument {
    /// The token as it stands at `now`.
    pub fn of(record: &InitialAccessTokenRecord, now: NumericDate) -> Self {
        let policy = &record.policy;
        InitialAccessTokenDocument {
            id: record.id.clone(),
            hint: record.hint.clone(),
            name: record.name.clone(),
            uses_left: record.uses_left,
            grant_types: policy.grant_types().iter().map(|grant| grant.as_str()).collect(),
            scope: policy.scope().to_string(),
            audience: policy
                .audiences()
                .iter()
                .map(|audience| audience.as_str().to_owned())
                .collect(),
            created_at: record.created_at.to_string(),
            expires_at: record.expires_at.to_string(),
            live: record.is_live(now),
        }
    }
}

/// A user.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct UserDocument {
    /// The identifier: `sub` in the user's tokens.
    pub user_id: String,
    /// The name by which the user signs in.
    pub username: String,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// When the user was made.
    pub created_at: String,
    /// When the user was last changed.
    pub updated_at: String,
}

impl From<&User> for UserDocument {
    fn from(user: &User) -> Self {
        UserDocument {
            user_id: user.user_id.to_string(),
            username: user.username.to_string(),
            enabled: user.enabled,
            created_at: user.created_at.to_string(),
            updated_at: user.updated_at.to_string(),
        }
    }
}

/// A login, and everything that follows from it by refreshing.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FamilyDocument {
    /// Its identifier.
    pub id: String,
    /// The client that it belongs to.
    pub client_id: String,
    /// The user who signed in; absent when the client acts for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// What was granted.
    pub scope: String,
    /// For whom; empty for the issuer.
    pub audience: Vec<String>,
    /// When the user signed in.
    pub created_at: String,
    /// When it ends, however often it is refreshed.
    pub expires_at: String,
    /// Why it has ended: `revoked`, `client`, `user` or `expired`; absent while it lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<&'static str>,
}

impl FamilyDocument {
    /// The family as it stands at `now`.
    pub fn of(family: &TokenFamily, now: NumericDate) -> Self {
        FamilyDocument {
            id: family.id.to_string(),
            client_id: family.client_id.to_string(),
            user_id: family.user_id.as_ref().map(ToString::to_string),
            scope: family.scope.to_string(),
            audience: family
                .audiences
                .iter()
                .map(|audience| audience.as_str().to_owned())
                .collect(),
            created_at: family.created_at.to_string(),
            expires_at: family.expires_at.to_string(),
            ended: family.end(now).map(|end| match end {
                FamilyEnd::Revoked => "revoked",
                FamilyEnd::Client => "client",
                FamilyEnd::User => "user",
                FamilyEnd::Expired => "expired",
            }),
        }
    }
}

/// Something that the audit trail holds.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AuditDocument {
    /// When.
    pub at: String,
    /// What, in a word such as `client.created`.
    pub event: String,
    /// Who.
    pub actor: String,
    /// The client that it is about.
    pub client_id: Option<String>,
    /// The signing key that it is about.
    pub kid: Option<String>,
    /// More.
    pub detail: serde_json::Value,
}

impl From<AuditEvent> for AuditDocument {
    fn from(event: AuditEvent) -> Self {
        AuditDocument {
            at: event.at.to_string(),
            event: event.event,
            actor: event.actor,
            client_id: event.client_id,
            kid: event.kid,
            detail: event.detail,
        }
    }
}

/// What will happen to the keys, and who does not know the next one yet.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PlanDocument {
    /// In order of time.
    pub events: Vec<PlannedEventDocument>,
    /// What an operator should know of.
    pub warnings: Vec<String>,
    /// Who fetches the JWK set.
    pub fetchers: Vec<FetcherLine>,
}

/// One thing that will happen to one key.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PlannedEventDocument {
    /// When.
    pub at: String,
    /// To which key; null for one that is not made yet.
    pub kid: Option<String>,
    /// What the key signs with.
    pub alg: &'static str,
    /// What.
    #[schemars(with = "String")]
    pub what: PlannedChange,
    /// Why then, for people.
    pub reason: String,
}

impl PlanDocument {
    /// The plan, with those who fetch the set.
    pub fn of(plan: &Plan, fetchers: Vec<FetcherLine>) -> Self {
        let events = plan.events.iter().map(|event| PlannedEventDocument {
            at: event.at.to_string(),
            kid: event.kid.as_ref().map(ToString::to_string),
            alg: event.algorithm.as_str(),
            what: event.what,
            reason: event.reason.clone(),
        });
        PlanDocument {
            events: events.collect(),
            warnings: plan.warnings.iter().map(ToString::to_string).collect(),
            fetchers,
        }
    }
}
