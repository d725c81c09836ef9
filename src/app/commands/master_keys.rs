use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Process, actor};
use crate::app::cli::MasterKeyCommand;
use crate::app::master_key;
use crate::app::output::{self, Output};
use crate::failpoint::failpoint;
use crate::keys::MasterKey;
use crate::storage::{AuditEvent, MasterKeyChange, Store, StoredDataKey};

/// `keywheel master-key …`
pub(super) fn run(process: &Process, command: &MasterKeyCommand, format: Output) -> anyhow::Result<()> {
    match command {
        MasterKeyCommand::Status => status(process, format),
        MasterKeyCommand::Rotate { finish: true, .. } => finish(process, format),
        MasterKeyCommand::Rotate { abandon: true, .. } => abandon(process, format),
        MasterKeyCommand::Rotate { new, .. } => begin(process, new.as_deref(), format),
    }
}

/// The first step. Interrupted anywhere, it goes on where it was: a key that waits in `keys_dir` is taken up again, and a change
/// that the database knows of is not begun anew.
fn begin(process: &Process, new: Option<&Path>, format: Output) -> anyhow::Result<()> {
    let (store, vault) = process.open_vault()?;
    let config = &process.config;
    let in_keys_dir = new.is_none();
    if in_keys_dir && !master_key::is_in_keys_dir(config, process.credentials_directory.as_deref()) {
        bail!(
            "the master key is not a file in {}: give the new one with --new - on standard input, or with --new FILE, and put it \
             where the old one comes from once this is done",
            config.keys_dir.display()
        );
    }
    if in_keys_dir && let Some(coming) = store.coming_data_key()? {
        // Everything but the files was done before, or is done on another node.
        let here = master_key::load(config, process.credentials_directory.as_deref())?;
        if !here.iter().any(|key| key.id().as_str() == coming.master_key_id) {
            bail!(
                "a change to master key {} is under way from another machine: copy its {} here, or give the change up with \
                 --abandon",
                coming.master_key_id,
                config.keys_dir.join("master.key").display()
            );
        }
        master_key::put_next_in_place(&config.keys_dir, &present(&store)?, &coming.master_key_id)?;
        return begun(&coming.master_key_id, config.keys_dir.as_path(), in_keys_dir, format);
    }
    let key = match new {
        Some(path) => given(path)?,
        None => process.with_context(|cx| master_key::next(&config.keys_dir, cx))?,
    };
    let coming = process.with_context(|cx| {
        Ok::<_, anyhow::Error>(StoredDataKey {
            master_key_id: key.id().to_string(),
            wrapped: vault.data_key().wrap(&key, cx.rng)?,
            created_at: cx.now,
        })
    })?;
    if present(&store)? == coming.master_key_id {
        bail!("that is the present master key: give another one");
    }
    let event = event(process, "master_key.change_begun", &coming.master_key_id);
    failpoint!("master.waiting");
    let change = store.begin_master_key(&coming, &event)?;
    failpoint!("master.begun");
    if let MasterKeyChange::Busy(other) = change {
        bail!("a change to master key {other} is under way: finish it with --finish, or give it up with --abandon");
    }
    if in_keys_dir {
        master_key::put_next_in_place(&config.keys_dir, &present(&store)?, &coming.master_key_id)?;
    }
    begun(&coming.master_key_id, config.keys_dir.as_path(), in_keys_dir, format)
}

fn begun(id: &str, keys_dir: &Path, in_keys_dir: bool, format: Output) -> anyhow::Result<()> {
    let (place, old) = if in_keys_dir {
        let place = format!("It is {}; copy it to every node", keys_dir.join("master.key").display());
        (place, ", which --finish removes from here")
    } else {
        ("Put it where every node gets its master key from".to_owned(), "")
    };
    output::message(&format!(
        "Master key {id} opens the database now, and the old one still does. {place}, and keep a copy apart from the database's \
         backups. Servers that run need no restart. Take a backup now, for either key opens it: those from before open with the old \
         one alone{old}. Then run \"keywheel master-key rotate --finish\"."
    ));
    if format == Output::Json {
        output::json(&json!({"master_key_id": id, "finished": false}))
    } else {
        Ok(())
    }
}

/// The second step. Only who has the new master key may take it, or nobody could open the database afterwards.
fn finish(process: &Process, format: Output) -> anyhow::Result<()> {
    let store = process.migrated_store()?;
    let here = master_key::load(&process.config, process.credentials_directory.as_deref())?;
    let Some(coming) = store.coming_data_key()? else {
        let present = present(&store)?;
        if here.iter().any(|key| key.id().as_str() == present) {
            // Interrupted after the database was told, or finished on another node.
            settle(process, &present)?;
            return finished(&present, format);
        }
        bail!("no change of the master key is under way: begin one with \"keywheel master-key rotate\"");
    };
    if here.first().is_none_or(|key| key.id().as_str() != coming.master_key_id) {
        bail!(
            "this machine does not have the new master key {} in place, and nothing else would open the database: put it where this \
             machine gets its master key from, then finish",
            coming.master_key_id
        );
    }
    let event = event(process, "master_key.changed", &coming.master_key_id);
    failpoint!("master.finishing");
    store.finish_master_key(&coming.master_key_id, &event)?;
    failpoint!("master.finished");
    // What counts is the database: somebody else may have ended the change meanwhile, in one way or the other.
    if present(&store)? != coming.master_key_id {
        bail!("the change was given up meanwhile: \"keywheel master-key status\" shows what opens the database");
    }
    settle(process, &coming.master_key_id)?;
    finished(&coming.master_key_id, format)
}

fn finished(id: &str, format: Output) -> anyhow::Result<()> {
    output::message(&format!(
        "Master key {id} alone opens the database now. Backups from before still open with the old one: destroy both together."
    ));
    if format == Output::Json {
        output::json(&json!({"master_key_id": id, "finished": true}))
    } else {
        Ok(())
    }
}

fn abandon(process: &Process, format: Output) -> anyhow::Result<()> {
    let store = process.migrated_store()?;
    let here = master_key::load(&process.config, process.credentials_directory.as_deref())?;
    let old = present(&store)?;
    if !here.iter().any(|key| key.id().as_str() == old) {
        bail!(
            "this machine does not have the old master key {old}, which alone would open the database then: do this where it is"
        );
    }
    let event = event(process, "master_key.change_abandoned", &old);
    failpoint!("master.abandoning");
    let done = store.abandon_master_key(&event)?;
    failpoint!("master.abandoned");
    if present(&store)? != old {
        bail!("the change was finished meanwhile: \"keywheel master-key status\" shows what opens the database");
    }
    settle(process, &old)?;
    output::message(&format!(
        "{}; master key {} alone opens the database.",
        if done {
            "The change was given up"
        } else {
            "No change was under way"
        },
        old
    ));
    if format == Output::Json {
        output::json(&json!({"master_key_id": old, "abandoned": done}))
    } else {
        Ok(())
    }
}

/// The identifier of the master key under which the database is sealed.
fn present(store: &Store) -> anyhow::Result<String> {
    Ok(store.data_key()?.context("the database has no keys yet")?.master_key_id)
}

/// Has the present master key alone in `keys_dir`, if this machine gets its master key from there.
fn settle(process: &Process, present: &str) -> anyhow::Result<()> {
    if master_key::is_in_keys_dir(&process.config, process.credentials_directory.as_deref()) {
        master_key::settle(&process.config.keys_dir, present)?;
    }
    Ok(())
}

fn status(process: &Process, format: Output) -> anyhow::Result<()> {
    let store = process.migrated_store()?;
    let here = master_key::load(&process.config, process.credentials_directory.as_deref())?;
    let opens = [("present", store.data_key()?), ("coming", store.coming_data_key()?)];
    let rows: Vec<(&str, String, bool)> = opens
        .into_iter()
        .filter_map(|(state, key)| {
            let id = key?.master_key_id;
            let is_here = here.iter().any(|key| key.id().as_str() == id);
            Some((state, id, is_here))
        })
        .collect();
    if format == Output::Json {
        let rows = rows
            .iter()
            .map(|(state, id, here)| json!({"state": state, "master_key_id": id, "here": here}));
        return output::json(&rows.collect::<Vec<_>>());
    }
    let row = |(state, id, here): (&str, String, bool)| {
        vec![state.to_owned(), id, (if here { "yes" } else { "no" }).to_owned()]
    };
    output::table(
        &["state", "master key", "on this machine"],
        rows.into_iter().map(row).collect(),
    )
}

/// A master key that the operator hands over, from a file that nobody else can read or from standard input.
fn given(path: &Path) -> anyhow::Result<MasterKey> {
    if path != Path::new("-") {
        return master_key::read(path);
    }
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .take(1_024)
        .read_to_string(&mut text)
        .context("standard input cannot be read")?;
    Ok(MasterKey::parse(&text)?)
}

fn event(process: &Process, name: &str, master_key_id: &str) -> AuditEvent {
    AuditEvent {
        at: process.edge.now(),
        event: name.to_owned(),
        actor: actor(),
        client_id: None,
        kid: None,
        detail: json!({"master_key": master_key_id}),
    }
}
