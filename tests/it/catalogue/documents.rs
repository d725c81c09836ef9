//! The key set, the metadata and what else is read by everybody, row by row.

use keywheel::oauth::Seconds;
use serde_json::Value;

use super::stage::{ECHO, Stage, on_sqlite};
use crate::support::http::{Request, Response};
use crate::support::server::{ISSUER, JWKS, Options, TestServer, metadata};
use crate::support::{Database, on_both};

const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

fn max_age(response: &Response) -> i64 {
    let value = response.header("cache-control").unwrap();
    value.strip_prefix("public, max-age=").unwrap().parse().unwrap()
}

/// All names of members, however deep.
fn members(value: &Value) -> Vec<String> {
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(name, value)| std::iter::once(name.clone()).chain(members(value)))
            .collect(),
        Value::Array(array) => array.iter().flat_map(members).collect(),
        _ => Vec::new(),
    }
}

fn keys(stage: &Stage) -> Vec<Value> {
    stage.server.get(JWKS).json()["keys"].as_array().unwrap().clone()
}

// J-01
#[test]
fn j_01_the_key_set_is_json_that_may_be_kept_for_a_while_and_has_these_members() {
    on_sqlite(|stage| {
        let answer = stage.unchanged(|| stage.server.get(JWKS));
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("application/json"))
        );
        assert!((1..=300).contains(&max_age(&answer)) && answer.header("etag").is_some());
        assert_eq!(members(&answer.json())[0], "keys");
        for key in keys(stage) {
            assert_eq!(members(&key), ["alg", "e", "kid", "kty", "n", "use", "x5c", "x5t#S256"]);
        }
    });
}

// J-02
#[test]
fn j_02_no_document_has_a_private_member() {
    on_sqlite(|stage| {
        for path in [JWKS, OPENID, OAUTH] {
            for member in members(&stage.server.get(path).json()) {
                let private = ["d", "p", "q", "dp", "dq", "qi", "k", "oth", "priv"];
                assert!(!private.contains(&member.as_str()), "{member} in {path}");
            }
        }
        for path in [
            "/.well-known/keywheel/ca.pem",
            &format!("/.well-known/keywheel/keys/{}.pem", kid(stage)),
        ] {
            let text = stage.server.get(path).text().to_owned();
            assert!(text.starts_with("-----BEGIN") && !text.contains("PRIVATE"), "{path}");
        }
    });
}

fn kid(stage: &Stage) -> String {
    keys(stage)[0]["kid"].as_str().unwrap().to_owned()
}

// J-03
#[test]
fn j_03_a_kid_is_the_thumbprint_of_its_key_and_nobody_elses() {
    on_sqlite(|stage| {
        let keys = keys(stage);
        assert!(keys.len() >= 2);
        for key in &keys {
            // RFC 7638 §3.2: the required members in their order, without a space.
            let text = format!(r#"{{"e":{},"kty":{},"n":{}}}"#, key["e"], key["kty"], key["n"]);
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
            assert_eq!(key["kid"], keywheel::oauth::base64url(digest.as_ref()));
            assert_eq!(keys.iter().filter(|other| other["kid"] == key["kid"]).count(), 1);
        }
    });
}

// J-08
#[test]
fn j_08_who_has_the_key_set_is_told_so_and_may_keep_it() {
    on_sqlite(|stage| {
        let etag = stage.server.get(JWKS).header("etag").unwrap().to_owned();
        for tags in [
            etag.clone(),
            format!("W/{etag}"),
            format!("\"x\", {etag}"),
            "*".to_owned(),
        ] {
            let answer = stage.server.send(&Request::get(JWKS).header("If-None-Match", &tags));
            assert_eq!((answer.status, answer.body.len()), (304, 0), "{tags}");
            assert_eq!(answer.header("etag"), Some(etag.as_str()));
            assert!((1..=300).contains(&max_age(&answer)));
        }
        for tags in ["\"x\"", "", "x", &etag[1..]] {
            let answer = stage.server.send(&Request::get(JWKS).header("If-None-Match", tags));
            assert_eq!(answer.status, 200, "{tags}");
        }
    });
}

// J-09
#[test]
fn j_09_no_request_puts_anything_of_its_own_into_a_document_that_is_kept() {
    on_sqlite(|stage| {
        for path in [JWKS, OPENID, OAUTH] {
            let plain = stage.server.get(path);
            let odd = Request::get(&format!("{path}?cb={ECHO}&callback={ECHO}"))
                .header("X-Forwarded-Host", "zq7echo.example")
                .header("Accept", "text/html")
                .header("Accept-Language", ECHO)
                .header("Origin", "https://zq7echo.example")
                .header("Cookie", "a=zq7echo")
                .header("Range", "bytes=0-1");
            let answer = stage.unchanged(|| stage.server.send(&odd));
            assert_eq!((answer.status, &answer.body), (200, &plain.body), "{path}");
            assert_eq!(answer.header("content-type"), plain.header("content-type"));
            assert_eq!(answer.header("vary"), None);
            assert_eq!(answer.header("set-cookie"), None);
            for suffix in ["/x.css", ".css", "%0A", "/"] {
                assert_eq!(
                    stage.server.get(&format!("{path}{suffix}")).status,
                    404,
                    "{path}{suffix}"
                );
            }
        }
    });
}

// J-10
#[test]
fn j_10_a_document_is_read_and_nothing_else() {
    on_sqlite(|stage| {
        for path in [JWKS, OPENID, OAUTH, "/.well-known/keywheel/ca.pem", "/livez", "/readyz"] {
            for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
                let answer = stage.unchanged(|| stage.server.send(&Request::new(method, path)));
                assert_eq!(
                    (answer.status, answer.header("allow")),
                    (405, Some("GET, HEAD")),
                    "{method} {path}"
                );
            }
        }
    });
}

// M-01
#[test]
fn m_01_the_issuer_is_the_configured_one_whatever_the_request_says() {
    on_sqlite(|stage| {
        for host in ["auth.example", "zq7echo.example", "127.0.0.1"] {
            for path in [OPENID, OAUTH] {
                let answer = stage.server.send(&Request::get(path).header("Host", host));
                assert_eq!(answer.json()["issuer"], ISSUER, "{host}");
            }
        }
    });
    let database = Database::sqlite();
    let options = Options {
        issuer: "https://example.com/auth",
        ..Options::default()
    };
    let server = TestServer::with(database.url(), options);
    // RFC 8414 §3.1.
    let document = server.get("/.well-known/oauth-authorization-server/auth").json();
    assert_eq!(document["issuer"], "https://example.com/auth");
}

// M-02
#[test]
fn m_02_what_is_announced_is_served_and_what_is_switched_off_is_not_announced() {
    on_sqlite(|stage| {
        let document = stage.server.get(OAUTH).json();
        let object = document.as_object().unwrap();
        for (member, value) in object
            .iter()
            .filter(|(_, value)| value.as_str().is_some_and(|text| text.starts_with(ISSUER)))
        {
            let path = value.as_str().unwrap().strip_prefix(ISSUER).unwrap();
            if !path.is_empty() {
                assert_ne!(stage.server.get(path).status, 404, "{member}");
            }
        }
        for grant in document["grant_types_supported"].as_array().unwrap() {
            let form = stage.form_of(
                &stage.shop,
                "/oauth2/token",
                &format!("grant_type={}", grant.as_str().unwrap()),
            );
            let error = stage.server.send(&form).json()["error"].clone();
            assert_ne!(error, "unsupported_grant_type", "{grant}");
        }
    });
    let database = Database::sqlite();
    let options = Options {
        password_grant: false,
        ..Options::default()
    };
    let server = TestServer::with(database.url(), options);
    let grants = server.get(OAUTH).json()["grant_types_supported"].to_string();
    assert_eq!(grants, r#"["client_credentials","refresh_token"]"#);
}

// M-03
#[test]
fn m_03_no_signature_algorithm_is_announced_that_needs_none_or_a_shared_secret() {
    on_sqlite(|stage| {
        let document = stage.server.get(OPENID).json();
        for (member, value) in document.as_object().unwrap() {
            if member.contains("_alg_values_supported") {
                for alg in value.as_array().unwrap() {
                    let alg = alg.as_str().unwrap();
                    assert!(alg != "none" && !alg.starts_with("HS"), "{member}: {alg}");
                }
            }
        }
    });
}

// M-05
#[test]
fn m_05_the_metadata_has_one_spelling_of_its_path() {
    on_sqlite(|stage| {
        for path in [
            "/.well-known/openid-configuration/",
            "/.WELL-KNOWN/openid-configuration",
            "/.well-known/OpenID-Configuration",
            "//.well-known/openid-configuration",
            "/.well-known//openid-configuration",
            "/.well-known/oauth-authorization-server/",
            "/.well-known/oauth-authorization-server/auth",
        ] {
            assert_eq!(stage.server.get(path).status, 404, "{path}");
        }
    });
}

// D-20
#[test]
fn d_20_metrics_and_health_tell_of_no_secret_and_no_client_and_not_to_everybody() {
    on_sqlite(|stage| {
        let session = stage.sign_in();
        stage.good();
        let metrics = stage.server.metrics();
        assert!(metrics.contains("keywheel_requests_total"));
        for told in [
            "billing",
            "alice",
            &stage.billing.secret,
            &session.access,
            &session.refresh,
        ] {
            assert!(!metrics.contains(told), "{told}");
        }
        for path in ["/metrics", "/debug", "/debug/pprof", "/status", "/actuator", "/.env"] {
            assert_eq!(stage.server.get(path).status, 404, "{path}");
        }
        stage.server.advance(Seconds::new(1));
        let ready = stage.server.get("/readyz").text().to_owned();
        assert!(!ready.contains("sqlite") && !ready.contains('/'), "{ready}");
    });
}

// T-36
#[test]
fn t_36_keys_that_cannot_be_opened_any_more_change_nothing_until_the_server_starts_again() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("billing", metadata());
        let set = server.get(JWKS).body;
        database.execute("UPDATE signing_keys SET sealed_private_key = certificate");
        database.execute("INSERT INTO changes (kind, subject, at) VALUES ('weather', 'rain', 1)");
        assert!(server.tick().is_err());
        assert_eq!(server.get(JWKS).body, set, "the set that was good");
        server.granted(&client, &[]);
        let again = server.options();
        drop(server);
        assert!(TestServer::try_with(database.url(), again).is_err());
    });
}
