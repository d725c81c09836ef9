//! Refresh tokens: one successor, whatever happens. Rows R of the catalogue, black box over HTTP on both databases.

use keywheel::oauth::{Audiences, ClientId, ClientMetadata, GrantType, Scope, Seconds};
use keywheel::server::admin::ClientChange;

use crate::support::http::{Request, Response, send};
use crate::support::jwt;
use crate::support::on_both;
use crate::support::server::{Credentials, Options, TOKEN, TestServer, metadata};
use crate::token::assert_refused;

/// A client for people: passwords and refresh tokens.
pub(crate) fn for_people() -> ClientMetadata {
    ClientMetadata {
        grant_types: vec![GrantType::Password, GrantType::RefreshToken],
        ..metadata()
    }
}

/// What a user gets when signing in.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

pub(crate) fn session(response: &Response) -> Session {
    assert_eq!(response.status, 200, "{}", response.text());
    let text = |member: &str| response.json()[member].as_str().unwrap().to_owned();
    Session {
        access: text("access_token"),
        refresh: text("refresh_token"),
    }
}

pub(crate) fn sign_in(server: &TestServer, client: &Credentials, parameters: &[(&str, &str)]) -> Session {
    let mut all = vec![
        ("grant_type", "password"),
        ("username", "alice"),
        ("password", PASSWORD),
    ];
    all.extend_from_slice(parameters);
    session(&server.send(&Request::form(TOKEN, &all).basic(&client.id, &client.secret)))
}

pub(crate) fn refresh(server: &TestServer, client: &Credentials, token: &str, parameters: &[(&str, &str)]) -> Response {
    let mut all = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
    all.extend_from_slice(parameters);
    server.send(&Request::form(TOKEN, &all).basic(&client.id, &client.secret))
}

pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) fn with_session(metadata: &ClientMetadata, test: impl Fn(&TestServer, &Credentials, Session)) {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("shop", metadata.clone());
        server.user("alice", PASSWORD);
        let session = sign_in(&server, &client, &[]);
        test(&server, &client, session);
    });
}

//
#[test]
fn a_refresh_gives_a_new_access_token_and_a_new_refresh_token() {
    with_session(&for_people(), |server, client, first| {
        assert!(first.refresh.starts_with("kwr_") && first.refresh.len() == 4 + 43 + 6);
        let second = session(&refresh(server, client, &first.refresh, &[]));
        assert_ne!(first.refresh, second.refresh);
        let (one, two) = (jwt::verify(server, &first.access), jwt::verify(server, &second.access));
        assert_eq!(
            (&one.claims["sub"], &one.claims["aud"]),
            (&two.claims["sub"], &two.claims["aud"])
        );
        assert_ne!(one.claims["jti"], two.claims["jti"]);
        let user = one.claims["sub"].as_str().unwrap();
        assert!(user.starts_with("usr_") && one.claims["client_id"] == "shop");
        session(&refresh(server, client, &second.refresh, &[]));
    });
}

// order is by generation; the clock stands still.
#[test]
fn two_rotations_in_one_second_do_not_revive_the_first_token() {
    with_session(&for_people(), |server, client, first| {
        let second = session(&refresh(server, client, &first.refresh, &[]));
        session(&refresh(server, client, &second.refresh, &[]));
        assert_refused(&refresh(server, client, &first.refresh, &[]), 400, "invalid_grant");
    });
}

//
#[test]
fn a_restart_does_not_revive_a_rotated_token() {
    on_both(|database| {
        let (client, first, second) = {
            let server = TestServer::start(database.url());
            let client = server.client("shop", for_people());
            server.user("alice", PASSWORD);
            let first = sign_in(&server, &client, &[]);
            let second = session(&refresh(&server, &client, &first.refresh, &[]));
            let second = session(&refresh(&server, &client, &second.refresh, &[]));
            (client, first, second)
        };
        let server = TestServer::start(database.url());
        session(&refresh(&server, &client, &second.refresh, &[]));
        assert_refused(&refresh(&server, &client, &first.refresh, &[]), 400, "invalid_grant");
    });
}

//
#[test]
fn disabling_the_client_or_the_user_and_a_new_password_end_what_was_signed_in() {
    with_session(&for_people(), |server, client, first| {
        let users = server.users();
        let alice = users.show("alice").unwrap();
        users.set_enabled(&alice, false, server.now()).unwrap();
        assert_refused(&refresh(server, client, &first.refresh, &[]), 400, "invalid_grant");
        users.set_enabled(&alice, true, server.now()).unwrap();
        assert_refused(&refresh(server, client, &first.refresh, &[]), 400, "invalid_grant");

        let second = sign_in(server, client, &[]);
        server.set_password("alice", "another password");
        assert_refused(&refresh(server, client, &second.refresh, &[]), 400, "invalid_grant");
        server.set_password("alice", PASSWORD);

        let third = sign_in(server, client, &[]);
        let id = ClientId::parse("shop").unwrap();
        server.admin().set_enabled(&id, false, server.now()).unwrap();
        server.tick().unwrap();
        assert_refused(&refresh(server, client, &third.refresh, &[]), 401, "invalid_client");
        server.admin().set_enabled(&id, true, server.now()).unwrap();
        server.tick().unwrap();
        assert_refused(&refresh(server, client, &third.refresh, &[]), 400, "invalid_grant");
    });
}

//
#[test]
fn another_clients_token_is_refused_and_lives_on() {
    with_session(&for_people(), |server, client, first| {
        let other = server.client("other", for_people());
        assert_refused(&refresh(server, &other, &first.refresh, &[]), 400, "invalid_grant");
        assert!(server.audit().contains(&"refresh.cross_client".to_owned()));
        let unauthenticated = Request::form(
            TOKEN,
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", &first.refresh),
                ("client_id", "shop"),
            ],
        );
        assert_refused(&server.send(&unauthenticated), 401, "invalid_client");
        session(&refresh(server, client, &first.refresh, &[]));
    });
}

//
#[test]
fn scope_narrows_for_the_access_token_alone_and_never_widens() {
    with_session(&for_people(), |server, client, first| {
        let narrowed = refresh(server, client, &first.refresh, &[("scope", "read")]);
        assert_eq!(narrowed.json()["scope"], "read");
        let second = session(&narrowed);
        assert_eq!(jwt::verify(server, &second.access).claims["scope"], "read");
        assert_refused(
            &refresh(server, client, &second.refresh, &[("scope", "read admin")]),
            400,
            "invalid_scope",
        );
        let full = refresh(server, client, &second.refresh, &[]);
        assert_eq!(full.json()["scope"], "read write");
        let third = session(&full);

        let id = ClientId::parse("shop").unwrap();
        let change = ClientChange {
            scope: Some(Scope::parse("read").unwrap()),
            ..ClientChange::default()
        };
        server.admin().update(&id, change, server.now()).unwrap();
        server.tick().unwrap();
        assert_refused(&refresh(server, client, &third.refresh, &[]), 400, "invalid_scope");
    });
}

// RFC 6749 section 6: a refresh gives what was granted when the user signed in, and never more.
#[test]
fn a_family_holds_what_was_granted_and_not_what_the_client_is_registered_for() {
    with_session(&for_people(), |server, client, _| {
        let narrow = sign_in(
            server,
            client,
            &[("scope", "read"), ("resource", "https://api.example")],
        );
        for more in [("scope", "write"), ("scope", "read write")] {
            assert_refused(&refresh(server, client, &narrow.refresh, &[more]), 400, "invalid_scope");
        }
        for other in [("resource", "https://other.example"), ("audience", "orders")] {
            assert_refused(
                &refresh(server, client, &narrow.refresh, &[other]),
                400,
                "invalid_target",
            );
        }
        let refreshed = refresh(server, client, &narrow.refresh, &[]);
        assert_eq!(refreshed.json()["scope"], "read");
        let claims = jwt::verify(server, &session(&refreshed).access).claims;
        assert_eq!(
            (&claims["scope"], &claims["aud"]),
            (&"read".into(), &"https://api.example".into())
        );
    });
    // Without a registered audience the token is for the issuer, also after a refresh.
    let plain = ClientMetadata {
        audiences: Audiences::default(),
        ..for_people()
    };
    with_session(&plain, |server, client, first| {
        let second = session(&refresh(server, client, &first.refresh, &[]));
        assert_eq!(
            jwt::verify(server, &second.access).claims["aud"],
            crate::support::server::ISSUER
        );
    });
}

//
#[test]
fn a_resource_stays_within_the_grant() {
    with_session(&for_people(), |server, client, first| {
        let narrowed = refresh(server, client, &first.refresh, &[("resource", "https://api.example")]);
        let second = session(&narrowed);
        assert_eq!(jwt::verify(server, &second.access).claims["aud"], "https://api.example");
        assert_refused(
            &refresh(server, client, &second.refresh, &[("resource", "https://evil.example")]),
            400,
            "invalid_target",
        );
        let id = ClientId::parse("shop").unwrap();
        let change = ClientChange {
            audiences: Some(Audiences::parse("orders").unwrap()),
            ..ClientChange::default()
        };
        server.admin().update(&id, change, server.now()).unwrap();
        server.tick().unwrap();
        assert_refused(&refresh(server, client, &second.refresh, &[]), 400, "invalid_target");
    });
}

//
#[test]
fn who_signed_in_for_the_issuer_stays_out_once_the_client_has_other_audiences() {
    let metadata = ClientMetadata {
        audiences: Audiences::default(),
        ..for_people()
    };
    with_session(&metadata, |server, client, first| {
        let issuer = server.server.issuer().as_str();
        let now_for = |audiences: &str| {
            let id = ClientId::parse("shop").unwrap();
            let change = ClientChange {
                audiences: Some(Audiences::parse(audiences).unwrap()),
                ..ClientChange::default()
            };
            server.admin().update(&id, change, server.now()).unwrap();
            server.tick().unwrap();
        };
        now_for("orders");
        assert_refused(&refresh(server, client, &first.refresh, &[]), 400, "invalid_target");
        now_for(&format!("orders {issuer}"));
        let second = session(&refresh(server, client, &first.refresh, &[]));
        assert_eq!(jwt::verify(server, &second.access).claims["aud"], issuer);
    });
}

//
#[test]
fn only_the_exact_token_counts() {
    with_session(&for_people(), |server, client, first| {
        let token = &first.refresh;
        let flipped: String = token
            .chars()
            .map(|c| {
                if c.is_lowercase() {
                    c.to_ascii_uppercase()
                } else {
                    c.to_ascii_lowercase()
                }
            })
            .collect();
        for wrong in [
            &token[..token.len() - 1],
            &token[..20],
            "kwr_",
            &format!("{token}x"),
            &format!("{token}\n"),
            &flipped,
            &first.access,
            &client.secret,
        ] {
            assert_refused(&refresh(server, client, wrong, &[]), 400, "invalid_grant");
        }
        assert_refused(&refresh(server, client, "", &[]), 400, "invalid_request");
        session(&refresh(server, client, token, &[]));
    });
}

//
#[test]
fn a_family_ends_by_idleness_and_by_age_and_no_access_token_outlives_it() {
    let short = ClientMetadata {
        refresh_ttl: Some(Seconds::hours(1)),
        refresh_absolute_ttl: Some(Seconds::hours(3)),
        ..for_people()
    };
    with_session(&short, |server, client, first| {
        server.advance(Seconds::new(3_600));
        server.tick().unwrap();
        assert_refused(&refresh(server, client, &first.refresh, &[]), 400, "invalid_grant");
        let mut session_now = sign_in(server, client, &[]);
        for _ in 0..3 {
            server.advance(Seconds::new(3_599));
            server.tick().unwrap();
            session_now = session(&refresh(server, client, &session_now.refresh, &[]));
        }
        let claims = jwt::verify(server, &session_now.access).claims;
        assert_eq!(
            claims["exp"],
            server.now().epoch() + 3,
            "an access token does not outlive its family"
        );
        server.advance(Seconds::new(10));
        assert_refused(
            &refresh(server, client, &session_now.refresh, &[]),
            400,
            "invalid_grant",
        );
    });
}

// N-10: whoever reads the database finds nothing to present.
#[test]
fn the_database_holds_nothing_that_a_client_presents() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("shop", for_people());
        server.user("alice", PASSWORD);
        let first = sign_in(&server, &client, &[]);
        let second = session(&refresh(&server, &client, &first.refresh, &[]));
        let form = Request::form("/oauth2/revoke", &[("token", &second.access)]);
        assert_eq!(server.send(&form.basic(&client.id, &client.secret)).status, 200);
        let dump = database.dump();
        let holds = |text: &str| dump.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(holds("alice") && holds("shop") && holds("refresh"), "the dump is one");
        for secret in [
            PASSWORD,
            &client.secret,
            &first.refresh,
            &second.refresh,
            &first.access,
            &second.access,
        ] {
            assert!(!holds(secret), "{secret}");
            assert!(!holds(&secret[4..]), "{secret}, without its prefix");
        }
    });
}

//
#[test]
fn a_clock_that_is_set_back_gives_no_token_its_life_back() {
    with_session(&for_people(), |server, client, first| {
        let exchanged = sign_in(server, client, &[]);
        let newest = session(&refresh(server, client, &exchanged.refresh, &[]));
        server.advance(Seconds::new(20));
        server.tick().unwrap();
        server.set_clock((server.now() - Seconds::hours(1)).epoch());
        assert_refused(&refresh(server, client, &exchanged.refresh, &[]), 400, "invalid_grant");
        assert_refused(&refresh(server, client, &newest.refresh, &[]), 400, "invalid_grant");
        server.advance(Seconds::hours(14 * 24 + 2));
        assert_refused(&refresh(server, client, &first.refresh, &[]), 400, "invalid_grant");
        server.set_clock((server.now() - Seconds::hours(2)).epoch());
        assert_refused(&refresh(server, client, &first.refresh, &[]), 400, "invalid_grant");
    });
}

// T-35 for refresh: a fault of ours is never invalid_grant.
#[test]
fn without_the_database_a_refresh_is_503_and_works_when_it_returns() {
    let mut postgres = crate::support::postgres::TestPostgres::start();
    let server = TestServer::with(&postgres.url("postgres"), Options::default());
    let client = server.client("shop", for_people());
    server.user("alice", PASSWORD);
    let first = sign_in(&server, &client, &[]);
    postgres.stop();
    for _ in 0..2 {
        assert_refused(
            &refresh(&server, &client, &first.refresh, &[]),
            503,
            "temporarily_unavailable",
        );
    }
    postgres.restart();
    while server.tick().is_err() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    session(&refresh(&server, &client, &first.refresh, &[]));
}

//
#[test]
fn after_a_fail_over_to_a_synchronous_standby_no_exchange_is_forgotten() {
    use crate::support::postgres::TestPostgres;
    let mut primary = TestPostgres::start_durable();
    let standby = primary.standby();
    let server = TestServer::start(&primary.url("postgres"));
    let client = server.client("shop", for_people());
    server.user("alice", PASSWORD);
    let first = sign_in(&server, &client, &[]);
    let second = session(&refresh(&server, &client, &first.refresh, &[]));
    let newest = session(&refresh(&server, &client, &second.refresh, &[]));
    let replayed = sign_in(&server, &client, &[]);
    session(&refresh(
        &server,
        &client,
        &session(&refresh(&server, &client, &replayed.refresh, &[])).refresh,
        &[],
    ));
    primary.stop();
    standby.promote();
    let options = Options {
        // What was acknowledged is there, so nobody takes it for a backup.
        before: Some(server.remembered()),
        ..server.options()
    };
    let server = TestServer::with(&standby.url("postgres"), options);
    session(&refresh(&server, &client, &newest.refresh, &[]));
    assert_refused(&refresh(&server, &client, &replayed.refresh, &[]), 400, "invalid_grant");
    assert_refused(&refresh(&server, &client, &first.refresh, &[]), 400, "invalid_grant");
}

#[test]
fn what_has_expired_leaves_the_tables() {
    with_session(&for_people(), |server, client, first| {
        let second = session(&refresh(server, client, &first.refresh, &[]));
        server.advance(Seconds::days(91));
        let living = sign_in(server, client, &[]);
        for _ in 0..3 {
            server.advance(Seconds::minutes(2));
            server.tick().unwrap();
        }
        let count = |table: &str| server.count(table);
        assert_eq!((count("token_families"), count("refresh_tokens")), (1, 1), "{second:?}");
        session(&refresh(server, client, &living.refresh, &[]));
        assert!(server.audit().contains(&"refresh".to_owned()));
        // Seen, and sealed a minute later.
        for _ in 0..2 {
            server.advance(Seconds::minutes(1));
            server.tick().unwrap();
        }
        server.advance(Seconds::days(366));
        server.tick().unwrap();
        assert!(!server.audit().contains(&"refresh".to_owned()), "{:?}", server.audit());
        let metrics = send(server.management, &Request::get("/metrics"));
        assert!(metrics.text().contains("keywheel_expired_rows"), "{}", metrics.text());
    });
}
