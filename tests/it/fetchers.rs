//! Who fetches the JWK set, and turns that wait for them.

use keywheel::keys::KeyState;
use keywheel::oauth::{NumericDate, Seconds, Thumbprint};
use keywheel::server::admin::KeyAdmin;

use crate::support::http::Request;
use crate::support::server::{JWKS, Options, TestServer};
use crate::support::{Database, on_both};

const PERIOD: Seconds = Seconds::days(2);
const WAIT: Seconds = Seconds::days(1);
/// How much later a turn is put off at a time.
const STEP: Seconds = Seconds::hours(1);

fn options() -> Options {
    Options {
        period: PERIOD,
        wait_for_fetchers: WAIT,
        trusted_proxies: vec!["127.0.0.1/32"],
        ..Options::default()
    }
}

fn fetch(server: &TestServer, user_agent: &str, address: &str) {
    let request = Request::get(JWKS)
        .header("User-Agent", user_agent)
        .header("X-Forwarded-For", address);
    assert_eq!(server.send(&request).status, 200);
}

/// Lets a moment pass in which what was counted is written down.
fn flush(server: &TestServer) {
    server.advance(Seconds::new(5));
    server.tick().unwrap();
}

/// A server that has turned its wheel once, and a fetcher that came before and not since.
fn with_absent(database: &Database, options: Options) -> TestServer {
    let server = TestServer::with(database.url(), options);
    fetch(&server, "Envoy", "198.51.100.1");
    flush(&server);
    server.advance(PERIOD);
    server.tick().unwrap();
    server
}

/// Who was seen, whether they have the next key, and how often they came since then.
fn seen(server: &TestServer) -> Vec<(String, String, bool, u64)> {
    let admin = KeyAdmin::new(&server.store, server.vault(), &server.policy, "test");
    let lines = admin.fetchers(server.now()).unwrap();
    let line = |line: keywheel::server::admin::FetcherLine| {
        (
            line.user_agent,
            line.address_block,
            line.has_next.unwrap(),
            line.fetches,
        )
    };
    lines.into_iter().map(line).collect()
}

/// The next key, and when it begins to sign.
fn next(server: &TestServer) -> (Thumbprint, NumericDate) {
    let ring = KeyAdmin::new(&server.store, server.vault(), &server.policy, "test")
        .ring()
        .unwrap();
    let key = ring
        .next(keywheel::oauth::SigningAlgorithm::Rs256, server.now())
        .unwrap();
    (key.kid().clone(), key.record().activates_at)
}

/// The seconds before a planned turn, second by second.
fn approach(server: &TestServer, turn: NumericDate) {
    server.set_clock((turn - Seconds::new(20)).epoch());
    for _ in 0..20 {
        server.tick().unwrap();
        server.advance(Seconds::new(1));
    }
    server.tick().unwrap();
}

#[test]
fn fetches_are_counted_by_user_agent_and_network_since_the_next_key_was_published() {
    on_both(|database| {
        let server = TestServer::with(database.url(), options());
        let other = TestServer::with(database.url(), server.options_of(options()));
        fetch(&server, "jose/5", "192.0.2.1");
        fetch(&other, "jose/5", "192.0.2.99");
        fetch(&server, "Envoy", "198.51.100.1");
        for node in [&server, &other] {
            flush(node);
        }
        let (jose, envoy) = ("jose/5", "Envoy");
        let is = |agent: &str, block: &str, has_next, fetches| (agent.to_owned(), block.to_owned(), has_next, fetches);
        assert_eq!(
            seen(&server),
            [is(envoy, "198.51.100.0/24", true, 1), is(jose, "192.0.2.0/24", true, 2)]
        );
        // The wheel turns, and another key is published.
        server.advance(PERIOD);
        server.tick().unwrap();
        assert!(seen(&server).iter().all(|(_, _, has_next, _)| !has_next));
        fetch(&server, jose, "192.0.2.1");
        flush(&server);
        assert_eq!(
            seen(&server),
            [
                is(envoy, "198.51.100.0/24", false, 1),
                is(jose, "192.0.2.0/24", true, 1)
            ]
        );
        // Who has not come for two periods, and as long as a turn waits, is forgotten.
        server.advance(PERIOD + WAIT);
        fetch(&server, jose, "192.0.2.1");
        flush(&server);
        server.advance(Seconds::minutes(2));
        server.tick().unwrap();
        assert_eq!(seen(&server).len(), 1);
    });
}

#[test]
fn a_planned_turn_waits_for_a_fetcher_without_the_next_key_and_comes_when_it_has_it() {
    on_both(|database| {
        let server = with_absent(database, options());
        let (kid, planned) = next(&server);
        approach(&server, planned);
        assert_eq!(next(&server), (kid.clone(), planned + STEP));
        assert!(server.audit().contains(&"key.postponed".to_owned()));
        fetch(&server, "Envoy", "198.51.100.1");
        flush(&server);
        approach(&server, planned + STEP);
        assert_ne!(next(&server).0, kid, "it signs");
        let ring = KeyAdmin::new(&server.store, server.vault(), &server.policy, "test")
            .ring()
            .unwrap();
        assert_eq!(ring.state(&kid, server.now()), Some(KeyState::Active));
    });
}

#[test]
fn a_fetcher_that_never_comes_again_holds_a_turn_up_no_longer_than_the_limit() {
    on_both(|database| {
        let server = with_absent(database, options());
        let (kid, planned) = next(&server);
        let mut turns = 0;
        while let (next_kid, at) = next(&server)
            && next_kid == kid
        {
            assert!(at <= planned + WAIT, "{at}");
            approach(&server, at);
            turns += 1;
        }
        assert!(server.now().since(planned + WAIT) <= Seconds::new(1));
        assert_eq!(turns, 24 + 1);
    });
}

#[test]
fn a_turn_that_an_operator_brought_forward_waits_for_nobody_and_neither_does_any_by_default() {
    on_both(|database| {
        let server = with_absent(database, options());
        let admin = KeyAdmin::new(&server.store, server.vault(), &server.policy, "test");
        let (kid, _) = next(&server);
        let at = admin
            .rotate(None, keywheel::keys::Urgency::WhenSafe, server.now())
            .unwrap()
            .activates_at;
        let (_, brought_forward) = next(&server);
        assert_eq!(at, brought_forward.to_string());
        server.tick().unwrap();
        approach(&server, brought_forward);
        assert_ne!(next(&server).0, kid);
    });
    on_both(|database| {
        let usual = Options {
            wait_for_fetchers: Seconds::new(0),
            ..options()
        };
        let server = with_absent(database, usual);
        let (kid, planned) = next(&server);
        approach(&server, planned);
        assert_ne!(next(&server).0, kid);
    });
}

#[test]
fn strangers_do_not_crowd_out_those_who_are_known_and_nobody_waits_for_them() {
    on_both(|database| {
        let server = TestServer::with(database.url(), options());
        fetch(&server, "Envoy", "192.0.2.1");
        flush(&server);
        for number in 0..40 {
            fetch(&server, &format!("made up {number}"), "192.0.2.66");
        }
        flush(&server);
        let seen = seen(&server);
        assert_eq!(seen.len(), 16 + 1, "{seen:?}");
        assert!(seen.iter().any(|(agent, ..)| agent == "Envoy"));
        let others = seen.iter().find(|(agent, ..)| agent == "(others)").unwrap();
        assert_eq!(others.3, 40 - 15);
    });
}
