use actix_web::http::Method;
use schemars::JsonSchema;
use serde::Deserialize;

use super::call::{Call, Nothing, Page, Reply};
use super::operation::Operation;
use super::problem::Problem;
use crate::oauth::{ClientId, FamilyId, NumericDate, UserId};
use crate::server::admin::{FamilyDocument, FamilyFilter, TokenFamily};

/// Families of refresh tokens.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(
            "/families",
            "listFamilies",
            "Lists what a client was granted, or what a user signed in to, the newest first.",
            list,
        ),
        Operation::act(
            Method::POST,
            "/families/{family_id}/revoke",
            "revokeFamily",
            "Ends a login and everything that followed from it.",
            revoke,
        )
        .silent(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only those of this client. This or `user_id` is needed.
    client_id: Option<String>,
    /// Only those of this user.
    user_id: Option<String>,
    /// At most so many: 1 to 200, and 50 if nothing is said.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

fn list(call: &mut Call<'_, '_>, query: ListQuery) -> Result<Reply<Page<FamilyDocument>>, Problem> {
    let client_id = query.client_id.as_deref().map(ClientId::parse).transpose();
    let client_id = client_id.map_err(|error| Problem::invalid("client_id", error.to_string()))?;
    let user_id = query.user_id.as_deref().map(UserId::parse).transpose();
    let user_id = user_id.map_err(|error| Problem::invalid("user_id", error.to_string()))?;
    if client_id.is_none() && user_id.is_none() {
        // Over all of them there is no index, and there may be millions.
        return Err(Problem::invalid("client_id", "say whose: send client_id or user_id"));
    }
    let list = format!("families?client_id={client_id:?}&user_id={user_id:?}");
    let limit = call.limit(query.limit)?;
    let cursor = call.cursor(query.cursor.as_deref(), &list)?;
    let filter = FamilyFilter {
        client_id,
        user_id,
        after: cursor.and_then(|cursor| match cursor.key() {
            [at, id] => Some((NumericDate::from_epoch(at.parse().ok()?), FamilyId::parse(id).ok()?)),
            _ => None,
        }),
        limit: limit + 1,
    };
    let read = call.server.token_families(&filter)?;
    let now = call.cx.now;
    let key = |family: &TokenFamily| vec![family.created_at.epoch().to_string(), family.id.to_string()];
    Ok(call
        .page((read, limit), &list, key, |family| FamilyDocument::of(family, now))
        .into())
}

fn revoke(call: &mut Call<'_, '_>, _: Nothing) -> Result<Reply<Nothing>, Problem> {
    let id = call.part("family_id", |id| FamilyId::parse(id).ok())?;
    if call.server.revoke_token_family(&call.admitted, &id, call.cx.now)? {
        Ok(Nothing {}.into())
    } else {
        Err(Problem::absent("family that lives"))
    }
}
