use anyhow::{Context as _, bail};
use serde_json::json;

use super::{Process, actor};
use crate::app::cli::RestoreCommand;
use crate::app::journal::Journal;
use crate::app::output::{self, Output};
use crate::server::Remembered;
use crate::storage::{AuditEvent, Barring};

/// `keywheel restore …`
pub(super) fn run(process: &Process, command: &RestoreCommand, format: Output) -> anyhow::Result<()> {
    let RestoreCommand::Finalize { force } = command;
    let store = process.migrated_store()?;
    let mut journal = Journal::open(&process.config.keys_dir)?;
    let position = store
        .position()?
        .context("no server has ever used this database: there is nothing to finalize")?;
    if !force {
        let Some(before) = journal.written() else {
            bail!(
                "there is no journal in {}: nothing here remembers how far the database was. Run this with the keys_dir of a node, which also \
                 knows the keys that were barred since; or, if you know that the database was restored, add --force. It ends every login",
                process.config.keys_dir.display()
            );
        };
        let keys = store.signing_keys()?;
        let barrings = keys
            .iter()
            .map(|key| (&key.kid, Barring::of(key.tainted_at, key.revoked_at)));
        if !before.outlived(&position, barrings) && !before.is_lost_by(&store, &position)? {
            bail!(
                "this machine has not seen the database in a later state than it is in: nothing was restored. If it was nevertheless, add \
                 --force; it ends every login"
            );
        }
    }
    let barred = journal.written().map(Remembered::barred_keys).unwrap_or_default();
    let event = AuditEvent {
        at: process.edge.now(),
        event: "restore.finalized".to_owned(),
        actor: actor(),
        client_id: None,
        kid: None,
        detail: json!({"barred": barred.len(), "position": position, "remembered": journal.written()}),
    };
    let clients = store.finalize_restore(&barred, &event)?;
    let barred_again = journal
        .written()
        .map(|before| before.barred.clone())
        .unwrap_or_default();
    if let Some(position) = store.position()? {
        journal.write(&Remembered {
            position,
            barred: barred_again,
        })?;
    }
    if format == Output::Json {
        return output::json(&json!({"clients": clients, "barred": barred.len()}));
    }
    output::message(&format!(
        "Ended every login of {clients} clients, and barred {} keys. What was made or changed since the backup is gone: clients, \
         secrets, users, passwords. Look at \"keywheel keys list\", and start the servers again.",
        barred.len()
    ));
    Ok(())
}
