//! Expired rows leave, living ones stay.

use keywheel::storage::{NewFamily, Swept};

use super::families::{family_id, hash, new_family, open, rotation};
use super::races::at_once;
use super::{at, create, event};
use crate::support::postgres::Session;
use crate::support::{Database, on_both};

/// For so many seconds after it expired a refresh token, or a family, is found.
const AFTERWARDS: i64 = 3_660;

//
#[test]
fn only_what_has_expired_is_swept_in_batches_and_the_rest_is_told() {
    on_both(|database| {
        let store = database.store();
        let client = create(&store, "billing");
        // Families that end at 3 000, 3 001, …, 3 009, with tokens that end then or at 2 500; and one that lives on.
        for n in 0..10 {
            let family = NewFamily {
                expires_at: at(3_000 + n),
                ..new_family(&format!("f{n}"), &client, None)
            };
            let first = hash(&format!("f{n}-0"));
            store.open_family(&family, &first, at(2_500), &event("x")).unwrap();
            let rotated = rotation(&format!("f{n}-0"), &format!("f{n}-1"), at(2_000));
            store.rotate(&rotated, &event("x")).unwrap();
            store
                .revoke_access_token(&format!("j{n}"), at(3_000 + n + AFTERWARDS), &event("x"))
                .unwrap();
        }
        open(&store, "living", &client, None);

        let sweep = |now, limit| store.sweep(at(now + AFTERWARDS), limit).unwrap().unwrap();
        assert_eq!(sweep(2_499, 100), Swept::default());
        let swept = sweep(2_500, 4);
        assert_eq!(
            (swept.refresh_tokens, swept.families, swept.revoked_access_tokens),
            (4, 0, 0)
        );
        assert_eq!((swept.backlog, swept.oldest), (6, Some(at(2_500 + AFTERWARDS))));
        let swept = sweep(2_500, 100);
        assert_eq!((swept.refresh_tokens, swept.backlog, swept.oldest), (6, 0, None));

        let swept = sweep(3_004, 2);
        assert_eq!(
            (swept.refresh_tokens, swept.families, swept.revoked_access_tokens),
            (2, 2, 2)
        );
        assert_eq!((swept.backlog, swept.oldest), (9, Some(at(3_002 + AFTERWARDS))));
        assert!(store.access_token_state("j4", None, None).unwrap().revoked);
        let swept = sweep(3_004, 100);
        assert_eq!(
            (swept.refresh_tokens, swept.families, swept.revoked_access_tokens),
            (3, 3, 3)
        );
        for n in 0..10 {
            let left = n > 4;
            let token = store.refresh_token(&hash(&format!("f{n}-1"))).unwrap();
            assert_eq!(token.is_some(), left, "{n}");
            assert_eq!(
                store.access_token_state(&format!("j{n}"), None, None).unwrap().revoked,
                left,
                "{n}"
            );
        }
        sweep(8_999, 100);
        assert!(store.refresh_token(&hash("living-0")).unwrap().is_none(), "it was idle");
        assert_eq!(
            (database.count("token_families"), database.count("refresh_tokens")),
            (1, 0)
        );
        sweep(9_000, 100);
        assert_eq!(database.count("token_families"), 0);
        assert!(sweep(9_000, 100).is_empty());
    });
}

// Exchanged in its last second, it comes again when the answer was lost; the client's retry window and a standstill may take so long.
#[test]
fn an_expired_refresh_token_is_found_as_long_as_a_lost_answer_may_be_asked_for_and_is_no_backlog_until_then() {
    on_both(|database| {
        let store = database.store();
        let client = create(&store, "billing");
        open(&store, "f", &client, None);
        let exchanged = rotation("f-0", "f-1", at(4_999));
        store.rotate(&exchanged, &event("x")).unwrap();
        let latest = at(4_999 + 3_600 + 60);
        assert_eq!(store.sweep(latest, 100).unwrap().unwrap(), Swept::default());
        let record = store.refresh_token(&hash("f-0")).unwrap().unwrap();
        assert_eq!(record.successor_rotated, Some(false));
        let swept = store.sweep(at(5_000 + AFTERWARDS), 100).unwrap().unwrap();
        assert_eq!((swept.refresh_tokens, swept.backlog), (1, 0));
        assert!(store.refresh_token(&hash("f-1")).unwrap().is_some());
    });
}

#[test]
fn of_nodes_that_sweep_at_once_none_fails_and_no_row_is_counted_twice() {
    on_both(|database| {
        let store = database.store();
        for n in 0..200 {
            store.revoke_access_token(&format!("j{n}"), at(n), &event("x")).unwrap();
        }
        let nodes = [database.open(), database.open()];
        let swept = at_once(8, |n| {
            nodes[usize::try_from(n).unwrap() % 2].sweep(at(1_000), 10).unwrap()
        });
        let deleted: usize = swept.iter().flatten().map(|swept| swept.revoked_access_tokens).sum();
        assert!(deleted >= 10, "at least one node swept");
        assert_eq!(database.count("revoked_access_tokens"), 200 - deleted);
    });
}

// Whoever deletes a family or a client holds one token and may wait for the next, which the sweep has: then it must not wait for theirs.
#[test]
fn a_sweep_waits_for_nobody_and_what_somebody_holds_is_swept_the_next_time() {
    let database = Database::postgres();
    let store = database.store();
    let client = create(&store, "billing");
    for name in ["a", "b"] {
        open(&store, name, &client, None);
    }
    let holder = Session::open(database.url());
    let sweep = |now| {
        let swept = store.sweep(at(now + AFTERWARDS), 100).unwrap().unwrap();
        (swept.refresh_tokens, swept.families, swept.backlog)
    };
    let hold = |what: &str| holder.execute(&format!("BEGIN; SELECT FROM {what} FOR UPDATE"));
    hold(&format!("refresh_tokens WHERE family = '{}'", family_id("a").as_str()));
    assert_eq!(sweep(5_000), (1, 0, 1));
    holder.execute("COMMIT");
    assert_eq!(sweep(5_000), (1, 0, 0));
    hold(&format!("token_families WHERE id = '{}'", family_id("b").as_str()));
    assert_eq!(sweep(9_000), (0, 1, 1));
    holder.execute("COMMIT");
    assert_eq!(sweep(9_000), (0, 1, 0));
}

/// So many families of the client with the row number `client`, each with 10 tokens, all of which have expired.
fn bury(database: &Database, client: i64, families: usize) {
    let series = |count| {
        if database.backend == "SQLite" {
            format!("WITH RECURSIVE s (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM s WHERE n < {count})")
        } else {
            format!("WITH s AS (SELECT generate_series(1, {count}) AS n)")
        }
    };
    let (hash, family) = if database.backend == "SQLite" {
        ("randomblob(32)", format!("printf('%022d', n % {families})"))
    } else {
        (
            "sha256(n::text::bytea)",
            format!("lpad((n % {families})::text, 22, '0')"),
        )
    };
    database.execute(&format!(
        "{} INSERT INTO token_families (id, client, client_epoch, scope, audiences, created_at, expires_at) \
         SELECT {family}, {client}, 0, '', '', 1, 2 FROM s; \
         {} INSERT INTO refresh_tokens (hash, family, generation, issued_at, expires_at, rotated_at) \
         SELECT {hash}, {family}, n, 1, 2, 1 FROM s",
        series(families),
        series(10 * families)
    ));
}

// how SQLite reads is told by its query plan, in the storage floor's own tests.
#[test]
fn no_statement_about_a_living_token_reads_a_whole_table_however_many_are_dead() {
    let database = Database::postgres();
    let store = database.store();
    let client = create(&store, "billing");
    open(&store, "living", &client, None);
    bury(&database, client.row, 10_000);
    database.execute("ANALYZE");
    drop(store);

    let scans = || {
        // A session's counts are there once it has ended.
        while database.count("pg_stat_activity WHERE datname = current_database() AND application_name = 'keywheel'")
            > 0
        {
            std::thread::yield_now();
        }
        database.query("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'refresh_tokens'")
    };
    let before = scans();
    let store = database.open();
    assert!(store.refresh_token(&hash("living-0")).unwrap().is_some());
    store
        .rotate(&rotation("living-0", "living-1", at(2_000)), &event("x"))
        .unwrap();
    let swept = store.sweep(at(2_000 + AFTERWARDS), 1_000).unwrap().unwrap();
    assert_eq!(
        (swept.refresh_tokens, swept.backlog, swept.oldest),
        (1_000, 20_000, Some(at(2 + AFTERWARDS)))
    );
    drop(store);
    assert_eq!(scans(), before);
}

//
#[test]
fn dead_tokens_leave_batch_by_batch_and_their_family_last() {
    on_both(|database| {
        let store = database.store();
        let client = create(&store, "billing");
        open(&store, "living", &client, None);
        bury(database, client.row, 2_000);
        let (mut tokens, mut families) = (0, 0);
        loop {
            let swept = store.sweep(at(1_500 + AFTERWARDS), 1_000).unwrap().unwrap();
            assert!(swept.refresh_tokens <= 1_000 && swept.families <= 1_000);
            tokens += swept.refresh_tokens;
            families += swept.families;
            if swept.backlog == 0 {
                break;
            }
            assert!(!swept.is_empty(), "it goes on: {swept:?}");
        }
        assert_eq!((tokens, families), (20_000, 2_000));
        assert_eq!(
            (database.count("refresh_tokens"), database.count("token_families")),
            (1, 1)
        );
    });
}
