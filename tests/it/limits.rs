//! What nobody may use up: attempts to authenticate, connections, and the time of those who serve them.

use keywheel::oauth::Seconds;
use keywheel::storage::AuditFilter;

use crate::support::http::{Request, Response};
use crate::support::on_both;
use crate::support::server::{Credentials, Options, TOKEN, TestServer, metadata};
use crate::token::assert_refused;

fn behind_a_proxy(url: &str) -> TestServer {
    let options = Options {
        trusted_proxies: vec!["127.0.0.0/8"],
        ..Options::default()
    };
    TestServer::with(url, options)
}

/// A request for a token from an address.
fn from(server: &TestServer, address: &str, client: &Credentials) -> Response {
    let request = Request::raw_form(TOKEN, "grant_type=client_credentials").basic(&client.id, &client.secret);
    server.send(&request.header("X-Forwarded-For", address))
}

fn wrong(id: &str) -> Credentials {
    Credentials {
        id: id.to_owned(),
        secret: "wrong".to_owned(),
    }
}

// C-21, T-38
#[test]
fn wrong_secrets_from_many_addresses_are_slowed_down_and_the_client_is_served_from_each_of_them() {
    on_both(|database| {
        let server = behind_a_proxy(database.url());
        let client = server.client("billing", metadata());
        let answers: Vec<_> = (0..100).map(|n| from(&server, &format!("192.0.{n}.1"), &wrong("billing"))).collect();
        let throttled = answers.iter().find(|answer| answer.status != 401).expect("nothing slows it down");
        assert_refused(throttled, 429, "temporarily_unavailable");
        assert!(throttled.header("retry-after").is_some());
        assert_refused(&answers[99], 429, "temporarily_unavailable");
        for address in ["192.0.99.1", "192.0.1.1", "203.0.113.1"] {
            assert_eq!(from(&server, address, &client).status, 200, "{address}");
        }
        // Nor are others held up, not even by their own wrong secrets.
        server.client("shop", metadata());
        assert_refused(&from(&server, "203.0.113.1", &wrong("shop")), 401, "invalid_client");
    });
}

// C-21, T-38
#[test]
fn wrong_secrets_of_many_clients_from_one_network_are_slowed_down_and_whoever_shares_it_is_served() {
    on_both(|database| {
        let server = behind_a_proxy(database.url());
        let client = server.client("billing", metadata());
        for (network, other) in [("192.0.2", "198.51.100.1"), ("2001:db8:0:1:", "2001:db8:0:2::1")] {
            let separator = if network.contains(':') { ":" } else { "." };
            let answers: Vec<_> = (0..200)
                .map(|n| from(&server, &format!("{network}{separator}{}", n + 1), &wrong(&format!("nobody-{n}"))))
                .collect();
            assert_refused(&answers[0], 401, "invalid_client");
            assert_refused(&answers[199], 429, "temporarily_unavailable");
            assert_eq!(from(&server, &format!("{network}{separator}7"), &client).status, 200);
            assert_refused(&from(&server, other, &wrong("nobody-0")), 401, "invalid_client");
        }
    });
}

// T-37: the connection goes on, and a minute later the answer is the usual one.
#[test]
fn a_budget_that_ran_out_is_counted_and_told_once_and_ends_by_itself() {
    on_both(|database| {
        let server = behind_a_proxy(database.url());
        server.client("billing", metadata());
        for _ in 0..80 {
            from(&server, "192.0.2.1", &wrong("billing"));
        }
        for (budget, times) in [("client", 1), ("address", 0)] {
            let line = format!("keywheel_failure_budgets_exhausted_total{{budget=\"{budget}\"}} {times}\n");
            assert!(server.metrics().contains(&line), "{line}");
        }
        server.advance(Seconds::minutes(1));
        server.tick().unwrap();
        assert_refused(&from(&server, "192.0.2.1", &wrong("billing")), 401, "invalid_client");
        let filter = AuditFilter {
            event: Some("failure_budget.exhausted".to_owned()),
            ..AuditFilter::default()
        };
        let events = server.store.audit_events(&filter).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].client_id.as_deref(), Some("billing"));
        assert_eq!(events[0].detail["budget"], "client");
        assert_eq!(events[0].detail["address_block"], "192.0.2.0/24");
    });
}
