//! Many at once.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use keywheel::storage::{AuditFilter, ClientCreation, Error, Insertion, SecretAddition, Store, StoredKey};

use super::{at, create, event, id, key, kid, new_client, secret};
use crate::support::{Database, on_both};

/// Calls `act` from `count` threads at the same moment.
pub(super) fn at_once<T: Send>(count: i64, act: impl Fn(i64) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(usize::try_from(count).unwrap());
    std::thread::scope(|scope| {
        let (barrier, act) = (&barrier, &act);
        let threads: Vec<_> = (0..count)
            .map(|n| {
                scope.spawn(move || {
                    barrier.wait();
                    act(n)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

//
#[test]
fn of_many_that_create_the_key_of_one_slot_one_does_and_none_fails() {
    on_both(|database| {
        database.store();
        let nodes: Vec<Store> = (0..4).map(|_| database.open()).collect();
        let outcomes = at_once(16, |n| {
            let mine = StoredKey {
                kid: kid(100 + n),
                ..key(1)
            };
            let node = &nodes[usize::try_from(n).unwrap() % nodes.len()];
            node.create_signing_key(&mine, &event("key.created")).unwrap()
        });
        let inserted = outcomes
            .iter()
            .filter(|outcome| **outcome == Insertion::Inserted)
            .count();
        assert_eq!(inserted, 1, "{outcomes:?}");
        assert_eq!(nodes[0].signing_keys().unwrap().len(), 1);
        assert_eq!(nodes[0].changes_after(0, 100).unwrap().len(), 1);
        assert_eq!(nodes[0].audit_events(&AuditFilter::default()).unwrap().len(), 1);
    });
}

#[test]
fn of_many_that_register_one_client_one_does_and_its_secrets_never_exceed_ten() {
    on_both(|database| {
        let store = database.store();
        let outcomes = at_once(16, |_| {
            store
                .create_client(&new_client("a"), None, &event("client.created"))
                .unwrap()
        });
        let created = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, ClientCreation::Created(_)))
            .count();
        assert_eq!(created, 1);
        let outcomes = at_once(16, |n| {
            let secret = secret(&format!("s{n}"));
            store
                .add_client_secret(&id("a"), &secret, &event("secret.added"))
                .unwrap()
        });
        let added = outcomes
            .iter()
            .filter(|outcome| **outcome == SecretAddition::Added)
            .count();
        assert_eq!(added, Store::MAX_SECRETS);
    });
}

#[test]
fn a_poller_of_the_feed_misses_no_change_however_many_write() {
    on_both(|database| {
        database.store();
        let nodes: Vec<Store> = (0..2).map(|_| database.open()).collect();
        let done = AtomicBool::new(false);
        let (seen, created) = std::thread::scope(|scope| {
            let poller = scope.spawn(|| {
                let store = database.open();
                let (mut last, mut seen) = (0, 0);
                loop {
                    // Read before the poll: what was written until then must be in it.
                    let is_last = done.load(Ordering::SeqCst);
                    let changes = store.changes_after(last, 1_000).unwrap();
                    seen += changes.len();
                    last = changes.last().map_or(last, |change| change.id);
                    if is_last {
                        return seen;
                    }
                }
            });
            // Whatever happens to the writers, the poller must end.
            let written = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                at_once(8, |thread| {
                    for n in 0..25 {
                        create(&nodes[usize::try_from(thread % 2).unwrap()], &format!("c-{thread}-{n}"));
                    }
                })
            }));
            done.store(true, Ordering::SeqCst);
            written.unwrap();
            (poller.join().unwrap(), 8 * 25)
        });
        assert_eq!(seen, created);
    });
}

#[test]
fn writes_of_sqlite_share_commits_and_a_failing_one_takes_nobody_with_it() {
    let database = Database::sqlite();
    let store = database.store();
    create(&store, "a");
    store
        .add_client_secret(&id("a"), &secret("taken"), &event("secret.added"))
        .unwrap();
    for n in 0..64 {
        create(&store, &format!("c-{n}"));
    }
    let outcomes = at_once(64, |n| {
        // Every fourth breaks a rule of the schema: the identifier of its secret is taken.
        let secret = secret(&if n % 4 == 0 {
            "taken".to_owned()
        } else {
            format!("s{n}")
        });
        store.add_client_secret(&id(&format!("c-{n}")), &secret, &event("secret.added"))
    });
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(SecretAddition::Added) => assert_ne!(n % 4, 0),
            Err(Error::Database(_)) => assert_eq!(n % 4, 0),
            other => panic!("{n}: {other:?}"),
        }
        let secrets = store.client_secrets(&id(&format!("c-{n}"))).unwrap().unwrap();
        assert_eq!(
            secrets.len(),
            usize::from(n % 4 != 0),
            "{n}: what was answered is what is stored"
        );
    }
    let audited = store.audit_events(&AuditFilter {
        since: Some(at(0)),
        limit: 1_000,
        ..AuditFilter::default()
    });
    assert_eq!(audited.unwrap().len(), 66 + 48);
}

// N-08
#[test]
fn the_files_of_sqlite_are_their_owners_alone() {
    let database = Database::sqlite();
    let store = database.store();
    create(&store, "a");
    let path = std::path::PathBuf::from(database.url().trim_start_matches("sqlite://"));
    let mut files = 0;
    for entry in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            entry.path()
        );
        files += 1;
    }
    assert_eq!(files, 3, "the database, its log and the log's index");
}

// W-08
#[test]
fn revoked_access_tokens_are_numbered_in_the_order_in_which_they_become_visible() {
    on_both(|database| {
        database.store();
        let nodes = [database.open(), database.open()];
        let done = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            let follower = scope.spawn(|| {
                let (store, mut last, mut seen) = (database.open(), 0, BTreeSet::new());
                loop {
                    let is_last = done.load(Ordering::SeqCst);
                    for revoked in store.revoked_access_tokens_after(last, at(1_000), 7).unwrap() {
                        assert!(revoked.number > last);
                        last = revoked.number;
                        seen.insert(revoked.jti);
                    }
                    if is_last
                        && store
                            .revoked_access_tokens_after(last, at(1_000), 7)
                            .unwrap()
                            .is_empty()
                    {
                        return seen;
                    }
                }
            });
            at_once(8, |thread| {
                for n in 0..25 {
                    let node = &nodes[usize::try_from(thread % 2).unwrap()];
                    let jti = format!("j-{thread}-{n}");
                    assert!(node.revoke_access_token(&jti, at(2_000), &event("x")).unwrap());
                }
            });
            done.store(true, Ordering::SeqCst);
            follower.join().unwrap()
        });
        assert_eq!(seen.len(), 200, "none is missed");
        let store = &nodes[0];
        assert!(
            store.revoked_access_tokens_after(0, at(2_000), 7).unwrap().is_empty(),
            "expired"
        );
    });
}
