//! Clients and users who are deleted with much that hangs on them.

use keywheel::oauth::{Client, User};
use keywheel::storage::{AuditEvent, AuditFilter, Store};

use super::families::{hash, open};
use super::users::create_user;
use super::{at, create, event};
use crate::support::{Database, on_both};

/// So many families of both, each with so many tokens, all of which live.
fn settle(database: &Database, client: &Client, user: &User, families: usize, tokens: usize) {
    let is_sqlite = database.backend == "SQLite";
    let series = |name: &str, count: usize| {
        if is_sqlite {
            format!("{name} (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM {name} WHERE n < {count})")
        } else {
            format!("{name} AS (SELECT generate_series(1, {count}) AS n)")
        }
    };
    let (recursive, family, hash) = if is_sqlite {
        ("RECURSIVE", "printf('%022d', f.n)", "randomblob(32)")
    } else {
        ("", "lpad(f.n::text, 22, '0')", "sha256((f.n || '-' || t.n)::bytea)")
    };
    database.execute(&format!(
        "WITH {recursive} {} INSERT INTO token_families (id, client, client_epoch, owner, owner_epoch, scope, audiences, \
         created_at, expires_at) SELECT {family}, {}, {}, {}, {}, '', '', 1, 9000 FROM f; \
         WITH {recursive} {}, {} INSERT INTO refresh_tokens (hash, family, generation, issued_at, expires_at, rotated_at) \
         SELECT {hash}, {family}, t.n, 1, 9000, 1 FROM f, t",
        series("f", families),
        client.row,
        client.epoch,
        user.row,
        user.epoch,
        series("f", families),
        series("t", tokens),
    ));
}

type Delete = fn(&Store, &Client, &User) -> bool;

const DELETIONS: [Delete; 2] = [
    |store, client, _| store.delete_client(&client.client_id, &event("gone")).unwrap(),
    |store, _, user| store.delete_user(&user.user_id, &event("gone")).unwrap(),
];

/// Notes of each token that is deleted in which transaction it is, and whether that keeps others from signing in.
const WATCH: &str = "CREATE TABLE seen (transaction BIGINT, closed BOOLEAN); \
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
    INSERT INTO seen SELECT txid_current(), EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() \
    AND relation = 'family_gate'::regclass AND mode = 'ExclusiveLock'); RETURN NULL; END $$; \
    CREATE TRIGGER note AFTER DELETE ON refresh_tokens FOR EACH ROW EXECUTE FUNCTION note()";

#[test]
fn many_tokens_are_deleted_a_thousand_at_a_time_while_others_sign_in_and_few_with_their_holder() {
    on_both(|database| {
        let store = database.store();
        if database.backend == "PostgreSQL" {
            database.execute(WATCH);
        }
        for delete in DELETIONS {
            for (tokens, announced, closed) in [(100, 1, 300), (800, 2, 0)] {
                let client = create(&store, "billing");
                let user = create_user(&store, "1", "alice");
                let (other, another) = (create(&store, "other"), create_user(&store, "2", "bob"));
                open(&store, "other", &other, Some(&another));
                settle(database, &client, &user, 3, tokens);
                let before = store.latest_change().unwrap();
                assert!(delete(&store, &client, &user));
                // Whoever is not deleted at once is disabled first.
                assert_eq!(store.changes_after(before, 9).unwrap().len(), announced, "{tokens}");
                assert_eq!(
                    (database.count("token_families"), database.count("refresh_tokens")),
                    (1, 1)
                );
                assert!(store.refresh_token(&hash("other-0")).unwrap().is_some());
                if database.backend == "PostgreSQL" {
                    assert_eq!(database.count("seen"), 3 * tokens);
                    assert_eq!(database.count("seen WHERE closed"), closed, "{tokens}");
                    let most = "SELECT max(count) FROM (SELECT count(*) FROM seen GROUP BY transaction) counts";
                    assert!(database.query(most)[0].parse::<usize>().unwrap() <= 1_000);
                }
                database.execute(
                    "DELETE FROM refresh_tokens; DELETE FROM token_families; DELETE FROM clients; DELETE FROM users",
                );
                if database.backend == "PostgreSQL" {
                    database.execute("DELETE FROM seen");
                }
            }
        }
    });
}

/// Keeps every token and whoever has one.
fn keep_tokens(database: &Database) {
    database.execute(match database.backend {
        "SQLite" => "CREATE TRIGGER kept BEFORE DELETE ON refresh_tokens BEGIN SELECT RAISE(ABORT, 'kept'); END",
        _ => {
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'kept'; END $$; \
             CREATE TRIGGER kept BEFORE DELETE ON refresh_tokens FOR EACH ROW EXECUTE FUNCTION keep()"
        }
    });
}

#[test]
fn a_deletion_that_fails_half_way_leaves_a_disabling_that_the_trail_tells_of_once() {
    on_both(|database| {
        let store = database.store();
        let client = create(&store, "billing");
        let user = create_user(&store, "1", "alice");
        settle(database, &client, &user, 3, 400);
        keep_tokens(database);
        let told = |name: &str| -> Vec<AuditEvent> {
            let mut events = store.audit_events(&AuditFilter::default()).unwrap();
            events.retain(|event| event.event == name);
            events
        };
        for _ in 0..2 {
            store.delete_client(&client.client_id, &event("gone")).unwrap_err();
            store.delete_user(&user.user_id, &event("gone")).unwrap_err();
            let (left, _) = store.client(&client.client_id).unwrap().unwrap();
            assert_eq!((left.enabled, left.updated_at), (false, at(1_000)));
            let left = store.user(&user.user_id).unwrap().unwrap();
            assert_eq!((left.enabled, left.updated_at), (false, at(1_000)));
            for name in ["client.disabled", "user.disabled"] {
                assert_eq!(told(name), [event(name)]);
            }
            assert_eq!(told("gone"), []);
        }
    });
}
