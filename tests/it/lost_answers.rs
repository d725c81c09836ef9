//! An exchange whose answer was lost, and the same token again: when it is told what it was told, and when a login ends for it.

use keywheel::oauth::{ClientMetadata, Seconds};

use crate::refresh::{PASSWORD, for_people, refresh, session, sign_in, with_session};
use crate::support::on_both;
use crate::support::server::TestServer;
use crate::token::assert_refused;

// as decided: a lost answer logs nobody out, and nothing forks.
#[test]
fn within_the_window_a_retry_gets_the_very_same_successor() {
    with_session(&for_people(), |server, client, first| {
        let second = session(&refresh(server, client, &first.refresh, &[]));
        server.advance(Seconds::new(10));
        let again = session(&refresh(server, client, &first.refresh, &[]));
        assert_eq!(second.refresh, again.refresh);
        assert_ne!(second.access, again.access);
        session(&refresh(server, client, &again.refresh, &[]));
    });
}

//
#[test]
fn a_replay_outside_the_window_or_after_the_successor_was_used_ends_the_family() {
    for used in [false, true] {
        with_session(&for_people(), |server, client, first| {
            let mut newest = session(&refresh(server, client, &first.refresh, &[]));
            if used {
                newest = session(&refresh(server, client, &newest.refresh, &[]));
            } else {
                server.advance(Seconds::new(11));
            }
            assert_refused(&refresh(server, client, &first.refresh, &[]), 400, "invalid_grant");
            assert_refused(&refresh(server, client, &newest.refresh, &[]), 400, "invalid_grant");
            let events = server.audit();
            assert!(events.contains(&"refresh.reuse".to_owned()), "{events:?}");
            // The user signs in again, and that family lives.
            session(&refresh(server, client, &sign_in(server, client, &[]).refresh, &[]));
        });
    }
}

// R-05 for a strict client: exactly one, and a parallel loser does not end the family.
#[test]
fn a_strict_client_gets_one_answer_and_a_late_replay_ends_the_family() {
    let strict = ClientMetadata {
        refresh_retry_window: Some(Seconds::new(0)),
        ..for_people()
    };
    with_session(&strict, |server, client, first| {
        let second = session(&refresh(server, client, &first.refresh, &[]));
        assert_refused(&refresh(server, client, &first.refresh, &[]), 400, "invalid_grant");
        let third = session(&refresh(server, client, &second.refresh, &[]));
        server.advance(Seconds::new(6));
        assert_refused(&refresh(server, client, &first.refresh, &[]), 400, "invalid_grant");
        assert_refused(&refresh(server, client, &third.refresh, &[]), 400, "invalid_grant");
    });
}

//
#[test]
fn an_answer_that_was_lost_in_the_last_seconds_of_a_token_is_told_again() {
    let metadata = ClientMetadata {
        refresh_ttl: Some(Seconds::minutes(1)),
        ..for_people()
    };
    with_session(&metadata, |server, client, first| {
        server.advance(Seconds::new(55));
        let second = session(&refresh(server, client, &first.refresh, &[]));
        server.advance(Seconds::new(6));
        server.tick().unwrap();
        let again = session(&refresh(server, client, &first.refresh, &[]));
        assert_eq!(again.refresh, second.refresh);
        let third = session(&refresh(server, client, &second.refresh, &[]));
        // Its successor was used: it has expired like any other.
        assert_refused(&refresh(server, client, &first.refresh, &[]), 400, "invalid_grant");
        assert_eq!(refresh(server, client, &third.refresh, &[]).status, 200);
    });
}

//
#[test]
fn so_it_is_by_the_node_that_gave_the_token_out_when_another_exchanged_it() {
    on_both(|database| {
        let short = ClientMetadata {
            refresh_ttl: Some(Seconds::minutes(1)),
            ..for_people()
        };
        let one = TestServer::start(database.url());
        let client = one.client("shop", short);
        one.user("alice", PASSWORD);
        let other = TestServer::with(database.url(), one.options());
        let first = session(&refresh(&one, &client, &sign_in(&one, &client, &[]).refresh, &[]));
        one.advance(Seconds::new(55));
        let second = session(&refresh(&other, &client, &first.refresh, &[]));
        one.advance(Seconds::new(6));
        let again = session(&refresh(&one, &client, &first.refresh, &[]));
        assert_eq!(again.refresh, second.refresh);
    });
}
