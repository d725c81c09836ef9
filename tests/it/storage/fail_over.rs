//! Several servers, of which one is the primary, and a primary that stops being one.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use keywheel::storage::{DatabaseUrl, Error, Session, Settings, Store};

use super::{create, event, id, new_client};
use crate::support::Database;
use crate::support::postgres::{TestPostgres, execute};

fn settings(url: &str) -> Settings {
    Settings::new(DatabaseUrl::parse(url).unwrap())
}

fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::Unavailable { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Host and port of a server, as they stand in a URL.
fn address(server: &TestPostgres) -> String {
    let url = server.url("postgres");
    url.split(['@', '/']).nth(3).unwrap().to_owned()
}

fn await_ping(store: &Store) {
    let begun = Instant::now();
    while let Err(error) = store.ping() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{error}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

//
#[test]
fn of_several_hosts_the_primary_is_taken_also_after_a_fail_over() {
    let mut primary = TestPostgres::start_durable();
    let standby = primary.standby();
    // Connections to it are accepted by the system, and nobody ever says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hosts = [
        silent.local_addr().unwrap().to_string(),
        address(&standby),
        address(&primary),
    ]
    .join(",");
    for session in ["", "&target_session_attrs=primary", "&target_session_attrs=read-write"] {
        let url = format!("postgres://keywheel@{hosts}/postgres?connect_timeout=1{session}");
        let store = Store::open(&settings(&url)).unwrap();
        await_ping(&store);
        store.migrate().unwrap();
        create(&store, &format!("c{}", session.len()));
    }
    let url = format!("postgres://keywheel@{hosts}/postgres?connect_timeout=1");
    let store = Store::open(&settings(&url)).unwrap();
    await_ping(&store);
    primary.stop();
    let begun = Instant::now();
    loop {
        let said = reason(store.ping());
        if said.contains("it is a standby") && said.contains("no answer within 1s") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{said}");
        std::thread::sleep(Duration::from_millis(20));
    }
    standby.promote();
    await_ping(&store);
    assert!(store.client(&id("c0")).unwrap().is_some());
    create(&store, "after");
}

#[test]
fn who_wants_a_primary_is_not_given_a_standby_and_who_only_reads_is() {
    let primary = TestPostgres::start_durable();
    let standby = primary.standby();
    Store::open(&settings(&primary.url("postgres")))
        .unwrap()
        .migrate()
        .unwrap();
    let open = |session: Session| {
        let settings = Settings {
            session,
            ..settings(&standby.url("postgres"))
        };
        Store::open(&settings).unwrap()
    };
    for session in [Session::Primary, Session::ReadWrite] {
        let said = reason(open(session).migrate());
        assert!(said.contains("it is a standby, and a primary is wanted"), "{said}");
    }
    let reader = open(Session::Any);
    let begun = Instant::now();
    while reader.client(&id("nobody")).is_err() {
        // It has what was written, and may take a moment to show it.
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(reader.client(&id("nobody")).unwrap().map(drop), None);
    let said = reason(reader.create_client(&new_client("a"), None, &event("client.created")));
    assert!(said.contains("read-only"), "{said}");
}

#[test]
fn a_connection_that_takes_no_writes_any_more_is_not_used_again() {
    let database = Database::postgres();
    database.store();
    let name = database.query("SELECT current_database()").remove(0);
    let glue = if database.url().contains('?') { '&' } else { '?' };
    let writable = format!("{}{glue}options=-cdefault_transaction_read_only%3Doff", database.url());
    let set = |how: &str| execute(&writable, &format!("ALTER DATABASE {name} {how}")).unwrap();
    set("SET default_transaction_read_only = on");
    let settings = Settings {
        session: Session::Primary,
        pool_size: 1,
        ..database.settings()
    };
    let store = Store::open(&settings).unwrap();
    let said = reason(store.create_client(&new_client("a"), None, &event("client.created")));
    assert!(said.contains("read-only"), "{said}");
    assert!(
        store.client(&id("a")).unwrap().is_none(),
        "a primary is believed, also while it takes no writes"
    );
    assert!(!store.is_away());
    let strict = Settings {
        session: Session::ReadWrite,
        ..settings
    };
    let said = reason(Store::open(&strict).unwrap().ping());
    assert!(said.contains("it is read-only"), "{said}");
    // What a session was told when it began holds for as long as it lives.
    let said = reason(store.create_client(&new_client("a"), None, &event("client.created")));
    assert!(said.contains("read-only"), "{said}");
    set("RESET default_transaction_read_only");
    // The one that was made in its place a moment ago is of no use either, and goes the same way.
    let created = |_| store.create_client(&new_client("a"), None, &event("client.created"));
    assert!((0..3).map(created).filter(Result::is_ok).count() >= 2);
}

// N-04
#[test]
fn while_the_database_is_away_everybody_is_told_at_once_and_nobody_has_to_ask_for_it_to_be_back() {
    let mut server = TestPostgres::start();
    let store = Store::open(&settings(&server.url("postgres"))).unwrap();
    await_ping(&store);
    server.stop();
    let begun = Instant::now();
    while !store.is_away() {
        assert!(store.ping().is_err());
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    let begun = Instant::now();
    for _ in 0..1_000 {
        let said = reason(store.ping());
        assert!(said.contains("refused") || said.contains("closed"), "{said}");
    }
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    server.restart();
    let begun = Instant::now();
    while store.is_away() {
        assert!(begun.elapsed() < Duration::from_secs(3), "it is not noticed");
        std::thread::sleep(Duration::from_millis(10));
    }
    await_ping(&store);
}

// N-04: PostgreSQL whose synchronous standby is gone answers nobody who writes, and each who gives up leaves a session behind.
#[test]
fn while_writes_get_no_answer_one_waits_and_all_others_are_told_at_once_and_read() {
    let server = TestPostgres::start_durable();
    let settings = Settings {
        statement_timeout: Duration::from_millis(500),
        ..settings(&server.url("postgres"))
    };
    let [store, of_another_node] = [(); 2].map(|()| Store::open(&settings).unwrap());
    store.migrate().unwrap();
    create(&store, "before");
    server.expects_a_standby();
    let created = |store: &Store, name: &str| store.create_client(&new_client(name), None, &event("client.created"));
    let said = reason(created(&store, "hung"));
    assert!(said.contains("closed"), "{said}");
    let begun = Instant::now();
    for number in 0..1_000 {
        let said = reason(created(&store, &format!("c{number}")));
        assert!(said.contains("without an answer"), "{said}");
        assert!(store.client(&id("before")).unwrap().is_some());
    }
    assert!(store.leaves_writes() && !store.takes_writes() && !store.is_away());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Another node sees it, and need not try.
    await_that(|| {
        of_another_node.look_for_waiting_commits().unwrap();
        of_another_node.leaves_writes()
    });
    let said = reason(created(&of_another_node, "never"));
    assert!(said.contains("without an answer"), "{said}");
    // The first one, and one of each node that asks whether it is over.
    await_that(|| server.waiting("keywheel").len() >= 3);
    assert_eq!(server.waiting("keywheel").len(), 3);
    server.expects_no_standby();
    await_that(|| store.takes_writes() && of_another_node.takes_writes());
    create(&of_another_node, "after");
    assert!(
        store.client(&id("hung")).unwrap().is_some(),
        "it was written all the same"
    );
    assert!(store.client(&id("never")).unwrap().is_none());
}

#[test]
fn a_role_that_may_not_look_at_sessions_is_served_as_any_other() {
    let server = TestPostgres::start();
    let url = server.url("postgres");
    execute(&url, "CREATE ROLE somebody LOGIN").unwrap();
    execute(&url, "REVOKE SELECT ON pg_stat_activity FROM PUBLIC").unwrap();
    let url = url.replacen("keywheel@", "somebody@", 1);
    assert!(execute(&url, "SELECT FROM pg_stat_activity").is_err());
    let store = Store::open(&settings(&url)).unwrap();
    await_ping(&store);
    store.look_for_waiting_commits().unwrap();
    assert!(store.takes_writes());
}

fn await_that(reached: impl Fn() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not come to that");
        std::thread::sleep(Duration::from_millis(10));
    }
}
