//! Passwords and refresh tokens, row by row. What takes time, a restart or a crash is told elsewhere.

use keywheel::oauth::{ClientId, Scope};
use keywheel::server::admin::ClientChange;
use serde_json::json;

use super::stage::{ECHO, Stage, alices, on_both};
use crate::refresh::{PASSWORD, Session, for_people, session};
use crate::support::http::Request;
use crate::support::jwt;
use crate::support::server::{Credentials, TOKEN};

/// What an exchange writes.
const EXCHANGE: [&str; 3] = ["refresh_tokens", "token_families", "audit_events"];

/// Asserts that a refresh token is refused with this error, and that it and all others stand as before.
fn keeps(stage: &Stage, client: &Credentials, token: &str, more: &str, error: &str) {
    let request = stage.refreshing(client, token, more);
    stage.unchanged(|| stage.refuses(&request, 400, error));
}

fn exchange(stage: &Stage, token: &str, more: &str) -> (Session, serde_json::Value) {
    let answer = stage.server.send(&stage.refreshing(&stage.shop, token, more));
    (session(&answer), answer.json())
}

// P-01, P-02
#[test]
fn p_02_a_client_that_is_not_registered_for_passwords_is_unauthorized() {
    on_both(|stage| {
        for password in [PASSWORD, ECHO, ""] {
            let request = stage.form_of(&stage.billing, TOKEN, &alices(password));
            stage.unchanged(|| stage.refuses(&request, 400, "unauthorized_client"));
        }
    });
}

// P-03
#[test]
fn p_03_a_wrong_password_an_unknown_and_a_disabled_user_are_one_answer() {
    on_both(|stage| {
        let name = format!("mallory-{}", stage.server.now().epoch());
        stage.server.user(&name, PASSWORD);
        let mallory = stage.server.users().show(&name).unwrap();
        stage
            .server
            .users()
            .set_enabled(&mallory, false, stage.server.now())
            .unwrap();
        let mut bodies = std::collections::BTreeSet::new();
        for (user, password) in [
            (name.as_str(), PASSWORD),
            ("zq7echo", PASSWORD),
            ("alice", ECHO),
            ("alice", ""),
            ("' OR 1=1 --", ECHO),
            ("*)(uid=*", ECHO),
        ] {
            let pairs = [("grant_type", "password"), ("username", user), ("password", password)];
            let request = Request::form(TOKEN, &pairs).basic(&stage.shop.id, &stage.shop.secret);
            let answer = stage.changing(&["audit_events"], || stage.refuses(&request, 400, "invalid_grant"));
            bodies.insert(answer.text().to_owned());
        }
        assert_eq!(bodies.len(), 1);
    });
}

// P-05
#[test]
fn p_05_a_name_of_more_than_256_characters_is_no_name() {
    on_both(|stage| {
        for name in ["", &"n".repeat(257), &"%C3%A9".repeat(257)] {
            let body = format!("grant_type=password&username={name}&password={ECHO}");
            let request = stage.form_of(&stage.shop, TOKEN, &body);
            stage.unchanged(|| stage.refuses(&request, 400, "invalid_request"));
        }
        let whole = format!("grant_type=password&username={}&password={ECHO}", "n".repeat(1 << 20));
        let request = stage.form_of(&stage.shop, TOKEN, &whole);
        stage.unchanged(|| stage.refuses(&request, 413, "invalid_request"));
    });
}

//
#[test]
fn r_01_a_good_refresh_writes_one_successor_and_marks_the_old_one_in_one_commit() {
    on_both(|stage| {
        let first = stage.sign_in();
        let rows = stage.server.count("refresh_tokens");
        let (second, _) = stage.changing(&EXCHANGE, || exchange(stage, &first.refresh, ""));
        assert_ne!(first.refresh, second.refresh);
        assert_eq!(stage.server.count("refresh_tokens"), rows + 1);
    });
}

//
#[test]
fn r_14_the_token_of_another_client_is_refused_and_lives_on() {
    on_both(|stage| {
        let first = stage.sign_in();
        let request = stage.refreshing(&stage.rival, &first.refresh, "");
        stage.changing(&["audit_events"], || stage.refuses(&request, 400, "invalid_grant"));
        assert_eq!(stage.server.audit()[0], "refresh.cross_client");
        exchange(stage, &first.refresh, "");
    });
}

//
#[test]
fn r_16_without_client_authentication_a_refresh_token_is_worth_nothing() {
    on_both(|stage| {
        let first = stage.sign_in();
        let form = format!("grant_type=refresh_token&refresh_token={}", first.refresh);
        stage.unchanged(|| {
            for more in ["", "&client_id=shop", "&client_id=shop&client_secret=zq7echo"] {
                stage.refuses(
                    &Request::raw_form(TOKEN, &format!("{form}{more}")),
                    401,
                    "invalid_client",
                );
            }
        });
        exchange(stage, &first.refresh, "");
    });
}

//
#[test]
fn r_17_a_narrower_scope_is_the_access_tokens_alone() {
    on_both(|stage| {
        let first = stage.sign_in();
        let (second, answer) = stage.changing(&EXCHANGE, || exchange(stage, &first.refresh, "&scope=read"));
        assert_eq!(answer["scope"], "read");
        assert_eq!(jwt::verify(&stage.server, &second.access).claims["scope"], "read");
        let (_, answer) = exchange(stage, &second.refresh, "&scope=read+write");
        assert_eq!(answer["scope"], "read write");
    });
}

//
#[test]
fn r_19_a_scope_beyond_what_was_granted_or_is_registered_now_is_refused() {
    on_both(|stage| {
        let first = stage.sign_in();
        for more in ["&scope=read+zq7echo", "&scope=keywheel%3Aadmin", "&scope=Read"] {
            keeps(stage, &stage.shop, &first.refresh, more, "invalid_scope");
        }
        let id = ClientId::parse("shop").unwrap();
        let change = |scope: &str| {
            let change = ClientChange {
                scope: Some(Scope::parse(scope).unwrap()),
                ..ClientChange::default()
            };
            stage.server.admin().update(&id, change, stage.server.now()).unwrap();
            stage.server.tick().unwrap();
        };
        change("read");
        keeps(stage, &stage.shop, &first.refresh, "", "invalid_scope");
        change("read write");
        exchange(stage, &first.refresh, "");
    });
}

//
#[test]
fn r_20_a_resource_beyond_what_was_granted_is_refused() {
    on_both(|stage| {
        let form = format!("{}&resource=https%3A%2F%2Fapi.example", alices(PASSWORD));
        let first = session(&stage.server.send(&stage.form_of(&stage.shop, TOKEN, &form)));
        for more in [
            "&resource=https%3A%2F%2Fother.example",
            "&resource=https%3A%2F%2Fzq7echo.example",
            "&audience=orders",
        ] {
            keeps(stage, &stage.shop, &first.refresh, more, "invalid_target");
        }
        let (second, _) = exchange(stage, &first.refresh, "");
        assert_eq!(
            jwt::verify(&stage.server, &second.access).claims["aud"],
            json!("https://api.example")
        );
    });
}

//
#[test]
fn r_21_a_token_with_a_character_less_or_more_or_another_is_none() {
    on_both(|stage| {
        let first = stage.sign_in();
        let token = first.refresh.as_str();
        let turned = |c: char| {
            if c.is_lowercase() {
                c.to_ascii_uppercase()
            } else {
                c.to_ascii_lowercase()
            }
        };
        let mut wrong: Vec<String> = (1..token.len()).map(|length| token[..length].to_owned()).collect();
        wrong.extend((1..6).map(|from| token[from..].to_owned()));
        wrong.extend([
            token.chars().map(turned).collect(),
            format!("{token}x"),
            format!("{token}\n"),
            format!(" {token}"),
            token.replace('_', "%5F"),
            token.replace("kwr_", "kws_"),
        ]);
        stage.unchanged(|| {
            for wrong in &wrong {
                stage.refuses(&stage.refreshing(&stage.shop, wrong, ""), 400, "invalid_grant");
            }
        });
        exchange(stage, token, "");
    });
}

//
#[test]
fn r_22_nothing_else_that_keywheel_hands_out_is_a_refresh_token() {
    on_both(|stage| {
        let first = stage.sign_in();
        for wrong in [
            first.access.as_str(),
            &stage.shop.secret,
            &stage.billing.secret,
            "shop",
            ECHO,
        ] {
            keeps(stage, &stage.shop, wrong, "", "invalid_grant");
        }
        // And a refresh token is nothing else.
        stage.changing(&["audit_events"], || {
            let as_secret = Request::raw_form(TOKEN, "grant_type=client_credentials").basic("shop", &first.refresh);
            stage.refuses(&as_secret, 401, "invalid_client");
            let as_password = stage.form_of(&stage.shop, TOKEN, &alices(&first.refresh));
            stage.refuses(&as_password, 400, "invalid_grant");
            let bearer =
                Request::get("/admin/v1/clients").header("Authorization", &format!("Bearer {}", first.refresh));
            assert_eq!(stage.server.send(&bearer).status, 401);
        });
        exchange(stage, &first.refresh, "");
    });
}

//
#[test]
fn r_26_a_new_password_ends_what_was_signed_in_with_the_old_one() {
    on_both(|stage| {
        let first = stage.sign_in();
        stage.server.set_password("alice", PASSWORD);
        keeps(stage, &stage.shop, &first.refresh, "", "invalid_grant");
        stage.sign_in();
    });
}

//
#[test]
fn r_02_a_token_that_comes_again_ends_its_family_and_no_other() {
    on_both(|stage| {
        let client = stage
            .server
            .client(&format!("pub-{}", stage.server.now().epoch()), for_people());
        let sign_in = || session(&stage.server.send(&stage.form_of(&client, TOKEN, &alices(PASSWORD))));
        let exchange = |token: &str| session(&stage.server.send(&stage.refreshing(&client, token, "")));
        let (first, other) = (sign_in(), sign_in());
        let second = exchange(&first.refresh);
        let third = exchange(&second.refresh);
        let replay = stage.refreshing(&client, &first.refresh, "");
        stage.changing(&["token_families", "audit_events"], || {
            stage.refuses(&replay, 400, "invalid_grant")
        });
        assert_eq!(stage.server.audit()[0], "refresh.reuse");
        keeps(stage, &client, &third.refresh, "", "invalid_grant");
        let ask = stage.form_of(&stage.gateway, "/oauth2/introspect", &format!("token={}", third.access));
        assert_eq!(stage.unchanged(|| stage.grants(&ask)), json!({"active": false}));
        exchange(&other.refresh);
    });
}
