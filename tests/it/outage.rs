//! PostgreSQL is gone: what memory knows is served, everything else waits its turn, and nothing needs a restart.

use std::time::{Duration, Instant};

use keywheel::oauth::Seconds;

use crate::support::Database;
use crate::support::http::{Request, send};
use crate::support::jwt;
use crate::support::postgres::TestPostgres;
use crate::support::server::{JWKS, Options, TestServer, metadata};
use crate::token::assert_refused;

// keys turn by each node's own clock, so a node whose clock is off says so and is sent no requests.
#[test]
fn a_node_whose_clock_is_off_from_the_databases_is_not_ready_and_says_so() {
    let database = Database::postgres();
    let now: i64 = database.query("SELECT floor(extract(epoch FROM clock_timestamp()))::bigint::text")[0]
        .parse()
        .unwrap();
    let options = Options {
        clock: std::sync::Arc::new(std::sync::atomic::AtomicI64::new(now)),
        clock_tolerance: Some(keywheel::keys::CLOCK_SKEW),
        ..Options::default()
    };
    let server = TestServer::with(database.url(), options);
    let ready = || {
        server.tick().unwrap();
        send(server.management, &Request::get("/readyz"))
    };
    assert_eq!(ready().status, 200);
    // The test may take its time, but not five minutes.
    let keys = server.store.signing_keys().unwrap();
    for seconds in [300, -300, 400 * 86_400] {
        let clock = server.now().epoch();
        server.set_clock(clock + seconds);
        let answer = ready();
        assert_eq!(answer.status, 503, "{seconds}");
        assert!(answer.text().contains("clock"), "{}", answer.text());
        let metrics = send(server.management, &Request::get("/metrics"));
        let line = metrics
            .text()
            .lines()
            .find(|line| line.starts_with("keywheel_clock_ahead_of_database_seconds "));
        let ahead: i64 = line.unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        assert!((ahead - seconds).abs() < 60, "{ahead}");
        assert_eq!(
            server.store.signing_keys().unwrap(),
            keys,
            "by a wrong clock no key turns"
        );
        let options = Options {
            clock_tolerance: Some(keywheel::keys::CLOCK_SKEW),
            ..server.options()
        };
        let refusal = TestServer::try_with(database.url(), options).err().unwrap().to_string();
        assert!(refusal.contains("clock"), "{refusal}");
        server.set_clock(clock);
    }
    assert_eq!(ready().status, 200);
}

// J-07, T-35
#[test]
fn without_postgresql_cached_clients_and_keys_are_served_and_others_get_503_until_it_returns() {
    let mut postgres = TestPostgres::start();
    let server = TestServer::start(&postgres.url("postgres"));
    let known = server.client("known", metadata());
    let uncached = server.client("uncached", metadata());
    server.tick().unwrap();
    server.granted(&known, &[]);
    let jwks = server.get(JWKS);

    postgres.stop();
    assert!(server.tick().is_err());
    assert_eq!(server.get(JWKS).body, jwks.body);
    jwt::verify(&server, &server.granted(&known, &[]));
    let begun = Instant::now();
    let response = server.token(&uncached, &[]);
    assert_refused(&response, 503, "temporarily_unavailable");
    assert!(response.header("retry-after").is_some());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());

    server.advance(Seconds::new(10));
    let ready = |path: &str| send(server.management, &Request::get(path)).status;
    assert_eq!((ready("/livez"), ready("/readyz")), (200, 503));
    assert_eq!(
        server.granted(&known, &[]).split('.').count(),
        3,
        "ten seconds without the database are within its staleness"
    );
    server.advance(Seconds::new(60));
    assert_refused(&server.token(&known, &[]), 503, "temporarily_unavailable");
    assert_eq!(
        server.get(JWKS).json(),
        jwks.json(),
        "keys are served however long it lasts"
    );

    postgres.restart();
    let begun = Instant::now();
    while server.tick().is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "it does not come back by itself"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(ready("/readyz"), 200);
    server.granted(&known, &[]);
    server.granted(&uncached, &[]);
}

// C-01: a fault of ours is never a fault of the client.
#[test]
fn without_postgresql_an_unknown_client_is_not_called_invalid() {
    let mut postgres = TestPostgres::start();
    let server = TestServer::start(&postgres.url("postgres"));
    let stranger = crate::support::server::Credentials {
        id: "stranger".to_owned(),
        secret: "x".to_owned(),
    };
    assert_refused(&server.token(&stranger, &[]), 401, "invalid_client");
    postgres.stop();
    assert_refused(&server.token(&stranger, &[]), 401, "invalid_client");
    server.advance(Seconds::new(61));
    assert_refused(&server.token(&stranger, &[]), 503, "temporarily_unavailable");
}
