use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use super::{Finding, Process, told};
use crate::app::config::TlsFiles;
use crate::app::master_key;
use crate::app::tls::TlsSource;
use crate::keys::{CLOCK_SKEW, KeyRing};
use crate::oauth::{NumericDate, Seconds, SigningAlgorithm};
use crate::server::Vault;
use crate::server::admin::{ClientAdmin, KeyAdmin};
use crate::storage::Store;

/// The `kid`s that are published, as the database has it.
pub(super) type Published = BTreeSet<String>;

/// Looks at what is on this machine and in the database. Tells what is published, if the keys could be opened.
pub(super) fn examine(process: &Process, findings: &mut Vec<Finding>) -> Option<Published> {
    if let Some(files) = &process.config.tls {
        findings.push(tls_certificate(files, process.edge.now()));
    }
    findings.push(overheard(process));
    match file(process) {
        None => {}
        Some(Ok(finding)) => findings.push(finding),
        Some(Err(missing)) => {
            findings.push(missing);
            return None;
        }
    }
    let store = match process.open_store() {
        Ok(store) => store,
        Err(error) => {
            findings.push(Finding::failed("database", told(error), REACH));
            return None;
        }
    };
    let whole = database(&store);
    let is_whole = whole.mend.is_none();
    findings.push(whole);
    if !is_whole {
        // Nothing else can be read, and a look must not make tables.
        return None;
    }
    findings.push(durability(&store));
    findings.push(clock(&store, process.edge.now()));
    findings.push(secrets(&store, process.edge.now()));
    let vault = match vault(process, &store) {
        Ok(vault) => vault,
        Err(finding) => {
            findings.push(finding);
            return None;
        }
    };
    findings.push(Finding::ok("master key", "it opens the database"));
    keys(process, &store, &vault, findings)
}

const REACH: &str = "see whether DATABASE_URL is right and the database runs and can be reached from here";

/// Of the listeners. What clients think of it is seen from outside.
fn tls_certificate(files: &TlsFiles, now: NumericDate) -> Finding {
    const CHECK: &str = "TLS certificate";
    let not_after = match TlsSource::open(files) {
        Ok(source) => source.tls().identity().not_after(),
        Err(error) => {
            let mend = "mend the file, and a server that runs takes it within seconds; one that starts refuses to";
            return Finding::failed(CHECK, told(error), mend);
        }
    };
    let renew = "renew it: a server that runs takes the new files within seconds";
    if not_after < now {
        return Finding::failed(CHECK, format!("it ended at {not_after}: clients refuse it"), renew);
    }
    if not_after < now + Seconds::days(7) {
        return Finding::warning(CHECK, format!("it ends at {not_after}"), renew);
    }
    Finding::ok(CHECK, format!("it is good until {not_after}"))
}

fn overheard(process: &Process) -> Finding {
    let url = &process.config.database_url;
    if url.may_be_overheard() {
        return Finding::warning(
            "database connection",
            format!("the connection to {url} may be in clear, for anybody on the way"),
            "add ?sslmode=verify-full to DATABASE_URL",
        );
    }
    Finding::ok(
        "database connection",
        format!("{url} is on this machine, or encrypted and verified"),
    )
}

/// Of SQLite. To open a file that is not there would make it.
fn file(process: &Process) -> Option<Result<Finding, Finding>> {
    const CHECK: &str = "database file";
    let file = process.config.database_url.file()?;
    let mode = match file.metadata() {
        Ok(metadata) => metadata.permissions().mode() & 0o777,
        Err(error) => {
            let found = format!("{}: {error}", file.display());
            let mend = "set DATABASE_URL to the file that the server uses, or start a server, which makes one";
            return Some(Err(Finding::failed(CHECK, found, mend)));
        }
    };
    Some(Ok(if mode & 0o077 == 0 {
        Finding::ok(CHECK, "nobody else may read it")
    } else {
        let found = format!("other users of this machine may read or write it (mode {mode:o})");
        Finding::warning(CHECK, found, format!("chmod 600 {}", file.display()))
    }))
}

fn database(store: &Store) -> Finding {
    let migrations = match store.migrations() {
        Ok(migrations) => migrations,
        Err(error) => return Finding::failed("database", told(error), REACH),
    };
    let later = match store.later_migrations() {
        Ok(later) => later,
        Err(error) => {
            return Finding::failed(
                "database",
                told(error),
                "install the version of keywheel that the servers run",
            );
        }
    };
    let pending: Vec<String> = migrations
        .into_iter()
        .filter(|migration| !migration.applied)
        .map(|migration| migration.name)
        .collect();
    if pending.is_empty() && later.is_empty() {
        return Finding::ok("database", "it answers, and its tables are up to date");
    }
    if pending.is_empty() {
        let found = "it answers; a later version has migrated its tables, and this one can use them";
        return Finding::ok("database", found);
    }
    Finding::failed(
        "database",
        format!("it lacks {}", pending.join(", ")),
        "run \"keywheel db migrate\"; a server does so when it starts",
    )
}

fn durability(store: &Store) -> Finding {
    const CHECK: &str = "durability";
    match store.forgetful_settings() {
        Ok(off) if off.is_empty() => Finding::ok(CHECK, "what was answered is on disk"),
        Ok(off) => Finding::warning(
            CHECK,
            format!(
                "off in PostgreSQL: {}; when its machine crashes, refresh tokens that were exchanged may be good again",
                off.join(", ")
            ),
            "turn them on in postgresql.conf",
        ),
        Err(error) => Finding::failed(CHECK, told(error), REACH),
    }
}

fn clock(store: &Store, now: NumericDate) -> Finding {
    match store.clock() {
        Ok(None) => Finding::ok("clock", "SQLite goes by this machine's"),
        Ok(Some(database)) => {
            let ahead = now.epoch().saturating_sub(database.epoch());
            if ahead.abs() <= CLOCK_SKEW.get() {
                return Finding::ok("clock", format!("it is {ahead}s ahead of the database's"));
            }
            let found = format!("it is {ahead}s ahead of the database's: a server here is not ready");
            Finding::failed("clock", found, "set this machine's clock, or the database's, by NTP")
        }
        Err(error) => Finding::failed("clock", told(error), REACH),
    }
}

fn secrets(store: &Store, now: NumericDate) -> Finding {
    let soon = now + Seconds::days(14);
    let expiring = || -> anyhow::Result<Vec<String>> {
        let admin = ClientAdmin::new(store, "doctor");
        let mut found = Vec::new();
        for client in admin.list()?.into_iter().filter(|client| client.enabled) {
            let Some(secrets) = store.client_secrets(&client.client_id)? else {
                // Deleted meanwhile.
                continue;
            };
            // Also one that begins later: who has another that lasts need not hurry.
            let ends = secrets
                .iter()
                .map(|secret| secret.expires_at.map_or(i64::MAX, NumericDate::epoch));
            match ends.max() {
                Some(last) if last > soon.epoch() => {}
                Some(last) if last > now.epoch() => {
                    found.push(format!("{} at {}", client.client_id, NumericDate::from_epoch(last)))
                }
                _ => found.push(format!("{} (it has none that is accepted)", client.client_id)),
            }
        }
        Ok(found)
    };
    match expiring() {
        Ok(found) if found.is_empty() => {
            Finding::ok("client secrets", "no client loses its last secret within 14 days")
        }
        Ok(found) => Finding::warning(
            "client secrets",
            format!("the last live secret ends soon of: {}", found.join(", ")),
            "keywheel client secret add CLIENT_ID",
        ),
        Err(error) => Finding::failed("client secrets", told(error), REACH),
    }
}

fn vault(process: &Process, store: &Store) -> Result<Vault, Finding> {
    let failed = |found: String, mend: &str| Finding::failed("master key", found, mend);
    let is_new = store.data_key().map_err(|error| failed(told(error), REACH))?.is_none();
    if is_new {
        let found = "the database holds no keys yet".to_owned();
        return Err(Finding::warning("keys", found, "start a server once: it makes them"));
    }
    let here = master_key::load(&process.config, process.credentials_directory.as_deref());
    let here = here.map_err(|error| failed(told(error), "put the master key in its place"))?;
    if here.is_empty() {
        return Err(failed(
            "there is none on this machine".to_owned(),
            "copy it from another node or from your backup, or name it with KEYWHEEL_MASTER_KEY_FILE",
        ));
    }
    let opened = process.with_context(|cx| Vault::open(store, &here, cx));
    opened.map_err(|error| {
        failed(
            told(error),
            "put the master key in its place under which this database was made",
        )
    })
}

fn keys(process: &Process, store: &Store, vault: &Vault, findings: &mut Vec<Finding>) -> Option<Published> {
    let now = process.edge.now();
    let admin = KeyAdmin::new(store, vault, &process.config.policy, "doctor");
    let ring = match admin.ring() {
        Ok(ring) => ring,
        Err(error) => {
            findings.push(Finding::failed("keys", told(error), "restore the row from a backup"));
            return None;
        }
    };
    let plan = match admin.plan(now) {
        Ok(plan) => plan,
        Err(error) => {
            findings.push(Finding::failed("keys", told(error), REACH));
            return None;
        }
    };
    let active = SigningAlgorithm::ALL
        .into_iter()
        .filter_map(|algorithm| ring.active(algorithm, now));
    let signing: Vec<Finding> = active
        .map(|active| {
            let (alg, since) = (active.record().alg, active.record().activates_at);
            Finding::ok("keys", format!("{} signs since {since} ({alg})", active.kid()))
        })
        .collect();
    if signing.is_empty() {
        let mend = "start a server: it makes one at once";
        findings.push(Finding::failed("keys", "no key can sign", mend));
    }
    findings.extend(signing);
    for warning in &plan.warnings {
        findings.push(Finding::warning(
            "key plan",
            warning.to_string(),
            "see \"keywheel keys plan\"",
        ));
    }
    if plan.warnings.is_empty() {
        findings.push(Finding::ok("key plan", "the next turn comes as planned"));
    }
    findings.push(certificates(&ring, &admin, now));
    Some(ring.published(now).map(|key| key.kid().to_string()).collect())
}

fn certificates(ring: &KeyRing, admin: &KeyAdmin<'_>, now: NumericDate) -> Finding {
    let soon = now + Seconds::days(14);
    let mut ending: Vec<String> = ring
        .published(now)
        .filter(|key| key.can_sign() && key.certificate().not_after() <= soon)
        .map(|key| format!("key {} at {}", key.kid(), key.certificate().not_after()))
        .collect();
    match admin.authorities(now) {
        Ok(authorities) => ending.extend(
            authorities
                .iter()
                // Dates of one form are in the order of their texts.
                .filter(|authority| authority.not_after <= soon.to_string())
                .map(|authority| format!("authority {} at {}", authority.subject, authority.not_after)),
        ),
        Err(error) => return Finding::failed("certificates", told(error), REACH),
    }
    if ending.is_empty() {
        return Finding::ok("certificates", "none in use ends within 14 days");
    }
    Finding::warning(
        "certificates",
        format!("these end soon: {}", ending.join(", ")),
        "import another authority with \"keywheel keys import ca\", or renew with \"keywheel keys renew KID\"",
    )
}
