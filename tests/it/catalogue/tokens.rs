//! Revocation and introspection, row by row.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use keywheel::oauth::{Audiences, ClientMetadata};
use serde_json::json;

use super::stage::{ECHO, Stage, on_both};
use crate::support::http::{Request, Response};
use crate::support::server::{Credentials, metadata};
use crate::token::assert_header_set;

const INTROSPECT: &str = "/oauth2/introspect";
const REVOKE: &str = "/oauth2/revoke";

fn revoking(stage: &Stage, client: &Credentials, token: &str) -> Request {
    stage.form_of(client, REVOKE, &format!("token={token}"))
}

/// Asserts that a revocation is acknowledged.
fn acknowledged(response: &Response) {
    assert_eq!((response.status, response.text()), (200, "{}"));
    assert_header_set(response);
}

fn asking(stage: &Stage, client: &Credentials, token: &str) -> Request {
    stage.form_of(client, INTROSPECT, &format!("token={token}"))
}

/// Asserts that a token is nothing to this client, and that nothing else is said of it.
fn inactive(stage: &Stage, client: &Credentials, token: &str) {
    let answer = stage.unchanged(|| stage.grants(&asking(stage, client, token)));
    assert_eq!(answer, json!({"active": false}), "{token}");
}

fn is_active(stage: &Stage, token: &str) -> bool {
    stage.unchanged(|| stage.grants(&asking(stage, &stage.gateway, token)))["active"] == true
}

/// What nobody ever handed out.
const GARBAGE: [&str; 7] = [
    "zq7echo",
    "a.b.c",
    "eyJhbGciOiJub25lIn0.e30.",
    "kwr_",
    "kwr_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "%00",
    "..%2F..%2Fetc%2Fpasswd",
];

// W-01
#[test]
fn w_01_what_nobody_handed_out_needs_no_revoking() {
    on_both(|stage| {
        for token in GARBAGE {
            let answer = stage.unchanged(|| stage.server.send(&revoking(stage, &stage.shop, token)));
            acknowledged(&answer);
        }
    });
}

// W-02
#[test]
fn w_02_a_revocation_names_a_token() {
    on_both(|stage| {
        stage.unchanged(|| {
            for body in [
                "",
                "token=",
                "token_type_hint=access_token",
                "Token=zq7echo",
                "token=zq7echo&token=zq7echo",
            ] {
                stage.refuses(&stage.form_of(&stage.shop, REVOKE, body), 400, "invalid_request");
            }
        });
    });
}

// W-03
#[test]
fn w_03_the_token_of_another_client_is_not_revoked() {
    on_both(|stage| {
        let session = stage.sign_in();
        for token in [&session.access, &session.refresh] {
            let request = revoking(stage, &stage.rival, token);
            stage.unchanged(|| stage.refuses(&request, 400, "invalid_grant"));
        }
        assert!(is_active(stage, &session.access));
    });
}

// W-04
#[test]
fn w_04_who_does_not_authenticate_revokes_nothing() {
    on_both(|stage| {
        let session = stage.sign_in();
        let form = format!("token={}", session.refresh);
        stage.unchanged(|| {
            for more in ["", "&client_id=shop", "&client_id=shop&client_secret=zq7echo"] {
                stage.refuses(
                    &Request::raw_form(REVOKE, &format!("{form}{more}")),
                    401,
                    "invalid_client",
                );
            }
        });
        assert!(is_active(stage, &session.access));
    });
}

// W-05
#[test]
fn w_05_a_hint_that_is_wrong_or_unknown_hinders_nothing() {
    on_both(|stage| {
        for (hint, refresh) in [
            ("access_token", true),
            ("refresh_token", false),
            ("zq7echo", true),
            ("", false),
        ] {
            let session = stage.sign_in();
            let token = if refresh { &session.refresh } else { &session.access };
            let body = format!("token={token}&token_type_hint={hint}");
            acknowledged(&stage.server.send(&stage.form_of(&stage.shop, REVOKE, &body)));
            assert!(!is_active(stage, &session.access), "{hint}");
        }
    });
}

// W-07
#[test]
fn w_07_a_refresh_token_takes_its_family_and_its_access_tokens_along() {
    on_both(|stage| {
        let (session, other) = (stage.sign_in(), stage.sign_in());
        stage.changing(&["token_families", "audit_events"], || {
            acknowledged(&stage.server.send(&revoking(stage, &stage.shop, &session.refresh)));
        });
        inactive(stage, &stage.shop, &session.access);
        inactive(stage, &stage.shop, &session.refresh);
        let request = stage.refreshing(&stage.shop, &session.refresh, "");
        stage.unchanged(|| stage.refuses(&request, 400, "invalid_grant"));
        assert!(is_active(stage, &other.access));
    });
}

// W-08
#[test]
fn w_08_an_access_token_ends_alone() {
    on_both(|stage| {
        let session = stage.sign_in();
        stage.changing(&["revoked_access_tokens", "changes", "audit_events"], || {
            acknowledged(&stage.server.send(&revoking(stage, &stage.shop, &session.access)));
        });
        inactive(stage, &stage.shop, &session.access);
        let again = stage.server.send(&stage.refreshing(&stage.shop, &session.refresh, ""));
        assert_eq!(again.status, 200);
    });
}

// W-10
#[test]
fn w_10_a_token_is_revoked_by_post_and_without_a_callback() {
    on_both(|stage| {
        let session = stage.sign_in();
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            let request =
                Request::new(method, &format!("{REVOKE}?callback={ECHO}")).basic(&stage.shop.id, &stage.shop.secret);
            let answer = stage.unchanged(|| stage.server.send(&request));
            assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
        }
        let jsonp = format!("token={ECHO}&callback={ECHO}");
        acknowledged(&stage.unchanged(|| stage.server.send(&stage.form_of(&stage.shop, REVOKE, &jsonp))));
        assert!(is_active(stage, &session.access));
    });
}

// W-11
#[test]
fn w_11_a_token_may_be_revoked_as_often_as_one_likes_and_at_once() {
    on_both(|stage| {
        let session = stage.sign_in();
        for token in [&session.access, &session.refresh] {
            let request = revoking(stage, &stage.shop, token);
            std::thread::scope(|scope| {
                for _ in 0..16 {
                    scope.spawn(|| acknowledged(&stage.server.send(&request)));
                }
            });
            acknowledged(&stage.server.send(&request));
        }
        assert!(!is_active(stage, &session.access));
    });
}

// I-01
#[test]
fn i_01_who_is_not_authenticated_learns_of_no_token() {
    on_both(|stage| {
        let session = stage.sign_in();
        let form = format!("token={}", session.access);
        stage.unchanged(|| {
            stage.refuses(&Request::raw_form(INTROSPECT, &form), 401, "invalid_client");
            let wrong = Request::raw_form(INTROSPECT, &form).basic(&stage.gateway.id, ECHO);
            stage.refuses(&wrong, 401, "invalid_client");
            // Tokens of bearers are none of the methods that the metadata announces for it.
            let bearer = Request::raw_form(INTROSPECT, &form).header("Authorization", "Bearer zq7echo");
            stage.refuses(&bearer, 401, "invalid_client");
        });
    });
}

// I-02
#[test]
fn i_02_a_client_without_the_right_may_ask_about_its_own_tokens_alone() {
    on_both(|stage| {
        let session = stage.sign_in();
        for token in [session.access.as_str(), &session.refresh, "zq7echo", "a.b.c"] {
            let request = asking(stage, &stage.billing, token);
            stage.unchanged(|| stage.refuses(&request, 403, "insufficient_scope"));
        }
        let own = stage.unchanged(|| stage.grants(&asking(stage, &stage.shop, &session.access)));
        assert_eq!(own["active"], true);
    });
}

// I-03
#[test]
fn i_03_what_is_unknown_malformed_or_revoked_is_inactive_and_no_more_is_said() {
    on_both(|stage| {
        let session = stage.sign_in();
        let (head, tail) = session.access.split_at(session.access.rfind('.').unwrap() + 1);
        let other = if tail.starts_with('A') { "B" } else { "A" };
        let forged = format!("{head}{other}{}", &tail[1..]);
        for token in GARBAGE.into_iter().chain([head, tail, &forged]) {
            inactive(stage, &stage.gateway, token);
        }
        acknowledged(&stage.server.send(&revoking(stage, &stage.shop, &session.access)));
        inactive(stage, &stage.gateway, &session.access);
    });
}

// I-04
#[test]
fn i_04_whom_a_token_is_not_for_is_told_that_it_is_inactive() {
    on_both(|stage| {
        let elsewhere = ClientMetadata {
            introspect: true,
            audiences: Audiences::parse("https://elsewhere.example").unwrap(),
            ..metadata()
        };
        let elsewhere = stage
            .server
            .client(&format!("elsewhere-{}", stage.server.now().epoch()), elsewhere);
        let session = stage.sign_in();
        inactive(stage, &elsewhere, &session.access);
        assert!(is_active(stage, &session.access));
    });
}

// I-07
#[test]
fn i_07_a_token_in_the_url_is_not_looked_at() {
    on_both(|stage| {
        let session = stage.sign_in();
        for method in ["GET", "HEAD"] {
            let request = Request::new(method, &format!("{INTROSPECT}?token={}", session.access))
                .basic(&stage.gateway.id, &stage.gateway.secret);
            let answer = stage.unchanged(|| stage.server.send(&request));
            assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
            assert!(!answer.text().contains("active"));
        }
        let posted = stage.form_of(&stage.gateway, &format!("{INTROSPECT}?token={}", session.access), "");
        stage.unchanged(|| stage.refuses(&posted, 400, "invalid_request"));
    });
}

// I-08
#[test]
fn i_08_a_question_is_about_one_token() {
    on_both(|stage| {
        stage.unchanged(|| {
            for body in ["", "token=", "token=zq7echo&token=zq7echo", "token=zq7echo&token="] {
                stage.refuses(&stage.form_of(&stage.gateway, INTROSPECT, body), 400, "invalid_request");
            }
        });
    });
}

// I-10
#[test]
fn i_10_a_refresh_token_is_active_to_its_own_client_alone() {
    on_both(|stage| {
        let session = stage.sign_in();
        inactive(stage, &stage.gateway, &session.refresh);
        let own = stage.unchanged(|| stage.grants(&asking(stage, &stage.shop, &session.refresh)));
        assert_eq!((&own["active"], &own["client_id"]), (&json!(true), &json!("shop")));
    });
}

// I-11
#[test]
fn i_11_who_wants_a_signed_answer_gets_a_plain_one() {
    on_both(|stage| {
        let session = stage.sign_in();
        for (token, active) in [(session.access.as_str(), true), ("zq7echo", false)] {
            let request = asking(stage, &stage.gateway, token).header("Accept", "application/token-introspection+jwt");
            assert_eq!(stage.unchanged(|| stage.grants(&request))["active"], active);
        }
    });
}

// J-06
#[test]
fn j_06_hundreds_of_unknown_keys_cost_no_look_at_anything_but_memory() {
    on_both(|stage| {
        let session = stage.sign_in();
        let rest = session.access.split_once('.').unwrap().1;
        assert!(is_active(stage, &session.access));
        let statements = stage.server.store.statements();
        for n in 0..300 {
            let header = json!({"alg": "RS256", "typ": "at+jwt", "kid": format!("unknown-{n}")}).to_string();
            let header = BASE64_URL_SAFE_NO_PAD.encode(header);
            let answer = stage.grants(&asking(stage, &stage.gateway, &format!("{header}.{rest}")));
            assert_eq!(answer, json!({"active": false}));
        }
        assert_eq!(stage.server.store.statements(), statements);
    });
}
