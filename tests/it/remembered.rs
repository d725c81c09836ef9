//! Refresh tokens that a node gave out itself: it knows them, and decides nothing by that. Rows R of the catalogue, with two nodes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use keywheel::oauth::Seconds;

use crate::refresh::{PASSWORD, Session, for_people, refresh, session, sign_in, with_session};
use crate::support::Database;
use crate::support::http::Request;
use crate::support::postgres;
use crate::support::server::{Credentials, TestServer};
use crate::token::assert_refused;

/// Two nodes, and a token that the first gave out for another: it remembers that.
fn with_remembered(test: impl Fn(&TestServer, &TestServer, &Credentials, Session)) {
    with_session(&for_people(), |server, client, first| {
        let other = TestServer::with(&server.url, server.options());
        test(
            server,
            &other,
            client,
            session(&refresh(server, client, &first.refresh, &[])),
        );
    });
}

#[test]
fn a_token_that_the_node_gave_out_itself_is_exchanged_without_being_looked_up() {
    let statements = |server: &TestServer| server.store.statements();
    with_remembered(|server, other, client, second| {
        // The client is known to both nodes.
        assert_refused(&refresh(other, client, "kwr_unknown", &[]), 400, "invalid_grant");
        let before = statements(server);
        let third = session(&refresh(server, client, &second.refresh, &[]));
        let remembered = statements(server) - before;
        let before = statements(other);
        session(&refresh(other, client, &third.refresh, &[]));
        assert_eq!(statements(other) - before - remembered, 1, "the other node looks it up");
    });
}

// as on a node that remembers nothing.
#[test]
fn what_a_node_remembers_of_a_token_does_not_decide_what_has_become_of_it() {
    with_remembered(|server, other, client, second| {
        let third = session(&refresh(other, client, &second.refresh, &[]));
        let again = session(&refresh(server, client, &second.refresh, &[]));
        assert_eq!(third.refresh, again.refresh, "a lost answer is given again");
        session(&refresh(other, client, &third.refresh, &[]));
    });
    with_remembered(|server, other, client, second| {
        let third = session(&refresh(other, client, &second.refresh, &[]));
        let fourth = session(&refresh(other, client, &third.refresh, &[]));
        // Within the same second it may have been under way before.
        server.advance(Seconds::new(1));
        assert_refused(&refresh(server, client, &second.refresh, &[]), 400, "invalid_grant");
        assert!(server.audit().contains(&"refresh.reuse".to_owned()));
        for node in [server, other] {
            assert_refused(&refresh(node, client, &fourth.refresh, &[]), 400, "invalid_grant");
        }
    });
    with_remembered(|server, other, client, second| {
        let form = Request::form("/oauth2/revoke", &[("token", &second.refresh)]);
        assert_eq!(other.send(&form.basic(&client.id, &client.secret)).status, 200);
        assert_refused(&refresh(server, client, &second.refresh, &[]), 400, "invalid_grant");
    });
    with_remembered(|server, other, client, second| {
        other.set_password("alice", "another password");
        assert_refused(&refresh(server, client, &second.refresh, &[]), 400, "invalid_grant");
    });
    with_remembered(|server, _, client, second| {
        server.advance(Seconds::days(15));
        assert_refused(&refresh(server, client, &second.refresh, &[]), 400, "invalid_grant");
    });
}

// W-09: whoever waits for a database that lets nobody go on is told so in time, and has used nothing.
#[test]
fn while_the_database_holds_everybody_up_a_refresh_is_refused_in_time_and_can_be_repeated() {
    const PEOPLE: usize = 6;
    let database = Database::postgres();
    let server = TestServer::start(database.url());
    let client = server.client("shop", for_people());
    server.user("alice", PASSWORD);
    let remembered: Vec<Session> = (0..PEOPLE)
        .map(|_| session(&refresh(&server, &client, &sign_in(&server, &client, &[]).refresh, &[])))
        .collect();
    let holder = postgres::Session::open(database.url());
    holder.execute("BEGIN; LOCK TABLE family_gate IN EXCLUSIVE MODE");
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for one in &remembered {
            let (server, client) = (&server, &client);
            scope.spawn(move || {
                let refused = refresh(server, client, &one.refresh, &[]);
                assert_refused(&refused, 503, "temporarily_unavailable");
                assert!(refused.header("retry-after").is_some());
            });
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    holder.execute("COMMIT");
    for one in &remembered {
        let next = session(&refresh(&server, &client, &one.refresh, &[]));
        session(&refresh(&server, &client, &next.refresh, &[]));
    }
    assert_eq!(server.count("token_families WHERE revoked_at IS NOT NULL"), 0);
    assert_eq!(database.count("refresh_tokens"), PEOPLE * 4);
}

// those who wait together are answered each for itself.
#[test]
fn many_refreshes_at_once_of_a_node_that_remembers_them_are_each_their_own() {
    with_remembered(|server, _, client, second| {
        let others: Vec<Session> = (0..20).map(|_| sign_in(server, client, &[])).collect();
        let others: Vec<Session> = others
            .iter()
            .map(|other| session(&refresh(server, client, &other.refresh, &[])))
            .collect();
        let all: Vec<&Session> = others.iter().chain([&second, &second]).collect();
        let next: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = all
                .iter()
                .map(|one| scope.spawn(|| session(&refresh(server, client, &one.refresh, &[])).refresh))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let different: BTreeSet<&String> = next.iter().collect();
        assert_eq!(different.len(), 21, "the two with one token are given one successor");
        for token in different {
            session(&refresh(server, client, token, &[]));
        }
    });
}
