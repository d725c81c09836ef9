//! PostgreSQL is gone: what memory knows is served, everything else waits its turn, and nothing needs a restart.

use std::time::{Duration, Instant};

use keywheel::oauth::{ClientMetadata, Seconds};

use crate::refresh::{for_people, refresh, session, with_session};
use crate::support::Database;
use crate::support::http::{Request, Response, send};
use crate::support::jwt;
use crate::support::postgres::{Session, TestPostgres, await_waiting};
use crate::support::server::{Credentials, JWKS, Options, TOKEN, TestServer, metadata};
use crate::token::assert_refused;

/// A server that goes by the database's clock, and looks whether it still does.
fn by_the_databases_clock() -> (Database, TestServer) {
    let database = Database::postgres();
    let server = off_by(&database, 0, keywheel::keys::CLOCK_SKEW);
    (database, server)
}

/// One whose clock differs by so many seconds, of which so many are borne.
fn off_by(database: &Database, ahead: i64, tolerance: Seconds) -> TestServer {
    let options = Options {
        clock: std::sync::Arc::new(std::sync::atomic::AtomicI64::new(time_of(database) + ahead)),
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
            clock_tolerance: Some(keywheel::keys::CLOCK_SKEW),
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
fn follow(server: &TestServer) {
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
    let node = off_by(&database, -4, keywheel::keys::CLOCK_SKEW);
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
            std::thread::sleep(Duration::from_millis(500));
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

fn sign_in(server: &TestServer, client: &Credentials) -> Response {
    let form = [
        ("grant_type", "password"),
        ("username", "alice"),
        ("password", "correct horse"),
    ];
    server.send(&Request::form(TOKEN, &form).basic(&client.id, &client.secret))
}
