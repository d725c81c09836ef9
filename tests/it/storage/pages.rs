//! Lists that are read page by page, among many rows.

use keywheel::storage::{AuditFilter, FamilyFilter, Store};

use super::families::{family_id, open};
use super::users::create_user;
use super::{at, create, id};
use crate::support::Database;

const MANY: i64 = 20_000;

/// How many rows of a table somebody reads to do something.
fn read(database: &Database, table: &str, act: impl FnOnce(&Store)) -> i64 {
    let rows = || -> i64 {
        // A session's counts are there once it has ended.
        while database.count("pg_stat_activity WHERE datname = current_database() AND application_name = 'keywheel'")
            > 0
        {
            std::thread::yield_now();
        }
        let sql = format!("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = '{table}'");
        database.query(&sql)[0].parse().unwrap()
    };
    let before = rows();
    act(&database.open());
    rows() - before
}

#[test]
fn a_page_of_a_clients_or_a_users_families_reads_little_more_than_it_shows_wherever_it_is() {
    let database = Database::postgres();
    let store = database.store();
    let client = create(&store, "billing");
    let user = create_user(&store, "1", "alice");
    open(&store, "f", &client, Some(&user));
    drop(store);
    database.execute(&format!(
        "INSERT INTO token_families (id, client, client_epoch, owner, owner_epoch, scope, audiences, created_at, expires_at) \
         SELECT lpad(n::text, 22, '0'), {}, 0, {}, 0, '', '', 100000 + n / 2, 9000000 FROM generate_series(1, {MANY}) AS n",
        client.row, user.row
    ));
    database.execute("ANALYZE");
    let middle = MANY / 2;
    let after = (at(100_000 + middle / 2), family_id(&format!("{middle:022}")));
    for (client_id, user_id) in [(Some(&client.client_id), None), (None, Some(&user.user_id))] {
        for (after, first) in [(None, MANY), (Some(after.clone()), middle + 1)] {
            let filter = FamilyFilter {
                client_id: client_id.cloned(),
                user_id: user_id.cloned(),
                after,
                limit: 100,
            };
            let rows = read(&database, "token_families", |store| {
                let families = store.families(&filter).unwrap();
                assert_eq!(families.len(), 100);
                assert_eq!(families[0].id, family_id(&format!("{first:022}")));
            });
            assert!(rows < 500, "{rows}: {filter:?}");
        }
    }
    let nobody = FamilyFilter {
        client_id: Some(id("nobody")),
        ..FamilyFilter::default()
    };
    assert_eq!(database.open().families(&nobody).unwrap(), []);
}

#[test]
fn a_page_of_the_trail_reads_little_more_than_it_shows_wherever_it_is() {
    let database = Database::postgres();
    drop(database.store());
    database.execute(&format!(
        "INSERT INTO audit_events (at, event, actor, client_id, detail) \
         SELECT 100000 + n / 2, 'refresh', 'a', 'billing', '{{}}' FROM generate_series(1, {MANY}) AS n"
    ));
    database.execute("ANALYZE");
    let middle = MANY / 2;
    for client_id in [None, Some(id("billing"))] {
        let filter = AuditFilter {
            client_id,
            before: Some((at(100_000 + middle / 2), middle)),
            ..AuditFilter::default()
        };
        let rows = read(&database, "audit_events", |store| {
            let page = store.audit_page(&filter).unwrap();
            let ids: Vec<i64> = page.into_iter().map(|(id, _)| id).collect();
            assert_eq!(ids, (middle - 100..middle).rev().collect::<Vec<_>>());
        });
        assert!(rows < 500, "{rows}: {filter:?}");
    }
}
