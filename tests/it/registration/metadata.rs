//! What a client may have registered (RFC 7591 §2), member by member. The rows Y-04 to Y-14.

use std::net::TcpListener;

use serde_json::json;

use super::{AUDIENCE, assert_refused, initial, register, registered};
use crate::support::server::{START, TestServer};
use crate::support::{on_both, on_sqlite};

// Y-04
#[test]
fn members_that_nobody_may_choose_are_ignored_and_not_echoed() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let initial = initial(&server, 1);
        let document = json!({
            "client_id": "chosen", "client_id_issued_at": 1, "client_secret": "chosen", "client_secret_expires_at": 5,
            "is_admin": true, "trusted": true, "introspect": true, "access_ttl": 86_400, "token_type": "JWT",
            "signing_alg": "ES256", "token_quota": "1000/1s",
            "registration_access_token": "chosen", "client_name#ja": "x", "contacts": ["a@b"], "software_id": "x",
            "software_version": "1", "deep": {"er": [[[]]]},
        });
        let client = registered(&server, &initial.token, &document);
        let members: Vec<&String> = client.as_object().unwrap().keys().collect();
        for member in [
            "is_admin",
            "trusted",
            "introspect",
            "access_ttl",
            "signing_alg",
            "token_quota",
            "contacts",
            "software_id",
            "deep",
        ] {
            assert!(!members.iter().any(|own| *own == member), "{member}: {client}");
        }
        assert_eq!(client["client_id_issued_at"], START.epoch());
        assert_eq!(client["client_secret_expires_at"], 0);
        assert!(!client.to_string().contains("chosen"), "{client}");
        let client = &server.admin().list().unwrap()[0];
        assert!(!client.metadata.introspect && client.metadata.access_ttl.is_none());
        assert_eq!((client.metadata.signing_alg, client.metadata.token_quota), (None, None));
    });
}

// Y-04, Y-05
#[test]
fn no_client_gets_a_grant_scope_or_audience_beyond_its_token() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let initial = initial(&server, 1);
        for document in [
            json!({"scope": "admin"}),
            json!({"scope": "read keywheel:admin"}),
            json!({"scope": "keywheel:read"}),
            json!({"scope": "keywheel:self"}),
            json!({"scope": "READ"}),
            json!({"scope": "read  write"}),
            json!({"scope": ["read"]}),
            json!({"grant_types": ["password"]}),
            json!({"grant_types": ["client_credentials", "password", "refresh_token"]}),
            json!({"grant_types": ["urn:ietf:params:oauth:grant-type:token-exchange"]}),
            json!({"grant_types": ["authorization_code"]}),
            json!({"grant_types": []}),
            json!({"grant_types": "client_credentials"}),
            json!({"grant_types": [1]}),
            json!({"audience": ["https://elsewhere.example"]}),
            json!({"audience": [AUDIENCE, "https://elsewhere.example"]}),
            // The issuer's, which is more than the token's list.
            json!({"audience": []}),
            json!({"audience": AUDIENCE}),
            json!({"audience": ["a b"]}),
            json!({"token_endpoint_auth_method": "none"}),
            json!({"token_endpoint_auth_method": "private_key_jwt"}),
            json!({"token_endpoint_auth_method": 7}),
        ] {
            let refused = register(&server, &initial.token, &document);
            assert_refused(&refused, 400, "invalid_client_metadata");
            assert!(!refused.text().contains("elsewhere"), "no value is echoed");
        }
        assert_eq!(server.count("clients"), 0);
        registered(&server, &initial.token, &json!({"scope": "write"}));
    });
}

// Y-06
#[test]
fn a_redirect_uri_is_refused_whatever_it_is_for_nobody_is_redirected() {
    on_sqlite(|database| {
        let server = TestServer::start(database.url());
        let initial = initial(&server, 1);
        for uri in [
            "https://client.example/cb",
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "file:///etc/passwd",
            "//evil.example",
            "cb",
            "https://a#f",
            "https://u@a",
            "http://public.example",
            "https://*.example",
            "https://a\\b",
            "https://a/%2e%2e/",
            "https://a\t/b\n",
            &format!("https://a/{}", "x".repeat(3_000)),
        ] {
            let refused = register(&server, &initial.token, &json!({"redirect_uris": [uri]}));
            assert_refused(&refused, 400, "invalid_redirect_uri");
        }
        for document in [
            json!({"redirect_uris": vec!["https://a"; 33]}),
            json!({"redirect_uris": "https://a"}),
        ] {
            assert_refused(
                &register(&server, &initial.token, &document),
                400,
                "invalid_redirect_uri",
            );
        }
        let codes = register(&server, &initial.token, &json!({"response_types": ["code"]}));
        assert_refused(&codes, 400, "invalid_client_metadata");
        registered(
            &server,
            &initial.token,
            &json!({"redirect_uris": [], "response_types": []}),
        );
    });
}

// Y-07, Y-09, Y-10
#[test]
fn pages_of_a_client_are_https_and_neither_kept_nor_fetched() {
    on_sqlite(|database| {
        let server = TestServer::start(database.url());
        let initial = initial(&server, 1);
        for member in [
            "client_uri",
            "logo_uri",
            "tos_uri",
            "policy_uri",
            "post_logout_redirect_uris",
        ] {
            for uri in [
                json!("javascript:alert(1)"),
                json!("JaVaScRiPt:alert(1)"),
                json!("data:image/svg+xml,<svg/>"),
                json!("http://client.example/"),
                json!("//client.example/"),
                json!("https://user@client.example/"),
                json!("https://client.example/\n"),
                json!("https://client.example\\@evil.example"),
                json!(format!("https://client.example/{}", "x".repeat(2_048))),
                json!(7),
            ] {
                let uri = if member.ends_with('s') { json!([uri]) } else { uri };
                let refused = register(&server, &initial.token, &json!({ member: uri }));
                assert_refused(&refused, 400, "invalid_client_metadata");
            }
        }
        let canary = Canary::new();
        let page = format!("https://{}/", canary.address());
        let client = registered(
            &server,
            &initial.token,
            &json!({
                "client_uri": page, "logo_uri": page, "tos_uri": page, "policy_uri": page,
                "post_logout_redirect_uris": [page], "request_uris": [page], "sector_identifier_uri": page,
                "backchannel_logout_uri": page, "backchannel_client_notification_endpoint": page,
            }),
        );
        assert!(!client.to_string().contains(&canary.address()), "{client}");
        canary.assert_untouched();
    });
}

// Y-08, Y-11, Y-12
#[test]
fn keys_of_clients_are_refused_unread_and_none_is_fetched() {
    on_sqlite(|database| {
        let server = TestServer::start(database.url());
        let initial = initial(&server, 1);
        let canary = Canary::new();
        let port = canary.address().split(':').nth(1).unwrap().to_owned();
        for host in [
            "127.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "2130706433",
            "0177.0.0.1",
            "localhost",
        ] {
            for scheme in ["http", "https"] {
                let document = json!({"jwks_uri": format!("{scheme}://{host}:{port}/")});
                let refused = register(&server, &initial.token, &document);
                assert_refused(&refused, 400, "invalid_client_metadata");
            }
        }
        let key = |n: &str, e: &str| json!({"kty": "RSA", "n": n, "e": e});
        for document in [
            json!({"jwks": {"keys": []}, "jwks_uri": "https://client.example/keys"}),
            json!({"jwks_uri": "file:///etc/passwd"}),
            json!({"jwks_uri": "https://169.254.169.254/"}),
            json!({"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}),
            json!({"jwks": {"keys": [key("AQAB", "AQ")]}}),
            json!({"jwks": {"keys": [key(&"A".repeat(40_000), "AQAB")]}}),
            json!({"jwks": {"keys": vec![key("AQAB", "AQAB"); 100]}}),
            json!({"jwks": "{}"}),
        ] {
            let begun = std::time::Instant::now();
            let refused = register(&server, &initial.token, &document);
            assert_refused(&refused, 400, "invalid_client_metadata");
            assert!(begun.elapsed().as_millis() < 500, "nothing is computed with a key");
        }
        canary.assert_untouched();
        assert_eq!(server.count("clients"), 0);
    });
}

/// A listener that nobody is to connect to.
struct Canary(TcpListener);

impl Canary {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Canary(listener)
    }

    fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    fn assert_untouched(&self) {
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(self.0.accept().is_err(), "somebody connected");
    }
}

// Y-13
#[test]
fn a_software_statement_is_invalid_or_unapproved() {
    on_sqlite(|database| {
        let server = TestServer::start(database.url());
        let initial = initial(&server, 1);
        for (statement, error) in [
            (json!("eyJhbGciOiJub25lIn0.e30."), "invalid_software_statement"),
            (json!("garbage"), "invalid_software_statement"),
            (json!(""), "invalid_software_statement"),
            (json!({"alg": "RS256"}), "invalid_software_statement"),
            (json!("eyJhbGciOiJSUzI1NiJ9.e30.c2ln"), "unapproved_software_statement"),
        ] {
            let refused = register(&server, &initial.token, &json!({"software_statement": statement}));
            assert_refused(&refused, 400, error);
        }
        registered(&server, &initial.token, &json!({"software_statement": null}));
    });
}

// Y-14
#[test]
fn a_name_is_kept_as_it_is_within_128_characters() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let initial = initial(&server, 5);
        for name in [
            "<script>alert(1)</script>",
            "\u{202e}nimda",
            "keywheel Admin",
            &"é".repeat(128),
        ] {
            let client = registered(&server, &initial.token, &json!({"client_name": name}));
            assert_eq!(client["client_name"], name);
        }
        for name in [
            json!("x".repeat(129)),
            json!("x".repeat(10_240)),
            json!(""),
            json!("a\u{0}b"),
            json!(["x"]),
        ] {
            let refused = register(&server, &initial.token, &json!({"client_name": name}));
            assert_refused(&refused, 400, "invalid_client_metadata");
        }
    });
}
