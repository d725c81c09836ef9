//! What resource servers read: the JWK set, the metadata, the certificates. Rows J and M of the catalogue of answers.

use keywheel::oauth::Seconds;
use serde_json::json;

use crate::support::http::Request;
use crate::support::server::{ISSUER, JWKS, Options, START, TestServer};
use crate::support::{on_both, on_sqlite};

const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

// J-01, J-02, J-03
#[test]
fn the_jwk_set_holds_public_members_alone() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let response = server.get(JWKS);
        assert_eq!(
            (response.status, response.header("content-type")),
            (200, Some("application/json"))
        );
        assert_eq!(response.header("access-control-allow-origin"), Some("*"));
        let max_age: i64 = response
            .header("cache-control")
            .unwrap()
            .strip_prefix("public, max-age=")
            .unwrap()
            .parse()
            .unwrap();
        assert!((270..=300).contains(&max_age), "{max_age}");
        let set = response.json();
        let keys = set["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 2, "the active key and the next one");
        assert_ne!(keys[0]["kid"], keys[1]["kid"]);
        for key in keys {
            let members: Vec<&String> = key.as_object().unwrap().keys().collect();
            assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use", "x5c", "x5t#S256"]);
            assert_eq!(
                (&key["kty"], &key["use"], &key["alg"]),
                (&json!("RSA"), &json!("sig"), &json!("RS256"))
            );
            assert_eq!(key["x5c"].as_array().unwrap().len(), 1);
        }
    });
}

// J-08, J-09, J-10
#[test]
fn the_jwk_set_is_cached_by_its_tag_and_ignores_everything_else_in_a_request() {
    on_sqlite(|database| {
        let server = TestServer::start(database.url());
        let plain = server.get(JWKS);
        let etag = plain.header("etag").unwrap().to_owned();
        for value in [
            etag.clone(),
            format!("\"other\", {etag}"),
            format!("W/{etag}"),
            "*".to_owned(),
        ] {
            let unchanged = server.send(&Request::get(JWKS).header("If-None-Match", &value));
            assert_eq!((unchanged.status, unchanged.body.len()), (304, 0), "{value}");
            assert_eq!(unchanged.header("etag"), Some(etag.as_str()));
            assert!(
                unchanged
                    .header("cache-control")
                    .is_some_and(|value| value.starts_with("public, max-age="))
            );
        }
        assert_eq!(
            server
                .send(&Request::get(JWKS).header("If-None-Match", "\"other\""))
                .status,
            200
        );
        for target in ["/.well-known/jwks.json?kid=x", "/.well-known/jwks.json?cb=1"] {
            assert_eq!(server.get(target).body, plain.body);
        }
        let odd = Request::get(JWKS)
            .header("Accept", "text/html, image/gif")
            .header("X-Forwarded-Host", "evil.example");
        assert_eq!(server.send(&odd).body, plain.body);
        let head = server.send(&Request::new("HEAD", JWKS));
        assert_eq!((head.status, head.header("etag")), (200, Some(etag.as_str())));
        for method in ["POST", "PUT", "DELETE"] {
            let response = server.send(&Request::new(method, JWKS));
            assert_eq!(
                (response.status, response.header("allow")),
                (405, Some("GET, HEAD")),
                "{method}"
            );
        }
    });
}

#[test]
fn max_age_shrinks_as_the_next_change_comes_near() {
    on_sqlite(|database| {
        let server = TestServer::start(database.url());
        let max_age = || -> i64 {
            let response = server.get(JWKS);
            response
                .header("cache-control")
                .unwrap()
                .strip_prefix("public, max-age=")
                .unwrap()
                .parse()
                .unwrap()
        };
        server.advance(Seconds::new(Seconds::days(30).get() - 100));
        assert!(
            (45..=50).contains(&max_age()),
            "half of the hundred seconds that are left: {}",
            max_age()
        );
    });
}

// M-01, M-02, M-03
#[test]
fn both_metadata_documents_are_one_and_say_what_is_served() {
    on_sqlite(|database| {
        let server = TestServer::start(database.url());
        let document = server.get(OAUTH);
        assert_eq!(
            (document.status, document.header("content-type")),
            (200, Some("application/json"))
        );
        assert_eq!(document.body, server.get(OPENID).body);
        assert_eq!(
            document.json(),
            json!({
                "issuer": ISSUER,
                "authorization_endpoint": format!("{ISSUER}/oauth2/authorize"),
                "token_endpoint": format!("{ISSUER}/oauth2/token"),
                "jwks_uri": format!("{ISSUER}/.well-known/jwks.json"),
                "response_types_supported": ["code"],
                "grant_types_supported": ["client_credentials", "password", "refresh_token"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "introspection_endpoint": format!("{ISSUER}/oauth2/introspect"),
                "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "revocation_endpoint": format!("{ISSUER}/oauth2/revoke"),
                "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "registration_endpoint": format!("{ISSUER}/oauth2/register"),
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            })
        );
        // Everything that is announced answers.
        for member in [
            "authorization_endpoint",
            "token_endpoint",
            "jwks_uri",
            "introspection_endpoint",
            "revocation_endpoint",
            "registration_endpoint",
        ] {
            let path = document.json()[member]
                .as_str()
                .unwrap()
                .strip_prefix(ISSUER)
                .unwrap()
                .to_owned();
            assert_ne!(server.get(&path).status, 404, "{member}");
        }
    });
}

// M-01, M-05
#[test]
fn an_issuer_with_a_path_is_found_in_every_form_that_clients_try() {
    on_sqlite(|database| {
        let options = Options {
            issuer: "https://example.com/auth",
            ..Options::default()
        };
        let server = TestServer::with(database.url(), options);
        for path in [
            "/.well-known/oauth-authorization-server/auth",
            "/auth/.well-known/oauth-authorization-server",
            "/.well-known/openid-configuration/auth",
            "/auth/.well-known/openid-configuration",
            "/.well-known/openid-configuration",
        ] {
            assert_eq!(server.get(path).json()["issuer"], "https://example.com/auth", "{path}");
        }
        assert_eq!(server.get("/auth/.well-known/jwks.json").status, 200);
        assert_eq!(server.get("/auth/oauth2/token").status, 405);
        for path in [
            "/AUTH/.well-known/openid-configuration",
            "/auth/.well-known/openid-configuration/",
        ] {
            assert_eq!(server.get(path).status, 404, "{path}");
        }
    });
}

#[test]
fn certificates_and_public_keys_can_be_downloaded() {
    on_sqlite(|database| {
        let server = TestServer::start(database.url());
        let ca = server.get("/.well-known/keywheel/ca.pem");
        assert_eq!(ca.status, 200);
        assert!(ca.text().starts_with("-----BEGIN CERTIFICATE-----"));
        let kid = server.get(JWKS).json()["keys"][0]["kid"].as_str().unwrap().to_owned();
        for path in ["/livez", "/readyz", OPENID, OAUTH, "/.well-known/keywheel/ca.pem"] {
            assert_eq!(server.send(&Request::new("HEAD", path)).status, 200, "{path}");
        }
        let key = server.get(&format!("/.well-known/keywheel/keys/{kid}.pem"));
        assert!(key.text().starts_with("-----BEGIN PUBLIC KEY-----"), "{}", key.text());
        for kid in ["unknown", "..%2f..%2fetc%2fpasswd", &"A".repeat(43), "'%20OR%201=1--"] {
            assert_eq!(
                server.get(&format!("/.well-known/keywheel/keys/{kid}.pem")).status,
                404,
                "{kid}"
            );
        }
    });
}

// Z-01: never a redirect for a client that has no redirection URI.
#[test]
fn the_authorization_endpoint_answers_with_a_page_and_no_redirect() {
    on_sqlite(|database| {
        let server = TestServer::start(database.url());
        let response = server.get("/oauth2/authorize?response_type=code&client_id=x&redirect_uri=https://evil.example");
        assert_eq!((response.status, response.header("location")), (400, None));
        assert_eq!(response.header("access-control-allow-origin"), None);
        assert_eq!(response.header("x-frame-options"), Some("DENY"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert!(
            response
                .header("content-security-policy")
                .unwrap()
                .starts_with("default-src 'none'")
        );
        assert!(response.text().contains("invalid_request") && !response.text().contains("evil"));
    });
}

#[test]
fn health_and_metrics_say_how_the_server_is() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let management = |path: &str| crate::support::http::send(server.management, &Request::get(path));
        for response in [
            server.get("/livez"),
            server.get("/readyz"),
            management("/livez"),
            management("/readyz"),
        ] {
            assert_eq!(response.status, 200, "{}", response.text());
        }
        let client = server.client("billing", crate::support::server::metadata());
        server.granted(&client, &[]);
        server.token(&client, &[("scope", "admin")]);
        server.send(&Request::raw_form("/oauth2/token", "grant_type=made-up").basic(&client.id, &client.secret));
        server.get(JWKS);
        let metrics = management("/metrics").text().to_owned();
        for line in [
            r#"keywheel_requests_total{endpoint="token",grant_type="client_credentials",outcome="ok"} 1"#,
            r#"keywheel_requests_total{endpoint="token",grant_type="client_credentials",outcome="invalid_scope"} 1"#,
            r#"keywheel_requests_total{endpoint="token",grant_type="other",outcome="unsupported_grant_type"} 1"#,
            "keywheel_signatures_total 1",
            "keywheel_database_statements_total",
            r#"keywheel_client_cache_lookups_total{result="hit"}"#,
            "keywheel_build_info{version=",
            "keywheel_signing_key_age_seconds{",
            r#"keywheel_database_connections{state="open"}"#,
        ] {
            assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
        }
        assert!(
            !metrics.contains(&client.secret) && !metrics.contains("billing"),
            "neither secrets nor client ids"
        );
        assert_eq!(
            server.get("/metrics").status,
            404,
            "metrics are on the management listener alone"
        );
        assert_eq!(server.now(), START);
    });
}
