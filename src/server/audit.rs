//! What the trail keeps of logins, refreshes and revocations: who, what, through which client, from where. Never a token.

use serde_json::{Map, Value, json};

use super::TokenRequest;
use crate::oauth::{Client, FamilyId, NumericDate, User, UserId};
use crate::storage::{AuditEvent, RefreshTokenRecord};

/// A user signed in.
pub(super) fn login(client: &Client, user: &User, request: &TokenRequest, at: NumericDate) -> AuditEvent {
    event("login", user.user_id.as_str(), client, request, at, json!({}))
}

/// A user did not sign in; the name is kept only when it is a user's, for people type passwords into the wrong field.
pub(super) fn login_refused(
    client: &Client,
    user: Option<&User>,
    request: &TokenRequest,
    at: NumericDate,
) -> AuditEvent {
    let actor = user.map_or("unknown", |user| user.user_id.as_str());
    refusal(event("login.refused", actor, client, request, at, json!({})), request)
}

/// What the exchange of a refresh token is called.
pub(super) const REFRESH: &str = "refresh";

/// A refresh token was exchanged.
pub(super) fn refreshed(
    client: &Client,
    record: &RefreshTokenRecord,
    request: &TokenRequest,
    at: NumericDate,
) -> AuditEvent {
    let detail = json!({"family": record.family.id.as_str(), "generation": record.generation});
    event(REFRESH, subject(client, record), client, request, at, detail)
}

/// A refresh token came again, and its family ended.
pub(super) fn refresh_reuse(
    client: &Client,
    record: &RefreshTokenRecord,
    request: &TokenRequest,
    at: NumericDate,
) -> AuditEvent {
    let detail =
        json!({"family": record.family.id.as_str(), "generation": record.generation, "rotated_at": record.rotated_at});
    refusal(
        event("refresh.reuse", subject(client, record), client, request, at, detail),
        request,
    )
}

/// A client presented the refresh token of another.
pub(super) fn refresh_cross_client(
    client: &Client,
    record: &RefreshTokenRecord,
    request: &TokenRequest,
    at: NumericDate,
) -> AuditEvent {
    let detail = json!({"family": record.family.id.as_str()});
    let actor = client.client_id.as_str();
    refusal(
        event("refresh.cross_client", actor, client, request, at, detail),
        request,
    )
}

/// A client revoked a family by its refresh token.
pub(super) fn family_revoked(
    client: &Client,
    family: &FamilyId,
    request: &TokenRequest,
    at: NumericDate,
) -> AuditEvent {
    event(
        "family.revoked",
        client.client_id.as_str(),
        client,
        request,
        at,
        json!({"family": family.as_str()}),
    )
}

/// A client revoked an access token.
pub(super) fn access_token_revoked(client: &Client, jti: &str, request: &TokenRequest, at: NumericDate) -> AuditEvent {
    event(
        "access_token.revoked",
        client.client_id.as_str(),
        client,
        request,
        at,
        json!({"jti": jti}),
    )
}

/// Who is refused is told what the request is called, so the trail has it, whoever named it.
fn refusal(mut event: AuditEvent, request: &TokenRequest) -> AuditEvent {
    if let Value::Object(members) = &mut event.detail {
        members.insert("request_id".to_owned(), request.request_id.to_string().into());
    }
    event
}

fn subject<'a>(client: &'a Client, record: &'a RefreshTokenRecord) -> &'a str {
    record
        .family
        .user_id
        .as_ref()
        .map_or(client.client_id.as_str(), UserId::as_str)
}

fn event(
    name: &str,
    actor: &str,
    client: &Client,
    request: &TokenRequest,
    at: NumericDate,
    detail: Value,
) -> AuditEvent {
    let mut members = match detail {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    if let Some(secret_id) = request.secret_id() {
        members.insert("secret_id".to_owned(), secret_id.into());
    }
    if let Some(request_id) = request.request_id.given() {
        members.insert("request_id".to_owned(), request_id.into());
    }
    if let Some(address) = request.address {
        members.insert("address".to_owned(), address.to_string().into());
    }
    AuditEvent {
        at,
        event: name.to_owned(),
        actor: actor.to_owned(),
        client_id: Some(client.client_id.to_string()),
        kid: None,
        detail: Value::Object(members),
    }
}
