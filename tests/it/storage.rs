//! The conformance suite: what every backend does alike.

use keywheel::oauth::{
    Audiences, ClaimProfile, Client, ClientAuthMethod, ClientId, ClientMetadata, ClientSecretRecord, GrantType,
    NumericDate, Scope, Seconds, SecretHasher, SigningAlgorithm, Thumbprint, TokenType,
};
use keywheel::storage::{
    AuditEvent, AuditFilter, Change, ChangeKind, ClientCreation, ClientFilter, Error, NewClient, Store, StoredKey,
};
use serde_json::json;

use crate::support::on_both;

mod authorities;
mod clients;
mod deletions;
mod fail_over;
mod families;
mod keys;
mod outages;
mod pages;
mod races;
mod rotations;
mod shared_rotations;
mod sweep;
mod tls;
mod users;

fn at(seconds: i64) -> NumericDate {
    NumericDate::from_epoch(seconds)
}

fn id(text: &str) -> ClientId {
    ClientId::parse(text).unwrap()
}

fn event(name: &str) -> AuditEvent {
    AuditEvent {
        at: at(1_000),
        event: name.to_owned(),
        actor: "alice".to_owned(),
        client_id: None,
        kid: None,
        detail: json!({"from": "a \"test\"", "n": [1, null]}),
    }
}

fn metadata() -> ClientMetadata {
    ClientMetadata {
        name: "Rechnungen für 東京".to_owned(),
        grant_types: vec![GrantType::ClientCredentials],
        auth_methods: vec![ClientAuthMethod::ClientSecretPost, ClientAuthMethod::ClientSecretBasic],
        scope: Scope::parse("write read").unwrap(),
        audiences: Audiences::parse("https://api.example urn:other").unwrap(),
        access_ttl: None,
        token_reuse_window: None,
        token_quota: Some("1000/1m".parse().unwrap()),
        refresh_ttl: None,
        refresh_absolute_ttl: None,
        refresh_retry_window: None,
        token_type: TokenType::Jwt,
        claim_profile: ClaimProfile::Simplejwt,
        signing_alg: Some(SigningAlgorithm::Es256),
        introspect: true,
    }
}

fn new_client(client_id: &str) -> NewClient {
    NewClient {
        client_id: id(client_id),
        metadata: metadata(),
        created_at: at(500),
    }
}

fn secret(name: &str) -> ClientSecretRecord {
    ClientSecretRecord {
        id: name.to_owned(),
        hash: SecretHasher::new(&[7; 32]).hash(name),
        hint: "abcd".to_owned(),
        created_at: at(500),
        expires_at: Some(at(9_000)),
        not_before: None,
        last_used_at: None,
    }
}

fn create(store: &Store, client_id: &str) -> Client {
    match store
        .create_client(&new_client(client_id), None, &event("client.created"))
        .unwrap()
    {
        ClientCreation::Created(client) => client,
        ClientCreation::Exists => panic!("{client_id} exists"),
    }
}

/// A kid that differs from slot to slot.
fn kid(slot: i64) -> Thumbprint {
    Thumbprint::parse(&format!("{slot:0>43}")).unwrap()
}

fn key(slot: i64) -> StoredKey {
    StoredKey {
        kid: kid(slot),
        alg: "RS256".to_owned(),
        slot,
        published_at: at(100),
        activates_at: at(200),
        certificate: vec![0x30, 0, 0xff],
        sealed_private_key: Some(vec![1, 2, 3]),
        longest_token_life: Seconds::new(600),
        withdrawn_at: None,
        tainted_at: None,
        revoked_at: Some(at(i64::MAX)),
    }
}

fn subjects(changes: &[Change]) -> Vec<(ChangeKind, &str)> {
    changes
        .iter()
        .map(|change| (change.kind, change.subject.as_str()))
        .collect()
}

#[test]
fn every_administrative_change_is_announced_and_audited_and_a_change_of_nothing_is_not() {
    on_both(|database| {
        let store = database.store();
        assert_eq!(store.latest_change().unwrap(), 0);
        let billing = create(&store, "billing");
        store
            .update_client(&billing, &metadata(), &event("client.updated"))
            .unwrap();
        store
            .set_client_enabled(&id("billing"), false, &event("client.disabled"))
            .unwrap();
        store
            .add_client_secret(&id("billing"), &secret("s1"), &event("secret.added"))
            .unwrap();
        store
            .revoke_client_secret(&id("billing"), "s1", &event("secret.revoked"))
            .unwrap();
        store.delete_client(&id("billing"), &event("client.deleted")).unwrap();
        store.create_signing_key(&key(1), &event("key.created")).unwrap();
        store
            .set_activation(&kid(1), at(200), at(201), &event("key.advanced"))
            .unwrap();
        store.destroy_private_keys(&[kid(1)], &event("key.destroyed")).unwrap();

        let changes = store.changes_after(0, 100).unwrap();
        let mut expected = vec![(ChangeKind::Client, "billing"); 6];
        let first = kid(1);
        expected.extend([(ChangeKind::SigningKey, first.as_str()); 3]);
        assert_eq!(subjects(&changes), expected);
        assert!(changes.is_sorted_by(|a, b| a.id < b.id));
        assert_eq!(store.latest_change().unwrap(), changes[8].id);
        assert_eq!(store.changes_after(changes[1].id, 2).unwrap(), changes[2..4]);

        store.update_client(&billing, &metadata(), &event("x")).unwrap();
        store.revoke_client_secret(&id("billing"), "s1", &event("x")).unwrap();
        store.delete_client(&id("billing"), &event("x")).unwrap();
        store.set_activation(&kid(1), at(200), at(201), &event("x")).unwrap();
        store.destroy_private_keys(&[kid(1)], &event("x")).unwrap();
        assert_eq!(store.changes_after(0, 100).unwrap().len(), 9);
        assert_eq!(store.audit_events(&AuditFilter::default()).unwrap().len(), 9);
    });
}

#[test]
fn old_changes_are_pruned_in_batches_and_the_newest_stays() {
    on_both(|database| {
        let store = database.store();
        for name in ["a", "b", "c", "d"] {
            create(&store, name);
        }
        let latest = store.latest_change().unwrap();
        assert_eq!(
            store.prune_changes(at(1_000), 10).unwrap(),
            0,
            "they are not older than that"
        );
        assert_eq!(store.prune_changes(at(1_001), 2).unwrap(), 2);
        assert_eq!(subjects(&store.changes_after(0, 10).unwrap())[0].1, "c");
        assert_eq!(store.prune_changes(at(1_001), 10).unwrap(), 1);
        assert_eq!(store.prune_changes(at(1_001), 10).unwrap(), 0);
        assert_eq!(store.latest_change().unwrap(), latest);
    });
}

// D-23
#[test]
fn audit_events_are_read_as_they_were_recorded_newest_first() {
    on_both(|database| {
        let store = database.store();
        for (n, client) in [(3, None), (1, Some("a")), (2, Some("b")), (2, Some("a"))] {
            let event = AuditEvent {
                at: at(n),
                client_id: client.map(str::to_owned),
                ..event(&format!("e{n}"))
            };
            store.record(&event).unwrap();
        }
        let asked = |client_id: Option<&str>, since: Option<i64>, limit| -> Vec<(i64, Option<String>)> {
            let filter = AuditFilter {
                client_id: client_id.map(id),
                since: since.map(at),
                limit,
                ..AuditFilter::default()
            };
            let events = store.audit_events(&filter).unwrap();
            events
                .into_iter()
                .map(|event| (event.at.epoch(), event.client_id))
                .collect()
        };
        let (a, b) = (|| Some("a".to_owned()), || Some("b".to_owned()));
        assert_eq!(asked(None, None, 9), [(3, None), (2, a()), (2, b()), (1, a())]);
        assert_eq!(asked(Some("a"), None, 9), [(2, a()), (1, a())]);
        assert_eq!(asked(Some("a"), Some(2), 9), [(2, a())]);
        assert_eq!(asked(None, Some(2), 2), [(3, None), (2, a())]);
        let newest = store.audit_events(&AuditFilter::default()).unwrap().remove(0);
        assert_eq!(
            newest,
            AuditEvent {
                at: at(3),
                ..event("e3")
            }
        );
    });
}

// N-09
#[test]
fn a_row_that_cannot_be_is_named_and_never_taken_for_an_absent_one() {
    on_both(|database| {
        let store = database.store();
        create(&store, "billing");
        store.create_signing_key(&key(1), &event("key.created")).unwrap();
        for (damage, table) in [
            ("UPDATE clients SET scope = 'a  b'", "clients"),
            ("UPDATE clients SET scope = '', grant_types = 'magic'", "clients"),
            ("UPDATE clients SET grant_types = '', token_type = 'at'", "clients"),
        ] {
            database.execute(damage);
            let error = store.client(&id("billing")).unwrap_err();
            assert!(
                matches!(error, Error::Corrupt { table: t, .. } if t == table),
                "{damage}: {error}"
            );
            assert!(
                matches!(store.clients(&ClientFilter::default()), Err(Error::Corrupt { .. })),
                "{damage}"
            );
        }
        database.execute(&format!("UPDATE signing_keys SET kid = '{}'", "!".repeat(43)));
        assert!(matches!(
            store.signing_keys(),
            Err(Error::Corrupt {
                table: "signing_keys",
                ..
            })
        ));
        // Not damage, but a word of a newer version that runs beside this one.
        database.execute("UPDATE changes SET kind = 'weather'");
        let changes = store.changes_after(0, 9).unwrap();
        assert!(
            changes.iter().all(|change| change.kind == ChangeKind::Unknown),
            "{changes:?}"
        );
        database.execute("UPDATE audit_events SET detail = '{'");
        let filter = AuditFilter::default();
        assert!(matches!(
            store.audit_events(&filter),
            Err(Error::Corrupt {
                table: "audit_events",
                ..
            })
        ));
    });
}

#[test]
fn the_pool_and_the_statements_are_counted() {
    on_both(|database| {
        let store = database.store();
        store.ping().unwrap();
        let before = store.statements();
        store.ping().unwrap();
        assert_eq!(store.statements() - before, 1);
        let pool = store.pool();
        assert!(
            pool.connections >= 1 && pool.idle <= pool.connections && pool.connections <= pool.max,
            "{pool:?}"
        );
        assert_eq!(pool.max, if database.backend == "SQLite" { 4 } else { 8 });
    });
}
