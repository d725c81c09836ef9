use serde::Serialize;

use super::Process;
use crate::app::cli::ReportCommand;
use crate::app::output::{self, Output};
use crate::server::admin::{NotableSecret, OftenRefused, OverIssuance, Reports, UnusedClient};

/// `keywheel report …`
pub(super) fn run(process: &Process, command: &ReportCommand, format: Output) -> anyhow::Result<()> {
    let store = process.migrated_store()?;
    let reports = Reports::new(&store, process.config.access_ttl, process.edge.now());
    let or_never = |at: &Option<String>| at.clone().unwrap_or_else(|| "never".to_owned());
    match *command {
        ReportCommand::UnusedClients { span } => {
            let row = |line: &UnusedClient| {
                vec![
                    line.client_id.clone(),
                    line.created_at.clone(),
                    or_never(&line.last_used_at),
                ]
            };
            let header = ["client_id", "created", "last used"];
            print(&reports.unused_clients(span)?, &header, row, format)
        }
        ReportCommand::Secrets { within, unused } => {
            let row = |line: &NotableSecret| {
                vec![
                    line.client_id.clone(),
                    line.secret_id.clone(),
                    line.why.to_owned(),
                    or_never(&line.expires_at),
                    or_never(&line.last_used_at),
                ]
            };
            let header = ["client_id", "secret", "why", "expires", "last used"];
            print(&reports.notable_secrets(within, unused)?, &header, row, format)
        }
        ReportCommand::OverIssuance { since, more_than } => {
            let row = |line: &OverIssuance| {
                vec![
                    line.client_id.clone(),
                    line.tokens_per_day.to_string(),
                    line.reused_per_day.to_string(),
                    line.access_ttl.to_string(),
                    line.alive_at_once.to_string(),
                ]
            };
            let header = ["client_id", "tokens per day", "reused per day", "life", "alive at once"];
            print(&reports.over_issuance(since, more_than)?, &header, row, format)
        }
        ReportCommand::FailedLogins { since, least } => {
            let row = |line: &OftenRefused| vec![line.user_id.clone(), line.refused.to_string(), line.last.clone()];
            print(
                &reports.failed_logins(since, least)?,
                &["user", "refused", "last"],
                row,
                format,
            )
        }
    }
}

fn print<T: Serialize>(
    lines: &[T],
    header: &[&str],
    row: impl Fn(&T) -> Vec<String>,
    format: Output,
) -> anyhow::Result<()> {
    if format == Output::Json {
        return output::json(&lines);
    }
    if lines.is_empty() {
        output::message("there are none");
        return Ok(());
    }
    output::table(header, lines.iter().map(row).collect())
}
