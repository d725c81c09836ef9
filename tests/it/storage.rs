//! The conformance suite: what every backend does alike.

use std::collections::BTreeSet;

use keywheel::oauth::{
    Audiences, ClaimProfile, Client, ClientAuthMethod, ClientId, ClientMetadata, ClientSecretRecord, GrantType,
    NumericDate, Scope, Seconds, SecretHasher, Thumbprint, TokenType,
};
use keywheel::storage::{
    AuditEvent, AuditFilter, Change, ChangeKind, ClientCreation, Error, Insertion, NewClient, SecretAddition, Store,
    StoredAuthority, StoredDataKey, StoredKey,
};
use serde_json::json;

use crate::support::on_both;

mod outages;
mod races;
mod tls;

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
        token_type: TokenType::Jwt,
        claim_profile: ClaimProfile::Simplejwt,
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
        tainted_at: None,
        revoked_at: Some(at(i64::MAX)),
    }
}

fn lives(store: &Store) -> Vec<i64> {
    let keys = store.signing_keys().unwrap();
    keys.iter().map(|key| key.longest_token_life.get()).collect()
}

fn subjects(changes: &[Change]) -> Vec<(ChangeKind, &str)> {
    changes
        .iter()
        .map(|change| (change.kind, change.subject.as_str()))
        .collect()
}

#[test]
fn a_client_is_read_as_it_was_written_with_its_secrets_in_one_statement() {
    on_both(|database| {
        let store = database.store();
        assert!(store.client(&id("billing")).unwrap().is_none());

        let new = new_client("billing");
        let creation = store
            .create_client(&new, Some(&secret("s1")), &event("client.created"))
            .unwrap();
        let ClientCreation::Created(created) = creation else {
            panic!("{creation:?}")
        };
        assert_eq!(created.metadata, new.metadata);
        assert_eq!(
            (created.enabled, created.created_at, created.updated_at),
            (true, at(500), at(500))
        );

        let before = store.statements();
        let (read, secrets) = store.client(&new.client_id).unwrap().unwrap();
        assert_eq!(store.statements() - before, 1);
        assert_eq!(read, created);
        assert_eq!(secrets.len(), 1);
        assert_eq!((secrets[0].id.as_str(), secrets[0].hint.as_str()), ("s1", "abcd"));
        assert!(secrets[0].hash.matches(&secret("s1").hash));
        assert_eq!(secrets[0].expires_at, Some(at(9_000)));

        let again = store
            .create_client(&new, Some(&secret("s2")), &event("client.created"))
            .unwrap();
        assert_eq!(again, ClientCreation::Exists);
        assert_eq!(store.client_secrets(&new.client_id).unwrap().unwrap().len(), 1);
    });
}

// D-17
#[test]
fn a_client_registered_again_is_another_client() {
    on_both(|database| {
        let store = database.store();
        let first = create(&store, "billing");
        store
            .add_client_secret(&id("billing"), &secret("s1"), &event("secret.added"))
            .unwrap();
        assert!(store.delete_client(&id("billing"), &event("client.deleted")).unwrap());
        assert!(!store.delete_client(&id("billing"), &event("client.deleted")).unwrap());
        assert!(store.client_secrets(&id("billing")).unwrap().is_none());
        let second = create(&store, "billing");
        assert_ne!(first.row, second.row);
        assert!(
            store.client_secrets(&id("billing")).unwrap().unwrap().is_empty(),
            "secrets went with their client"
        );
    });
}

#[test]
fn a_client_is_changed_disabled_and_enabled_as_of_the_event() {
    on_both(|database| {
        let store = database.store();
        let created = create(&store, "billing");
        let changed = ClientMetadata {
            name: String::new(),
            scope: Scope::empty(),
            audiences: Audiences::default(),
            access_ttl: Some(Seconds::new(60)),
            introspect: false,
            ..metadata()
        };
        let updated = store
            .update_client(&id("billing"), &changed, &event("client.updated"))
            .unwrap()
            .unwrap();
        assert_eq!((updated.row, &updated.metadata), (created.row, &changed));
        assert_eq!((updated.created_at, updated.updated_at), (at(500), at(1_000)));
        let reset = store
            .update_client(&id("billing"), &metadata(), &event("client.updated"))
            .unwrap()
            .unwrap();
        assert_eq!(reset.metadata.access_ttl, None, "an absent life replaces a present one");

        let disabled = store
            .set_client_enabled(&id("billing"), false, &event("client.disabled"))
            .unwrap();
        assert!(!disabled.unwrap().enabled);
        assert!(!store.client(&id("billing")).unwrap().unwrap().0.enabled);
        let enabled = store
            .set_client_enabled(&id("billing"), true, &event("client.enabled"))
            .unwrap();
        assert!(enabled.unwrap().enabled);

        assert!(
            store
                .update_client(&id("other"), &metadata(), &event("x"))
                .unwrap()
                .is_none()
        );
        assert!(
            store
                .set_client_enabled(&id("other"), true, &event("x"))
                .unwrap()
                .is_none()
        );
    });
}

#[test]
fn clients_are_paged_in_the_order_of_bytes() {
    on_both(|database| {
        let store = database.store();
        for name in ["b", "a", "B", "a-1", "_x", "a.1", "aa"] {
            create(&store, name);
        }
        let page = |after: Option<&str>, limit| -> Vec<String> {
            let clients = store.clients(after.map(id).as_ref(), limit).unwrap();
            clients.iter().map(|client| client.client_id.to_string()).collect()
        };
        assert_eq!(page(None, 100), ["B", "_x", "a", "a-1", "a.1", "aa", "b"]);
        assert_eq!(page(None, 2), ["B", "_x"]);
        assert_eq!(page(Some("_x"), 2), ["a", "a-1"]);
        assert!(page(Some("b"), 2).is_empty());
    });
}

#[test]
fn a_client_has_at_most_ten_secrets_and_each_can_be_revoked() {
    on_both(|database| {
        let store = database.store();
        let add = |client: &str, name: &str| {
            store
                .add_client_secret(&id(client), &secret(name), &event("secret.added"))
                .unwrap()
        };
        assert_eq!(add("billing", "s0"), SecretAddition::UnknownClient);
        create(&store, "billing");
        create(&store, "other");
        for n in 0..Store::MAX_SECRETS {
            assert_eq!(add("billing", &format!("s{n}")), SecretAddition::Added);
        }
        assert_eq!(add("billing", "s10"), SecretAddition::TooMany);

        let revoke = |client: &str, name: &str| {
            store
                .revoke_client_secret(&id(client), name, &event("secret.revoked"))
                .unwrap()
        };
        assert!(!revoke("other", "s3"), "a secret of somebody else");
        assert!(revoke("billing", "s3"));
        assert!(!revoke("billing", "s3"));
        assert_eq!(add("billing", "s10"), SecretAddition::Added);
        let left: Vec<String> = store
            .client_secrets(&id("billing"))
            .unwrap()
            .unwrap()
            .into_iter()
            .map(|secret| secret.id)
            .collect();
        assert!(left.len() == 10 && !left.contains(&"s3".to_owned()), "{left:?}");
    });
}

#[test]
fn there_is_one_data_key_and_one_authority() {
    on_both(|database| {
        let store = database.store();
        assert_eq!(store.data_key().unwrap(), None);
        assert_eq!(store.certificate_authority().unwrap(), None);
        let data_key = StoredDataKey {
            master_key_id: "m1".to_owned(),
            wrapped: vec![0, 1, 255],
            created_at: at(1),
        };
        let authority = StoredAuthority {
            certificate: vec![0x30],
            sealed_private_key: vec![9; 2_000],
            created_at: at(2),
        };
        assert_eq!(store.store_data_key(&data_key).unwrap(), Insertion::Inserted);
        assert_eq!(
            store.store_certificate_authority(&authority).unwrap(),
            Insertion::Inserted
        );
        let other = StoredDataKey {
            wrapped: vec![1],
            ..data_key.clone()
        };
        assert_eq!(store.store_data_key(&other).unwrap(), Insertion::Exists);
        assert_eq!(
            store.store_certificate_authority(&authority).unwrap(),
            Insertion::Exists
        );
        assert_eq!(store.data_key().unwrap(), Some(data_key));
        assert_eq!(store.certificate_authority().unwrap(), Some(authority));
    });
}

#[test]
fn a_slot_is_taken_once_and_keys_come_in_the_order_of_slots() {
    on_both(|database| {
        let store = database.store();
        for slot in [2, 1] {
            assert_eq!(
                store.create_signing_key(&key(slot), &event("key.created")).unwrap(),
                Insertion::Inserted
            );
        }
        let same_slot = StoredKey { kid: kid(99), ..key(1) };
        let same_kid = StoredKey { slot: 3, ..key(1) };
        let other_alg = StoredKey {
            kid: kid(98),
            alg: "ES256".to_owned(),
            ..key(1)
        };
        assert_eq!(
            store.create_signing_key(&same_slot, &event("key.created")).unwrap(),
            Insertion::Exists
        );
        assert_eq!(
            store.create_signing_key(&same_kid, &event("key.created")).unwrap(),
            Insertion::Exists
        );
        assert_eq!(
            store.create_signing_key(&other_alg, &event("key.created")).unwrap(),
            Insertion::Inserted
        );
        assert_eq!(store.signing_keys().unwrap(), [other_alg, key(1), key(2)]);
        let recorded = store.audit_events(&AuditFilter::default()).unwrap();
        assert_eq!(recorded.len(), 3, "who came second records nothing");
    });
}

#[test]
fn an_activation_moves_only_from_where_it_is_expected() {
    on_both(|database| {
        let store = database.store();
        store.create_signing_key(&key(1), &event("key.created")).unwrap();
        let move_it = |from, to| {
            store
                .set_activation(&kid(1), at(from), at(to), &event("key.advanced"))
                .unwrap()
        };
        assert!(!move_it(199, 50));
        assert!(move_it(200, 50));
        assert!(!move_it(200, 50), "somebody moved it already");
        assert!(!store.set_activation(&kid(2), at(200), at(50), &event("x")).unwrap());
        assert_eq!(store.signing_keys().unwrap()[0].activates_at, at(50));
    });
}

#[test]
fn a_private_half_is_destroyed_once_and_recorded_for_each_key() {
    on_both(|database| {
        let store = database.store();
        for slot in 1..=3 {
            store.create_signing_key(&key(slot), &event("key.created")).unwrap();
        }
        let destroy = |kids: &[Thumbprint]| store.destroy_private_keys(kids, &event("key.destroyed")).unwrap();
        assert_eq!(destroy(&[]), 0);
        assert_eq!(destroy(&[kid(1), kid(2), kid(7)]), 2);
        assert_eq!(destroy(&[kid(2), kid(3)]), 1);
        let keys = store.signing_keys().unwrap();
        assert!(
            keys.iter()
                .all(|key| key.sealed_private_key.is_none() && !key.certificate.is_empty())
        );
        let recorded: BTreeSet<Option<String>> = store
            .audit_events(&AuditFilter::default())
            .unwrap()
            .into_iter()
            .filter(|event| event.event == "key.destroyed")
            .map(|event| event.kid)
            .collect();
        assert_eq!(
            recorded,
            (1..=3).map(|slot| Some(kid(slot).as_str().to_owned())).collect()
        );
    });
}

// a key stays published until the last token that it may have signed has expired.
#[test]
fn the_longest_token_life_of_keys_that_can_sign_is_raised_and_never_lowered() {
    on_both(|database| {
        let store = database.store();
        for slot in 1..=2 {
            store.create_signing_key(&key(slot), &event("key.created")).unwrap();
        }
        store.destroy_private_keys(&[kid(1)], &event("key.destroyed")).unwrap();
        let mut client = new_client("patient");
        client.metadata.access_ttl = Some(Seconds::new(7_200));
        let seen = store.latest_change().unwrap();
        store.create_client(&client, None, &event("client.created")).unwrap();
        assert_eq!(lives(&store), [600, 7_200]);
        let changes = store.changes_after(seen, 10).unwrap();
        assert_eq!(
            subjects(&changes),
            [
                (ChangeKind::Client, "patient"),
                (ChangeKind::SigningKey, kid(2).as_str())
            ],
            "nodes must learn that the key stays longer"
        );

        client.metadata.access_ttl = Some(Seconds::new(60));
        store
            .update_client(&client.client_id, &client.metadata, &event("client.updated"))
            .unwrap();
        assert_eq!(lives(&store), [600, 7_200]);
        client.metadata.access_ttl = Some(Seconds::new(9_000));
        store
            .update_client(&client.client_id, &client.metadata, &event("client.updated"))
            .unwrap();
        assert_eq!(lives(&store), [600, 9_000]);

        assert_eq!(store.raise_token_life(Seconds::new(8_000), at(1_000)).unwrap(), 0);
        assert_eq!(store.raise_token_life(Seconds::new(10_000), at(1_000)).unwrap(), 1);
        assert_eq!(lives(&store), [600, 10_000]);

        store.create_signing_key(&key(3), &event("key.created")).unwrap();
        assert_eq!(
            lives(&store),
            [600, 10_000, 9_000],
            "a new key starts with the clients' longest life"
        );
    });
}

#[test]
fn every_administrative_change_is_announced_and_audited_and_a_change_of_nothing_is_not() {
    on_both(|database| {
        let store = database.store();
        assert_eq!(store.latest_change().unwrap(), 0);
        create(&store, "billing");
        store
            .update_client(&id("billing"), &metadata(), &event("client.updated"))
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

        store.update_client(&id("billing"), &metadata(), &event("x")).unwrap();
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
            assert!(matches!(store.clients(None, 9), Err(Error::Corrupt { .. })), "{damage}");
        }
        database.execute(&format!("UPDATE signing_keys SET kid = '{}'", "!".repeat(43)));
        assert!(matches!(
            store.signing_keys(),
            Err(Error::Corrupt {
                table: "signing_keys",
                ..
            })
        ));
        database.execute("UPDATE changes SET kind = 'weather'");
        assert!(matches!(
            store.changes_after(0, 9),
            Err(Error::Corrupt { table: "changes", .. })
        ));
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
