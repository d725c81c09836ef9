//! Many at once: a refresh token has one successor, and none after an acknowledged end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use keywheel::oauth::{Client, User};
use keywheel::storage::{DatabaseUrl, Error, FamilyCreation, RotationOutcome, Settings, Store, Waiting};

use super::families::{family_id, hash, open, rotation};
use super::races::at_once;
use super::users::create_user;
use super::{at, create, event};
use crate::support::postgres::{Session, TestPostgres, await_waiting};
use crate::support::{Database, on_both};

fn rotate(store: &Store, from: &str, to: &str) -> RotationOutcome {
    try_alone(store, from, to).unwrap()
}

/// A way to rotate a token.
type Way = fn(&Store, from: &str, to: &str) -> Result<RotationOutcome, Error>;

/// By itself, and in company of all who ask at the same time.
const WAYS: [Way; 2] = [try_alone, try_in_company];

fn try_alone(store: &Store, from: &str, to: &str) -> Result<RotationOutcome, Error> {
    store.rotate(&rotation(from, to, at(2_000)), &event("token.refreshed"))
}

/// As a server does it: whoever is not told that it happened asks alone.
fn try_in_company(store: &Store, from: &str, to: &str) -> Result<RotationOutcome, Error> {
    let (_waiting, told) = rotate_soon(store, from, to);
    if told.recv().unwrap()? {
        Ok(RotationOutcome::Rotated)
    } else {
        try_alone(store, from, to)
    }
}

/// What is told later.
pub(super) fn rotate_soon(store: &Store, from: &str, to: &str) -> (Waiting, Receiver<Result<bool, Error>>) {
    let (tell, told) = channel();
    let done = move |outcome| drop(tell.send(outcome));
    let waiting = store.rotate_soon(rotation(from, to, at(2_000)), event("token.refreshed"), done);
    (waiting, told)
}

//
#[test]
fn of_64_that_use_one_token_on_two_nodes_one_rotates_it_and_one_successor_is_stored() {
    WAYS.into_iter().for_each(of_64_that_use_one_token_one_rotates_it);
}

fn of_64_that_use_one_token_one_rotates_it(way: Way) {
    on_both(|database| {
        let store = database.store();
        let client = create(&store, "billing");
        let nodes = [database.open(), database.open()];
        for round in 0..10 {
            let name = format!("f{round}");
            open(&store, &name, &client, None);
            let outcomes = at_once(64, |n| {
                let node = &nodes[usize::try_from(n).unwrap() % 2];
                // Each with a successor of its own, so that none can hide behind another's.
                (way(node, &format!("{name}-0"), &format!("{name}-by-{n}")).unwrap(), n)
            });
            let rotated: Vec<i64> = outcomes
                .iter()
                .filter(|(outcome, _)| *outcome == RotationOutcome::Rotated)
                .map(|(_, n)| *n)
                .collect();
            assert_eq!(rotated.len(), 1, "{outcomes:?}");
            let replayed = outcomes
                .iter()
                .filter(|(outcome, _)| *outcome == RotationOutcome::Replayed);
            assert_eq!(replayed.count(), 63, "{outcomes:?}");
            assert_eq!(
                database.count(&format!("refresh_tokens WHERE family = '{}'", family_id(&name))),
                2
            );
            let successor = store
                .refresh_token(&hash(&format!("{name}-by-{}", rotated[0])))
                .unwrap();
            assert_eq!(successor.unwrap().generation, 1);
        }
        assert_eq!(database.count("audit_events WHERE event = 'token.refreshed'"), 10);
    });
}

/// What ends the families of a client and a user.
type End = fn(&Store, &Client, &User);

const ENDS: [(&str, End); 6] = [
    ("revoke", |store, _, _| {
        for thread in 0..THREADS {
            let id = family_id(&format!("f{thread}"));
            store.revoke_family(&id, at(2_000), "logout", &event("x")).unwrap();
        }
    }),
    ("disable client", |store, client, _| {
        store.set_client_enabled(&client.client_id, false, &event("x")).unwrap();
    }),
    ("disable user", |store, _, user| {
        store.set_user_enabled(&user.user_id, false, &event("x")).unwrap();
    }),
    ("set password", |store, _, user| {
        store.set_password(&user.user_id, "new", &event("x")).unwrap();
    }),
    ("delete client", |store, client, _| {
        store.delete_client(&client.client_id, &event("x")).unwrap();
    }),
    ("delete user", |store, _, user| {
        store.delete_user(&user.user_id, &event("x")).unwrap();
    }),
];

const THREADS: usize = 8;

//
#[test]
fn after_an_acknowledged_end_no_token_is_rotated() {
    for way in WAYS {
        on_both(|database| after_an_acknowledged_end(database, way));
    }
}

//
#[test]
fn whatever_isolation_a_database_asks_for_an_acknowledged_end_is_one() {
    for way in WAYS {
        let database = Database::postgres();
        let name = database.query("SELECT current_database()").remove(0);
        database.execute(&format!(
            "ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"
        ));
        after_an_acknowledged_end(&database, way);
    }
}

fn after_an_acknowledged_end(database: &Database, way: Way) {
    let store = database.store();
    let nodes = [database.open(), database.open()];
    for (name, end) in ENDS {
        let client = create(&store, "billing");
        let user = create_user(&store, "1", "alice");
        for thread in 0..THREADS {
            let opened = open(&store, &format!("f{thread}"), &client, Some(&user));
            assert_eq!(opened, FamilyCreation::Opened);
        }
        let (clock, busy) = (AtomicU64::new(1), AtomicUsize::new(0));
        let (last_started, ended) = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (nodes, clock, busy) = (&nodes, &clock, &busy);
                    scope.spawn(move || {
                        let mut last_started = 0;
                        for generation in 0.. {
                            let (from, to) = (
                                format!("f{thread}-{generation}"),
                                format!("f{thread}-{}", generation + 1),
                            );
                            let started = clock.fetch_add(1, Ordering::SeqCst);
                            match way(&nodes[(thread + generation) % 2], &from, &to).unwrap() {
                                RotationOutcome::Rotated => last_started = started,
                                RotationOutcome::Ended => break,
                                RotationOutcome::Replayed => panic!("nobody else has {from}"),
                            }
                            if generation == 3 {
                                busy.fetch_add(1, Ordering::SeqCst);
                            }
                        }
                        last_started
                    })
                })
                .collect();
            while busy.load(Ordering::SeqCst) < THREADS {
                std::thread::yield_now();
            }
            end(&nodes[0], &client, &user);
            let ended = clock.fetch_add(1, Ordering::SeqCst);
            // Every thread ends by itself: sooner or later its token is refused.
            let last = threads.into_iter().map(|thread| thread.join().unwrap()).max();
            (last.unwrap(), ended)
        });
        assert!(
            last_started < ended,
            "{name}: rotated at {last_started}, ended at {ended}"
        );
        store.delete_client(&client.client_id, &event("x")).unwrap();
        store.delete_user(&user.user_id, &event("x")).unwrap();
    }
}

// what a rotation read of client and user before an end must not count after it.
#[test]
fn an_end_is_not_acknowledged_while_a_rotation_that_did_not_see_it_is_under_way() {
    WAYS.into_iter().for_each(an_end_waits_for_a_rotation_under_way);
}

fn an_end_waits_for_a_rotation_under_way(way: Way) {
    for (name, end) in ENDS.into_iter().filter(|(name, _)| *name != "revoke") {
        let database = Database::postgres();
        let store = database.store();
        let client = create(&store, "billing");
        let user = create_user(&store, "1", "alice");
        for family in ["f", "g"] {
            open(&store, family, &client, Some(&user));
        }
        let holder = Session::open(database.url());
        holder.execute(&format!(
            "BEGIN; SELECT 1 FROM token_families WHERE id = '{}' FOR UPDATE",
            family_id("f")
        ));
        std::thread::scope(|scope| {
            // Has read that client and user are enabled, and waits for the family.
            let early = scope.spawn(|| way(&store, "f-0", "f-1").unwrap());
            await_waiting(database.url(), 1);
            let ending = scope.spawn(|| end(&database.open(), &client, &user));
            await_waiting(database.url(), 2);
            // Begins before the end is acknowledged, and sees it nevertheless.
            let late = scope.spawn(|| way(&store, "g-0", "g-1").unwrap());
            await_waiting(database.url(), 3);
            assert!(
                !ending.is_finished() && !early.is_finished() && !late.is_finished(),
                "{name}"
            );
            holder.execute("COMMIT");
            assert_eq!(early.join().unwrap(), RotationOutcome::Rotated, "{name}");
            ending.join().unwrap();
            assert_eq!(late.join().unwrap(), RotationOutcome::Ended, "{name}");
        });
        assert_eq!(rotate(&store, "f-1", "f-2"), RotationOutcome::Ended, "{name}");
    }
}

#[test]
fn a_backup_under_way_holds_up_nobody() {
    let database = Database::postgres();
    let store = database.store();
    let client = create(&store, "billing");
    let user = create_user(&store, "1", "alice");
    let tables = database.query("SELECT string_agg(tablename, ', ') FROM pg_tables WHERE schemaname = 'public'");
    let backup = Session::open(database.url());
    // As pg_dump does.
    backup.execute(&format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE {} IN ACCESS SHARE MODE; SELECT 1 FROM clients",
        tables[0]
    ));
    assert_eq!(open(&store, "f", &client, Some(&user)), FamilyCreation::Opened);
    assert_eq!(rotate(&store, "f-0", "f-1"), RotationOutcome::Rotated);
    for (_, end) in ENDS {
        end(&store, &client, &user);
    }
    assert_eq!(rotate(&store, "f-1", "f-2"), RotationOutcome::Ended);
    backup.execute("COMMIT");
}

//
#[test]
fn a_rotation_that_waits_for_a_revocation_sees_it() {
    WAYS.into_iter().for_each(who_waits_for_a_revocation_sees_it);
}

fn who_waits_for_a_revocation_sees_it(way: Way) {
    let database = Database::postgres();
    let store = database.store();
    let client = create(&store, "billing");
    open(&store, "f", &client, None);
    let holder = Session::open(database.url());
    holder.execute("BEGIN; UPDATE token_families SET revoked_at = 1, revoked_reason = 'logout'");
    std::thread::scope(|scope| {
        let rotation = scope.spawn(|| way(&store, "f-0", "f-1").unwrap());
        await_waiting(database.url(), 1);
        holder.execute("COMMIT");
        assert_eq!(rotation.join().unwrap(), RotationOutcome::Ended);
    });
    assert_eq!(database.count("refresh_tokens"), 1);
}

//
#[test]
fn what_was_answered_as_rotated_stays_rotated_when_postgresql_crashes() {
    WAYS.into_iter().for_each(what_was_answered_stays);
}

fn what_was_answered_stays(way: Way) {
    let mut server = TestPostgres::start_durable();
    let settings = Settings::new(DatabaseUrl::parse(&server.url("postgres")).unwrap());
    let store = Store::open(&settings).unwrap();
    store.migrate().unwrap();
    let client = create(&store, "billing");
    for thread in 0..THREADS {
        open(&store, &format!("f{thread}"), &client, None);
    }
    let acknowledged = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, acknowledged) = (&store, &acknowledged);
            scope.spawn(move || {
                for generation in 0.. {
                    let (from, to) = (
                        format!("f{thread}-{generation}"),
                        format!("f{thread}-{}", generation + 1),
                    );
                    match way(store, &from, &to) {
                        Ok(RotationOutcome::Rotated) => acknowledged.lock().unwrap().push((from, to)),
                        Ok(other) => panic!("{other:?}"),
                        Err(_crashed) => break,
                    }
                }
            });
        }
        while acknowledged.lock().unwrap().len() < 200 {
            std::thread::yield_now();
        }
        server.stop();
    });
    server.restart();
    while store.ping().is_err() {
        std::thread::yield_now();
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    for (from, to) in &acknowledged {
        let old = store.refresh_token(&hash(from)).unwrap().unwrap();
        assert_eq!(old.rotated_at, Some(at(2_000)), "{from}");
        assert_eq!(rotate(&store, from, "another"), RotationOutcome::Replayed, "{from}");
        assert!(store.refresh_token(&hash(to)).unwrap().is_some(), "{to}");
    }
}
