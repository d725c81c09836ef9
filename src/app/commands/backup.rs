use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::json;
use zeroize::Zeroizing;

use super::Process;
use crate::app::cli::BackupCommand;
use crate::app::master_key;
use crate::app::output::{self, Output};
use crate::server::Vault;
use crate::server::admin::BackupReport;
use crate::storage::{DatabaseUrl, Settings, Store};

/// `keywheel backup …`
pub(super) fn run(process: &Process, command: &BackupCommand, format: Output) -> anyhow::Result<()> {
    let BackupCommand::Verify { backup } = command;
    let mut given = Zeroizing::new(String::new());
    let named = match backup.as_str() {
        "-" => {
            std::io::stdin().lock().read_line(&mut given)?;
            given.trim()
        }
        named => named,
    };
    let copy;
    // Told without its password.
    let (url, backup) = if named.contains("://") {
        let url = DatabaseUrl::parse(named)?;
        let told = url.to_string();
        (url, told)
    } else {
        copy = Copy::of(Path::new(named))?;
        (
            DatabaseUrl::parse(&format!("sqlite://{}", copy.0.display()))?,
            named.to_owned(),
        )
    };
    let report = verified(process, url)?;
    if format == Output::Json {
        return output::json(&json!({"backup": backup, "whole": true, "holds": report}));
    }
    output::message(&format!(
        "{backup} is whole: {} signing keys, of which {} can sign, {} clients and {} users. Everything in it opens with this master \
         key. After you restore it, run \"keywheel restore finalize\" with the keys_dir of a node, or with --force where there is none.",
        report.signing_keys, report.private_halves, report.clients, report.users
    ));
    Ok(())
}

fn verified(process: &Process, url: DatabaseUrl) -> anyhow::Result<BackupReport> {
    let store = Store::open(&Settings::new(url)).context("the backup cannot be opened")?;
    let findings = store
        .integrity()
        .context("the backup cannot be read: is it an SQLite database of keywheel?")?;
    if !findings.is_empty() {
        bail!("the backup is damaged: {}", findings.join("; "));
    }
    store.later_migrations()?;
    let missing = store.migrations()?.into_iter().filter(|migration| !migration.applied);
    let missing: Vec<String> = missing.map(|migration| migration.name).collect();
    if !missing.is_empty() {
        bail!(
            "the backup is of an older version, whose tables are these: it lacks {}. Restore it and run \"keywheel db migrate\", then \
             verify the database by its URL",
            missing.join(", ")
        );
    }
    if store.data_key()?.is_none() {
        bail!("the backup holds no keys: no server has ever used this database");
    }
    let keys = master_key::load(&process.config, process.credentials_directory.as_deref())?;
    process.with_context(|cx| {
        let vault = Vault::open(&store, &keys, cx)?;
        Ok::<_, anyhow::Error>(BackupReport::of(&store, &vault, cx.now)?)
    })
}

/// A copy to look at, so that the backup itself stays untouched: SQLite writes beside what it opens.
struct Copy(PathBuf);

impl Copy {
    fn of(file: &Path) -> anyhow::Result<Self> {
        let mut name = file.file_name().context("name the backup's file")?.to_owned();
        name.push(format!(".verifying-{}", std::process::id()));
        let copy = Copy(file.with_file_name(name));
        std::fs::copy(file, &copy.0).with_context(|| format!("{} cannot be read", file.display()))?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let mut path = self.0.clone().into_os_string();
            path.push(suffix);
            // What is not there need not be removed.
            drop(std::fs::remove_file(path));
        }
    }
}
