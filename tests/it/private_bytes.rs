//! Where the bytes of private keys are not: in the log, the environment, the arguments, the database, a backup, the folder of keys,
//! a core dump; and, once a key is barred or has retired, in the memory of the process.

pub(crate) mod search;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use keywheel::keys::MasterKey;
use keywheel::server::{Context, Reach, Vault};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::support::http::{Request, send};
use crate::support::postgres::unprivileged_user;
use crate::support::process::{Folder, Served};
use crate::support::server::{START, TOKEN};
use crate::support::{Database, on_both};

use search::{PrivateKey, Search};

const SERVE: [&str; 2] = ["--issuer", "https://auth.example"];

#[test]
fn no_private_byte_is_in_the_log_the_environment_the_database_a_backup_or_the_folder_of_keys() {
    on_both(|database| {
        let folder = Folder::empty()
            .with("DATABASE_URL", database.url())
            .readable()
            .with("KEYWHEEL_LOG", "json,trace");
        let served = folder.serve(&SERVE);
        let mut keys = private_keys(&folder, database);
        // The next key is made while it serves.
        let revoked = active(&folder);
        folder.json(&["keys", "revoke", &revoked]);
        served.await_without(&revoked);
        keys.extend(private_keys(&folder, database));
        let looked_for = Search::new(keys.iter().flat_map(PrivateKey::written));

        let of_process = |name: &str| fs::read(format!("/proc/{}/{name}", served.pid())).unwrap_or_default();
        looked_for.assert_absent("the environment", &of_process("environ"));
        looked_for.assert_absent("the arguments", &of_process("cmdline"));
        looked_for.assert_absent("the database", &database.dump());
        if database.backend == "SQLite" {
            folder.json(&["db", "backup", "copy.db"]);
        }
        for file in files(folder.path()) {
            looked_for.assert_absent(&file.display().to_string(), &fs::read(&file).unwrap());
        }
        let begun = served.begun.clone();
        let log = format!("{begun}\n{}", served.terminate().1);
        assert!(
            log.contains("\"TRACE\"") && log.matches("published a new signing key").count() >= 3,
            "{log}"
        );
        looked_for.assert_absent("the log", log.as_bytes());
    });
}

#[test]
fn a_private_key_that_was_revoked_is_in_no_memory_of_the_server_seconds_later() {
    let database = Database::sqlite();
    let folder = Folder::empty().readable().with("DATABASE_URL", database.url());
    let client = client(&folder);
    let served = folder.serve(&SERVE);
    // The first was made before the server served, the second likewise and long before it signs, the others by the ticker.
    for _ in 0..4 {
        let keys = private_keys(&folder, &database);
        sign(&served, &client);
        let kid = active(&folder);
        let Some(memory) = memory(&served) else { return };
        let looked_for = Search::new(keys.iter().filter(|key| key.kid == kid).flat_map(PrivateKey::in_memory));
        assert!(
            !looked_for.found_in(&memory).is_empty(),
            "a key that signs is not found, so nothing is proved"
        );
        folder.json(&["keys", "revoke", &kid]);
        served.await_without(&kid);
        assert_forgotten(&served, &looked_for);
    }
}

#[test]
fn a_private_key_that_has_retired_is_in_no_memory_of_the_server_seconds_later() {
    let database = Database::sqlite();
    let folder = Folder::empty().readable().with("DATABASE_URL", database.url());
    drop(folder.serve(&SERVE));
    let keys = private_keys(&folder, &database);
    let retires = active(&folder);
    let period = 31 * 86_400;
    database.execute(&format!(
        "UPDATE signing_keys SET published_at = published_at - {period}, activates_at = activates_at - {period}"
    ));
    // It opens the key, finds that it is to be destroyed, and destroys it.
    let served = folder.serve(&SERVE);
    assert_eq!(
        database.count(&format!(
            "signing_keys WHERE kid = '{retires}' AND sealed_private_key IS NULL"
        )),
        1
    );
    let looked_for = Search::new(
        keys.iter()
            .filter(|key| key.kid == retires)
            .flat_map(PrivateKey::in_memory),
    );
    assert_forgotten(&served, &looked_for);
}

#[test]
fn a_process_leaves_no_core_dump_unless_it_is_asked_to() {
    let limit = |process: &str| {
        let limits = fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
        let line = limits.lines().find(|line| line.starts_with("Max core file size"))?;
        Some(line.split_whitespace().skip(4).take(2).collect::<Vec<_>>().join(" "))
    };
    let Some(ours) = limit("self") else {
        return skip("/proc shows no limits here; that no core dump is left");
    };
    let folder = Folder::empty();
    let served = folder.serve(&SERVE);
    assert_eq!(limit(&served.pid().to_string()).unwrap(), "0 0");
    drop(served);
    let asked = folder.serve_with(&SERVE, &[("KEYWHEEL_CORE_DUMPS", "true")]);
    assert_eq!(limit(&asked.pid().to_string()).unwrap(), ours);
}

#[test]
fn another_process_of_the_same_user_reads_nothing_of_it_unless_it_may_be_dumped() {
    let user = unprivileged_user();
    for (setting, is_read) in [("true", true), ("false", false)] {
        let folder = Folder::empty();
        let served = folder.serve_as(user, &SERVE, &[("KEYWHEEL_CORE_DUMPS", setting)]);
        let mut reading = Command::new("head");
        reading.args(["-c", "1", &format!("/proc/{}/environ", served.pid())]);
        if let Some((user, group)) = user {
            reading.uid(user).gid(group);
        }
        let read = reading.output().unwrap();
        assert_eq!(read.status.success(), is_read, "{setting}: {read:?}");
        assert_eq!(read.stdout.len(), usize::from(is_read), "{setting}: {read:?}");
        // It is no worse a server for that.
        let metrics = send(served.management, &Request::get("/metrics"));
        let files = metrics
            .text()
            .lines()
            .find_map(|line| line.strip_prefix("process_open_fds "));
        assert!(files.unwrap().parse::<u32>().unwrap() > 5, "{files:?}");
    }
}

/// Every private key in the database, opened.
pub(crate) fn private_keys(folder: &Folder, database: &Database) -> Vec<PrivateKey> {
    let store = database.open();
    let master_key = MasterKey::parse(&fs::read_to_string(folder.master_key()).unwrap()).unwrap();
    let mut cx = Context {
        now: START,
        rng: &mut StdRng::seed_from_u64(1),
        reach: Reach::Storage,
    };
    let vault = Vault::open(&store, &[master_key], &mut cx).unwrap();
    let open = |label: &str, sealed: &[u8]| PrivateKey::read(label, &vault.data_key().open(label, sealed).unwrap());
    let keys = store.signing_keys().unwrap();
    let signing = keys
        .iter()
        .filter_map(|key| Some(open(key.kid.as_str(), key.sealed_private_key.as_ref()?)));
    let authority = store.certificate_authority().unwrap().unwrap();
    signing
        .chain([open("certificate authority", &authority.sealed_private_key)])
        .collect()
}

/// All that the process may have written into its memory; `None`, said aloud, where nobody may look.
fn memory(served: &Served) -> Option<Vec<u8>> {
    let process = format!("/proc/{}", served.pid());
    let (Ok(maps), Ok(memory)) = (
        fs::read_to_string(format!("{process}/maps")),
        File::open(format!("{process}/mem")),
    ) else {
        skip("the memory of another process cannot be read here; that destroyed keys are wiped");
        return None;
    };
    let mut all = Vec::new();
    for line in maps.lines() {
        let mut columns = line.split_whitespace();
        let (begins, ends) = columns.next()?.split_once('-')?;
        let [begins, ends] = [begins, ends].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut region = vec![0; usize::try_from(ends - begins).unwrap()];
        if columns.next()?.starts_with("rw") {
            memory.read_exact_at(&mut region, begins).unwrap();
            all.append(&mut region);
        }
    }
    Some(all)
}

/// Within seconds, nothing is left: a request that was under way may have held the key a little longer.
fn assert_forgotten(served: &Served, looked_for: &Search) {
    let begun = Instant::now();
    while let Some(memory) = memory(served) {
        let found = looked_for.found_in(&memory);
        if found.is_empty() {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{} parts are left",
            found.len()
        );
    }
}

fn active(folder: &Folder) -> String {
    let listed = folder.json(&["keys", "list"]);
    let active = listed.as_array().unwrap().iter().find(|key| key["state"] == "active");
    active.unwrap()["kid"].as_str().unwrap().to_owned()
}

fn client(folder: &Folder) -> String {
    let created = folder.json(&[
        "client",
        "create",
        "Shop",
        "--id",
        "shop",
        "--grant",
        "client_credentials",
    ]);
    created["client_secret"].as_str().unwrap().to_owned()
}

/// Every thread of the server signs, so that each has had the key on its stack.
fn sign(served: &Served, secret: &str) {
    let form = Request::form(TOKEN, &[("grant_type", "client_credentials")]).basic("shop", secret);
    let address = served.address;
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| (0..4).for_each(|_| assert_eq!(send(address, &form).status, 200)));
        }
    });
}

/// All files in a folder and those below it.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let below = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path) } else { vec![path] }
    };
    fs::read_dir(folder).unwrap().flat_map(below).collect()
}

fn skip(what: &str) {
    // Past the test runner, which would swallow it.
    std::io::stderr()
        .write_all(format!("SKIPPED: {what} was NOT checked\n").as_bytes())
        .unwrap();
}
