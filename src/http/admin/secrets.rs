//! Clients' secrets: for administrators, and for the client itself, with a token of its own that has the scope `keywheel:self`.

use actix_web::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::{Call, Nothing, Reply};
use super::clients::client_id;
use super::operation::Operation;
use super::problem::Problem;
use crate::oauth::{ClientId, NumericDate};
use crate::server::admin::{CreatedSecret, SecretDocument};

/// Secrets of any client, and one's own.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(
            "/clients/{client_id}/secrets",
            "listSecrets",
            "Lists the secrets of a client, the oldest first.",
            secrets,
        ),
        Operation::send(
            Method::POST,
            "/clients/{client_id}/secrets",
            "addSecret",
            "Makes a further secret, which is shown this once. Those that exist go on working.",
            add_secret,
        )
        .creating(),
        Operation::act(
            Method::DELETE,
            "/clients/{client_id}/secrets/{secret_id}",
            "revokeSecret",
            "Revokes a secret. One that was used in the last seven days only with force=true.",
            revoke_secret,
        )
        .silent()
        .conflicting(),
        Operation::get(
            "/self/secrets",
            "listOwnSecrets",
            "Lists the secrets of the client that asks.",
            own_secrets,
        )
        .own(),
        Operation::send(
            Method::POST,
            "/self/secrets",
            "addOwnSecret",
            "Makes a further secret of the client that asks, which is shown this once.",
            add_own_secret,
        )
        .creating()
        .own(),
        Operation::act(
            Method::DELETE,
            "/self/secrets/{secret_id}",
            "revokeOwnSecret",
            "Revokes a secret of the client that asks. One that was used in the last seven days only with force=true.",
            revoke_own_secret,
        )
        .silent()
        .conflicting()
        .own(),
    ]
}

fn secrets(call: &mut Call<'_, '_>, _: Nothing) -> Result<Reply<Vec<SecretDocument>>, Problem> {
    let client_id = client_id(call)?;
    secrets_of(call, &client_id)
}

/// The secrets of a client.
fn secrets_of(call: &Call<'_, '_>, client_id: &ClientId) -> Result<Reply<Vec<SecretDocument>>, Problem> {
    let (_, secrets) = call.clients().show(client_id)?;
    let shown = secrets.iter().map(|secret| SecretDocument::of(secret, call.cx.now));
    Ok(shown.collect::<Vec<_>>().into())
}

/// A secret to be made. Times are NumericDates.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewSecretDocument {
    /// From when on it is accepted; at once when it is absent.
    not_before: Option<i64>,
    /// From when on it is refused; never when it is absent.
    expires_at: Option<i64>,
}

/// A secret just made.
#[derive(Serialize, JsonSchema)]
struct CreatedSecretDocument {
    /// Shown this once.
    client_secret: String,
    /// By which the secret can be revoked.
    client_secret_id: String,
    /// NumericDate; 0 for never (RFC 7591 §3.2.1).
    client_secret_expires_at: i64,
}

fn add_secret(
    call: &mut Call<'_, '_>,
    _: Nothing,
    new: NewSecretDocument,
) -> Result<Reply<CreatedSecretDocument>, Problem> {
    let client_id = client_id(call)?;
    add_secret_of(call, &client_id, &new)
}

/// Makes a further secret of a client.
fn add_secret_of(
    call: &mut Call<'_, '_>,
    client_id: &ClientId,
    new: &NewSecretDocument,
) -> Result<Reply<CreatedSecretDocument>, Problem> {
    let date = |at: Option<i64>| at.map(NumericDate::from_epoch);
    let (not_before, expires_at) = (date(new.not_before), date(new.expires_at));
    if expires_at.is_some_and(|ends| ends <= call.cx.now) {
        return Err(Problem::invalid("expires_at", "the secret would have ended already"));
    }
    let latest = NumericDate::from_epoch(LATEST);
    if [not_before, expires_at].into_iter().flatten().any(|at| at > latest) {
        return Err(Problem::invalid(
            "expires_at",
            "a secret begins and ends before the year 10000",
        ));
    }
    let once = call.once(&format!("addSecret {client_id}"))?;
    let admin = call.clients().once(once);
    let CreatedSecret { secret, record } =
        call.server
            .add_secret(&admin, client_id, (not_before, expires_at), call.cx)?;
    call.server.forget_client(client_id);
    let body = CreatedSecretDocument {
        client_secret: secret.expose().to_owned(),
        client_secret_id: record.id,
        client_secret_expires_at: record.expires_at.map_or(0, NumericDate::epoch),
    };
    Ok(body.into())
}

/// The last second that has a date of four digits (RFC 3339).
const LATEST: i64 = 253_402_300_799;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RevokeQuery {
    /// Revoke it although it is in use.
    #[serde(default)]
    force: bool,
}

fn revoke_secret(call: &mut Call<'_, '_>, query: RevokeQuery) -> Result<Reply<Nothing>, Problem> {
    let client_id = client_id(call)?;
    revoke_secret_of(call, &client_id, &query)
}

/// Revokes a secret of a client.
fn revoke_secret_of(call: &Call<'_, '_>, client_id: &ClientId, query: &RevokeQuery) -> Result<Reply<Nothing>, Problem> {
    let secret_id = call.part("secret_id", |id| Some(id.to_owned()))?;
    call.clients()
        .revoke_secret(client_id, &secret_id, query.force, call.cx.now)?;
    Ok(Nothing {}.into())
}

fn own_secrets(call: &mut Call<'_, '_>, _: Nothing) -> Result<Reply<Vec<SecretDocument>>, Problem> {
    secrets_of(call, &call.admitted.client_id)
}

fn add_own_secret(
    call: &mut Call<'_, '_>,
    _: Nothing,
    new: NewSecretDocument,
) -> Result<Reply<CreatedSecretDocument>, Problem> {
    let own = call.admitted.client_id.clone();
    add_secret_of(call, &own, &new)
}

fn revoke_own_secret(call: &mut Call<'_, '_>, query: RevokeQuery) -> Result<Reply<Nothing>, Problem> {
    revoke_secret_of(call, &call.admitted.client_id, &query)
}
