//! Databases that are not there, or not willing.

use std::time::{Duration, Instant};

use keywheel::storage::{DatabaseUrl, Error, Settings, Store};

use super::{create, event, id, new_client};
use crate::support::Database;
use crate::support::postgres::{Session, TestPostgres, execute, shared};

fn open(url: &str) -> Store {
    Store::open(&Settings::new(DatabaseUrl::parse(url).unwrap())).unwrap()
}

fn reason(outcome: Result<(), Error>) -> String {
    match outcome {
        Err(Error::Unavailable { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stopped_postgresql_is_unavailable_and_works_again_once_it_is_back() {
    let mut server = TestPostgres::start();
    let store = open(&server.url("postgres"));
    store.migrate().unwrap();
    create(&store, "before");
    // More than one connection must be found dead.
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| store.ping().unwrap());
        }
    });

    server.stop();
    for _ in 0..2 {
        let begin = Instant::now();
        let created = store.create_client(&new_client("during"), None, &event("client.created"));
        assert!(matches!(created, Err(Error::Unavailable { .. })), "{created:?}");
        let read = store.client(&id("before"));
        assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
        assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    }

    server.restart();
    let begin = Instant::now();
    while store.ping().is_err() {
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
    assert!(store.client(&id("before")).unwrap().is_some());
    assert!(store.client(&id("during")).unwrap().is_none());
    create(&store, "after");
}

#[test]
fn connections_that_the_server_closed_are_replaced_without_anybody_noticing() {
    let database = Database::postgres();
    let store = database.store();
    for _ in 0..3 {
        store.ping().unwrap();
        execute(
            database.url(),
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() \
             AND datname = current_database() AND application_name = 'keywheel'",
        )
        .unwrap();
        // The server closes them in its own time.
        std::thread::sleep(Duration::from_millis(200));
        store.ping().unwrap();
        create(&store, &format!("c-{}", store.statements()));
    }
}

#[test]
fn a_postgresql_that_was_never_there_is_unavailable_and_the_reason_is_said_without_the_password() {
    let store = open("postgres://keywheel:hunter2@127.0.0.1:1/keywheel");
    std::thread::sleep(Duration::from_millis(100));
    let said = reason(store.ping());
    assert!(
        said.contains("127.0.0.1:1/keywheel") && said.contains("refused"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
    let said = reason(store.migrate().map(drop));
    assert!(said.contains("refused") && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://keywheel@{}/keywheel", silent.local_addr().unwrap());
    let mut settings = Settings::new(DatabaseUrl::parse(&url).unwrap());
    settings.connect_timeout = Duration::from_millis(200);
    let store = Store::open(&settings).unwrap();
    let said = reason(store.migrate().map(drop));
    assert!(said.contains("no answer within 200ms"), "{said}");
}

#[test]
fn a_server_that_falls_silent_within_a_statement_is_given_up_and_its_connection_replaced() {
    let server = TestPostgres::start();
    let mut settings = Settings::new(DatabaseUrl::parse(&server.url("postgres")).unwrap());
    settings.statement_timeout = Duration::from_millis(200);
    settings.pool_size = 1;
    let store = Store::open(&settings).unwrap();
    store.ping().unwrap();
    let signal = |signal: &str, backends: &[String]| {
        let sent = std::process::Command::new("kill")
            .arg(signal)
            .args(backends)
            .status()
            .unwrap();
        assert!(sent.success());
    };
    let backends = execute(
        &server.url("postgres"),
        "SELECT pid::text FROM pg_stat_activity WHERE application_name = 'keywheel'",
    )
    .unwrap();
    signal("-STOP", &backends);
    let begin = Instant::now();
    let silent = store.ping();
    let waited = begin.elapsed();
    let next = store.ping();
    signal("-CONT", &backends);
    assert!(matches!(silent, Err(Error::Unavailable { .. })), "{silent:?}");
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    next.unwrap();
}

#[test]
fn a_server_that_has_no_connection_left_is_there_and_those_it_gave_are_used() {
    let server = TestPostgres::start();
    let url = server.url("postgres");
    open(&url).migrate().unwrap();
    execute(
        &url,
        "CREATE ROLE few LOGIN CONNECTION LIMIT 2; GRANT SELECT ON ALL TABLES IN SCHEMA public TO few",
    )
    .unwrap();
    let store = open(&url.replace("keywheel@", "few@"));
    store.ping().unwrap();
    let holder = Session::open(&url);
    holder.execute("BEGIN; LOCK clients");
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..6).map(|_| scope.spawn(|| store.client(&id("absent")))).collect();
        // Longer than a connection is waited for, shorter than a statement may take.
        std::thread::sleep(Duration::from_secs(2));
        holder.execute("COMMIT");
        let refused = readers.into_iter().map(|reader| reader.join().unwrap());
        assert!(
            refused.filter(Result::is_err).count() >= 3,
            "the database was taken to be away"
        );
    });
    let deadline = Instant::now() + Duration::from_secs(2);
    while let Err(error) = store.ping() {
        assert!(Instant::now() < deadline, "{error}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_pool_that_is_too_small_is_not_a_database_that_is_away() {
    let database = Database::postgres();
    database.store();
    let mut settings = database.settings();
    settings.pool_size = 1;
    let store = Store::open(&settings).unwrap();
    let slow = Session::open(database.url());
    let begun = Instant::now();
    let goes_on = || begun.elapsed() < Duration::from_secs(3);
    let refused_reads = || {
        let mut refused = 0;
        while goes_on() {
            let asked = Instant::now();
            if store.client(&id("absent")).is_err() {
                assert!(asked.elapsed() >= Duration::from_millis(900), "it was refused at once");
                refused += 1;
            }
        }
        refused
    };
    let refused: usize = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..12).map(|_| scope.spawn(refused_reads)).collect();
        while goes_on() {
            slow.execute("BEGIN; LOCK clients");
            std::thread::sleep(Duration::from_millis(300));
            slow.execute("COMMIT");
        }
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    assert!(refused > 0, "the pool was not too small");
}

#[test]
fn an_unknown_database_is_named() {
    let server = shared();
    let url = server.create_database();
    let said = reason(open(&format!("{url}-absent")).ping());
    server.drop_database(&url);
    assert!(said.contains("-absent") && said.contains("does not exist"), "{said}");
}

// N-04
#[test]
fn a_lock_that_somebody_holds_is_waited_for_no_longer_than_a_statement_may_take() {
    let database = Database::postgres();
    database.store();
    let mut settings = database.settings();
    settings.statement_timeout = Duration::from_millis(400);
    let store = Store::open(&settings).unwrap();
    let holder = Session::open(database.url());
    holder.execute("BEGIN; LOCK clients");
    let begin = Instant::now();
    let created = store.create_client(&new_client("a"), None, &event("client.created"));
    assert!(matches!(created, Err(Error::Unavailable { .. })), "{created:?}");
    assert!(begin.elapsed() < Duration::from_millis(1_500), "{:?}", begin.elapsed());
    holder.execute("COMMIT");
    create(&store, "a");
}

#[test]
fn a_locked_sqlite_is_unavailable_and_the_writer_survives_it() {
    use diesel::connection::{Connection, SimpleConnection};
    let database = Database::sqlite();
    database.store();
    let mut settings = database.settings();
    settings.statement_timeout = Duration::from_millis(100);
    let store = Store::open(&settings).unwrap();
    let path = database.url().trim_start_matches("sqlite://");
    let mut other = diesel::SqliteConnection::establish(path).unwrap();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let created = store.create_client(&new_client("a"), None, &event("client.created"));
    assert!(matches!(created, Err(Error::Unavailable { .. })), "{created:?}");
    assert!(store.client(&id("a")).unwrap().is_none(), "reading goes on");
    other.batch_execute("COMMIT").unwrap();
    create(&store, "a");
}

#[test]
fn an_sqlite_file_that_cannot_be_made_is_said_at_once() {
    let url = DatabaseUrl::parse("sqlite:///nonexistent/directory/k.db").unwrap();
    let said = reason(Store::open(&Settings::new(url)).map(drop));
    assert!(
        said.contains("/nonexistent/directory/k.db") && said.contains("No such file"),
        "{said}"
    );
}
