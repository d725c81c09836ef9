use schemars::JsonSchema;
use serde::Deserialize;

use super::call::{Call, Reply};
use super::operation::Operation;
use super::problem::Problem;
use crate::oauth::Seconds;
use crate::server::admin::{NotableSecret, OftenRefused, OverIssuance, UnusedClient};

/// Reports.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get(
            "/reports/unused-clients",
            "reportUnusedClients",
            "Enabled clients that were not used for so many days.",
            unused,
        ),
        Operation::get(
            "/reports/secrets",
            "reportSecrets",
            "Secrets that end soon, have ended, or are not used.",
            secrets,
        ),
        Operation::get(
            "/reports/over-issuance",
            "reportOverIssuance",
            "Clients that fetch tokens more often than their life requires, the worst first.",
            over_issuance,
        ),
        Operation::get(
            "/reports/failed-logins",
            "reportFailedLogins",
            "Users whose password was wrong often, the worst first.",
            failed_logins,
        ),
    ]
}

/// Days of a report.
fn days(member: &str, asked: Option<i64>, otherwise: i64) -> Result<Seconds, Problem> {
    let days = asked.unwrap_or(otherwise);
    if (1..=3_650).contains(&days) {
        Ok(Seconds::days(days))
    } else {
        Err(Problem::invalid(member, "say 1 to 3650 days"))
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UnusedQuery {
    /// 90 if nothing is said.
    #[schemars(range(min = 1, max = 3650))]
    days: Option<i64>,
}

fn unused(call: &mut Call<'_, '_>, query: UnusedQuery) -> Result<Reply<Vec<UnusedClient>>, Problem> {
    let span = days("days", query.days, 90)?;
    Ok(call.server.reports(call.cx.now).unused_clients(span)?.into())
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SecretsQuery {
    /// Those that end within so many days: 14 if nothing is said.
    #[schemars(range(min = 1, max = 3650))]
    soon_days: Option<i64>,
    /// Those that were not used for so many days: 90 if nothing is said.
    #[schemars(range(min = 1, max = 3650))]
    unused_days: Option<i64>,
}

fn secrets(call: &mut Call<'_, '_>, query: SecretsQuery) -> Result<Reply<Vec<NotableSecret>>, Problem> {
    let (soon, unused) = (
        days("soon_days", query.soon_days, 14)?,
        days("unused_days", query.unused_days, 90)?,
    );
    Ok(call.server.reports(call.cx.now).notable_secrets(soon, unused)?.into())
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OverIssuanceQuery {
    /// Looks at so many days: 7 if nothing is said.
    #[schemars(range(min = 1, max = 3650))]
    days: Option<i64>,
    /// More tokens than so many alive at a time are too many: 10 if nothing is said.
    #[schemars(range(min = 0, max = 1_000_000))]
    alive_at_once: Option<i64>,
}

fn over_issuance(call: &mut Call<'_, '_>, query: OverIssuanceQuery) -> Result<Reply<Vec<OverIssuance>>, Problem> {
    let span = days("days", query.days, 7)?;
    let most = query.alive_at_once.unwrap_or(10);
    if !(0..=1_000_000).contains(&most) {
        return Err(Problem::invalid("alive_at_once", "say 0 to 1000000 tokens"));
    }
    Ok(call.server.reports(call.cx.now).over_issuance(span, most)?.into())
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FailedLoginsQuery {
    /// Looks at so many days: 7 if nothing is said.
    #[schemars(range(min = 1, max = 3650))]
    days: Option<i64>,
    /// So many refusals and more: 10 if nothing is said.
    #[schemars(range(min = 1, max = 1_000_000))]
    least: Option<i64>,
}

fn failed_logins(call: &mut Call<'_, '_>, query: FailedLoginsQuery) -> Result<Reply<Vec<OftenRefused>>, Problem> {
    let span = days("days", query.days, 7)?;
    let least = query.least.unwrap_or(10);
    if !(1..=1_000_000).contains(&least) {
        return Err(Problem::invalid("least", "say 1 to 1000000 refusals"));
    }
    Ok(call.server.reports(call.cx.now).failed_logins(span, least)?.into())
}
