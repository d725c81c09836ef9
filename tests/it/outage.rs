//! PostgreSQL is gone: what memory knows is served, everything else waits its turn, and nothing needs a restart.

use std::time::{Duration, Instant};

use keywheel::oauth::Seconds;

use crate::refresh::{for_people, refresh, session, with_session};
use crate::support::Database;
use crate::support::http::{Request, Response, send};
use crate::support::jwt;
use crate::support::postgres::{Session, TestPostgres, await_waiting};
use crate::support::server::{Credentials, JWKS, TOKEN, TestServer, metadata};
use crate::token::assert_refused;

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
        ready("/readyz?exclude=database"),
        200,
        "where nobody else has a database either"
    );
    for misspelt in ["db", "", "database&exclude=database"] {
        assert_eq!(ready(&format!("/readyz?exclude={misspelt}")), 400, "{misspelt}");
    }
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
    await_return(&server);
    assert_eq!(ready("/readyz"), 200);
    server.granted(&known, &[]);
    server.granted(&uncached, &[]);
}

//
#[test]
fn a_node_that_is_cut_off_turns_with_the_others_and_stops_issuing_before_its_keys_do() {
    let mut postgres = TestPostgres::start();
    let url = postgres.url("postgres");
    let server = TestServer::with(&url, crate::rotation::options());
    let client = server.client("known", metadata());
    let kid = |token: &str| jwt::part(token, 0)["kid"].as_str().unwrap().to_owned();
    let keys = server.store.signing_keys().unwrap();
    let [before, after] = [0, 1].map(|place: usize| keys[place].clone());
    server.set_clock((after.activates_at - Seconds::new(5)).epoch());
    server.tick().unwrap();
    let last = server.granted(&client, &[]);
    assert_eq!(kid(&last), before.kid.as_str());

    postgres.stop();
    server.advance(Seconds::new(10));
    assert!(server.tick().is_err());
    let first = server.granted(&client, &[]);
    assert_eq!(kid(&first), after.kid.as_str(), "the rows say when, and it has them");
    for token in [&last, &first] {
        jwt::verify_with(&server.get(JWKS).json(), token).unwrap();
    }
    server.advance(Seconds::new(60));
    assert_refused(&server.token(&client, &[]), 503, "temporarily_unavailable");
    let published = |kid: &str| server.get(JWKS).text().contains(kid);
    assert!(published(before.kid.as_str()) && published(after.kid.as_str()));
    // The keys go on by the clock, for those who verify: one leaves on time, and the last that it knows of stays.
    server.advance(crate::rotation::policy().hold());
    assert!(!published(before.kid.as_str()) && published(after.kid.as_str()));
    server.advance(Seconds::days(30));
    assert!(published(after.kid.as_str()));

    postgres.restart();
    await_return(&server);
    let token = server.granted(&client, &[]);
    jwt::verify_with(&server.get(JWKS).json(), &token).unwrap();
}

// C-01: a fault of ours is never a fault of the client.
#[test]
fn without_postgresql_an_unknown_client_is_not_called_invalid() {
    let mut postgres = TestPostgres::start();
    let server = TestServer::start(&postgres.url("postgres"));
    let stranger = Credentials {
        id: "stranger".to_owned(),
        secret: "x".to_owned(),
    };
    assert_refused(&server.token(&stranger, &[]), 401, "invalid_client");
    postgres.stop();
    assert_refused(&server.token(&stranger, &[]), 401, "invalid_client");
    server.advance(Seconds::new(61));
    assert_refused(&server.token(&stranger, &[]), 503, "temporarily_unavailable");
}

/// The database is back, and nothing is restarted.
fn await_return(server: &TestServer) {
    let begun = Instant::now();
    while server.tick().is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "it does not come back by itself"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What the ticker does once a second.
pub(crate) fn follow(server: &TestServer) {
    server.tick().unwrap();
    server.server.ticked(server.now(), server.now());
    server.server.awake(server.now());
}

// who could not be answered for a while has not lost that while.
#[test]
fn the_time_in_which_nobody_was_answered_is_no_part_of_the_time_to_fetch_a_lost_answer() {
    for (follows, answered) in [(false, true), (true, false)] {
        with_session(&for_people(), |server, client, first| {
            server.server.begun(server.now());
            let lost = session(&refresh(server, client, &first.refresh, &[]));
            // Half a minute, in which the database is out of reach or not.
            for _ in 0..30 {
                server.advance(Seconds::new(1));
                if follows {
                    follow(server);
                }
            }
            let again = refresh(server, client, &first.refresh, &[]);
            if !answered {
                return assert_refused(&again, 400, "invalid_grant");
            }
            assert_eq!(session(&again).refresh, lost.refresh);
            // It is back. The ten seconds go on where they stopped.
            follow(server);
            server.advance(Seconds::new(3));
            follow(server);
            assert_eq!(
                session(&refresh(server, client, &first.refresh, &[])).refresh,
                lost.refresh
            );
            for _ in 0..8 {
                server.advance(Seconds::new(1));
                follow(server);
            }
            assert_refused(&refresh(server, client, &first.refresh, &[]), 400, "invalid_grant");
        });
    }
}

// a process that ends takes the answers with it that were on their way.
#[test]
fn the_time_without_a_process_is_no_part_of_it_either() {
    with_session(&for_people(), |server, client, first| {
        let lost = session(&refresh(server, client, &first.refresh, &[]));
        server.advance(Seconds::new(600));
        // Meanwhile somebody is busy with the command line.
        for number in 0..120 {
            server.client(&format!("made-{number}"), metadata());
        }
        let again = TestServer::with(&server.url, server.options());
        again.server.begun(again.now());
        let answer = refresh(&again, client, &first.refresh, &[]);
        assert_eq!(session(&answer).refresh, lost.refresh);
        // What came again long after its exchange was not lost.
        for _ in 0..11 {
            again.advance(Seconds::new(1));
            follow(&again);
        }
        assert_refused(&refresh(&again, client, &first.refresh, &[]), 400, "invalid_grant");
        assert_refused(&refresh(&again, client, &lost.refresh, &[]), 400, "invalid_grant");
    });
}

// PostgreSQL may answer who reads and keep who writes waiting, as it does for a standby that is gone.
#[test]
fn the_time_in_which_nothing_could_be_written_is_no_part_of_it_either() {
    // What this node gave out in an exchange it exchanges by itself; anything else it looks up first.
    for is_remembered in [false, true] {
        let (_database, server, client, holder) = with_a_lock_to_hold();
        let first = session(&sign_in(&server, &client));
        let lost = session(&refresh(&server, &client, &first.refresh, &[]));
        let mut other = session(&sign_in(&server, &client));
        if is_remembered {
            other = session(&refresh(&server, &client, &other.refresh, &[]));
        }
        server.server.begun(server.now());
        holder.execute(LOCK);
        std::thread::scope(|scope| {
            let refused = scope.spawn(|| refresh(&server, &client, &other.refresh, &[]));
            await_waiting(&server.url, 1);
            for _ in 0..20 {
                server.advance(Seconds::new(1));
                follow(&server);
            }
            assert_refused(&refused.join().unwrap(), 503, "temporarily_unavailable");
        });
        holder.execute("COMMIT");
        let again = refresh(&server, &client, &first.refresh, &[]);
        assert_eq!(session(&again).refresh, lost.refresh, "{is_remembered}");
    }
}

// who is behind others that wait is told so, sooner than they are.
#[test]
fn the_time_of_those_whose_turn_to_be_written_never_came_is_no_part_of_it_either() {
    let (_database, server, client, holder) = with_a_lock_to_hold();
    let first = session(&sign_in(&server, &client));
    let lost = session(&refresh(&server, &client, &first.refresh, &[]));
    let others: Vec<_> = (0..3)
        .map(|_| session(&sign_in(&server, &client)))
        .map(|begun| session(&refresh(&server, &client, &begun.refresh, &[])))
        .collect();
    server.server.begun(server.now());
    holder.execute(LOCK);
    std::thread::scope(|scope| {
        let mut waiting = Vec::new();
        for (number, other) in others.iter().enumerate() {
            let (server, client) = (&server, &client);
            waiting.push(scope.spawn(move || refresh(server, client, &other.refresh, &[])));
            // Two at a time are carried to the database, each by itself when the other is on its way.
            await_waiting(&server.url, (number + 1).min(2));
        }
        std::thread::sleep(Duration::from_millis(200));
        for _ in 0..20 {
            server.advance(Seconds::new(1));
            follow(&server);
        }
        let last = waiting.pop().unwrap().join().unwrap();
        assert_refused(&last, 503, "temporarily_unavailable");
        let again = refresh(&server, &client, &first.refresh, &[]);
        assert_eq!(session(&again).refresh, lost.refresh);
        holder.execute("COMMIT");
    });
}

// PostgreSQL whose synchronous standby is gone answers nobody who writes, and everybody who reads.
#[test]
fn the_time_in_which_writes_got_no_answer_is_no_part_of_it_either_and_services_get_tokens() {
    let postgres = TestPostgres::start_durable();
    let server = TestServer::start(&postgres.url("postgres"));
    server.user("alice", "correct horse");
    let (client, service) = (server.client("app", for_people()), server.client("billing", metadata()));
    let first = session(&sign_in(&server, &client));
    let lost = session(&refresh(&server, &client, &first.refresh, &[]));
    let other = session(&sign_in(&server, &client));
    server.server.begun(server.now());
    postgres.expects_a_standby();
    let hung = refresh(&server, &client, &other.refresh, &[]);
    assert_refused(&hung, 503, "temporarily_unavailable");
    assert!(server.store.leaves_writes());
    // Two minutes, in which nobody tries to refresh a token.
    for _ in 0..120 {
        server.advance(Seconds::new(1));
        // What it cannot write down it tries again.
        let _ = server.tick();
        server.server.ticked(server.now(), server.now());
        server.server.awake(server.now());
        server.granted(&service, &[]);
    }
    let begun = Instant::now();
    assert_refused(
        &refresh(&server, &client, &lost.refresh, &[]),
        503,
        "temporarily_unavailable",
    );
    assert!(begun.elapsed() < Duration::from_secs(1), "nobody waits any more");
    postgres.expects_no_standby();
    let begun = Instant::now();
    while server.store.leaves_writes() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(10));
    }
    let again = refresh(&server, &client, &first.refresh, &[]);
    assert_eq!(session(&again).refresh, lost.refresh);
    // What got no answer was written.
    let again = session(&refresh(&server, &client, &other.refresh, &[]));
    session(&refresh(&server, &client, &again.refresh, &[]));
}

/// No exchange can be written while it is held, and everything can be read.
const LOCK: &str = "BEGIN; LOCK TABLE family_gate IN EXCLUSIVE MODE";

fn with_a_lock_to_hold() -> (Database, TestServer, Credentials, Session) {
    let database = Database::postgres();
    let server = TestServer::start(database.url());
    server.user("alice", "correct horse");
    let client = server.client("app", for_people());
    let holder = Session::open(database.url());
    (database, server, client, holder)
}

// a request that nobody waits for any more is read once its node goes on, and is no theft.
#[test]
fn a_request_that_waited_for_a_node_that_stood_still_ends_no_login_and_a_replay_afterwards_does() {
    with_session(&for_people(), |server, client, first| {
        server.server.begun(server.now());
        // Sent to the node when it stopped, given up, and sent to another one, which goes on.
        let second = session(&refresh(server, client, &first.refresh, &[]));
        server.advance(Seconds::new(30));
        let third = session(&refresh(server, client, &second.refresh, &[]));
        // The node goes on, and finds in its sockets what came meanwhile.
        assert_refused(&refresh(server, client, &first.refresh, &[]), 400, "invalid_grant");
        follow(server);
        server.advance(Seconds::new(3));
        follow(server);
        assert_refused(&refresh(server, client, &first.refresh, &[]), 400, "invalid_grant");
        let fourth = session(&refresh(server, client, &third.refresh, &[]));
        // Nothing is as old as that any more.
        server.advance(Seconds::new(3));
        follow(server);
        assert_refused(&refresh(server, client, &first.refresh, &[]), 400, "invalid_grant");
        assert_refused(&refresh(server, client, &fourth.refresh, &[]), 400, "invalid_grant");
    });
}

// who knows the answer does not send the old token any more.
#[test]
fn what_was_exchanged_long_before_a_standstill_is_a_reuse_right_after_it_too() {
    with_session(&for_people(), |server, client, first| {
        server.server.begun(server.now());
        let second = session(&refresh(server, client, &first.refresh, &[]));
        let third = session(&refresh(server, client, &second.refresh, &[]));
        for _ in 0..11 {
            server.advance(Seconds::new(1));
            follow(server);
        }
        server.advance(Seconds::new(30));
        assert_refused(&refresh(server, client, &first.refresh, &[]), 400, "invalid_grant");
        assert_refused(&refresh(server, client, &third.refresh, &[]), 400, "invalid_grant");
    });
}

// A login is counted as a failure before it is known to be one, lest many are tried at once.
#[test]
fn logins_that_nobody_could_judge_are_no_failed_ones() {
    let mut postgres = TestPostgres::start();
    let server = TestServer::start(&postgres.url("postgres"));
    server.user("alice", "correct horse");
    let client = server.client("app", for_people());
    assert_eq!(sign_in(&server, &client).status, 200);
    postgres.stop();
    // More than a name has free, and more than an address.
    for _ in 0..60 {
        assert_refused(&sign_in(&server, &client), 503, "temporarily_unavailable");
    }
    postgres.restart();
    await_return(&server);
    assert_eq!(sign_in(&server, &client).status, 200);
}

pub(crate) fn sign_in(server: &TestServer, client: &Credentials) -> Response {
    let form = [
        ("grant_type", "password"),
        ("username", "alice"),
        ("password", "correct horse"),
    ];
    server.send(&Request::form(TOKEN, &form).basic(&client.id, &client.secret))
}
