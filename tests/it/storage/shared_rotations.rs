//! Rotations that share a statement, or a commit: each is told what became of its own.

use std::sync::mpsc::Receiver;

use keywheel::storage::{Error, RotationOutcome, Store, Waiting};

use super::families::{family_id, hash, open, rotation};
use super::rotations::rotate_soon;
use super::{at, create, event};
use crate::support::postgres::{Session, await_waiting};
use crate::support::{Database, on_both};

fn successor_is_stored(store: &Store, token: &str) -> bool {
    store.refresh_token(&hash(token)).unwrap().is_some()
}

/// A rotation under way, and what is told of it.
type Soon = (Waiting, Receiver<Result<bool, Error>>);

/// Keeps everybody who gives out refresh tokens from going on, and with one rotation for each of those that carry them, everybody
/// else waits in the queue.
fn hold_up(database: &Database, store: &Store) -> (Session, [Soon; 2]) {
    let holder = Session::open(database.url());
    holder.execute("BEGIN; LOCK TABLE family_gate IN EXCLUSIVE MODE");
    let carried = [1, 2].map(|couriers| {
        let carried = rotate_soon(store, "unknown", "nothing");
        await_waiting(database.url(), couriers);
        carried
    });
    (holder, carried)
}

//
#[test]
fn rotations_that_wait_together_share_a_statement_and_each_is_told_its_own() {
    let database = Database::postgres();
    let store = database.store();
    let client = create(&store, "billing");
    for family in 0..50 {
        open(&store, &format!("f{family}"), &client, None);
    }
    store
        .revoke_family(&family_id("f1"), at(2_000), "logout", &event("x"))
        .unwrap();
    store.rotate(&rotation("f2-0", "f2-1", at(2_000)), &event("x")).unwrap();
    let (holder, _carried) = hold_up(&database, &store);
    let before = store.statements();
    let waiting: Vec<_> = (0..50)
        .map(|family| rotate_soon(&store, &format!("f{family}-0"), &format!("f{family}-new")))
        .collect();
    // The same token twice in one statement: it is used once.
    let twice = rotate_soon(&store, "f3-0", "f3-new");
    holder.execute("COMMIT");
    let told: Vec<bool> = waiting.iter().map(|(_, told)| told.recv().unwrap().unwrap()).collect();
    for (family, told) in told.iter().enumerate() {
        assert_eq!(*told, ![1, 2].contains(&family), "f{family}");
        assert_eq!(
            successor_is_stored(&store, &format!("f{family}-new")),
            *told,
            "f{family}"
        );
    }
    assert!(!twice.1.recv().unwrap().unwrap());
    assert!(
        store.statements() - before - 50 <= 2,
        "the lookups of the successors excepted"
    );
    assert_eq!(database.count("audit_events WHERE event = 'token.refreshed'"), 48);
    assert_eq!(
        database.query("SELECT detail FROM audit_events WHERE event = 'token.refreshed' LIMIT 1"),
        database.query("SELECT detail FROM audit_events WHERE event = 'x' LIMIT 1"),
        "the event is written as it is by itself"
    );
}

#[test]
fn a_family_that_somebody_holds_keeps_nobody_else_waiting() {
    let database = Database::postgres();
    let store = database.store();
    let client = create(&store, "billing");
    for family in ["f", "g", "h"] {
        open(&store, family, &client, None);
    }
    let holder = Session::open(database.url());
    holder.execute(&format!(
        "BEGIN; SELECT 1 FROM token_families WHERE id = '{}' FOR UPDATE",
        family_id("g")
    ));
    let waiting = ["f", "g", "h"].map(|family| rotate_soon(&store, &format!("{family}-0"), &format!("{family}-1")));
    assert_eq!(
        waiting.map(|(_, told)| told.recv().unwrap().unwrap()),
        [true, false, true]
    );
    holder.execute("COMMIT");
    let alone = store.rotate(&rotation("g-0", "g-1", at(2_000)), &event("x")).unwrap();
    assert_eq!(alone, RotationOutcome::Rotated);
}

// A restored database may hold a successor already.
#[test]
fn a_rotation_that_the_database_refuses_takes_nobody_with_it() {
    on_both(|database| {
        let store = database.store();
        let client = create(&store, "billing");
        for family in ["f", "g", "h"] {
            open(&store, family, &client, None);
        }
        let holder = database
            .url()
            .starts_with("postgres")
            .then(|| hold_up(database, &store));
        // The successor of `g` is a token of `f`.
        let waiting = [("f-0", "f-1"), ("g-0", "f-0"), ("h-0", "h-1")]
            .map(|(from, to)| (rotate_soon(&store, from, to), from, to));
        if let Some((holder, _)) = &holder {
            holder.execute("COMMIT");
        }
        for ((_, told), from, to) in waiting {
            let happened = told.recv().unwrap().unwrap_or(false);
            let alone = || store.rotate(&rotation(from, to, at(2_000)), &event("x"));
            let happens = happened || matches!(alone(), Ok(RotationOutcome::Rotated));
            assert_eq!(happens, from != "g-0", "{from}");
        }
        assert_eq!(database.count("refresh_tokens WHERE rotated_at IS NOT NULL"), 2);
    });
}

#[test]
fn a_rotation_that_was_given_up_before_its_turn_never_happens_and_one_whose_turn_has_come_cannot_be() {
    let database = Database::postgres();
    let store = database.store();
    let client = create(&store, "billing");
    for family in ["g", "h"] {
        open(&store, family, &client, None);
    }
    let (holder, [(under_way, told), _other]) = hold_up(&database, &store);
    let (given_up, _) = rotate_soon(&store, "g-0", "g-1");
    drop(rotate_soon(&store, "h-0", "h-1"));
    assert!(!under_way.give_up());
    assert!(given_up.give_up());
    holder.execute("COMMIT");
    assert!(!told.recv().unwrap().unwrap());
    // Whatever was queued before is done.
    assert!(!rotate_soon(&store, "unknown", "nothing").1.recv().unwrap().unwrap());
    for token in ["g-1", "h-1"] {
        assert!(!successor_is_stored(&store, token), "{token}");
    }
}

// a plan that was made for empty tables is kept while they grow.
#[test]
fn no_table_is_read_from_end_to_end_by_a_refresh_also_in_a_new_database() {
    let database = Database::postgres();
    let store = database.store();
    let client = create(&store, "billing");
    for family in 0..20 {
        let [first, second, third] = [0, 1, 2].map(|n| format!("f{family}-{n}"));
        open(&store, &format!("f{family}"), &client, None);
        assert!(store.refresh_token(&hash(&first)).unwrap().is_some());
        assert!(rotate_soon(&store, &first, &second).1.recv().unwrap().unwrap());
        let alone = store
            .rotate(&rotation(&second, &third, at(2_000)), &event("x"))
            .unwrap();
        assert_eq!(alone, RotationOutcome::Rotated);
    }
    // Sessions tell their counts when they end, at the latest.
    drop(store);
    let counted = "SELECT 1 FROM pg_stat_user_tables WHERE relname = 'refresh_tokens' AND idx_scan > 60";
    while database.query(counted).is_empty() {
        std::thread::yield_now();
    }
    // Making an index reads the table once.
    let scanned = "SELECT relname FROM pg_stat_user_tables WHERE seq_scan >= 20 AND relname IN \
                   ('refresh_tokens', 'token_families', 'clients', 'users')";
    assert_eq!(database.query(scanned), Vec::<String>::new());
}
