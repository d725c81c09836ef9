//! Hosts, paths and methods, and what strangers and browsers send, row by row.

use keywheel::oauth::{Audiences, ClientMetadata, Scope};

use super::framing::malformed;
use super::stage::{ECHO, Stage, on_sqlite};
use crate::support::Database;
use crate::support::http::{Request, Response};
use crate::support::server::{ISSUER, JWKS, Options, TOKEN, TestServer, metadata};
use crate::token::assert_header_set;

const OPENID: &str = "/.well-known/openid-configuration";
/// The endpoints that answer a form, and the registration.
pub(super) const POSTED: [&str; 4] = [TOKEN, "/oauth2/introspect", "/oauth2/revoke", "/oauth2/register"];

/// A token of somebody who administrates.
pub(super) fn administrator(stage: &Stage) -> String {
    let rights = ClientMetadata {
        scope: Scope::parse("keywheel:admin").unwrap(),
        audiences: Audiences::default(),
        ..metadata()
    };
    let client = stage
        .server
        .client(&format!("admin-{}", stage.server.now().epoch()), rights);
    stage.server.granted(&client, &[])
}

// H-07
#[test]
fn h_07_a_request_names_one_host_and_the_same_one_wherever_it_does() {
    malformed(&[
        b"GET /livez HTTP/1.1\r\n\r\n".to_vec(),
        b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_vec(),
        b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_vec(),
        b"GET /livez HTTP/1.1\r\nHost: a, b\r\n\r\n".to_vec(),
        b"GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n".to_vec(),
        b"GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n".to_vec(),
        b"GET /livez HTTP/1.1\r\nHost: user@a\r\n\r\n".to_vec(),
        b"GET /livez HTTP/1.1\r\nHost: a?b\r\n\r\n".to_vec(),
        b"GET http://b/livez HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET http://a:1/livez HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET http://x@a/livez HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
    ]);
    on_sqlite(|stage| {
        for host in [
            "a",
            "A.example:8080",
            "127.0.0.1",
            "[::1]:80",
            "xn--bcher-kva.example",
            "a_b",
        ] {
            let request = Request::get("/livez").header("Host", host);
            assert_eq!(stage.server.send(&request).status, 200, "{host}");
        }
        let absolute = Request::get("http://a.example/livez").header("Host", "A.example");
        assert_eq!(stage.server.send(&absolute).status, 200);
    });
}

// H-08
#[test]
fn h_08_a_foreign_host_is_misdirected_and_never_told_of() {
    let database = Database::sqlite();
    let options = Options {
        allowed_hosts: vec!["auth.example".to_owned()],
        ..Options::default()
    };
    let server = TestServer::with(database.url(), options);
    let from = |host: &str, method: &str, path: &str| server.send(&Request::new(method, path).header("Host", host));
    for (method, path) in [
        ("GET", JWKS),
        ("GET", OPENID),
        ("GET", "/.well-known/oauth-authorization-server"),
        ("GET", "/oauth2/authorize"),
        ("POST", TOKEN),
    ] {
        for host in ["evil.example", "auth.example.evil.example", "auth.example:81"] {
            let foreign = from(host, method, path);
            assert_eq!(foreign.status, 421, "{method} {path} of {host}");
            assert!(!foreign.text().contains("evil") && foreign.header("location").is_none());
        }
        let own = from("AUTH.example", method, path);
        assert_ne!(own.status, 421, "{method} {path}");
        assert!(!own.text().contains("AUTH"));
    }
    assert_eq!(from("auth.example", "GET", OPENID).json()["issuer"], ISSUER);
}

// H-15
#[test]
fn h_15_an_endpoint_has_one_name_and_a_long_one_is_414() {
    on_sqlite(|stage| {
        stage.unchanged(|| {
            for path in [
                "/oauth2/token/",
                "//oauth2/token",
                "/oauth2//token",
                "/oauth2/./token",
                "/oauth2/../oauth2/token",
                "/oauth2/token%00",
                "/oauth2/token%20",
                "/oauth2/token%2f",
                "/oauth2%2ftoken",
                "/oauth2/token;x",
                "/OAUTH2/TOKEN",
                "/..;/oauth2/token",
                "/token",
            ] {
                let response = stage
                    .server
                    .send(&stage.form_of(&stage.billing, path, "grant_type=client_credentials"));
                assert_eq!(response.status, 404, "{path}");
                assert!(!response.text().contains("oauth2"), "{path}");
            }
            for length in [9_000, 60_000] {
                let path = format!("{TOKEN}?{}", "x".repeat(length));
                stage.closes_on(format!("POST {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), 414);
            }
            // Longer than the library can hold.
            let path = "x".repeat(65_536);
            stage.closes_on(format!("POST /{path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), 400);
        });
    });
}

// H-24
#[test]
fn h_24_other_methods_are_405_and_nothing_overrides_a_method() {
    on_sqlite(|stage| {
        stage.unchanged(|| {
            for path in [
                TOKEN,
                "/oauth2/introspect",
                "/oauth2/revoke",
                JWKS,
                OPENID,
                "/livez",
                "/oauth2/authorize",
            ] {
                for method in ["TRACE", "TRACK", "PUT", "DELETE", "PATCH", "PROPFIND"] {
                    let answer = stage.server.send(&Request::new(method, path).header("X-Marker", ECHO));
                    assert_eq!(answer.status, 405, "{method} {path}");
                    assert!(answer.header("allow").is_some(), "{method} {path}");
                    assert!(!answer.text().contains(ECHO));
                }
            }
            for target in ["a.example:443", TOKEN] {
                let bytes =
                    format!("CONNECT {target} HTTP/1.1\r\nHost: a.example:443\r\n\r\nGET /livez HTTP/1.1\r\n\r\n");
                let answer = stage.closes_on(bytes.as_bytes(), 405);
                assert!(answer.header("allow").is_some());
            }
            for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
                let request = Request::get(&format!("{TOKEN}?_method=POST")).header(name, "POST");
                assert_eq!(stage.server.send(&request).status, 405, "{name}");
            }
        });
    });
}

// H-25
#[test]
fn h_25_a_token_is_not_to_be_had_with_get_or_head() {
    on_sqlite(|stage| {
        for method in ["GET", "HEAD"] {
            for path in &POSTED[..3] {
                let request = Request::new(method, &format!("{path}?grant_type=client_credentials"))
                    .basic(&stage.billing.id, &stage.billing.secret);
                let answer = stage.unchanged(|| stage.server.send(&request));
                assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
                assert_header_set(&answer);
            }
        }
    });
}

// H-26
#[test]
fn h_26_what_a_stranger_says_of_proxies_changes_nothing() {
    on_sqlite(|stage| {
        let forged = |request: Request| {
            request
                .header("X-Forwarded-Proto", "http")
                .header("X-Forwarded-Host", "evil.example")
                .header("X-Forwarded-Prefix", "/evil")
                .header("X-Forwarded-For", "not an address")
                .header("Forwarded", "host=evil.example;proto=http")
                .header("X-Original-URI", "/admin")
                .header("X-Original-URL", "/admin")
                .header("X-Rewrite-URL", "/admin")
        };
        for path in [OPENID, JWKS, "/admin/v1/openapi.json"] {
            let plain = stage.server.get(path);
            let answer = stage.unchanged(|| stage.server.send(&forged(Request::get(path))));
            assert_eq!((answer.status, answer.body), (plain.status, plain.body), "{path}");
        }
        let answer = stage.grants(&forged(stage.good_request()));
        assert_eq!(answer["token_type"], "Bearer");
    });
}

fn names_no_origin(answer: &Response) {
    for name in ["origin", "credentials", "methods", "headers"] {
        assert_eq!(answer.header(&format!("access-control-allow-{name}")), None);
    }
}

// H-29
#[test]
fn h_29_no_origin_may_call_an_endpoint_of_clients_from_a_browser() {
    on_sqlite(|stage| {
        for path in POSTED {
            let preflight = Request::new("OPTIONS", path)
                .header("Origin", "https://evil.example")
                .header("Access-Control-Request-Method", "POST")
                .header("Access-Control-Request-Headers", "authorization");
            let answer = stage.unchanged(|| stage.server.send(&preflight));
            assert_eq!(answer.status, 204, "{path}");
            names_no_origin(&answer);
        }
        names_no_origin(
            &stage
                .server
                .send(&stage.good_request().header("Origin", "https://evil.example")),
        );
    });
}

// H-30
#[test]
fn h_30_the_pages_and_the_administration_are_for_no_other_origin() {
    on_sqlite(|stage| {
        for path in [
            "/oauth2/authorize",
            "/admin/v1",
            "/admin/v1/openapi.json",
            "/admin/v1/clients",
        ] {
            for method in ["OPTIONS", "GET"] {
                let request = Request::new(method, path)
                    .header("Origin", "https://evil.example")
                    .header("Access-Control-Request-Method", "GET");
                names_no_origin(&stage.unchanged(|| stage.server.send(&request)));
            }
        }
    });
}

// H-31
#[test]
fn h_31_an_origin_that_resembles_a_good_one_is_none() {
    on_sqlite(|stage| {
        for origin in [
            "null",
            "https://auth.example.evil",
            "https://authXexample",
            "https://auth.example",
            ISSUER,
        ] {
            for path in POSTED {
                let request = stage.form_of(&stage.billing, path, "token=x").header("Origin", origin);
                names_no_origin(&stage.server.send(&request));
            }
        }
    });
}

// H-32
#[test]
fn h_32_what_a_browser_may_post_across_origins_registers_nothing() {
    on_sqlite(|stage| {
        let admin = administrator(stage);
        let document = br#"{"client_name":"a","grant_types":["client_credentials"]}"#;
        stage.unchanged(|| {
            for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
                let to = |path: &str| {
                    Request::new("POST", path)
                        .header("Content-Type", kind)
                        .header("Authorization", &format!("Bearer {admin}"))
                        .body(document)
                };
                assert_eq!(stage.server.send(&to("/admin/v1/clients")).status, 415, "{kind}");
                let status = stage.server.send(&to("/oauth2/register")).status;
                assert!([400, 401, 415].contains(&status), "{kind}: {status}");
            }
        });
    });
}
