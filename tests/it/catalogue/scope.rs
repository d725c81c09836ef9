//! What a token is for, and what an answer holds, row by row: scope, resource, audience, claims.

use serde_json::json;

use super::stage::{ECHO, on_both, on_sqlite};
use super::token::{GRANT, refused};
use crate::support::jwt;
use crate::support::server::{ISSUER, TOKEN};

// T-07
#[test]
fn t_07_resource_and_audience_are_lists_of_at_most_eight() {
    on_sqlite(|stage| {
        stage.unchanged(|| {
            let two = "&resource=https%3A%2F%2Fapi.example&resource=https%3A%2F%2Fother.example";
            let answer = stage.grants(&stage.form(&format!("{GRANT}{two}&audience=orders")));
            let claims = jwt::verify(&stage.server, answer["access_token"].as_str().unwrap()).claims;
            assert_eq!(
                claims["aud"],
                json!(["https://api.example", "https://other.example", "orders"])
            );
            for name in ["resource", "audience"] {
                let nine: String = (0..9).map(|n| format!("&{name}=https%3A%2F%2Fa{n}.example")).collect();
                stage.refuses_forms(&[&format!("{GRANT}{nine}")], "invalid_target");
            }
        });
    });
}

// T-22
#[test]
fn t_22_a_plus_and_an_encoded_space_are_both_a_space() {
    on_sqlite(|stage| {
        for space in ["+", "%20"] {
            let form = stage.form(&format!("{GRANT}&scope=write{space}read"));
            assert_eq!(stage.unchanged(|| stage.grants(&form))["scope"], "write read");
        }
    });
}

// T-24
#[test]
fn t_24_a_scope_is_words_with_one_space_between() {
    let scopes = [
        "read++write",
        "+read",
        "read+",
        "+",
        "read%09write",
        "read%0Awrite",
        "re%22ad",
        "re%5Cad",
        "r%C3%A9ad",
        "read%7F",
    ];
    refused(&scopes.map(|scope| format!("{GRANT}&scope={scope}")), "invalid_scope");
}

// T-25
#[test]
fn t_25_a_scope_of_too_many_characters_or_words_is_refused() {
    let long = "s".repeat(1_025);
    let many = (0..2_000).map(|n| format!("s{n}")).collect::<Vec<_>>().join("+");
    let repeated = vec!["read"; 1_600].join("+");
    let scopes = [&long, &many[..8_000], &repeated];
    refused(&scopes.map(|scope| format!("{GRANT}&scope={scope}")), "invalid_scope");
    // Beyond what any parameter may have.
    refused(&[format!("{GRANT}&scope={}", "s".repeat(15_000))], "invalid_request");
    on_sqlite(|stage| {
        let whole = format!("{GRANT}&scope={}", "s".repeat(50_000));
        stage.refuses(&stage.form(&whole), 413, "invalid_request");
    });
}

// T-26
#[test]
fn t_26_an_empty_scope_is_none_and_the_answer_says_what_was_granted() {
    on_sqlite(|stage| {
        for scope in ["", "&scope=", "&scope"] {
            let answer = stage.unchanged(|| stage.grants(&stage.form(&format!("{GRANT}{scope}"))));
            assert_eq!(answer["scope"], "read write", "{scope}");
        }
    });
}

// T-27
#[test]
fn t_27_a_scope_is_granted_whole_or_not_at_all() {
    on_both(|stage| {
        let asked = [
            "zq7echo",
            "read+zq7echo",
            "keywheel:admin",
            "read+write+keywheel:read",
            "openid",
        ];
        let bodies = asked.map(|scope| format!("{GRANT}&scope={scope}"));
        stage.unchanged(|| stage.refuses_forms(&bodies, "invalid_scope"));
    });
}

// T-28
#[test]
fn t_28_scopes_differ_in_case() {
    let scopes = ["Read", "READ", "read+Write"];
    refused(&scopes.map(|scope| format!("{GRANT}&scope={scope}")), "invalid_scope");
}

// T-29
#[test]
fn t_29_a_resource_is_an_absolute_uri_without_fragment_and_user() {
    let resources = [
        "not-a-uri",
        "%2Frelative",
        "https%3A%2F%2Fapi.example%23f",
        "http%3A%2F%2Fuser@api.example",
        "https%3A%2F%2F",
    ];
    refused(
        &resources.map(|resource| format!("{GRANT}&resource={resource}")),
        "invalid_target",
    );
}

// T-30
#[test]
fn t_30_a_resource_that_is_not_registered_for_the_client_is_refused() {
    on_both(|stage| {
        stage.unchanged(|| {
            for target in [
                "resource=https%3A%2F%2Fzq7echo.example",
                "resource=https%3A%2F%2Fapi.example%2F",
                "resource=https%3A%2F%2FAPI.example",
                "resource=https%3A%2F%2Fapi.example&resource=https%3A%2F%2Fzq7echo.example",
                "audience=zq7echo",
            ] {
                stage.refuses_forms(&[&format!("{GRANT}&{target}")], "invalid_target");
            }
        });
    });
}

// T-31
#[test]
fn t_31_no_parameter_becomes_a_claim() {
    on_sqlite(|stage| {
        let body = format!("{GRANT}&aud={ECHO}&iss={ECHO}&sub={ECHO}&exp=9999999999&jti={ECHO}&claims=%7B%7D&typ=JWT");
        let answer = stage.unchanged(|| stage.grants(&stage.form(&body)));
        let token = jwt::verify(&stage.server, answer["access_token"].as_str().unwrap());
        assert!(!token.claims.to_string().contains(ECHO));
        assert_eq!(
            (
                &token.claims["iss"],
                &token.claims["sub"],
                &token.claims["exp"],
                &token.header["typ"]
            ),
            (
                &json!(ISSUER),
                &json!("billing"),
                &json!(stage.server.now().epoch() + 600),
                &json!("at+jwt")
            )
        );
    });
}

// T-32
#[test]
fn t_32_an_answer_has_these_members_and_no_refresh_token() {
    on_both(|stage| {
        let answer = stage.unchanged(|| stage.grants(&stage.form_of(&stage.shop, TOKEN, GRANT)));
        let members: Vec<&String> = answer.as_object().unwrap().keys().collect();
        assert_eq!(members, ["access_token", "expires_in", "scope", "token_type"]);
        assert_eq!(
            (&answer["token_type"], &answer["expires_in"]),
            (&json!("Bearer"), &json!(600))
        );
    });
}

// T-33
#[test]
fn t_33_an_access_token_has_the_header_and_the_claims_of_rfc_9068_and_no_others() {
    on_both(|stage| {
        let answer = stage.grants(&stage.good_request());
        let token = jwt::verify(&stage.server, answer["access_token"].as_str().unwrap());
        let members = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(members(&token.header), ["alg", "kid", "typ"]);
        assert_eq!(
            (&token.header["alg"], &token.header["typ"]),
            (&json!("RS256"), &json!("at+jwt"))
        );
        let claims = ["aud", "client_id", "exp", "iat", "iss", "jti", "scope", "sub"];
        assert_eq!(members(&token.claims), claims);
        let (_, random) = token.claims["jti"].as_str().unwrap().split_once('.').unwrap();
        assert_eq!(random.len(), 22, "128 bits");
    });
}
