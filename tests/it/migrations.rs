//! The schema's steps.

mod expansion;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use keywheel::oauth::ClientId;
use keywheel::storage::Error;

use serde_json::json;

use crate::support::http::{Request, send};
use crate::support::postgres::{Session, await_waiting};
use crate::support::process::Folder;
use crate::support::server::{START, TOKEN};
use crate::support::{Database, on_both};

#[test]
fn both_backends_have_the_same_migrations() {
    let names = |backend: &str| -> BTreeSet<String> {
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(backend))
            .unwrap()
            .map(|entry| entry.unwrap())
            .inspect(|entry| assert!(entry.path().join("up.sql").exists(), "{:?}", entry.path()))
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    };
    assert_eq!(names("postgres"), names("sqlite"));
    assert!(!names("postgres").is_empty());
}

#[test]
fn migrating_applies_each_step_once_and_looking_changes_nothing() {
    on_both(|database| {
        let store = database.open();
        let known = store.migrations().unwrap();
        assert!(!known.is_empty() && known.iter().all(|migration| !migration.applied));
        assert!(
            matches!(store.latest_change(), Err(Error::Database(_))),
            "there is no table yet"
        );

        let names: Vec<String> = known.into_iter().map(|migration| migration.name).collect();
        assert_eq!(store.migrate().unwrap(), names);
        assert_eq!(store.migrate().unwrap(), Vec::<String>::new());
        assert!(store.migrations().unwrap().iter().all(|migration| migration.applied));
        assert_eq!(store.latest_change().unwrap(), 0);
    });
}

#[test]
fn nodes_that_migrate_at_once_apply_each_step_once_between_them() {
    on_both(|database| {
        let applied: Vec<Vec<String>> = std::thread::scope(|scope| {
            let nodes: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| database.open().migrate().unwrap()))
                .collect();
            nodes.into_iter().map(|node| node.join().unwrap()).collect()
        });
        let known = database.open().migrations().unwrap().len();
        assert_eq!(applied.iter().flatten().count(), known, "{applied:?}");
    });
}

#[test]
fn a_migration_that_waits_for_a_table_lets_others_use_it_and_goes_on_when_it_is_free() {
    let database = Database::postgres();
    database.store();
    // As the version before the quotas left it.
    database.execute(
        "ALTER TABLE clients DROP COLUMN token_quota; DELETE FROM __diesel_schema_migrations WHERE version = '0016'",
    );
    std::thread::scope(|scope| {
        let long = Session::open(database.url());
        long.execute("BEGIN; SELECT FROM clients");
        let migrating = scope.spawn(|| database.open().migrate().unwrap());
        await_waiting(database.url(), 1);
        for _ in 0..2 {
            let begun = Instant::now();
            assert_eq!(database.count("clients"), 0);
            assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
            std::thread::sleep(Duration::from_secs(1));
        }
        assert!(!migrating.is_finished());
        long.execute("COMMIT");
        assert_eq!(migrating.join().unwrap(), ["0016_token_quotas"]);
    });
}

#[test]
fn the_version_before_goes_on_writing_while_nodes_are_replaced() {
    on_both(|database| {
        let store = database.store();
        // As the version with the first migration alone writes it.
        database.execute(
            "INSERT INTO clients (client_id, name, grant_types, auth_methods, scope, audiences, access_ttl, token_type, \
             claim_profile, introspect, enabled, created_at, updated_at) VALUES ('old', 'Old', 'client_credentials', \
             'client_secret_basic', '', '', NULL, 'JWT', 'rfc9068', false, true, 1, 1)",
        );
        let (client, _) = store.client(&ClientId::parse("old").unwrap()).unwrap().unwrap();
        assert_eq!(client.epoch, 0);
        assert_eq!(client.metadata.token_reuse_window, None);
        assert_eq!(client.metadata.refresh_ttl, None);
        assert_eq!(client.metadata.refresh_absolute_ttl, None);
        assert_eq!(client.metadata.refresh_retry_window, None);
        assert_eq!(client.owner, None);
        assert_eq!(client.metadata.signing_alg, None);
        assert_eq!(client.metadata.token_quota, None);
        // As the version with the first two writes it.
        database.execute("INSERT INTO revoked_access_tokens (jti, expires_at) VALUES ('old', 2000000000)");
        let revoked = store.revoked_access_tokens_after(0, START, 10).unwrap();
        assert_eq!(revoked.len(), 1, "{revoked:?}");
    });
}

#[test]
fn tables_from_which_rows_leave_are_vacuumed_when_a_hundredth_of_them_is_dead() {
    let database = Database::postgres();
    database.store();
    let soon =
        "SELECT relname FROM pg_class WHERE 'autovacuum_vacuum_scale_factor=0.01' = ANY (reloptions) ORDER BY relname";
    assert_eq!(
        database.query(soon),
        [
            "audit_events",
            "changes",
            "refresh_tokens",
            "revoked_access_tokens",
            "token_families"
        ]
    );
    // Room in each page is as it was.
    let fillfactor = "SELECT relname FROM pg_class WHERE 'fillfactor=90' = ANY (reloptions)";
    assert_eq!(database.query(fillfactor), ["refresh_tokens"]);
}

/// A database that a later version has migrated, and that says what a program must know to use it.
fn migrated_later(database: &Database, needs: &str) {
    database.store();
    database.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9000'), ('9001')");
    database.execute(&format!("UPDATE schema_compat SET needs = '{needs}'"));
}

#[test]
fn a_database_that_a_later_version_only_added_to_is_used_and_nothing_is_undone() {
    on_both(|database| {
        migrated_later(database, "0017");
        let store = database.open();
        assert_eq!(store.later_migrations().unwrap(), ["9000", "9001"]);
        assert_eq!(store.migrate().unwrap(), Vec::<String>::new());
        assert_eq!(database.count("__diesel_schema_migrations WHERE version LIKE '9%'"), 2);
        let folder = Folder::empty().with("DATABASE_URL", database.url());
        let secret = folder.client_secret("billing");
        let served = folder.serve(&["--issuer", "https://auth.example"]);
        let form = Request::raw_form(TOKEN, "grant_type=client_credentials").basic("billing", &secret);
        assert_eq!(send(served.address, &form).status, 200);
        assert!(served.begun.contains("9001"), "{}", served.begun);
        let status = folder.json(&["db", "status"]);
        assert_eq!(status["later_migrations"], json!(["9000", "9001"]));
    });
}

#[test]
fn a_database_that_a_later_version_took_something_from_is_refused_and_left_alone() {
    on_both(|database| {
        migrated_later(database, "9001");
        let before = database.dump();
        let folder = Folder::empty().with("DATABASE_URL", database.url());
        let commands: [&[&str]; 4] = [
            &["serve", "--issuer", "https://auth.example"],
            &["client", "list"],
            &["db", "migrate"],
            &["db", "status"],
        ];
        for command in commands {
            let said = folder.refused(command);
            assert!(
                said.contains("9001") && said.contains("or a later one"),
                "{command:?}: {said}"
            );
        }
        if database.backend == "PostgreSQL" {
            assert!(database.dump() == before, "it was written to");
        }
        assert!(matches!(database.open().migrate(), Err(Error::SchemaTooNew { .. })));
        // One that does not say what it needs is not trusted.
        database.execute("DELETE FROM schema_compat");
        assert!(matches!(database.open().migrate(), Err(Error::SchemaTooNew { .. })));
    });
}

#[test]
fn no_migration_takes_anything_from_the_version_before_unless_it_is_a_contract_step() {
    for backend in ["postgres", "sqlite"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(backend);
        let mut seen = 0;
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path().join("up.sql");
            let sql = fs::read_to_string(&path).unwrap();
            assert_eq!(expansion::refused(&sql), None, "{}", path.display());
            seen += 1;
        }
        assert!(seen >= 16, "{backend}: {seen}");
    }
}
