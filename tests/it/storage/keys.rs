//! What the key wheel stores.

use std::collections::BTreeSet;

use keywheel::oauth::{Client, ClientMetadata, Seconds, Thumbprint};
use keywheel::storage::{
    AuditFilter, ChangeKind, ClientUpdate, Insertion, Store, StoredAuthority, StoredDataKey, StoredKey,
};

use super::{at, event, key, kid, new_client, subjects};
use crate::support::on_both;

fn lives(store: &Store) -> Vec<i64> {
    let keys = store.signing_keys().unwrap();
    keys.iter().map(|key| key.longest_token_life.get()).collect()
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

        let update = |before: Client, access_ttl| {
            let metadata = ClientMetadata {
                access_ttl: Some(Seconds::new(access_ttl)),
                ..before.metadata.clone()
            };
            match store
                .update_client(&before, &metadata, &event("client.updated"))
                .unwrap()
            {
                ClientUpdate::Updated(client) => client,
                ClientUpdate::Changed => panic!("nobody else changes it"),
            }
        };
        let (client, _) = store.client(&client.client_id).unwrap().unwrap();
        let client = update(client, 60);
        assert_eq!(lives(&store), [600, 7_200]);
        update(client, 9_000);
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
