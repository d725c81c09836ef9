use actix_web::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::{Call, Nothing, Reply};
use super::members::{audiences, scope, words};
use super::operation::Operation;
use super::problem::Problem;
use crate::oauth::{RegistrationPolicy, Seconds};
use crate::server::admin::{InitialAccessTokenDocument, NewInitialAccessToken};

/// Initial access tokens, with which others register clients (RFC 7591 §1.2).
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(
            "/registration-tokens",
            "listRegistrationTokens",
            "Lists the tokens with which clients are registered dynamically, the oldest first.",
            list,
        ),
        Operation::send(
            Method::POST,
            "/registration-tokens",
            "createRegistrationToken",
            "Makes a token with which so many clients can be registered, with no more rights than it carries. It is shown this once.",
            create,
        )
        .creating(),
        Operation::act(
            Method::DELETE,
            "/registration-tokens/{token_id}",
            "revokeRegistrationToken",
            "Refuses a token from now on. The clients that it registered stay.",
            revoke,
        )
        .silent(),
    ]
}

fn list(call: &mut Call<'_, '_>, _: Nothing) -> Result<Reply<Vec<InitialAccessTokenDocument>>, Problem> {
    let records = call.registrations().list()?;
    let shown = records
        .iter()
        .map(|record| InitialAccessTokenDocument::of(record, call.cx.now));
    Ok(shown.collect::<Vec<_>>().into())
}

/// A token to be made, and what its clients may have registered.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewTokenDocument {
    /// A name for people: whom it is given to.
    name: String,
    /// How many clients it may register.
    #[schemars(range(min = 1, max = 100_000))]
    uses: u32,
    /// How long it may be used, in seconds.
    #[schemars(range(min = 60, max = 31_622_400))]
    expires_in: i64,
    grant_types: Vec<String>,
    #[serde(default)]
    scope: String,
    /// Empty for the issuer.
    #[serde(default)]
    audience: Vec<String>,
}

/// A token just made.
#[derive(Serialize, JsonSchema)]
struct CreatedTokenDocument {
    #[serde(flatten)]
    record: InitialAccessTokenDocument,
    /// Shown this once.
    token: String,
}

fn create(call: &mut Call<'_, '_>, _: Nothing, new: NewTokenDocument) -> Result<Reply<CreatedTokenDocument>, Problem> {
    let policy = RegistrationPolicy::new(
        words("grant_types", &new.grant_types)?,
        scope(&new.scope)?,
        audiences(&new.audience)?,
    );
    let new = NewInitialAccessToken {
        name: new.name,
        uses: new.uses,
        life: Seconds::new(new.expires_in),
        policy: policy.map_err(|error| Problem::invalid("scope", error.to_string()))?,
    };
    let once = call.once("createRegistrationToken")?;
    let created = call
        .server
        .create_initial_access_token(&call.registrations().once(once), new, call.cx)?;
    let body = CreatedTokenDocument {
        record: InitialAccessTokenDocument::of(&created.record, call.cx.now),
        token: created.token.expose().to_owned(),
    };
    Ok(body.into())
}

fn revoke(call: &mut Call<'_, '_>, _: Nothing) -> Result<Reply<Nothing>, Problem> {
    let id = call.part("token_id", |id| Some(id.to_owned()))?;
    call.registrations().revoke(&id, call.cx.now)?;
    Ok(Nothing {}.into())
}
