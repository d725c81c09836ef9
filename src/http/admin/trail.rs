use schemars::JsonSchema;
use serde::Deserialize;

use super::call::{Call, Page, Reply};
use super::operation::Operation;
use super::problem::Problem;
use crate::oauth::{ClientId, NumericDate};
use crate::server::admin::{AuditDocument, AuditEvent, AuditFilter};

/// The audit trail.
pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::get(
        "/audit",
        "listEvents",
        "Lists what happened, the newest first.",
        list,
    )]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only what is about this client, which may be deleted since.
    client_id: Option<String>,
    /// Only events of this name, such as `client.created`.
    event: Option<String>,
    /// Only those of this instant and later ones: a NumericDate.
    since: Option<i64>,
    /// At most so many: 1 to 200, and 50 if nothing is said.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

fn list(call: &mut Call<'_, '_>, query: ListQuery) -> Result<Reply<Page<AuditDocument>>, Problem> {
    let client_id = query.client_id.as_deref().map(ClientId::parse).transpose();
    let client_id = client_id.map_err(|error| Problem::invalid("client_id", error.to_string()))?;
    let is_name =
        |text: &String| text.len() <= 64 && text.bytes().all(|b| b.is_ascii_lowercase() || b"._".contains(&b));
    if query.event.as_ref().is_some_and(|event| !is_name(event)) {
        return Err(Problem::invalid(
            "event",
            "the name of an event is made of small letters, dots and underscores",
        ));
    }
    let list = format!(
        "audit?client_id={client_id:?}&event={:?}&since={:?}",
        query.event, query.since
    );
    let limit = call.limit(query.limit)?;
    let cursor = call.cursor(query.cursor.as_deref(), &list)?;
    let filter = AuditFilter {
        client_id,
        event: query.event,
        since: query.since.map(NumericDate::from_epoch),
        before: cursor.and_then(|cursor| match cursor.key() {
            [at, id] => Some((NumericDate::from_epoch(at.parse().ok()?), id.parse().ok()?)),
            _ => None,
        }),
        limit: limit + 1,
    };
    let read = call.server.audit_page(&filter)?;
    let key = |(id, event): &(i64, AuditEvent)| vec![event.at.epoch().to_string(), id.to_string()];
    Ok(call
        .page((read, limit), &list, key, |(_, event)| event.clone().into())
        .into())
}
