//! Introspection and revocation, black box over HTTP on both databases: rows I and W of the catalogue.

use std::sync::Barrier;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use keywheel::oauth::{Audiences, ClientId, ClientMetadata, GrantType, Seconds};
use serde_json::json;

use crate::refresh::{PASSWORD, Session, for_people, refresh, session, sign_in};
use crate::support::http::{Request, Response};
use crate::support::on_both;
use crate::support::server::{Credentials, ISSUER, Options, TOKEN, TestServer, metadata};
use crate::token::{assert_header_set, assert_refused};

const INTROSPECT: &str = "/oauth2/introspect";
const REVOKE: &str = "/oauth2/revoke";

struct Stage {
    server: TestServer,
    /// Signs people in.
    shop: Credentials,
    /// May ask about every token.
    gateway: Credentials,
    session: Session,
}

fn staged(test: impl Fn(&Stage)) {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let shop = server.client("shop", for_people());
        let gateway = server.client(
            "gateway",
            ClientMetadata {
                introspect: true,
                audiences: Audiences::default(),
                ..metadata()
            },
        );
        server.user("alice", PASSWORD);
        let session = sign_in(&server, &shop, &[]);
        test(&Stage {
            server,
            shop,
            gateway,
            session,
        });
    });
}

impl Stage {
    fn ask(&self, client: &Credentials, token: &str) -> Response {
        self.server
            .send(&Request::form(INTROSPECT, &[("token", token)]).basic(&client.id, &client.secret))
    }

    fn is_active(&self, token: &str) -> bool {
        let response = self.ask(&self.gateway, token);
        assert_eq!(response.status, 200, "{}", response.text());
        let answer = response.json();
        if answer["active"] == false {
            assert_eq!(answer, json!({"active": false}), "and nothing else");
        }
        answer["active"] == true
    }

    fn revoke(&self, client: &Credentials, token: &str) -> Response {
        self.server
            .send(&Request::form(REVOKE, &[("token", token)]).basic(&client.id, &client.secret))
    }
}

// I-03, RFC 7662 section 2.2
#[test]
fn an_access_token_is_described_to_who_may_ask() {
    staged(|stage| {
        let response = stage.ask(&stage.gateway, &stage.session.access);
        assert_header_set(&response);
        let answer = response.json();
        let now = stage.server.now().epoch();
        let claims = crate::support::jwt::verify(&stage.server, &stage.session.access).claims;
        assert_eq!(
            answer,
            json!({
                "active": true, "iss": ISSUER, "sub": claims["sub"], "client_id": "shop", "username": "alice",
                "aud": claims["aud"], "scope": "read write", "token_type": "Bearer", "iat": now, "exp": now + 600,
                "jti": claims["jti"],
            })
        );
        let service = stage.server.client("service", metadata());
        let own = stage.server.granted(&service, &[]);
        let answer = stage.ask(&stage.gateway, &own).json();
        assert_eq!(
            (&answer["active"], &answer["sub"], answer.get("username")),
            (&json!(true), &json!("service"), None)
        );
    });
}

// J-05, RFC 8725 section 3.10
#[test]
fn a_kid_is_looked_up_in_memory_and_whatever_it_holds_is_no_address() {
    staged(|stage| {
        let token = &stage.session.access;
        let (_, rest) = token.split_once('.').unwrap();
        let mut header = crate::support::jwt::part(token, 0);
        let long = "k".repeat(4_096);
        for kid in [
            "unknown",
            "../../keys/master.key",
            "' OR '1'='1",
            "https://keys.example/jwks.json",
            "",
            &long,
        ] {
            header["kid"] = json!(kid);
            let forged = format!("{}.{rest}", BASE64_URL_SAFE_NO_PAD.encode(header.to_string()));
            assert!(!stage.is_active(&forged), "{kid}");
        }
        // Longer than any request may be.
        header["kid"] = json!("k".repeat(65_536));
        let forged = format!("{}.{rest}", BASE64_URL_SAFE_NO_PAD.encode(header.to_string()));
        assert_eq!(stage.ask(&stage.gateway, &forged).status, 413);
        assert!(stage.is_active(token));
    });
}

// I-01, I-02, I-04, I-07, I-08, I-10, I-11
#[test]
fn who_may_not_ask_learns_nothing() {
    staged(|stage| {
        let nobody = Credentials {
            id: "gateway".to_owned(),
            secret: "wrong".to_owned(),
        };
        assert_refused(&stage.ask(&nobody, &stage.session.access), 401, "invalid_client");
        assert_refused(
            &stage.server.send(&Request::form(INTROSPECT, &[("token", "x")])),
            401,
            "invalid_client",
        );
        let stranger = stage.server.client("stranger", metadata());
        for token in [stage.session.access.as_str(), &stage.session.refresh, "garbage"] {
            assert_refused(&stage.ask(&stranger, token), 403, "insufficient_scope");
        }
        let elsewhere = ClientMetadata {
            introspect: true,
            audiences: Audiences::parse("https://elsewhere.example").unwrap(),
            ..metadata()
        };
        let elsewhere = stage.server.client("elsewhere", elsewhere);
        assert_eq!(
            stage.ask(&elsewhere, &stage.session.access).json(),
            json!({"active": false})
        );
        assert_eq!(
            stage.ask(&stage.gateway, &stage.session.refresh).json(),
            json!({"active": false})
        );
        assert_eq!(
            stage.ask(&stage.shop, &stage.session.access).json()["active"],
            true,
            "its own token"
        );
        let own = stage.ask(&stage.shop, &stage.session.refresh).json();
        assert_eq!(
            (&own["active"], &own["username"], &own["client_id"]),
            (&json!(true), &json!("alice"), &json!("shop"))
        );
        let form = |body: &str| {
            stage
                .server
                .send(&Request::raw_form(INTROSPECT, body).basic(&stage.gateway.id, &stage.gateway.secret))
        };
        assert_refused(&form(""), 400, "invalid_request");
        assert_refused(&form("token=a&token=b"), 400, "invalid_request");
        assert_eq!(form("token=a&token_type_hint=made_up").status, 200);
        for method in ["GET", "PUT"] {
            let response = stage
                .server
                .send(&Request::new(method, &format!("{INTROSPECT}?token=a")));
            assert_eq!((response.status, response.header("allow")), (405, Some("POST")));
        }
        let signed = Request::form(INTROSPECT, &[("token", &stage.session.access)])
            .header("Accept", "application/token-introspection+jwt")
            .basic(&stage.gateway.id, &stage.gateway.secret);
        let response = stage.server.send(&signed);
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.json()["active"], true);
    });
}

// A client is registered by whoever administrates, on a machine with a clock of its own.
#[test]
fn a_token_of_a_client_that_was_registered_by_a_clock_that_is_ahead_is_active() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        server.advance(Seconds::new(90));
        let client = server.client("service", metadata());
        server.advance(Seconds::new(-90));
        let token = server.granted(&client, &[]);
        let asked = Request::form(INTROSPECT, &[("token", &token)]).basic(&client.id, &client.secret);
        assert_eq!(server.send(&asked).json()["active"], true);
    });
}

// I-03, I-06, I-09, I-12
#[test]
fn what_is_dead_forged_or_foreign_is_not_active() {
    staged(|stage| {
        let token = &stage.session.access;
        let (head, tail) = token.split_at(token.rfind('.').unwrap() + 1);
        let other = if tail.starts_with('A') { "B" } else { "A" };
        for forged in [
            format!("{head}{other}{}", &tail[1..]),
            head.to_owned(),
            token.replace('.', ""),
            format!("{token}="),
            "eyJhbGciOiJub25lIn0.e30.".to_owned(),
            "a.b.c".to_owned(),
            "kwr_".to_owned(),
        ] {
            assert!(!stage.is_active(&forged), "{forged}");
        }
        assert!(stage.is_active(token));
        stage.server.advance(Seconds::minutes(10));
        assert!(!stage.is_active(token), "expired");
    });
}

// R-04, I-06, W-07
#[test]
fn whatever_ends_the_family_or_its_owner_ends_its_access_tokens() {
    staged(|stage| {
        let (server, shop) = (&stage.server, &stage.shop);
        // Reuse.
        let first = sign_in(server, shop, &[]);
        let second = session(&refresh(server, shop, &first.refresh, &[]));
        assert!(stage.is_active(&first.access) && stage.is_active(&second.access));
        session(&refresh(server, shop, &second.refresh, &[]));
        assert_refused(&refresh(server, shop, &first.refresh, &[]), 400, "invalid_grant");
        assert!(!stage.is_active(&first.access) && !stage.is_active(&second.access));
        // A new password.
        let third = sign_in(server, shop, &[]);
        server.set_password("alice", "another password");
        assert!(!stage.is_active(&third.access));
        server.set_password("alice", PASSWORD);
        // A disabled user, and a disabled client.
        let fourth = sign_in(server, shop, &[]);
        let alice = server.users().show("alice").unwrap();
        server.users().set_enabled(&alice, false, server.now()).unwrap();
        assert!(!stage.is_active(&fourth.access));
        server.users().set_enabled(&alice, true, server.now()).unwrap();
        let fifth = sign_in(server, shop, &[]);
        server
            .admin()
            .set_enabled(&ClientId::parse("shop").unwrap(), false, server.now())
            .unwrap();
        server.tick().unwrap();
        assert!(!stage.is_active(&fifth.access));
    });
}

// W-01, W-02, W-03, W-04, W-05, W-07, W-08, W-10, W-11
#[test]
fn a_client_revokes_its_own_tokens_and_only_those() {
    staged(|stage| {
        let ok = |response: &Response| {
            assert_eq!((response.status, response.text()), (200, "{}"));
            assert_header_set(response);
        };
        for unknown in ["garbage", "kwr_unknown", "a.b.c"] {
            ok(&stage.revoke(&stage.shop, unknown));
        }
        let form = |body: &str| {
            stage
                .server
                .send(&Request::raw_form(REVOKE, body).basic(&stage.shop.id, &stage.shop.secret))
        };
        assert_refused(&form(""), 400, "invalid_request");
        assert_refused(
            &stage.server.send(&Request::form(REVOKE, &[("token", "x")])),
            401,
            "invalid_client",
        );
        for token in [&stage.session.access, &stage.session.refresh] {
            assert_refused(&stage.revoke(&stage.gateway, token), 400, "invalid_grant");
        }
        // An access token ends alone.
        ok(&stage.revoke(&stage.shop, &stage.session.access));
        ok(&stage.revoke(&stage.shop, &stage.session.access));
        assert!(!stage.is_active(&stage.session.access));
        let second = session(&refresh(&stage.server, &stage.shop, &stage.session.refresh, &[]));
        assert!(stage.is_active(&second.access));
        // A refresh token ends its family.
        let hinted = format!("token={}&token_type_hint=access_token", second.refresh);
        ok(&form(&hinted));
        assert!(!stage.is_active(&second.access));
        assert_refused(
            &refresh(&stage.server, &stage.shop, &second.refresh, &[]),
            400,
            "invalid_grant",
        );
        let events = stage.server.audit();
        for event in ["login", "refresh", "family.revoked", "access_token.revoked"] {
            assert!(events.contains(&event.to_owned()), "{event}: {events:?}");
        }
        for method in ["GET", "PUT"] {
            assert_eq!(stage.server.send(&Request::new(method, REVOKE)).status, 405);
        }
    });
}

// once the revocation is acknowledged, nothing of the family is issued.
#[test]
fn a_refresh_that_races_a_revocation_gives_nothing_that_outlives_it() {
    staged(|stage| {
        for _ in 0..20 {
            let first = sign_in(&stage.server, &stage.shop, &[]);
            let start = Barrier::new(2);
            std::thread::scope(|scope| {
                let refreshing = scope.spawn(|| {
                    start.wait();
                    refresh(&stage.server, &stage.shop, &first.refresh, &[])
                });
                let revoking = scope.spawn(|| {
                    start.wait();
                    stage.revoke(&stage.shop, &first.refresh)
                });
                assert_eq!(revoking.join().unwrap().status, 200);
                let answer = refreshing.join().unwrap();
                if answer.status == 200 {
                    let successor = session(&answer);
                    assert!(!stage.is_active(&successor.access));
                    assert_refused(
                        &refresh(&stage.server, &stage.shop, &successor.refresh, &[]),
                        400,
                        "invalid_grant",
                    );
                } else {
                    assert_refused(&answer, 400, "invalid_grant");
                }
            });
        }
    });
}

// W-08, and the other node knows within a tick. I-05: who was disabled has begun anew.
#[test]
fn the_token_of_a_service_is_looked_up_in_memory_and_ends_with_its_revocation_or_its_client() {
    staged(|stage| {
        let other = TestServer::with(&stage.server.url, stage.server.options());
        let service = stage.server.client("service", metadata());
        let [revoked, ended] = [(); 2].map(|()| stage.server.granted(&service, &[]));
        let is_active_there = |token: &str| {
            let form = Request::form(INTROSPECT, &[("token", token)]);
            let answer = other.send(&form.basic(&stage.gateway.id, &stage.gateway.secret)).json();
            answer["active"] == true
        };
        assert!(is_active_there(&revoked) && stage.is_active(&revoked));
        let statements = other.store.statements();
        assert!(is_active_there(&revoked) && is_active_there(&revoked));
        assert_eq!(other.store.statements(), statements);

        assert_eq!(stage.revoke(&service, &revoked).status, 200);
        assert!(!stage.is_active(&revoked), "at once where it was revoked");
        other.tick().unwrap();
        assert!(!is_active_there(&revoked), "after a tick elsewhere");
        assert!(is_active_there(&ended));
        let restarted = TestServer::with(&stage.server.url, stage.server.options());
        let form = Request::form(INTROSPECT, &[("token", &revoked)]);
        let answer = restarted
            .send(&form.basic(&stage.gateway.id, &stage.gateway.secret))
            .json();
        assert_eq!(answer, json!({"active": false}), "and after a restart");

        let id = ClientId::parse("service").unwrap();
        for enabled in [false, true] {
            stage
                .server
                .admin()
                .set_enabled(&id, enabled, stage.server.now())
                .unwrap();
            stage.server.tick().unwrap();
            assert!(!stage.is_active(&ended));
        }
        assert!(stage.is_active(&stage.server.granted(&service, &[])));
    });
}

// I-05, R-26
#[test]
fn a_users_token_without_a_refresh_token_ends_with_the_password() {
    staged(|stage| {
        let kiosk = ClientMetadata {
            grant_types: vec![GrantType::Password],
            ..for_people()
        };
        let kiosk = stage.server.client("kiosk", kiosk);
        let sign_in = || {
            let form = [
                ("grant_type", "password"),
                ("username", "alice"),
                ("password", PASSWORD),
            ];
            let answer = stage
                .server
                .send(&Request::form(TOKEN, &form).basic(&kiosk.id, &kiosk.secret));
            answer.json()["access_token"].as_str().unwrap().to_owned()
        };
        let token = sign_in();
        assert!(stage.is_active(&token));
        stage.server.set_password("alice", PASSWORD);
        assert!(!stage.is_active(&token));
        assert!(stage.is_active(&sign_in()));
    });
}

// W-09, RFC 7662 section 4: what may have been revoked elsewhere is not called active.
#[test]
fn without_the_database_nothing_is_called_active_for_long() {
    let mut postgres = crate::support::postgres::TestPostgres::start();
    let server = TestServer::with(&postgres.url("postgres"), Options::default());
    let service = server.client("service", metadata());
    let token = server.granted(&service, &[]);
    let ask = |path: &str| {
        let form = Request::form(path, &[("token", &token)]);
        server.send(&form.basic(&service.id, &service.secret))
    };
    assert_eq!(ask(INTROSPECT).json()["active"], true);
    postgres.stop();
    assert_refused(&ask(REVOKE), 503, "temporarily_unavailable");
    assert_eq!(ask(INTROSPECT).json()["active"], true);
    server.advance(Seconds::new(6));
    assert_refused(&ask(INTROSPECT), 503, "temporarily_unavailable");
    assert_eq!(server.token(&service, &[]).status, 200, "tokens are still issued");
}

// D-17
#[test]
fn a_client_registered_anew_under_an_old_name_inherits_nothing() {
    staged(|stage| {
        let id = ClientId::parse("shop").unwrap();
        stage.server.admin().delete(&id, stage.server.now()).unwrap();
        stage.server.advance(Seconds::new(1));
        let again = stage.server.client("shop", for_people());
        stage.server.tick().unwrap();
        assert!(!stage.is_active(&stage.session.access));
        assert_refused(
            &refresh(&stage.server, &again, &stage.session.refresh, &[]),
            400,
            "invalid_grant",
        );
    });
}
