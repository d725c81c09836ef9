//! Clients and their secrets.

use keywheel::oauth::{Audiences, Client, ClientId, ClientMetadata, ClientSecretRecord, Scope, Seconds};
use keywheel::storage::{AuditFilter, ClientCreation, ClientFilter, ClientUpdate, SecretAddition, Store};

use super::{at, create, event, id, metadata, new_client, secret};
use crate::support::on_both;

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
            refresh_ttl: Some(Seconds::days(1)),
            refresh_absolute_ttl: Some(Seconds::days(2)),
            refresh_retry_window: Some(Seconds::new(0)),
            introspect: false,
            ..metadata()
        };
        let update = |before: &Client, metadata: &ClientMetadata| {
            store.update_client(before, metadata, &event("client.updated")).unwrap()
        };
        let ClientUpdate::Updated(updated) = update(&created, &changed) else {
            panic!("nobody else changes it")
        };
        // Whoever saw the client as it was before has not seen this change.
        assert_eq!(update(&created, &metadata()), ClientUpdate::Changed);
        assert_eq!((updated.row, &updated.metadata), (created.row, &changed));
        assert_eq!((updated.created_at, updated.updated_at), (at(500), at(1_000)));
        let ClientUpdate::Updated(reset) = update(&updated, &metadata()) else {
            panic!("nobody else changes it")
        };
        assert_eq!(reset.metadata, metadata(), "an absent life replaces a present one");

        let disabled = store
            .set_client_enabled(&id("billing"), false, &event("client.disabled"))
            .unwrap();
        let disabled = disabled.unwrap();
        assert_eq!((disabled.enabled, disabled.epoch), (false, created.epoch + 1));
        assert!(!store.client(&id("billing")).unwrap().unwrap().0.enabled);
        let enabled = store
            .set_client_enabled(&id("billing"), true, &event("client.enabled"))
            .unwrap();
        let enabled = enabled.unwrap();
        assert_eq!((enabled.enabled, enabled.epoch), (true, created.epoch + 1));

        store.delete_client(&id("billing"), &event("x")).unwrap();
        assert_eq!(update(&reset, &metadata()), ClientUpdate::Changed);
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
            let clients = page_of(&store, after.map(id), limit);
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
fn secrets_that_have_expired_make_room_and_the_trail_tells_of_each() {
    on_both(|database| {
        let store = database.store();
        create(&store, "billing");
        let add = |name: &str, expires_at| {
            let secret = ClientSecretRecord {
                expires_at,
                ..secret(name)
            };
            store
                .add_client_secret(&id("billing"), &secret, &event("secret.added"))
                .unwrap()
        };
        for n in 0..Store::MAX_SECRETS - 2 {
            add(&format!("living{n}"), Some(at(1_001)));
        }
        database.execute(
            "INSERT INTO client_secrets (id, client, hash, hint, created_at, expires_at) \
             SELECT 'old' || n, client, hash, hint, 1, 1000 - n FROM client_secrets, (SELECT 0 AS n UNION SELECT 1) AS numbers \
             WHERE client_secrets.id = 'living0'",
        );
        for (name, gone) in [("new", &["old1"][..]), ("last", &["old0", "old1"])] {
            assert_eq!(add(name, None), SecretAddition::Added);
            let left = store.client_secrets(&id("billing")).unwrap().unwrap();
            assert_eq!(left.len(), Store::MAX_SECRETS);
            let mut events = store.audit_events(&AuditFilter::default()).unwrap();
            events.retain(|event| event.event == "client.secret_revoked");
            let told: Vec<_> = events
                .iter()
                .map(|event| event.detail["secret_id"].as_str().unwrap())
                .collect();
            assert_eq!(told, gone, "the one that expired first");
            assert_eq!(events[0].detail["from"], event("x").detail["from"]);
        }
        assert_eq!(add("one_more", None), SecretAddition::TooMany);
    });
}

fn page_of(store: &Store, after: Option<ClientId>, limit: u32) -> Vec<Client> {
    let filter = ClientFilter {
        after,
        limit,
        ..ClientFilter::default()
    };
    store.clients(&filter).unwrap()
}
