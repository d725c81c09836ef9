//! The password grant, black box over HTTP on both databases: rows P of the catalogue.

use keywheel::oauth::{ClaimProfile, ClientMetadata, GrantType, Seconds};
use serde_json::json;

use crate::refresh::{PASSWORD, for_people};
use crate::support::http::{Request, Response};
use crate::support::jwt;
use crate::support::on_both;
use crate::support::server::{Credentials, Options, TOKEN, TestServer, metadata};
use crate::token::assert_refused;

fn sign_in(server: &TestServer, client: &Credentials, username: &str, password: &str) -> Response {
    let form = [
        ("grant_type", "password"),
        ("username", username),
        ("password", password),
    ];
    server.send(&Request::form(TOKEN, &form).basic(&client.id, &client.secret))
}

fn with_alice(test: impl Fn(&TestServer, &Credentials)) {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("shop", for_people());
        server.user("Alice", PASSWORD);
        test(&server, &client);
    });
}

#[test]
fn a_user_signs_in_under_any_spelling_of_the_name_and_is_the_subject() {
    with_alice(|server, client| {
        let mut subjects = std::collections::BTreeSet::new();
        for name in ["alice", "ALICE", "Ａｌｉｃｅ"] {
            let response = sign_in(server, client, name, PASSWORD);
            assert_eq!(response.status, 200, "{name}: {}", response.text());
            let claims = jwt::verify(server, response.json()["access_token"].as_str().unwrap()).claims;
            subjects.insert(claims["sub"].as_str().unwrap().to_owned());
        }
        assert_eq!(subjects.len(), 1);
    });
}

#[test]
fn the_simplejwt_profile_names_the_user() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client(
            "django",
            ClientMetadata {
                claim_profile: ClaimProfile::Simplejwt,
                ..for_people()
            },
        );
        server.user("alice", PASSWORD);
        let response = sign_in(&server, &client, "alice", PASSWORD);
        let claims = jwt::verify(&server, response.json()["access_token"].as_str().unwrap()).claims;
        assert_eq!(
            (&claims["user_id"], &claims["token_type"]),
            (&claims["sub"], &json!("access"))
        );
    });
}

#[test]
fn a_login_is_in_the_trail_also_where_no_refresh_token_follows() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let alone = ClientMetadata {
            grant_types: vec![GrantType::Password],
            ..for_people()
        };
        let client = server.client("kiosk", alone);
        server.user("alice", PASSWORD);
        let response = sign_in(&server, &client, "alice", PASSWORD);
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.json().get("refresh_token"), None);
        let logins = server.audit().into_iter().filter(|event| event == "login");
        assert_eq!(logins.count(), 1);
    });
}

// P-03, P-10
#[test]
fn unknown_disabled_wrong_empty_and_oversized_are_one_answer() {
    with_alice(|server, client| {
        let long = "p".repeat(80);
        server.user("bob", &long);
        server.user("mallory", PASSWORD);
        let mallory = server.users().show("mallory").unwrap();
        server.users().set_enabled(&mallory, false, server.now()).unwrap();
        let mut bodies = std::collections::BTreeSet::new();
        for (name, password) in [
            ("alice", "wrong"),
            ("alice", ""),
            ("nobody", PASSWORD),
            ("mallory", PASSWORD),
            ("bob", &long[..72]),
            ("bob", &"p".repeat(8_000)),
            ("' OR 1=1 --", "x"),
            ("*)(uid=*", "x"),
        ] {
            let response = sign_in(server, client, name, password);
            assert_refused(&response, 400, "invalid_grant");
            bodies.insert(response.text().to_owned());
        }
        assert_eq!(bodies.len(), 1);
        assert_eq!(sign_in(server, client, "bob", &long).status, 200);
    });
}

// P-05, T-19
#[test]
fn a_name_that_cannot_be_one_is_malformed() {
    with_alice(|server, client| {
        for name in ["", "a\0b", &"x".repeat(257)] {
            assert_refused(&sign_in(server, client, name, PASSWORD), 400, "invalid_request");
        }
        assert_refused(&sign_in(server, client, "alice", "a\0b"), 400, "invalid_request");
    });
}

// P-01, P-02
#[test]
fn the_grant_is_for_registered_clients_and_can_be_switched_off() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        server.user("alice", PASSWORD);
        let service = server.client("service", metadata());
        assert_refused(
            &sign_in(&server, &service, "alice", PASSWORD),
            400,
            "unauthorized_client",
        );
        let no_refresh = server.client(
            "kiosk",
            ClientMetadata {
                grant_types: vec![GrantType::Password],
                ..metadata()
            },
        );
        let answer = sign_in(&server, &no_refresh, "alice", PASSWORD).json();
        assert!(answer.get("refresh_token").is_none(), "{answer}");
        drop(server);
        let server = TestServer::with(
            database.url(),
            Options {
                password_grant: false,
                ..Options::default()
            },
        );
        assert_refused(
            &sign_in(&server, &no_refresh, "alice", PASSWORD),
            400,
            "unsupported_grant_type",
        );
        let metadata = server.get("/.well-known/oauth-authorization-server").json();
        assert_eq!(
            metadata["grant_types_supported"],
            json!(["client_credentials", "refresh_token"])
        );
    });
}

// P-06, P-07, T-38
#[test]
fn guessing_is_slowed_down_and_never_locks_the_owner_out_for_good() {
    with_alice(|server, client| {
        let mut refused = 0;
        let throttled = loop {
            let response = sign_in(server, client, "alice", "wrong");
            if response.status == 429 {
                break response;
            }
            refused += 1;
            assert!(refused < 50, "nothing slows guessing down");
        };
        assert_eq!(throttled.json()["error"], "temporarily_unavailable");
        let wait: i64 = throttled.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=300).contains(&wait));
        assert_eq!(
            sign_in(server, client, "alice", PASSWORD).status,
            429,
            "the right password waits as well"
        );
        server.advance(Seconds::new(wait));
        assert_eq!(sign_in(server, client, "alice", PASSWORD).status, 200);
        assert_eq!(
            sign_in(server, client, "alice", PASSWORD).status,
            200,
            "a success starts the count afresh"
        );
    });
}

#[test]
fn an_imported_hash_is_verified_and_replaced_at_the_next_login() {
    with_alice(|server, client| {
        // django.contrib.auth.hashers.make_password("lètmein", salt="seasalt", iterations=10000)
        server.import(
            "username,password_hash\ndora,pbkdf2_sha256$10000$seasalt$CWWFdHOWwPnki7HvkcqN9iA2T3KLW1cf2uZ5kvArtVY=\n",
        );
        assert_refused(&sign_in(server, client, "dora", "letmein"), 400, "invalid_grant");
        assert_eq!(sign_in(server, client, "dora", "lètmein").status, 200);
        let (_, hash) = server
            .store
            .user_by_name(&keywheel::oauth::Username::parse("dora").unwrap())
            .unwrap()
            .unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert_eq!(sign_in(server, client, "dora", "lètmein").status, 200);
    });
}
