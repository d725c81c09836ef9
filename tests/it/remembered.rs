//! Refresh tokens that a node gave out itself: it knows them, and decides nothing by that. Rows R of the catalogue, with two nodes.

use keywheel::oauth::Seconds;

use crate::refresh::{Session, for_people, refresh, session, with_session};
use crate::support::http::Request;
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
