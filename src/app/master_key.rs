use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::config::Config;
use crate::keys::MasterKey;
use crate::server::Context;
use crate::storage::Store;

/// The file in `keys_dir`.
const FILE: &str = "master.key";
/// Longest file that can be a master key.
const MAX_FILE: u64 = 1_024;

/// The master key from wherever the configuration says: the setting, a file, the credential that systemd passed, or
/// `keys_dir/master.key`. When there is none and the database is empty, a new one is made in `keys_dir`; when the database
/// already holds keys, a new one could open nothing, so its absence is an error.
pub(super) fn load_or_create(
    config: &Config,
    credentials_directory: Option<&Path>,
    store: &Store,
    cx: &mut Context<'_>,
) -> anyhow::Result<MasterKey> {
    if let Some(key) = load(config, credentials_directory)? {
        return Ok(key);
    }
    let path = config.keys_dir.join(FILE);
    if let Some(stored) = store.data_key()? {
        bail!(
            "the database holds keys that are sealed under master key {}, but there is no {}: put the file back (from another \
             node or your backup), or name it with KEYWHEEL_MASTER_KEY_FILE",
            stored.master_key_id,
            path.display()
        );
    }
    create(&path, cx)
}

/// The master key that exists, if one does.
pub(super) fn load(config: &Config, credentials_directory: Option<&Path>) -> anyhow::Result<Option<MasterKey>> {
    if let Some(text) = &config.master_key {
        return Ok(Some(
            MasterKey::parse(text.expose_secret()).context("the setting master_key is no master key")?,
        ));
    }
    if let Some(path) = &config.master_key_file {
        return Ok(Some(read(path)?));
    }
    let credential = credentials_directory.map(|directory| directory.join("keywheel-master-key"));
    for path in credential.into_iter().chain([config.keys_dir.join(FILE)]) {
        if path.symlink_metadata().is_ok() {
            return Ok(Some(read(&path)?));
        }
    }
    Ok(None)
}

/// Reads a key file that nobody else can read: a regular file, no link, owned by this user or root, mode 0600 or stricter.
fn read(path: &Path) -> anyhow::Result<MasterKey> {
    let shown = path.display();
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(no_follow)
        .open(path)
        .with_context(|| {
            format!("the master key {shown} cannot be opened: it must be a readable regular file and no symbolic link")
        })?;
    // Asked of the open file, so that nothing can be put in its place in between.
    let facts = file
        .metadata()
        .with_context(|| format!("the master key {shown} cannot be inspected"))?;
    if !facts.is_file() {
        bail!("the master key {shown} is not a regular file");
    }
    let user = rustix::process::geteuid().as_raw();
    if facts.uid() != user && facts.uid() != 0 {
        bail!("the master key {shown} belongs to another user: chown it to the user that runs keywheel");
    }
    if facts.mode() & 0o077 != 0 {
        bail!(
            "the master key {shown} can be read by others (mode {:04o}): chmod 600 {shown}",
            facts.mode() & 0o7777
        );
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE)
        .read_to_string(&mut text)
        .with_context(|| format!("the master key {shown} is not text"))?;
    MasterKey::parse(&text).with_context(|| format!("{shown} holds no master key"))
}

fn create(path: &Path, cx: &mut Context<'_>) -> anyhow::Result<MasterKey> {
    let directory = path.parent().map_or_else(PathBuf::new, Path::to_owned);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .with_context(|| format!("the directory {} cannot be made", directory.display()))?;
    let key = MasterKey::generate(cx.rng)?;
    let mut text = key.to_text();
    text.push('\n');
    // Written whole under another name and then put in place, so that a crash leaves no half a key; `link` instead of `rename`,
    // so that of two processes the first one's key stays.
    let temporary = directory.join(format!(".{FILE}.{}", std::process::id()));
    let written = write_new(&temporary, text.as_bytes());
    let placed = written.and_then(|()| std::fs::hard_link(&temporary, path));
    let _ = std::fs::remove_file(&temporary);
    match placed {
        Ok(()) => {
            File::open(&directory).and_then(|directory| directory.sync_all())?;
            tracing::info!(path = %path.display(), "made a new master key: keep a copy apart from the database");
            Ok(key)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(error).with_context(|| format!("the master key {} cannot be written", path.display())),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()
}
