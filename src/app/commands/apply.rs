use std::collections::BTreeMap;

use anyhow::bail;
use serde_json::{Value, json};

use super::client::warn_of_passwords;
use super::{Process, actor};
use crate::app::cli::ApplyArgs;
use crate::app::client_file::ClientFile;
use crate::app::master_key;
use crate::app::output::{self, Output};
use crate::oauth::{NumericDate, Seconds, SecretHasher};
use crate::server::Vault;
use crate::server::admin::{
    Act, Adopt, ApplyError, ClientAdmin, ClientPlan, MemberChange, Plan, Prune, SecretAct, SecretChange,
};
use crate::storage::Store;

/// `keywheel apply`
pub(super) fn run(
    process: &Process,
    args: &ApplyArgs,
    environment: &BTreeMap<String, String>,
    format: Output,
) -> anyhow::Result<()> {
    let file = ClientFile::read(&args.file, environment)?;
    let prune = if args.prune { Prune::Unnamed } else { Prune::Nothing };
    let adopt = if args.adopt { Adopt::Named } else { Adopt::Nothing };
    let plan = |store: &Store, hasher: &SecretHasher| {
        let actor = actor();
        let admin = ClientAdmin::new(store, &actor);
        let refused = |error| match error {
            ApplyError::Conflicts(conflicts) => {
                let told = conflicts
                    .iter()
                    .map(|conflict| (conflict.client_id.clone(), conflict.to_string()));
                file.refusal(&args.file, told).into()
            }
            other => anyhow::Error::from(other),
        };
        process.with_context(|cx| {
            let planned = admin.plan(&file.declaration, prune, adopt, hasher, cx);
            planned.map_err(refused)
        })
    };
    let plan = if args.dry_run {
        let (store, vault) = open_unchanged(process)?;
        match vault {
            Some(vault) => plan(&store, vault.hasher())?,
            // No secret was ever stored, so any key finds the same: none.
            None => plan(&store, &SecretHasher::new(&[0; 32]))?,
        }
    } else {
        let (store, vault) = process.open_vault()?;
        let plan = plan(&store, vault.hasher())?;
        ClientAdmin::new(&store, &actor()).apply(&plan)?;
        plan
    };
    match format {
        Output::Json => output::json(&document(&plan, args))?,
        Output::Text if plan.is_empty() && plan.unnamed.is_empty() => {}
        Output::Text => output::text(&text(&plan, args))?,
    }
    tell(&plan, args);
    Ok(())
}

/// The database as it is, and its keys if it has any. Makes and migrates nothing.
fn open_unchanged(process: &Process) -> anyhow::Result<(Store, Option<Vault>)> {
    let url = &process.config.database_url;
    let is_there = url.sqlite_path().is_none_or(|path| path.exists());
    let store = if is_there { Some(process.open_store()?) } else { None };
    let migrations = store.as_ref().map(Store::migrations).transpose()?;
    let up_to_date = migrations.is_some_and(|steps| steps.iter().all(|migration| migration.applied));
    let Some(store) = store.filter(|_| up_to_date) else {
        bail!(
            "the tables of {url} are not up to date, and --dry-run changes nothing: run \"keywheel db migrate\" first"
        );
    };
    if store.data_key()?.is_none() {
        return Ok((store, None));
    }
    let master_keys = master_key::load(&process.config, process.credentials_directory.as_deref())?;
    let vault = process.with_context(|cx| Vault::open(&store, &master_keys, cx))?;
    Ok((store, Some(vault)))
}

/// What people read: a difference, line by line, and the secrets that were made.
fn text(plan: &Plan, args: &ApplyArgs) -> String {
    let mut lines = Vec::new();
    for client in &plan.clients {
        let sign = match client.act {
            Act::Create => '+',
            Act::Update => '~',
            Act::Delete => '-',
            Act::Keep => continue,
        };
        lines.push(format!("{sign} client {}", client.client_id));
        lines.extend(client.changes.iter().map(|change| member_line(change, client.act)));
        lines.extend(client.secrets.iter().map(|change| secret_line(change, client, args)));
    }
    for client_id in &plan.unnamed {
        lines.push(format!(
            "? client {client_id}: of {}, not in the file; --prune removes it",
            plan.owner
        ));
    }
    let made = plan
        .clients
        .iter()
        .filter_map(|client| Some((client, client.generated.as_ref()?)));
    for (client, made) in made.filter(|_| !args.dry_run) {
        lines.push(format!(
            "\nclient_id      {}\nclient_secret  {}",
            client.client_id,
            made.secret.expose()
        ));
    }
    lines.join("\n")
}

fn member_line(change: &MemberChange, act: Act) -> String {
    let MemberChange { member, before, after } = change;
    if act == Act::Create {
        return format!("    {member}: {}", shown(member, after));
    }
    format!("    {member}: {} -> {}", shown(member, before), shown(member, after))
}

fn shown(member: &str, value: &Value) -> String {
    match value {
        Value::Null if member == "owner" => "none".to_owned(),
        Value::Null => "the server's".to_owned(),
        Value::Number(seconds) => Seconds::new(seconds.as_i64().unwrap_or_default()).to_string(),
        other => other.to_string(),
    }
}

fn secret_line(change: &SecretChange, client: &ClientPlan, args: &ApplyArgs) -> String {
    let SecretChange { id, hint, act } = change;
    match act {
        // What a plan makes is made anew when it is carried out.
        SecretAct::Add if client.generated.is_some() && args.dry_run => "    + secret, generated".to_owned(),
        SecretAct::Add if args.dry_run => format!("    + secret …{hint}"),
        SecretAct::Add => format!("    + secret {id} …{hint}"),
        SecretAct::Keep => format!("    ~ secret {id} …{hint}: accepted without end again"),
        SecretAct::Expire(at) => format!("    ~ secret {id} …{hint}: refused from {at} on"),
        SecretAct::Delete => format!("    - secret {id} …{hint}: it has expired"),
    }
}

/// What programs read.
fn document(plan: &Plan, args: &ApplyArgs) -> Value {
    let clients: Vec<Value> = plan
        .clients
        .iter()
        .map(|client| client_document(client, args))
        .collect();
    json!({
        "owner": plan.owner,
        "dry_run": args.dry_run,
        "changed": !plan.is_empty(),
        "clients": clients,
        "unnamed": plan.unnamed,
    })
}

fn client_document(client: &ClientPlan, args: &ApplyArgs) -> Value {
    let changes: serde_json::Map<String, Value> = client
        .changes
        .iter()
        .map(|change| {
            (
                change.member.to_owned(),
                json!({"before": change.before, "after": change.after}),
            )
        })
        .collect();
    let secrets = client.secrets.iter().map(|change| {
        let (act, expires_at) = match change.act {
            SecretAct::Add => ("add", None),
            SecretAct::Keep => ("keep", None),
            SecretAct::Expire(at) => ("expire", Some(at.to_string())),
            SecretAct::Delete => ("delete", None),
        };
        let mut secret = json!({"action": act, "hint": change.hint});
        if let Some(members) = secret.as_object_mut() {
            if !(args.dry_run && change.act == SecretAct::Add) {
                members.insert("id".to_owned(), json!(change.id));
            }
            members.extend(expires_at.map(|at| ("expires_at".to_owned(), json!(at))));
        }
        secret
    });
    let mut document = json!({
        "client_id": client.client_id,
        "action": match client.act {
            Act::Create => "create",
            Act::Update => "update",
            Act::Delete => "delete",
            Act::Keep => "keep",
        },
        "changes": changes,
        "secrets": secrets.collect::<Vec<_>>(),
    });
    if let (Some(members), Some(made), false) = (document.as_object_mut(), &client.generated, args.dry_run) {
        members.insert("client_secret".to_owned(), made.secret.expose().into());
        members.insert("client_secret_id".to_owned(), json!(made.record.id));
        let expires_at = made.record.expires_at.map_or(0, NumericDate::epoch);
        members.insert("client_secret_expires_at".to_owned(), expires_at.into());
    }
    document
}

/// What people are told besides.
fn tell(plan: &Plan, args: &ApplyArgs) {
    let count = |act: Act| plan.clients.iter().filter(|client| client.act == act).count();
    for client in &plan.clients {
        if let (Act::Create | Act::Update, Some(metadata)) = (client.act, &client.metadata) {
            warn_of_passwords(metadata);
        }
        if client.act == Act::Create && client.secrets.is_empty() {
            let id = &client.client_id;
            output::message(&format!(
                "client {id} has no secret, for the file names none: \"client secret add {id}\" makes one"
            ));
        }
        if client.stays_disabled {
            output::message(&format!(
                "client {} is disabled and stays so: the file does not say enabled = true",
                client.client_id
            ));
        }
    }
    if !args.dry_run && plan.clients.iter().any(|client| client.generated.is_some()) {
        output::message("Secrets are shown this once; keep them now.");
    }
    let file = args.file.display();
    let counts = format!(
        "{} created, {} changed, {} removed, {} as they are",
        count(Act::Create),
        count(Act::Update),
        count(Act::Delete),
        count(Act::Keep)
    );
    output::message(&match (plan.is_empty(), args.dry_run) {
        (true, _) => format!("nothing to change: {} clients are as {file} says", count(Act::Keep)),
        (false, true) => format!("this would be: {counts}. Nothing was changed"),
        (false, false) => format!("applied: {counts}. Servers follow within a second"),
    });
}
