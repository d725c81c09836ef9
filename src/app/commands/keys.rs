mod authorities;
mod exposure;
mod import;
mod timeline;

use serde_json::json;

use super::{Process, actor};
use crate::app::cli::KeysCommand;
use crate::app::output::{self, Output};
use crate::keys::{CLOCK_SKEW, PlannedEvent, Urgency};
use crate::oauth::Seconds;
use crate::server::admin::{FetcherLine, KeyAdmin, KeyLine, PlanDocument, Refusing};
use crate::storage::Barring;

/// `keywheel keys …`
pub(super) fn run(process: &Process, command: KeysCommand, format: Output) -> anyhow::Result<()> {
    let (store, vault) = process.open_vault()?;
    let actor = actor();
    let now = process.edge.now();
    let tolerated = match &command {
        KeysCommand::List | KeysCommand::Plan | KeysCommand::Export { .. } | KeysCommand::Ca(_) => None,
        // What is out is out, whatever time it is.
        KeysCommand::Revoke { .. } | KeysCommand::Taint { dry_run: true, .. } => None,
        // Far less than a key is held longer than it has to be.
        KeysCommand::Taint { .. } => Some(Seconds::minutes(1)),
        // As between nodes, for which a key is published so much earlier.
        KeysCommand::Rotate { .. } | KeysCommand::Renew { .. } | KeysCommand::Import(_) => Some(CLOCK_SKEW),
    };
    if let Some(tolerated) = tolerated {
        process.wants_the_right_time(&store, tolerated)?;
    }
    let admin = KeyAdmin::new(&store, &vault, &process.config.policy, &actor);
    match command {
        KeysCommand::List => list(&admin.list(now)?, format),
        KeysCommand::Plan => {
            let plan = admin.plan(now)?;
            for warning in &plan.warnings {
                output::message(&format!("Warning: {warning}."));
            }
            let fetchers = admin.fetchers(now)?;
            if format == Output::Json {
                return output::json(&PlanDocument::of(&plan, fetchers));
            }
            let row = |event: &PlannedEvent| {
                let kid = event
                    .kid
                    .as_ref()
                    .map_or_else(|| "(to be made)".to_owned(), ToString::to_string);
                vec![
                    event.at.to_string(),
                    event.what.to_string(),
                    event.algorithm.to_string(),
                    kid,
                    event.reason.clone(),
                ]
            };
            output::text(&timeline::draw(&plan.spans, now))?;
            output::table(
                &["at", "what", "alg", "kid", "why then"],
                plan.events.iter().map(row).collect(),
            )?;
            show(&fetchers)
        }
        KeysCommand::Rotate { now: at_once, alg } => {
            let urgency = if at_once { Urgency::Now } else { Urgency::WhenSafe };
            let rotation = admin.rotate(alg, urgency, now)?;
            if format == Output::Json {
                return output::json(&rotation);
            }
            output::message(&format!("{} signs from {} on", rotation.kid, rotation.activates_at));
            if !rotation.safe {
                output::message(&format!(
                    "It was published at {}: verifiers that have not read the JWK set since may refuse its tokens until they do, at \
                     the latest after the longest time that any of them keeps it (signing.slowest_verifier).",
                    rotation.published_at
                ));
                let or_restarted =
                    |span: Option<Seconds>| span.map_or_else(|| "until restarted".to_owned(), |span| span.to_string());
                let row = |known: &Refusing| vec![known.name.to_owned(), or_restarted(known.refuses_for)];
                output::table(
                    &["verifier, by its defaults", "may refuse its tokens for"],
                    rotation.verifiers.iter().map(row).collect(),
                )?;
                show(&rotation.fetchers)?;
            }
            Ok(())
        }
        KeysCommand::Taint { kid, reason, dry_run } => {
            let exposure = if dry_run {
                admin.exposure(&kid, Barring::Taint, now)?
            } else {
                admin.taint(&kid, reason.as_deref(), now)?
            };
            exposure::print(&exposure, Barring::Taint, dry_run, format)
        }
        KeysCommand::Revoke { kid, reason, dry_run } => {
            let exposure = if dry_run {
                admin.exposure(&kid, Barring::Revoke, now)?
            } else {
                admin.revoke(&kid, reason.as_deref(), now)?
            };
            exposure::print(&exposure, Barring::Revoke, dry_run, format)
        }
        KeysCommand::Export { kid, public: _ } => {
            let pem = admin.public_pem(&kid)?;
            if format == Output::Json {
                output::json(&json!({"kid": kid, "public_key_pem": pem}))
            } else {
                output::text(&pem)
            }
        }
        KeysCommand::Renew { kid } => import::renew(process, &admin, &kid, format),
        KeysCommand::Import(command) => import::run(process, &admin, command, format),
        KeysCommand::Ca(command) => authorities::run(&admin.authorities(now)?, &command, format),
    }
}

/// Who fetches the set, if anybody was seen.
fn show(fetchers: &[FetcherLine]) -> anyhow::Result<()> {
    if fetchers.is_empty() {
        return Ok(());
    }
    let row = |fetcher: &FetcherLine| {
        let has_next = match fetcher.has_next {
            None => "–",
            Some(true) => "yes",
            Some(false) => "not yet",
        };
        vec![
            has_next.to_owned(),
            fetcher.user_agent.clone(),
            fetcher.address_block.clone(),
            fetcher.last_fetched_at.clone(),
            fetcher.fetches.to_string(),
        ]
    };
    output::table(
        &[
            "has the next key",
            "fetcher of the JWK set",
            "network",
            "came last",
            "fetches since then",
        ],
        fetchers.iter().map(row).collect(),
    )
}

fn list(lines: &[KeyLine], format: Output) -> anyhow::Result<()> {
    if format == Output::Json {
        return output::json(&lines);
    }
    let row = |key: &KeyLine| {
        let or_open = |at: &Option<String>| at.clone().unwrap_or_else(|| "–".to_owned());
        vec![
            key.kid.clone(),
            key.alg.to_owned(),
            key.state.to_owned(),
            key.published_at.clone(),
            key.activates_at.clone(),
            or_open(&key.retires_at),
            or_open(&key.removed_at),
            key.certificate_not_after.clone(),
        ]
    };
    output::table(
        &[
            "kid",
            "alg",
            "state",
            "published",
            "signs from",
            "signs until",
            "removed",
            "certified until",
        ],
        lines.iter().map(row).collect(),
    )
}
