use std::io::{BufWriter, Write as _};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::Process;
use crate::app::cli::AuditCommand;
use crate::app::output::{self, Output};
use crate::oauth::Seconds;
use crate::server::admin::AuditDocument;
use crate::server::{SealName, verify_trail};
use crate::storage::{AuditEvent, AuditFilter, AuditRecord};

/// `keywheel audit …`
pub(super) fn run(process: &Process, command: AuditCommand, format: Output) -> anyhow::Result<()> {
    match command {
        AuditCommand::List { client, since, limit } => {
            let filter = AuditFilter {
                client_id: client.map(|client| client.0),
                since: since.map(|span| process.edge.now() - span),
                limit,
                ..AuditFilter::default()
            };
            list(process.migrated_store()?.audit_events(&filter)?, format)
        }
        AuditCommand::Export { after } => export(process, after),
        AuditCommand::Verify { noted } => verify(process, noted.as_deref(), format),
    }
}

fn list(events: Vec<AuditEvent>, format: Output) -> anyhow::Result<()> {
    if format == Output::Json {
        return output::json(&events.into_iter().map(AuditDocument::from).collect::<Vec<_>>());
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

/// Page by page, so that a trail of any length needs little memory.
///
/// Events become visible in another order than that of their ids, for a moment. So that an export after the last one of this misses
/// nothing, it ends before events that are neither sealed nor old enough.
fn export(process: &Process, mut after: i64) -> anyhow::Result<()> {
    let store = process.migrated_store()?;
    let sealed = store.last_audit_seal()?.map_or(i64::MIN, |seal| seal.last_id);
    let settled_at = process.edge.now() - SETTLED;
    let in_order = process.config.database_url.file().is_some();
    let mut out = BufWriter::new(std::io::stdout().lock());
    loop {
        let mut records = store.audit_records_after(after, PAGE)?;
        let is_settled = |record: &&AuditRecord| in_order || record.id <= sealed || record.at <= settled_at;
        let settled = records.iter().take_while(is_settled).count();
        let is_young = settled < records.len();
        records.truncate(settled);
        for record in &records {
            serde_json::to_writer(&mut out, &line(record)?)?;
            writeln!(out)?;
        }
        if is_young {
            output::message("events of the last two minutes are left for the next export");
        }
        match records.last() {
            Some(last) if !is_young => after = last.id,
            _ => break,
        }
    }
    Ok(out.flush()?)
}

/// Every transaction has ended by then.
const SETTLED: Seconds = Seconds::minutes(2);
const PAGE: u32 = 1_000;

fn line(record: &AuditRecord) -> anyhow::Result<Value> {
    let detail: Value = serde_json::from_str(&record.detail)
        .with_context(|| format!("the detail of audit event {} is no JSON: its row is damaged", record.id))?;
    Ok(json!({
        "id": record.id, "at": record.at.to_string(), "event": record.event, "actor": record.actor,
        "client_id": record.client_id, "kid": record.kid, "detail": detail,
    }))
}

fn verify(process: &Process, noted: Option<&str>, format: Output) -> anyhow::Result<()> {
    let noted = noted.map(seal_name).transpose()?;
    let (store, vault) = process.open_vault()?;
    let trail = verify_trail(&store, &vault, noted.as_ref())?;
    let head = trail.head.map(|head| format!("{}:{}", head.number, head.code));
    if format == Output::Json {
        return output::json(&json!({
            "whole": true, "sealed": trail.sealed, "unsealed": trail.unsealed,
            "unverifiable": trail.unverifiable, "head": head, "begins": trail.begins.map(|begins| begins.to_string()),
        }));
    }
    let begins = trail
        .begins
        .map_or_else(String::new, |begins| format!(" since {begins}"));
    output::message(&format!(
        "The audit trail{begins} is whole: {} events are as they were sealed, {} are not sealed yet.",
        trail.sealed, trail.unsealed
    ));
    if let Some(head) = head {
        output::message(&format!(
            "Note the last seal elsewhere, and give it to a later run with --noted, to know that nothing behind it was cut off: {head}"
        ));
    }
    Ok(())
}

fn seal_name(text: &str) -> anyhow::Result<SealName> {
    let parts = text
        .split_once(':')
        .and_then(|(number, code)| Some((number.parse().ok()?, code)));
    let (number, code) = parts.context("a seal is NUMBER:CODE, as \"keywheel audit verify\" told it")?;
    Ok(SealName {
        number,
        code: code.to_owned(),
    })
}
