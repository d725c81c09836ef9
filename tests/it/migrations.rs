//! The schema's steps.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use keywheel::oauth::ClientId;
use keywheel::storage::Error;

use crate::support::on_both;
use crate::support::server::START;

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
