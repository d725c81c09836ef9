//! Clocks that differ: a node's from the database's, and two nodes' from each other.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use keywheel::keys::CLOCK_SKEW;
use keywheel::oauth::{ClientMetadata, Seconds};

use crate::outage::{follow, sign_in};
use crate::refresh::{for_people, refresh, session};
use crate::support::Database;
use crate::support::http::{Request, send};
use crate::support::process::Folder;
use crate::support::server::{Options, TestServer, metadata};
use crate::token::assert_refused;

/// A server that goes by the database's clock, and looks whether it still does.
fn by_the_databases_clock() -> (Database, TestServer) {
    let database = Database::postgres();
    let server = off_by(&database, 0, CLOCK_SKEW);
    (database, server)
}

/// One whose clock differs by so many seconds, of which so many are borne.
fn off_by(database: &Database, ahead: i64, tolerance: Seconds) -> TestServer {
    let options = Options {
        clock: Arc::new(AtomicI64::new(time_of(database) + ahead)),
        clock_tolerance: Some(tolerance),
        ..Options::default()
    };
    TestServer::with(database.url(), options)
}

fn time_of(database: &Database) -> i64 {
    let now = "SELECT floor(extract(epoch FROM clock_timestamp()))::bigint::text";
    database.query(now)[0].parse().unwrap()
}

// keys turn by each node's own clock, so a node whose clock is off says so and is sent no requests.
#[test]
fn a_node_whose_clock_is_off_from_the_databases_is_not_ready_and_says_so() {
    let (database, server) = by_the_databases_clock();
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
        let without = send(server.management, &Request::get("/readyz?exclude=database"));
        assert_eq!(
            without.status, 200,
            "it may be the database's clock, which all nodes share"
        );
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
            clock_tolerance: Some(CLOCK_SKEW),
            ..server.options()
        };
        let refusal = TestServer::try_with(database.url(), options).err().unwrap().to_string();
        assert!(refusal.contains("clock"), "{refusal}");
        server.set_clock(clock);
    }
    assert_eq!(ready().status, 200);
}

//
#[test]
fn when_a_clock_that_was_ahead_is_put_right_new_tokens_are_active_as_soon_as_the_database_agrees() {
    let (database, server) = by_the_databases_clock();
    let client = server.client("gateway", metadata());
    let is_active = || {
        let token = server.granted(&client, &[]);
        let asked = Request::form("/oauth2/introspect", &[("token", &token)]);
        server.send(&asked.basic(&client.id, &client.secret)).json()["active"] == true
    };
    assert!(is_active());
    server.advance(Seconds::hours(2));
    server.tick().unwrap();
    // Two hours were seen, and a token of ten minutes has ended by then.
    server.set_clock(time_of(&database));
    assert!(!is_active());
    server.set_clock(time_of(&database));
    server.tick().unwrap();
    assert!(is_active());
}

// the clock of the node that dates an exchange is not that of the node that judges it.
#[test]
fn the_window_is_as_long_whichever_nodes_date_and_judge_an_exchange() {
    // So far apart, and a window so long, that the seconds do not matter which the test takes.
    for apart in [60, -60] {
        let database = Database::postgres();
        let [dates, judges] = [-apart / 2, apart / 2].map(|ahead| off_by(&database, ahead, Seconds::minutes(1)));
        let long = ClientMetadata {
            refresh_retry_window: Some(Seconds::new(40)),
            ..for_people()
        };
        let client = dates.client("app", long);
        dates.user("alice", "correct horse");
        // These clocks stand still but for this.
        let begun = time_of(&database);
        dates.set_clock(begun - apart / 2);
        let first = session(&sign_in(&dates, &client));
        let lost = session(&refresh(&dates, &client, &first.refresh, &[]));
        let later = |seconds| judges.set_clock(begun + apart / 2 + seconds);
        later(20);
        let answer = refresh(&judges, &client, &first.refresh, &[]);
        assert_eq!(session(&answer).refresh, lost.refresh, "{apart}");
        later(60);
        let answer = refresh(&judges, &client, &first.refresh, &[]);
        assert_refused(&answer, 400, "invalid_grant");
    }
}

// a standstill is told by the node's own clock.
#[test]
fn a_node_whose_clock_is_behind_does_not_stand_still_for_that() {
    let database = Database::postgres();
    let node = off_by(&database, -4, CLOCK_SKEW);
    node.user("alice", "correct horse");
    let short = ClientMetadata {
        refresh_retry_window: Some(Seconds::new(3)),
        ..for_people()
    };
    let client = node.client("app", short);
    node.server.begun(node.now());
    let first = session(&sign_in(&node, &client));
    session(&refresh(&node, &client, &first.refresh, &[]));
    for _ in 0..6 {
        node.advance(Seconds::new(1));
        follow(&node);
    }
    assert_refused(&refresh(&node, &client, &first.refresh, &[]), 400, "invalid_grant");
}

#[test]
fn no_command_reckons_when_a_key_turns_by_a_clock_that_is_off() {
    let database = Database::postgres();
    let folder = Folder::empty()
        .with("KEYWHEEL_ISSUER", "https://auth.example")
        .with("DATABASE_URL", database.url());
    folder.serve(&[]).terminate();
    let kid = folder.json(&["keys", "list"])[0]["kid"].as_str().unwrap().to_owned();
    let name = database.query("SELECT current_database()").remove(0);
    database.execute(&format!(
        "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS \
         $$ SELECT pg_catalog.clock_timestamp() + interval '20 minutes' $$; \
         ALTER DATABASE {name} SET search_path = public, pg_catalog"
    ));
    for command in [
        &["keys", "taint", &kid][..],
        &["keys", "rotate", "--now"],
        &["keys", "rotate"],
    ] {
        let refusal = folder.refused(command);
        assert!(
            refusal.contains("behind the database's") && refusal.contains("NTP"),
            "{refusal}"
        );
    }
    // A look changes nothing, and a key that is out has to be revoked whatever time it is.
    folder.json(&["keys", "plan"]);
    folder.json(&["keys", "revoke", &kid]);
}
