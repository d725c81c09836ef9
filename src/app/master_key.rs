use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::config::Config;
use crate::failpoint::failpoint;
use crate::keys::MasterKey;
use crate::server::Context;
use crate::storage::Store;

/// The file in `keys_dir`.
const FILE: &str = "master.key";
/// Longest file that can be a master key.
const MAX_FILE: u64 = 1_024;

/// Where a key waits that is to become the master key, and where the one before it stays until the change is finished.
const NEXT: &str = "master.key.next";
const OLD: &str = "master.key.old";
/// How the name of a key begins that is being written.
const TEMPORARY: &str = ".master.key.";

/// The master keys that may open the database, from wherever the configuration says: the setting, a file, the credential that
/// systemd passed, or `keys_dir`, where during a change there are several. When there is none and the database is empty, a new
/// one is made in `keys_dir`; when the database already holds keys, a new one could open nothing, so its absence is an error.
pub(super) fn load_or_create(
    config: &Config,
    credentials_directory: Option<&Path>,
    store: &Store,
    cx: &mut Context<'_>,
) -> anyhow::Result<Vec<MasterKey>> {
    let keys = load(config, credentials_directory)?;
    if !keys.is_empty() {
        return Ok(keys);
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
    Ok(vec![create(&path, cx)?])
}

/// The master keys that exist.
pub(super) fn load(config: &Config, credentials_directory: Option<&Path>) -> anyhow::Result<Vec<MasterKey>> {
    if let Some(text) = &config.master_key {
        let key = MasterKey::parse(text.expose_secret()).context("the setting master_key is no master key")?;
        return Ok(vec![key]);
    }
    if let Some(path) = &config.master_key_file {
        return Ok(vec![read(path)?]);
    }
    let credential = credentials_directory.map(|directory| directory.join("keywheel-master-key"));
    if let Some(path) = credential.filter(|path| path.symlink_metadata().is_ok()) {
        return Ok(vec![read_closed_to(CREDENTIAL_STRANGERS, &path)?]);
    }
    let files = [FILE, NEXT, OLD].map(|file| config.keys_dir.join(file));
    let existing = files.iter().filter(|path| path.symlink_metadata().is_ok());
    existing.map(|path| read(path)).collect()
}

/// Whether the master key is the file in `keys_dir`, which a change of it may replace.
pub(super) fn is_in_keys_dir(config: &Config, credentials_directory: Option<&Path>) -> bool {
    let credential = credentials_directory.map(|directory| directory.join("keywheel-master-key"));
    config.master_key.is_none()
        && config.master_key_file.is_none()
        && credential.is_none_or(|path| path.symlink_metadata().is_err())
}

/// The key that is to become the master key: the one that waits since an interrupted change, or a new one.
pub(super) fn next(keys_dir: &Path, cx: &mut Context<'_>) -> anyhow::Result<MasterKey> {
    create(&keys_dir.join(NEXT), cx)
}

/// Puts the key that waits in the place of the master key, if it is the one that comes, and keeps the present one beside it. Done
/// before, it does nothing. Keys are told by what is in the files: an earlier change, or one that another node ended, may have left
/// any of them.
pub(super) fn put_next_in_place(keys_dir: &Path, present: &str, coming: &str) -> anyhow::Result<()> {
    let [file, next, old] = [FILE, NEXT, OLD].map(|file| keys_dir.join(file));
    if !holds(&next, coming)? {
        if holds(&file, coming)? {
            return Ok(());
        }
        bail!(
            "the new master key {coming} is no longer in {}: look for it, or give the change up with --abandon",
            next.display()
        );
    }
    // There is a master.key at every moment, and the present one is nowhere lost.
    if holds(&file, present)? && !holds(&old, present)? {
        remove(&old)?;
        std::fs::hard_link(&file, &old).with_context(|| format!("{} cannot be kept", file.display()))?;
    }
    failpoint!("master.kept");
    std::fs::rename(&next, &file).with_context(|| format!("{} cannot be replaced", file.display()))?;
    failpoint!("master.placed");
    sync(keys_dir)
}

/// Makes the present key the master key here, wherever a change left it, and removes all others, which open nothing. Without the
/// present one it removes nothing.
pub(super) fn settle(keys_dir: &Path, present: &str) -> anyhow::Result<()> {
    let [file, next, old] = [FILE, NEXT, OLD].map(|file| keys_dir.join(file));
    if !holds(&file, present)? {
        let from = if holds(&old, present)? { &old } else { &next };
        if !holds(from, present)? {
            return Ok(());
        }
        std::fs::rename(from, &file).with_context(|| format!("{} cannot be put in place", from.display()))?;
        failpoint!("master.settled");
    }
    for path in [old, next].into_iter().chain(temporaries(keys_dir)?) {
        remove(&path)?;
    }
    failpoint!("master.removed");
    sync(keys_dir)
}

/// Whether the file is there and holds the key of this identifier.
fn holds(path: &Path, id: &str) -> anyhow::Result<bool> {
    Ok(path.symlink_metadata().is_ok() && read(path)?.id().as_str() == id)
}

/// What processes that ended while they made a key have left: keys that nobody uses, or further names of one.
fn temporaries(keys_dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(keys_dir).with_context(|| format!("{} cannot be read", keys_dir.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Makes what was renamed and removed last.
fn sync(keys_dir: &Path) -> anyhow::Result<()> {
    Ok(File::open(keys_dir)?.sync_all()?)
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", path.display()))
        }
        _ => Ok(()),
    }
}

/// Reads a key file that nobody else can read: a regular file, no link, owned by this user or root, mode 0600 or stricter.
pub(super) fn read(path: &Path) -> anyhow::Result<MasterKey> {
    read_closed_to(STRANGERS, path)
}

/// Bits of a file's mode that let others at it.
const STRANGERS: u32 = 0o077;
/// The same of a credential. systemd leaves it to root and lets one user read it by an access control list, which the mode shows as a
/// right of the group; so does a Kubernetes secret with `fsGroup`.
const CREDENTIAL_STRANGERS: u32 = 0o037;

fn read_closed_to(strangers: u32, path: &Path) -> anyhow::Result<MasterKey> {
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
    if facts.mode() & strangers != 0 {
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
    // The number makes the name one that no other process has, which the identifier of the process does not: in containers it is
    // the same each time.
    let temporary = directory.join(format!("{TEMPORARY}{:016x}", cx.rng.next_u64()));
    let written = write_new(&temporary, text.as_bytes());
    failpoint!("master.written");
    let placed = written.and_then(|()| std::fs::hard_link(&temporary, path));
    failpoint!("master.linked");
    let _ = std::fs::remove_file(&temporary);
    match placed {
        Ok(()) => {
            sync(&directory)?;
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
