use serde_json::json;

use super::Process;
use crate::app::cli::AuditCommand;
use crate::app::output::{self, Output};
use crate::storage::{AuditEvent, AuditFilter};

/// `keywheel audit …`
pub(super) fn run(process: &Process, command: AuditCommand, format: Output) -> anyhow::Result<()> {
    let AuditCommand::List { client, since, limit } = command;
    let filter = AuditFilter {
        client_id: client.map(|client| client.0),
        since: since.map(|span| process.edge.now() - span),
        limit,
    };
    let events = process.migrated_store()?.audit_events(&filter)?;
    if format == Output::Json {
        let document = |event: &AuditEvent| {
            json!({
                "at": event.at.to_string(), "event": event.event, "actor": event.actor, "client_id": event.client_id,
                "kid": event.kid, "detail": event.detail,
            })
        };
        return output::json(&events.iter().map(document).collect::<Vec<_>>());
    }
    let row = |event: AuditEvent| {
        let subject = event.client_id.or(event.kid).unwrap_or_default();
        vec![
            event.at.to_string(),
            event.event,
            subject,
            event.actor,
            event.detail.to_string(),
        ]
    };
    output::table(
        &["at", "event", "subject", "actor", "detail"],
        events.into_iter().map(row).collect(),
    )
}
