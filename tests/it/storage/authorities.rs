//! Authorities that take each other's place, keys from elsewhere, and other certificates for keys.

use keywheel::storage::{AuditFilter, ChangeKind, Insertion, Store, StoredAuthority, StoredKey};

use super::{at, event, key, kid, subjects};
use crate::support::on_both;

fn authority(name: u8) -> StoredAuthority {
    StoredAuthority {
        certificate: vec![0x30, name],
        sealed_private_key: vec![name; 100],
        created_at: at(i64::from(name)),
    }
}

fn events(store: &Store) -> Vec<String> {
    let events = store.audit_events(&AuditFilter::default()).unwrap();
    events.into_iter().rev().map(|event| event.event).collect()
}

#[test]
fn an_authority_takes_the_place_of_another_whose_certificate_alone_is_kept() {
    on_both(|database| {
        let store = database.store();
        assert_eq!(store.authority_certificates().unwrap(), Vec::<Vec<u8>>::new());
        store.store_certificate_authority(&authority(1)).unwrap();
        let seen = store.latest_change().unwrap();
        let replace = |name, issuers: &[Vec<u8>]| {
            let mut event = event("authority.imported");
            event.at = at(i64::from(name));
            store
                .replace_certificate_authority(&authority(name), issuers, &event)
                .unwrap();
        };
        replace(2, &[vec![0x30, 9]]);
        assert_eq!(store.certificate_authority().unwrap(), Some(authority(2)));
        let mut kept = store.authority_certificates().unwrap();
        kept.sort();
        assert_eq!(kept, [[0x30, 1], [0x30, 9]]);
        assert_eq!(
            subjects(&store.changes_after(seen, 10).unwrap()),
            [(ChangeKind::SigningKey, "*")]
        );
        replace(3, &[vec![0x30, 9]]);
        assert_eq!(store.authority_certificates().unwrap().len(), 3, "none twice");
        assert_eq!(
            store.authority_certificates().unwrap()[0],
            [0x30, 2],
            "the newest first"
        );
        assert_eq!(events(&store), ["authority.imported"; 2]);
    });
}

#[test]
fn an_authority_may_be_there_before_any_server_made_one() {
    on_both(|database| {
        let store = database.store();
        store
            .replace_certificate_authority(&authority(2), &[], &event("authority.imported"))
            .unwrap();
        assert_eq!(
            store.store_certificate_authority(&authority(1)).unwrap(),
            Insertion::Exists
        );
        assert_eq!(store.certificate_authority().unwrap(), Some(authority(2)));
        assert_eq!(store.authority_certificates().unwrap(), Vec::<Vec<u8>>::new());
    });
}

#[test]
fn a_key_from_elsewhere_takes_the_next_slot_and_comes_once() {
    on_both(|database| {
        let store = database.store();
        let import = |name: i64, issuers: &[Vec<u8>]| {
            let imported = StoredKey { slot: 0, ..key(name) };
            store
                .import_signing_key(&imported, issuers, &event("key.imported"))
                .unwrap()
        };
        assert_eq!(import(7, &[]), Insertion::Inserted);
        store.create_signing_key(&key(4), &event("key.created")).unwrap();
        assert_eq!(import(8, &[vec![0x30, 1]]), Insertion::Inserted);
        assert_eq!(import(8, &[vec![0x30, 2]]), Insertion::Exists);
        let slots = store.signing_keys().unwrap().into_iter().map(|key| (key.slot, key.kid));
        assert_eq!(slots.collect::<Vec<_>>(), [(1, kid(7)), (4, kid(4)), (5, kid(8))]);
        assert_eq!(store.authority_certificates().unwrap(), [[0x30, 1]]);
        assert_eq!(events(&store), ["key.imported", "key.created", "key.imported"]);
    });
}

#[test]
fn of_two_that_certify_a_key_anew_one_does() {
    on_both(|database| {
        let store = database.store();
        let sound = StoredKey {
            revoked_at: None,
            ..key(1)
        };
        store.create_signing_key(&sound, &event("key.created")).unwrap();
        store.create_signing_key(&key(2), &event("key.created")).unwrap();
        let seen = store.latest_change().unwrap();
        let renew = |name, from: &[u8], to: &[u8]| {
            store
                .renew_certificate(&kid(name), from, to, &event("key.renewed"))
                .unwrap()
        };
        assert!(renew(1, &sound.certificate, &[1]));
        assert!(!renew(1, &sound.certificate, &[2]), "somebody else was first");
        assert!(!renew(2, &key(2).certificate, &[1]), "it is revoked");
        assert!(!renew(3, &[], &[1]), "there is none");
        let renewed = StoredKey {
            certificate: vec![1],
            ..sound
        };
        assert_eq!(store.signing_keys().unwrap()[0], renewed);
        let first = kid(1);
        assert_eq!(
            subjects(&store.changes_after(seen, 10).unwrap()),
            [(ChangeKind::SigningKey, first.as_str())]
        );
        assert_eq!(events(&store).last().map(String::as_str), Some("key.renewed"));
    });
}
