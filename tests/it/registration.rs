//! Dynamic client registration (RFC 7591): who may register a client, what it gets, and how often. The rows Y-01 to Y-03,
//! Y-15 and Y-21; what may be registered is in `metadata`, what follows in `management`.

mod management;
mod metadata;
mod tokens;

use std::sync::Barrier;

use keywheel::oauth::{Audiences, GrantType, RegistrationPolicy, Scope, Seconds};
use keywheel::server::admin::{NewInitialAccessToken, RegistrationAdmin};
use serde_json::{Value, json};

use crate::support::http::{Request, Response};
use crate::support::server::{Credentials, ISSUER, START, TestServer};
use crate::support::{audit_event, on_both, on_sqlite};

/// The registration endpoint.
const REGISTER: &str = "/oauth2/register";
/// What most tokens of these tests allow.
const SCOPE: &str = "read write";
const AUDIENCE: &str = "https://api.example";

/// An initial access token with its identifier.
struct Initial {
    id: String,
    token: String,
}

fn initial_with(server: &TestServer, uses: u32, grants: &[GrantType], scope: &str, audiences: &str) -> Initial {
    let policy = RegistrationPolicy::new(
        grants.to_vec(),
        Scope::parse(scope).unwrap(),
        Audiences::parse(audiences).unwrap(),
    );
    let new = NewInitialAccessToken {
        name: "Partner".to_owned(),
        uses,
        life: Seconds::days(7),
        policy: policy.unwrap(),
    };
    let admin = RegistrationAdmin::new(&server.store, "test");
    let created = server.with_context(|cx| admin.create(new, server.vault(), cx)).unwrap();
    Initial {
        id: created.record.id,
        token: created.token.expose().to_owned(),
    }
}

/// One for services, of so many uses.
fn initial(server: &TestServer, uses: u32) -> Initial {
    initial_with(server, uses, &[GrantType::ClientCredentials], SCOPE, AUDIENCE)
}

fn request(method: &str, path: &str, token: &str, document: &Value) -> Request {
    Request::new(method, path)
        .header("Authorization", &format!("Bearer {token}"))
        .header("Content-Type", "application/json")
        .body(document.to_string().as_bytes())
}

fn register(server: &TestServer, token: &str, document: &Value) -> Response {
    server.send(&request("POST", REGISTER, token, document))
}

/// A registration that must succeed.
fn registered(server: &TestServer, token: &str, document: &Value) -> Value {
    let response = register(server, token, document);
    assert_eq!(response.status, 201, "{}", response.text());
    response.json()
}

fn credentials(client: &Value) -> Credentials {
    Credentials {
        id: client["client_id"].as_str().unwrap().to_owned(),
        secret: client["client_secret"].as_str().unwrap().to_owned(),
    }
}

fn assert_refused(response: &Response, status: u16, error: &str) {
    assert_eq!(
        (response.status, response.json()["error"].as_str()),
        (status, Some(error)),
        "{}",
        response.text()
    );
    assert_headers(response);
}

/// The headers of every answer: nobody keeps it, guesses at it, or links away from it.
fn assert_headers(response: &Response) {
    let content = (response.status != 204).then_some("application/json");
    assert_eq!(response.header("content-type"), content, "{response:?}");
    for (name, value) in [
        ("cache-control", "no-store"),
        ("pragma", "no-cache"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(response.header(name), Some(value), "{name}: {response:?}");
    }
}

fn assert_challenged(response: &Response, error: Option<&str>) {
    let expected = error.map_or_else(String::new, |error| format!(", error=\"{error}\""));
    assert_eq!(
        response.header("www-authenticate"),
        Some(format!("Bearer realm=\"keywheel\"{expected}").as_str())
    );
    assert_refused(response, 401, "invalid_token");
}

// Y-03, Y-21
#[test]
fn a_client_registers_itself_and_is_told_everything_that_is_registered() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let initial = initial(&server, 1);
        let response = register(
            &server,
            &initial.token,
            &json!({
                "client_name": "Billing", "grant_types": ["client_credentials"], "scope": "read",
                "token_endpoint_auth_method": "client_secret_post", "audience": [AUDIENCE],
                "redirect_uris": [], "response_types": [],
            }),
        );
        assert_eq!(response.status, 201, "{}", response.text());
        assert_headers(&response);
        let client = response.json();
        let text = |member: &str| client[member].as_str().unwrap().to_owned();
        let (id, secret, access_token) = (
            text("client_id"),
            text("client_secret"),
            text("registration_access_token"),
        );
        assert_eq!(
            client,
            json!({
                "client_id": id, "client_secret": secret, "client_secret_id": text("client_secret_id"),
                "client_secret_expires_at": 0, "client_id_issued_at": START.epoch(),
                "registration_access_token": access_token,
                "registration_client_uri": format!("{ISSUER}{REGISTER}/{id}"),
                "client_name": "Billing", "grant_types": ["client_credentials"], "scope": "read",
                "token_endpoint_auth_method": "client_secret_post", "audience": [AUDIENCE],
                "redirect_uris": [], "response_types": [],
            })
        );
        // 256 bits in base64url are 43 characters, beside prefix and checksum.
        assert_eq!((secret.len(), access_token.len()), (4 + 43 + 6, 4 + 43 + 6));

        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &id),
            ("client_secret", &secret),
        ];
        let token = server.send(&Request::form("/oauth2/token", &form));
        assert_eq!((token.status, &token.json()["scope"]), (200, &json!("read")));
        let basic = server.token(&credentials(&client), &[]);
        assert_eq!(basic.status, 401, "it registered the other method alone");

        let event = &server.store.audit_events(&Default::default()).unwrap()[0];
        assert_eq!(
            (event.event.as_str(), event.actor.as_str(), event.client_id.as_deref()),
            (
                "client.registered",
                format!("registration:{}", initial.id).as_str(),
                Some(id.as_str())
            )
        );
        assert_eq!(event.detail["address"], "127.0.0.1");
        let dump = database.dump();
        for secret in [&secret, &access_token, &initial.token] {
            let kept = dump.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!kept, "no token and no secret is stored");
        }
    });
}

#[test]
fn what_is_left_out_is_all_that_the_token_allows_and_client_credentials() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let grants = GrantType::ALL;
        let initial = initial_with(&server, 3, &grants, SCOPE, "https://a https://b");
        for document in [
            json!({}),
            json!({"client_name": null, "grant_types": null, "scope": null, "audience": null, "redirect_uris": null}),
        ] {
            let client = registered(&server, &initial.token, &document);
            assert_eq!(client["client_name"], client["client_id"]);
            assert_eq!(client["grant_types"], json!(["client_credentials"]));
            assert_eq!(client["token_endpoint_auth_method"], "client_secret_basic");
            assert_eq!(client["scope"], SCOPE);
            assert_eq!(client["audience"], json!(["https://a", "https://b"]));
            server.granted(&credentials(&client), &[]);
        }
        let none = registered(&server, &initial.token, &json!({"scope": ""}));
        assert_eq!(none.get("scope"), None, "who asks for none gets none");

        let people = initial_with(&server, 1, &[GrantType::Password], SCOPE, "");
        let refused = register(&server, &people.token, &json!({}));
        assert_refused(&refused, 400, "invalid_client_metadata");
        registered(
            &server,
            &people.token,
            &json!({"grant_types": ["password", "password"]}),
        );
    });
}

// Y-01
#[test]
fn without_a_token_nobody_registers_and_nothing_is_said_of_one() {
    on_sqlite(|database| {
        let server = TestServer::start(database.url());
        let document = json!({"client_name": "Billing"});
        let bare = request("POST", REGISTER, "x", &document).without("Authorization");
        assert_challenged(&server.send(&bare), None);
        assert_challenged(&server.send(&Request::new("POST", REGISTER)), None);
        let in_query = Request::new("POST", &format!("{REGISTER}?access_token=x"));
        assert_challenged(&server.send(&in_query), None);
        assert_eq!(server.count("clients"), 0);
    });
}

// Y-02
#[test]
fn a_malformed_unknown_foreign_used_expired_or_revoked_token_is_invalid() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let (used, expiring, revoked) = (initial(&server, 1), initial(&server, 1), initial(&server, 1));
        let client = registered(&server, &used.token, &json!({}));
        let admin = RegistrationAdmin::new(&server.store, "test");
        admin.revoke(&revoked.id, server.now()).unwrap();
        let own = |member: &str| client[member].as_str().unwrap().to_owned();
        let (mut cut, long) = (expiring.token.clone(), format!("{}A", expiring.token));
        cut.pop();
        for token in [
            &used.token,
            &revoked.token,
            &own("registration_access_token"),
            &own("client_secret"),
            &used.id,
            &cut,
            &long,
            &expiring.token.to_uppercase(),
            &"A".repeat(4_000),
        ] {
            assert_challenged(&register(&server, token, &json!({})), Some("invalid_token"));
        }
        for header in ["Bearer", "Bearer ", "Basic eDp5", "Bearer a b", "Bearer 'OR+1=1--", "x"] {
            let request = request("POST", REGISTER, "x", &json!({}))
                .without("Authorization")
                .header("Authorization", header);
            assert_challenged(&server.send(&request), Some("invalid_token"));
        }
        let twice = request("POST", REGISTER, &expiring.token, &json!({})).header("Authorization", "Bearer x");
        assert_refused(&server.send(&twice), 400, "invalid_request");
        let moment = server.now() + Seconds::days(7);
        server.set_clock(moment.epoch());
        assert_challenged(&register(&server, &expiring.token, &json!({})), Some("invalid_token"));
        assert_eq!(server.count("clients"), 1);
    });
}

// Y-15
#[test]
fn a_token_registers_so_many_clients_in_an_hour_and_no_more() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let [initial, other] = [initial(&server, 10), initial(&server, 1)];
        registered(&server, &initial.token, &json!({}));
        database.execute("UPDATE initial_access_tokens SET uses_in_hour = 999");
        registered(&server, &initial.token, &json!({}));
        server.advance(Seconds::minutes(10));
        let refused = register(&server, &initial.token, &json!({}));
        assert_refused(&refused, 429, "temporarily_unavailable");
        let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=3_600).contains(&wait), "{wait}");
        assert_eq!(server.count("clients"), 2);
        server.advance(Seconds::new(wait));
        registered(&server, &initial.token, &json!({}));
        let left = database.query("SELECT max(uses_left) AS value FROM initial_access_tokens");
        assert_eq!(left, ["7"], "a refusal costs no use");

        // All tokens together.
        database.execute(&format!(
            "UPDATE initial_access_tokens SET uses_in_hour = 9999, last_hour = {} WHERE id = '{}'",
            server.now().epoch() / 3_600,
            other.id
        ));
        assert_refused(
            &register(&server, &initial.token, &json!({})),
            429,
            "temporarily_unavailable",
        );
    });
}

#[test]
fn of_many_that_register_with_one_token_at_once_as_many_do_as_it_has_uses() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let initial = initial(&server, 10);
        let start = Barrier::new(64);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let requests: Vec<_> = (0..64)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        register(&server, &initial.token, &json!({})).status
                    })
                })
                .collect();
            requests.into_iter().map(|request| request.join().unwrap()).collect()
        });
        let with = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
        assert_eq!((with(201), with(401)), (10, 54), "{statuses:?}");
        for table in ["clients", "client_secrets", "registrations"] {
            assert_eq!(server.count(table), 10, "{table}");
        }
    });
}

#[test]
fn a_restored_database_registers_nobody_with_a_token_of_before() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let initial = initial(&server, 2);
        let client = registered(&server, &initial.token, &json!({}));
        let later = |seconds| {
            server.advance(Seconds::new(seconds));
            server.tick().unwrap();
        };
        later(10);
        // As if the registration had never been recorded.
        database.execute("DELETE FROM audit_events WHERE id = (SELECT max(id) FROM audit_events)");
        later(10);
        let refused = register(&server, &initial.token, &json!({}));
        assert_refused(&refused, 503, "temporarily_unavailable");

        let event = audit_event("restore.finalized");
        server.store.finalize_restore(&[], &event).unwrap();
        later(10);
        // It may have been used up or revoked since the backup.
        assert_challenged(&register(&server, &initial.token, &json!({})), Some("invalid_token"));
        server.granted(&credentials(&client), &[]);
    });
}

#[test]
fn the_body_is_one_json_object_of_bounded_length() {
    on_sqlite(|database| {
        let server = TestServer::start(database.url());
        let initial = initial(&server, 1);
        let base = request("POST", REGISTER, &initial.token, &json!({}));
        for body in [
            "",
            "null",
            "[]",
            r#"["Billing"]"#,
            "{",
            r#"{"scope":"read"} x"#,
            r#"{"scope":"read","scope":"write"}"#,
            "\u{feff}{}",
            &"[".repeat(60_000),
        ] {
            let refused = server.send(&base.clone().body(body.as_bytes()));
            assert_refused(&refused, 400, "invalid_client_metadata");
        }
        // H-32
        for other in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=latin1",
        ] {
            let refused = server.send(&base.clone().without("Content-Type").header("Content-Type", other));
            assert_refused(&refused, 400, "invalid_client_metadata");
        }
        let long = json!({"client_name": "x".repeat(65_536)}).to_string();
        assert_refused(
            &server.send(&base.clone().body(long.as_bytes())),
            413,
            "invalid_request",
        );
        let packed = server.send(&base.clone().header("Content-Encoding", "gzip"));
        assert_refused(&packed, 415, "invalid_request");
        assert_eq!(packed.header("accept-encoding"), Some("identity"));
        assert_eq!(server.count("clients"), 0);
        assert_eq!(server.send(&base).status, 201);
    });
}

#[test]
fn each_path_answers_its_own_methods_and_is_counted() {
    on_sqlite(|database| {
        let server = TestServer::start(database.url());
        let below = format!("{REGISTER}/kwc_x");
        for (path, allowed) in [
            (REGISTER.to_owned(), "POST"),
            (below.clone(), "GET, PUT, DELETE"),
            (format!("{below}/secrets"), "POST"),
            (format!("{below}/secrets/x"), "DELETE"),
        ] {
            for method in ["PATCH", "TRACE", "HEAD"] {
                let refused = server.send(&Request::new(method, &path));
                assert_eq!(
                    (refused.status, refused.header("allow")),
                    (405, Some(allowed)),
                    "{path}"
                );
            }
            let options = server.send(&Request::new("OPTIONS", &path));
            assert_eq!(
                (options.status, options.header("allow")),
                (204, Some(allowed)),
                "{path}"
            );
        }
        registered(&server, &initial(&server, 1).token, &json!({}));
        let line = r#"keywheel_requests_total{endpoint="registration",grant_type="",outcome="ok"} 1"#;
        let metrics = server.metrics();
        assert!(metrics.contains(line), "{metrics}");
    });
}
