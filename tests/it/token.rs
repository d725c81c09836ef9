//! The token endpoint, black box over HTTP on both databases: rows T and G of the catalogue of answers.

use keywheel::oauth::{Audiences, ClaimProfile, ClientId, Scope, Seconds, TokenType};
use serde_json::json;

use crate::support::http::{Connection, Request, Response};
use crate::support::jwt;
use crate::support::on_both;
use crate::support::server::{BROKEN, Credentials, ISSUER, TOKEN, TestServer, metadata};

/// Asserts what every answer of the endpoint has, and that the error is the one expected.
pub(crate) fn assert_refused(response: &Response, status: u16, error: &str) {
    assert_eq!(
        (response.status, response.json()["error"].as_str()),
        (status, Some(error)),
        "{}",
        response.text()
    );
    assert_header_set(response);
    if let Some(description) = response.json()["error_description"].as_str() {
        let allowed = |b: u8| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(
            description.bytes().all(allowed),
            "RFC 6749 section 5.2 forbids a character of: {description}"
        );
    }
}

/// The header set of OAuth answers.
pub(crate) fn assert_header_set(response: &Response) {
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("pragma"), Some("no-cache"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(response.header("server"), None);
}

fn with_client(test: impl Fn(&TestServer, &Credentials)) {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("billing", metadata());
        test(&server, &client);
    });
}

/// Sends a form as it stands, with good credentials.
fn raw(server: &TestServer, client: &Credentials, body: &str) -> Response {
    server.send(&Request::raw_form(TOKEN, body).basic(&client.id, &client.secret))
}

// T-32, T-33
#[test]
fn a_client_gets_a_signed_token_with_the_claims_of_rfc_9068() {
    with_client(|server, client| {
        let response = server.token(client, &[]);
        assert_eq!(response.status, 200, "{}", response.text());
        assert_header_set(&response);
        let answer = response.json();
        let members: Vec<&String> = answer.as_object().unwrap().keys().collect();
        assert_eq!(members, ["access_token", "expires_in", "scope", "token_type"]);
        assert_eq!(
            (&answer["token_type"], &answer["expires_in"]),
            (&json!("Bearer"), &json!(600))
        );
        assert_eq!(answer["scope"], "read write");

        let token = jwt::verify(server, answer["access_token"].as_str().unwrap());
        let kid = &token.header["kid"];
        assert_eq!(token.header, json!({"alg": "RS256", "typ": "at+jwt", "kid": kid}));
        let now = server.now().epoch();
        let jti = token.claims["jti"].as_str().unwrap();
        assert_eq!(
            token.claims,
            json!({
                "iss": ISSUER, "sub": "billing", "client_id": "billing", "iat": now, "exp": now + 600, "jti": jti,
                "aud": ["https://api.example", "https://other.example", "orders"], "scope": "read write",
            })
        );
        let (lineage, random) = jti.split_once('.').unwrap();
        assert_eq!(
            (lineage, random.len()),
            ("1048576", 22),
            "the epoch of the client, and 128 bits in base64url"
        );
    });
}

// G-04
#[test]
fn parallel_requests_get_distinct_tokens() {
    with_client(|server, client| {
        let tokens: Vec<String> = std::thread::scope(|scope| {
            let fetch = || {
                let mut connection = Connection::open(server.address);
                let request =
                    Request::raw_form(TOKEN, "grant_type=client_credentials").basic(&client.id, &client.secret);
                (0..25)
                    .map(|_| {
                        connection.send(&request).json()["access_token"]
                            .as_str()
                            .unwrap()
                            .to_owned()
                    })
                    .collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(fetch)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let jtis: std::collections::BTreeSet<String> = tokens
            .iter()
            .map(|token| jwt::verify(server, token).claims["jti"].to_string())
            .collect();
        assert_eq!(jtis.len(), 200);
    });
}

#[test]
fn a_clients_own_life_typ_and_profile_shape_its_tokens() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client(
            "django",
            keywheel::oauth::ClientMetadata {
                access_ttl: Some(Seconds::minutes(2)),
                token_type: TokenType::Jwt,
                claim_profile: ClaimProfile::Simplejwt,
                audiences: Audiences::default(),
                scope: Scope::empty(),
                ..metadata()
            },
        );
        let response = server.token(&client, &[]).json();
        assert_eq!(response["expires_in"], 120);
        assert!(response.get("scope").is_none(), "no null and no empty members");
        let token = jwt::verify(&server, response["access_token"].as_str().unwrap());
        assert_eq!(token.header["typ"], "JWT");
        assert_eq!(
            (&token.claims["token_type"], &token.claims["user_id"]),
            (&json!("access"), &json!("django"))
        );
        assert_eq!(
            token.claims["aud"], ISSUER,
            "without a registered audience the token is for the issuer, as a string"
        );
        assert!(token.claims.get("scope").is_none());
    });
}

// T-01, T-02, T-03, T-04
#[test]
fn only_urlencoded_forms_in_utf_8_are_read() {
    with_client(|server, client| {
        let form = || Request::raw_form(TOKEN, "grant_type=client_credentials").basic(&client.id, &client.secret);
        let typed = |value: &str| server.send(&form().without("content-type").header("Content-Type", value));
        for value in [
            "application/x-www-form-urlencoded; charset=utf-8",
            "APPLICATION/X-WWW-FORM-URLENCODED;charset=UTF-8",
        ] {
            assert_eq!(typed(value).status, 200, "{value}");
        }
        for value in [
            "application/json",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencodedX",
            "application/x-www-form-urlencoded; charset=utf-16",
            "application/x-www-form-urlencoded; charset=iso-8859-1",
            "text/plain",
        ] {
            assert_refused(&typed(value), 400, "invalid_request");
        }
        assert_refused(&server.send(&form().without("content-type")), 400, "invalid_request");
        assert_refused(
            &server.send(&form().header("Content-Type", "application/x-www-form-urlencoded")),
            400,
            "invalid_request",
        );
    });
}

// T-05, T-06, T-09, T-10, T-12, T-13, T-17, T-18, T-19, T-21, T-23
#[test]
fn malformed_parameters_are_refused() {
    let good = "grant_type=client_credentials";
    let many = format!("{good}&{}", vec!["a=1"; 1_000].join("&"));
    let long_name = format!("{good}&{}=1", "n".repeat(4_096));
    let long_value = format!("{good}&foo={}", "v".repeat(8_193));
    with_client(|server, client| {
        for (body, error) in [
            (
                "grant_type=client_credentials&grant_type=client_credentials",
                "invalid_request",
            ),
            ("grant_type=client_credentials&grant_type=password", "invalid_request"),
            ("grant_type=client_credentials&scope=read&scope=", "invalid_request"),
            ("grant_type=client_credentials&code=1&code=1", "invalid_request"),
            ("", "invalid_request"),
            ("grant_type=", "invalid_request"),
            ("Grant_Type=client_credentials", "invalid_request"),
            ("grant_type[0]=client_credentials", "invalid_request"),
            ("grant_type=CLIENT_CREDENTIALS", "unsupported_grant_type"),
            ("grant_type=foo", "unsupported_grant_type"),
            ("grant_type=implicit", "unsupported_grant_type"),
            ("grant_type=client_credentials+", "unsupported_grant_type"),
            ("grant_type=client_credentials%00", "unsupported_grant_type"),
            ("grant_type=client_credentials;scope=read", "unsupported_grant_type"),
            ("grant_type=client_credentials&scope=%zz", "invalid_request"),
            ("grant_type=client_credentials&scope=%4", "invalid_request"),
            ("grant_type=client_credentials&scope=%ff", "invalid_request"),
            ("grant_type=client_credentials&scope=%c0%af", "invalid_request"),
            ("grant_type=client_credentials&scope=%ed%a0%80", "invalid_request"),
            ("grant_type=client_credentials&scope=%00", "invalid_scope"),
            (&many, "invalid_request"),
            (&long_name, "invalid_request"),
            (&long_value, "invalid_request"),
        ] {
            let response = raw(server, client, body);
            assert_eq!(response.json()["error"], error, "{}", &body[..body.len().min(80)]);
            assert_refused(&response, 400, error);
        }
    });
}

// T-08, T-31, G-02
#[test]
fn unknown_and_foreign_parameters_change_nothing() {
    with_client(|server, client| {
        let body =
            "grant_type=client_credentials&foo=1&foo=2&iss=x&sub=root&exp=9&aud=x&claims=%7B%7D&username=u&code=c";
        let response = raw(server, client, body);
        assert_eq!(response.status, 200, "{}", response.text());
        let token = jwt::verify(server, response.json()["access_token"].as_str().unwrap());
        assert_eq!(
            (&token.claims["sub"], &token.claims["iss"]),
            (&json!("billing"), &json!(ISSUER))
        );
    });
}

// T-14
#[test]
fn a_grant_that_the_client_is_not_registered_for_is_unauthorized() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("idle", metadata());
        // The command line refuses a client without grants; a row without any is what a later version may leave.
        let id = ClientId::parse("idle").unwrap();
        let none = keywheel::oauth::ClientMetadata {
            grant_types: Vec::new(),
            ..metadata()
        };
        let event = crate::support::audit_event("test");
        let (before, _) = server.store.client(&id).unwrap().unwrap();
        server.store.update_client(&before, &none, &event).unwrap();
        assert_refused(&server.token(&client, &[]), 400, "unauthorized_client");
    });
}

// T-22, T-24, T-25, T-26, T-27, T-28
#[test]
fn a_scope_is_granted_whole_or_refused() {
    let long = "a".repeat(1_025);
    let many = (0..65).map(|n| format!("s{n}")).collect::<Vec<_>>().join("+");
    let repeated = vec!["read"; 5_000 / 5].join("+");
    with_client(|server, client| {
        for (scope, granted) in [
            ("read", "read"),
            ("write+read", "write read"),
            ("write%20read", "write read"),
            ("", "read write"),
            ("read+read", "read"),
        ] {
            let response = raw(server, client, &format!("grant_type=client_credentials&scope={scope}"));
            assert_eq!(
                (response.status, &response.json()["scope"]),
                (200, &json!(granted)),
                "{scope}"
            );
        }
        for scope in [
            "admin",
            "read+admin",
            "Read",
            "read++write",
            "+read",
            "read+",
            "re%22ad",
            "re%5Cad",
            "r%C3%A9ad",
            "read%09write",
        ] {
            let response = raw(server, client, &format!("grant_type=client_credentials&scope={scope}"));
            assert_refused(&response, 400, "invalid_scope");
        }
        for scope in [&long, &many, &repeated] {
            let response = raw(server, client, &format!("grant_type=client_credentials&scope={scope}"));
            assert_refused(&response, 400, "invalid_scope");
        }
    });
}

// T-07, T-29, T-30
#[test]
fn audiences_must_be_registered_and_one_of_them_is_a_string() {
    with_client(|server, client| {
        for (parameters, expected) in [
            (vec![("resource", "https://api.example")], json!("https://api.example")),
            (vec![("audience", "orders")], json!("orders")),
            (
                vec![
                    ("resource", "https://api.example"),
                    ("resource", "https://other.example"),
                ],
                json!(["https://api.example", "https://other.example"]),
            ),
            (
                vec![("resource", "https://api.example"), ("audience", "orders")],
                json!(["https://api.example", "orders"]),
            ),
            (
                vec![("resource", "https://api.example"), ("resource", "https://api.example")],
                json!("https://api.example"),
            ),
        ] {
            let token = server.granted(client, &parameters);
            assert_eq!(jwt::verify(server, &token).claims["aud"], expected, "{parameters:?}");
        }
        for value in [
            "not-a-uri",
            "https://api.example#f",
            "http://user@api.example",
            "https://evil.example",
            "https://api.example/",
        ] {
            assert_refused(&server.token(client, &[("resource", value)]), 400, "invalid_target");
        }
        assert_refused(&server.token(client, &[("audience", "unknown")]), 400, "invalid_target");
        assert_refused(
            &server.token(client, &[("resource", "https://api.example"); 9]),
            400,
            "invalid_target",
        );
    });
}

// T-15, T-16
#[test]
fn nothing_is_taken_from_the_url_and_a_credential_in_it_is_refused() {
    with_client(|server, client| {
        let form = |query: &str, body: &str| {
            server.send(&Request::raw_form(&format!("{TOKEN}?{query}"), body).basic(&client.id, &client.secret))
        };
        assert_refused(&form("grant_type=client_credentials", ""), 400, "invalid_request");
        assert_eq!(form("trace=1", "grant_type=client_credentials").status, 200);
        for query in [
            "client_secret=x",
            "password=x",
            "refresh_token=x",
            "client_assertion=x",
            "code=x",
        ] {
            assert_refused(&form(query, "grant_type=client_credentials"), 400, "invalid_request");
        }
    });
}

// T-11: authentication comes before the grant.
#[test]
fn an_unauthenticated_client_learns_nothing_about_grants() {
    with_client(|server, client| {
        let wrong = Credentials {
            secret: "wrong".to_owned(),
            ..client.clone()
        };
        let response = server.send(&Request::raw_form(TOKEN, "grant_type=foo").basic(&wrong.id, &wrong.secret));
        assert_refused(&response, 401, "invalid_client");
    });
}

// T-37
#[test]
fn a_connection_goes_on_after_a_refusal() {
    with_client(|server, client| {
        let mut connection = Connection::open(server.address);
        for body in ["grant_type=foo", "scope=%zz", ""] {
            let refused = connection.send(&Request::raw_form(TOKEN, body).basic(&client.id, &client.secret));
            assert_eq!(refused.status, 400);
            let json = Request::new("POST", TOKEN)
                .header("Content-Type", "application/json")
                .body(b"{}");
            assert_eq!(connection.send(&json).status, 400);
            let good = Request::raw_form(TOKEN, "grant_type=client_credentials").basic(&client.id, &client.secret);
            assert_eq!(connection.send(&good).status, 200);
        }
    });
}

// H-24, H-25
#[test]
fn the_token_endpoint_takes_post_alone() {
    with_client(|server, _| {
        for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE"] {
            let response = server.send(&Request::new(method, &format!("{TOKEN}?grant_type=client_credentials")));
            assert_eq!(
                (response.status, response.header("allow")),
                (405, Some("POST")),
                "{method}"
            );
            assert_header_set(&response);
        }
        let overridden = server.send(&Request::get(TOKEN).header("X-HTTP-Method-Override", "POST"));
        assert_eq!(overridden.status, 405);
    });
}

// H-29: no origin may call it from a browser.
#[test]
fn a_preflight_allows_no_origin() {
    with_client(|server, _| {
        let preflight = Request::new("OPTIONS", TOKEN)
            .header("Origin", "https://evil.example")
            .header("Access-Control-Request-Method", "POST");
        let response = server.send(&preflight);
        assert_eq!(response.status, 204);
        assert_eq!(response.header("access-control-allow-origin"), None);
        assert_eq!(response.header("access-control-allow-credentials"), None);
    });
}

#[test]
fn a_token_of_a_cached_client_costs_no_statement() {
    with_client(|server, client| {
        server.granted(client, &[]);
        let before = server.store.statements();
        for _ in 0..50 {
            server.granted(client, &[]);
        }
        assert_eq!(server.store.statements() - before, 0);
    });
}

// T-39
#[test]
fn a_panic_is_one_requests_alone() {
    with_client(|server, client| {
        let mut connection = Connection::open(server.address);
        let good = Request::raw_form(TOKEN, "grant_type=client_credentials").basic(&client.id, &client.secret);
        assert_eq!(connection.send(&good).status, 200);
        let now = server.set_clock(BROKEN);
        assert_refused(&connection.send(&good), 500, "server_error");
        server.set_clock(now);
        assert_eq!(
            connection.send(&good).status,
            200,
            "the connection and the process live on"
        );
    });
}
