use actix_web::http::Method;
use schemars::JsonSchema;
use serde::Deserialize;

use super::call::{Call, Nothing, Reply};
use super::members::word;
use super::operation::Operation;
use super::problem::Problem;
use crate::server::admin::{Barring, Exposure, KeyLine, PlanDocument, Rotation, Urgency};

/// Signing keys.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/keys", "listKeys", "Lists the signing keys, the newest first.", list),
        Operation::get(
            "/keys/plan",
            "planKeys",
            "Shows when the keys will turn, why then, and who has not got the next one.",
            plan,
        ),
        Operation::send(
            Method::POST,
            "/keys/rotate",
            "rotateKeys",
            "Brings the next turn forward: to when every verifier knows the next key, or to now.",
            rotate,
        )
        .conflicting(),
        Operation::send(
            Method::POST,
            "/keys/{kid}/taint",
            "taintKey",
            "Stops a key from signing, on every node within a second.",
            taint,
        )
        .conflicting(),
        Operation::send(
            Method::POST,
            "/keys/{kid}/revoke",
            "revokeKey",
            "Withdraws a key from the JWK set of every node within seconds; its tokens are refused.",
            revoke,
        )
        .conflicting(),
    ]
}

fn list(call: &mut Call<'_, '_>, _: Nothing) -> Result<Reply<Vec<KeyLine>>, Problem> {
    Ok(call.keys().list(call.cx.now)?.into())
}

fn plan(call: &mut Call<'_, '_>, _: Nothing) -> Result<Reply<PlanDocument>, Problem> {
    let (keys, now) = (call.keys(), call.cx.now);
    Ok(PlanDocument::of(&keys.plan(now)?, keys.fetchers(now)?).into())
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RotateDocument {
    /// Turn at once, although verifiers that do not know the next key yet refuse its tokens.
    #[serde(default)]
    now: bool,
    /// Whose keys: those that sign with this algorithm; absent for the server's `signing.alg`.
    alg: Option<String>,
}

fn rotate(call: &mut Call<'_, '_>, _: Nothing, how: RotateDocument) -> Result<Reply<Rotation>, Problem> {
    let urgency = if how.now { Urgency::Now } else { Urgency::WhenSafe };
    let alg = how.alg.as_deref().map(|name| word("alg", name)).transpose()?;
    Ok(call.keys().rotate(alg, urgency, call.cx.now)?.into())
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BarDocument {
    /// Why, for the audit trail.
    #[schemars(length(max = 200))]
    reason: Option<String>,
    /// Say what it would mean, and do nothing.
    #[serde(default)]
    dry_run: bool,
}

fn taint(call: &mut Call<'_, '_>, _: Nothing, how: BarDocument) -> Result<Reply<Exposure>, Problem> {
    bar(call, Barring::Taint, &how)
}

fn revoke(call: &mut Call<'_, '_>, _: Nothing, how: BarDocument) -> Result<Reply<Exposure>, Problem> {
    bar(call, Barring::Revoke, &how)
}

fn bar(call: &Call<'_, '_>, barring: Barring, how: &BarDocument) -> Result<Reply<Exposure>, Problem> {
    if how.reason.as_ref().is_some_and(|reason| reason.chars().count() > 200) {
        return Err(Problem::invalid("reason", "a reason has at most 200 characters"));
    }
    let kid = call.part("kid", |kid| Some(kid.to_owned()))?;
    let (keys, now, reason) = (call.keys(), call.cx.now, how.reason.as_deref());
    let exposure = match barring {
        _ if how.dry_run => keys.exposure(&kid, barring, now)?,
        Barring::Taint => keys.taint(&kid, reason, now)?,
        Barring::Revoke => keys.revoke(&kid, reason, now)?,
    };
    Ok(exposure.into())
}
