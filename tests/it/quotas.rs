//! Quotas of tokens: a client that has one is told what is left of it, and waits when nothing is.

use keywheel::oauth::{ClientId, ClientMetadata, Seconds, TokenQuota};
use keywheel::server::admin::ClientChange;

use crate::refresh::for_people;
use crate::support::http::{Request, Response, send};
use crate::support::postgres::{Session, await_waiting};
use crate::support::server::{Credentials, TOKEN, TestServer, metadata};
use crate::support::{Database, on_both, on_both_processes};
use crate::token::assert_refused;

fn quota(text: &str) -> Option<TokenQuota> {
    Some(text.parse().unwrap())
}

fn with(text: &str) -> ClientMetadata {
    ClientMetadata {
        token_quota: quota(text),
        ..metadata()
    }
}

/// Policy and state, as an answer tells them.
fn told(response: &Response) -> (Option<&str>, Option<&str>) {
    (response.header("ratelimit-policy"), response.header("ratelimit"))
}

// T-38, draft-ietf-httpapi-ratelimit-headers
#[test]
fn a_client_with_a_quota_is_told_what_is_left_and_waits_when_nothing_is() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("billing", with("2/1m"));
        let policy = Some("\"default\";q=2;w=60");
        let first = server.token(&client, &[]);
        assert_eq!(
            (first.status, told(&first)),
            (200, (policy, Some("\"default\";r=1;t=60")))
        );
        server.advance(Seconds::new(20));
        let second = server.token(&client, &[]);
        assert_eq!(
            (second.status, told(&second)),
            (200, (policy, Some("\"default\";r=0;t=40")))
        );
        for _ in 0..3 {
            let refused = server.token(&client, &[]);
            assert_refused(&refused, 429, "temporarily_unavailable");
            assert_eq!(refused.header("retry-after"), Some("40"));
            assert_eq!(told(&refused), (policy, Some("\"default\";r=0;t=40")));
        }
        server.advance(Seconds::new(40));
        let after = server.token(&client, &[]);
        assert_eq!(
            (after.status, told(&after)),
            (200, (policy, Some("\"default\";r=1;t=60")))
        );
    });
}

#[test]
fn a_client_without_a_quota_is_told_nothing_and_never_waits() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        server.client("billing", with("1/1d"));
        let other = server.client("shop", metadata());
        for _ in 0..20 {
            let response = server.token(&other, &[]);
            assert_eq!((response.status, told(&response)), (200, (None, None)));
        }
    });
}

#[test]
fn what_is_refused_for_another_reason_takes_nothing_and_other_endpoints_are_open() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("billing", with("1/1m"));
        assert_refused(&server.token(&client, &[("scope", "admin")]), 400, "invalid_scope");
        let token = server.granted(&client, &[]);
        assert_refused(&server.token(&client, &[]), 429, "temporarily_unavailable");
        let ask = Request::form("/oauth2/introspect", &[("token", &token)]).basic(&client.id, &client.secret);
        let introspected = server.send(&ask);
        assert_eq!(introspected.json()["active"], true);
        assert_eq!(told(&introspected), (None, None));
    });
}

#[test]
fn no_change_of_a_client_begins_its_quota_anew_and_a_larger_one_counts_at_once() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("billing", with("1/1m"));
        server.granted(&client, &[]);
        let change = |token_quota| {
            let change = ClientChange {
                name: Some("Other".to_owned()),
                token_quota,
                ..ClientChange::default()
            };
            let id = ClientId::parse("billing").unwrap();
            server.admin().update(&id, change, server.now()).unwrap();
            server.tick().unwrap();
        };
        change(None);
        assert_refused(&server.token(&client, &[]), 429, "temporarily_unavailable");
        change(Some(quota("2/1m")));
        assert_eq!(told(&server.token(&client, &[])).1, Some("\"default\";r=0;t=60"));
        change(Some(None));
        server.granted(&client, &[]);
    });
}

const LOGIN: [(&str, &str); 3] = [
    ("grant_type", "password"),
    ("username", "alice"),
    ("password", "correct horse battery"),
];

/// A server with the user who logs in, through a client with a quota.
fn shop_and_alice(database: &Database, tokens: &str) -> (TestServer, Credentials) {
    let server = TestServer::start(database.url());
    let metadata = ClientMetadata {
        token_quota: quota(tokens),
        ..for_people()
    };
    let client = server.client("shop", metadata);
    server.user("alice", "correct horse battery");
    (server, client)
}

// a refresh token that was shown in vain is as good as before.
#[test]
fn a_refresh_beyond_the_quota_uses_up_nothing() {
    on_both(|database| {
        let (server, client) = shop_and_alice(database, "1/1m");
        let ask = |form: &[(&str, &str)]| server.send(&Request::form(TOKEN, form).basic(&client.id, &client.secret));
        let granted = ask(&LOGIN);
        assert_eq!(told(&granted).1, Some("\"default\";r=0;t=60"), "{}", granted.text());
        let token = granted.json()["refresh_token"].as_str().unwrap().to_owned();
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        for _ in 0..3 {
            assert_refused(&ask(&refresh), 429, "temporarily_unavailable");
        }
        server.advance(Seconds::minutes(1));
        assert_eq!(ask(&refresh).status, 200);
    });
}

// to wait until something is left would be too late for who lost an answer.
#[test]
fn a_lost_answer_is_fetched_whatever_is_left_of_the_quota() {
    on_both(|database| {
        let (server, client) = shop_and_alice(database, "2/1m");
        let ask = |form: &[(&str, &str)]| server.send(&Request::form(TOKEN, form).basic(&client.id, &client.secret));
        let next = |granted: &Response| granted.json()["refresh_token"].as_str().unwrap().to_owned();
        let token = next(&ask(&LOGIN));
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        let lost = next(&ask(&refresh));
        let again = ask(&refresh);
        assert_eq!((again.status, next(&again)), (200, lost.clone()));
        // The token after that is a new one.
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", lost.as_str())];
        assert_refused(&ask(&refresh), 429, "temporarily_unavailable");
        server.advance(Seconds::minutes(1));
        assert_eq!(ask(&refresh).status, 200);
    });
}

// what another node gave is not remembered here.
#[test]
fn a_lost_answer_of_another_node_is_fetched_whatever_is_left_of_the_quota() {
    on_both(|database| {
        let (server, client) = shop_and_alice(database, "2/1m");
        let other = TestServer::with(database.url(), server.options());
        let next = |granted: &Response| granted.json()["refresh_token"].as_str().unwrap().to_owned();
        let ask = |of: &TestServer, form: &[(&str, &str)]| {
            of.send(&Request::form(TOKEN, form).basic(&client.id, &client.secret))
        };
        let refresh = |of, token: &str| ask(of, &[("grant_type", "refresh_token"), ("refresh_token", token)]);
        // Of what it was exchanged for the one remembers that nobody has used it; then its quota is used up.
        let token = next(&refresh(&server, &next(&ask(&server, &LOGIN))));
        let lost = next(&refresh(&other, &token));
        let again = refresh(&server, &token);
        assert_refused(&again, 503, "temporarily_unavailable");
        assert!(again.header("retry-after").is_some());
        let again = refresh(&server, &token);
        assert_eq!((again.status, next(&again)), (200, lost));
    });
}

#[test]
fn a_refresh_that_is_decided_twice_takes_one_token() {
    let database = Database::postgres();
    let (server, client) = shop_and_alice(&database, "4/1m");
    let ask = |form: &[(&str, &str)]| server.send(&Request::form(TOKEN, form).basic(&client.id, &client.secret));
    let next = |granted: &Response| granted.json()["refresh_token"].as_str().unwrap().to_owned();
    let refresh = |token: &str| ask(&[("grant_type", "refresh_token"), ("refresh_token", token)]);
    // What is exchanged for a token that was looked up is remembered, and the next exchange is decided from memory.
    let token = next(&refresh(&next(&ask(&LOGIN))));
    // Who exchanges many at once leaves this one out, and it is decided anew by who waits.
    let holder = Session::open(database.url());
    holder.execute("BEGIN; SELECT 1 FROM token_families FOR UPDATE");
    std::thread::scope(|scope| {
        let url = database.url();
        scope.spawn(move || {
            await_waiting(url, 1);
            holder.execute("COMMIT");
        });
        let refreshed = refresh(&token);
        assert_eq!(told(&refreshed).1, Some("\"default\";r=1;t=60"), "{}", refreshed.text());
    });
}

#[test]
fn a_quota_is_set_shown_and_taken_back_on_the_command_line() {
    on_both_processes(|folder| {
        let served = folder.serve(&["--dev"]);
        let words = "client create Billing --id billing --grant client_credentials --token-quota 1/1h";
        let created = folder.json(&words.split(' ').collect::<Vec<_>>());
        assert_eq!(created["token_quota"], "1/1h");
        let secret = created["client_secret"].as_str().unwrap();
        let ask = || {
            let request = Request::raw_form(TOKEN, "grant_type=client_credentials").basic("billing", secret);
            send(served.address, &request).status
        };
        assert_eq!([ask(), ask()], [200, 429]);
        for bad in ["1000", "0/1m", "1/2d"] {
            let refused = folder.run(&["client", "update", "billing", "--token-quota", bad]);
            assert_eq!(refused.status.code(), Some(2), "{bad}");
            let said = String::from_utf8(refused.stderr).unwrap();
            assert!(said.contains("such as 1000/1m"), "{said}");
        }
        let updated = folder.json(&["client", "update", "billing", "--token-quota", "1000/1m"]);
        assert_eq!(updated["token_quota"], "1000/1m");
        let table = String::from_utf8(folder.run(&["client", "show", "billing"]).stdout).unwrap();
        assert!(table.contains("1000/1m"), "{table}");
        let updated = folder.json(&["client", "update", "billing", "--no-token-quota"]);
        assert_eq!(updated.get("token_quota"), None);
    });
}
