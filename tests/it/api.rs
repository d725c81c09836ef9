//! Who may use the administration's API, and what a request to it looks like.

use std::collections::BTreeSet;

use keywheel::oauth::{Audiences, ClientId, ClientMetadata, Scope, Seconds};
use serde_json::{Value, json};

use crate::support::api::{Bearer, done, refused, with};
use crate::support::http::Request;
use crate::support::server::{Options, TestServer, metadata};
use crate::support::{Database, on_both};

/// Every operation of the document, as method, path and the scope that it names.
fn operations(document: &Value) -> Vec<(String, String, String)> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let scope = operation["security"][0]["oauth2"][0].as_str().unwrap();
            operations.push((method.to_uppercase(), path.clone(), scope.to_owned()));
        }
    }
    operations
}

/// A token with these rights that ended a second ago.
fn expired(server: &TestServer) -> String {
    let token = Bearer::with_scope(server, "late", "keywheel:admin keywheel:self").token;
    server.advance(Seconds::minutes(10));
    token
}

// D-01, D-02, D-07
#[test]
fn every_operation_opens_to_the_scope_that_it_names_and_to_nothing_else() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let document = server.get("/admin/v1/openapi.json").json();
        let expired = expired(&server);
        let foreign = TestServer::with(
            Database::sqlite().url(),
            Options {
                issuer: "https://other.example",
                ..Options::default()
            },
        );
        let foreign = Bearer::admin(&foreign).token;
        let elsewhere = server.client(
            "elsewhere",
            ClientMetadata {
                scope: Scope::parse("keywheel:admin keywheel:self").unwrap(),
                ..metadata()
            },
        );
        let elsewhere = server.granted(&elsewhere, &[]);
        let unsigned = {
            let payload = elsewhere.split('.').nth(1).unwrap();
            format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{payload}.")
        };
        let bad = [
            ("expired", expired.as_str()),
            ("of another issuer", foreign.as_str()),
            ("for another audience", elsewhere.as_str()),
            ("unsigned", unsigned.as_str()),
            ("no token at all", "x"),
        ];
        let good = [
            ("", Bearer::with_scope(&server, "nobody", "read")),
            ("keywheel:read", Bearer::with_scope(&server, "reader", "keywheel:read")),
            ("keywheel:self", Bearer::with_scope(&server, "own", "keywheel:self")),
            ("keywheel:admin", Bearer::with_scope(&server, "root", "keywheel:admin")),
        ];
        let operations = operations(&document);
        assert!(operations.len() > 25, "{operations:?}");
        for (method, path, needed) in operations {
            // What nobody has: an administrator gets as far as that, and changes nothing.
            let path = path.replace("{client_id}", "none").replace("{secret_id}", "none");
            let path = path.replace("{user_id}", "none").replace("{kid}", "none");
            let path = path.replace("{family_id}", "AAAAAAAAAAAAAAAAAAAAAA");
            let at = format!("{method} {path}");
            let request = with(Request::new(&method, &format!("/admin/v1{path}")), &json!({"x": 1}));

            let answer = server.send(&request);
            refused(&answer, 401);
            assert_eq!(
                answer.header("www-authenticate"),
                Some("Bearer realm=\"keywheel\""),
                "{at}"
            );
            for (what, token) in bad {
                let answer = server.send(&request.clone().header("Authorization", &format!("Bearer {token}")));
                refused(&answer, 401);
                let challenge = answer.header("www-authenticate").unwrap();
                assert!(
                    challenge.ends_with("error=\"invalid_token\""),
                    "{at}, {what}: {challenge}"
                );
            }
            for (scope, bearer) in &good {
                let answer = server.send(
                    &request
                        .clone()
                        .header("Authorization", &format!("Bearer {}", bearer.token)),
                );
                let may = *scope == needed || (*scope == "keywheel:admin" && needed == "keywheel:read");
                if may {
                    assert!(
                        [200, 400, 404].contains(&answer.status),
                        "{at}, {scope}: {}",
                        answer.text()
                    );
                } else {
                    refused(&answer, 403);
                    let challenge = answer.header("www-authenticate").unwrap();
                    let insufficient = format!("error=\"insufficient_scope\", scope=\"{needed}\"");
                    assert!(challenge.ends_with(&insufficient), "{at}, {scope}: {challenge}");
                }
            }
        }
        assert_eq!(server.count("users"), 0);
    });
}

// D-03, D-04
#[test]
fn a_token_comes_in_the_authorization_header_once_and_nowhere_else() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        let token = &admin.token;
        let in_query = Request::get(&format!("/admin/v1/clients?access_token={token}"));
        let in_cookie = Request::get("/admin/v1/clients").header("Cookie", &format!("access_token={token}"));
        let in_form = Request::form("/admin/v1/clients", &[("access_token", token)]);
        for request in [in_query, in_cookie, in_form] {
            refused(&server.send(&request), 401);
        }
        let twice = admin.request("GET", "/clients").header("Authorization", "Bearer x");
        refused(&server.send(&twice), 400);
        // A second token in the query is a parameter that the operation does not have.
        let both = admin.get(&format!("/clients?access_token={token}"));
        assert!(refused(&both, 400).contains("access_token"));
        for scheme in ["Basic", "bearer", "BEARER"] {
            let request = Request::get("/admin/v1/clients").header("Authorization", &format!("{scheme} {token}"));
            let expected = if scheme == "Basic" { 401 } else { 200 };
            assert_eq!(server.send(&request).status, expected, "{scheme}");
        }
    });
}

// D-16
#[test]
fn a_token_that_was_revoked_or_whose_client_is_gone_opens_nothing_a_second_later() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        let id = |bearer: &Bearer<'_>| ClientId::parse(&bearer.client.id).unwrap();

        let revoked = Bearer::with_scope(&server, "revoked", "keywheel:read");
        let form = Request::form("/oauth2/revoke", &[("token", revoked.token.as_str())]);
        let answer = server.send(&form.basic(&revoked.client.id, &revoked.client.secret));
        assert_eq!(answer.status, 200);

        let disabled = Bearer::with_scope(&server, "disabled", "keywheel:read");
        done(&admin.act("/clients/disabled/disable"), 200);

        let deleted = Bearer::with_scope(&server, "deleted", "keywheel:read");
        done(&admin.delete("/clients/deleted"), 204);

        server.tick().unwrap();
        for bearer in [&revoked, &disabled, &deleted] {
            refused(&bearer.get("/keys"), 401);
        }
        // Neither enabling a client nor registering it anew brings its tokens back (D-17).
        done(&admin.act("/clients/disabled/enable"), 200);
        server.client("deleted", metadata());
        server.tick().unwrap();
        for bearer in [&disabled, &deleted] {
            refused(&bearer.get("/keys"), 401);
            assert!(server.store.client(&id(bearer)).unwrap().unwrap().0.enabled);
        }
    });
}

// D-16
#[test]
fn the_last_administrator_cannot_take_away_its_own_ground() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        Bearer::with_scope(&server, "reader", "keywheel:read");
        let own = admin.get("/clients/root");
        let etag = own.header("etag").unwrap();
        for answer in [
            admin.delete("/clients/root"),
            admin.act("/clients/root/disable"),
            admin.patch("/clients/root", &json!({"scope": "keywheel:read"}), etag),
            admin.patch("/clients/root", &json!({"audience": ["https://api.example"]}), etag),
        ] {
            assert!(refused(&answer, 409).contains("keywheel:admin"));
        }
        // What leaves the scope alone is fine, and so is everything once there is another one.
        done(
            &admin.patch("/clients/root", &json!({"client_name": "Root"}), etag),
            200,
        );
        Bearer::with_scope(&server, "other", "read keywheel:admin");
        done(&admin.delete("/clients/root"), 204);
    });
}

// D-06, D-12, H-16, H-32
#[test]
fn a_document_is_strict_json_and_says_that_it_is() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        let send = |content_type: &str, body: &[u8]| {
            let request = admin.request("POST", "/clients").header("Content-Type", content_type);
            server.send(&request.body(body))
        };
        let good = br#"{"client_name":"a","grant_types":["client_credentials"]}"#;
        for other in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=utf-16",
            "",
        ] {
            refused(&send(other, good), 415);
        }
        let deep = format!("{{\"client_name\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
        for (bad, said) in [
            (
                &br#"{"client_name":"a","client_name":"b","grant_types":[]}"#[..],
                "duplicate field `client_name`",
            ),
            (br#"{"client_name":"a","grant_types":[],"access_ttl":NaN}"#, "expected"),
            (
                br#"{"client_name":"a","grant_types":[],"access_ttl":1e400}"#,
                "number out of range",
            ),
            (
                br#"{"client_name":"a","grant_types":[],"access_ttl":1.5}"#,
                "invalid type",
            ),
            (br#"{"client_name":"\ud800","grant_types":[]}"#, "hex escape"),
            (b"\xef\xbb\xbf{}", "expected value"),
            (b"{\"client_name\":\"\xff\"}", "invalid unicode"),
            (
                br#"{"client_name":"a","grant_types":["client_credentials"]} x"#,
                "trailing",
            ),
            (b"", "EOF"),
            (b" [\"a\", [\"client_credentials\"]]", "not an array"),
            (br#"{"client_name":"a"}"#, "missing field `grant_types`"),
            (deep.as_bytes(), "client_name"),
        ] {
            let detail = refused(&send("application/json", bad), 400);
            let shown = String::from_utf8_lossy(&bad[..bad.len().min(80)]).into_owned();
            assert!(detail.contains(said) || bad == deep.as_bytes(), "{shown}: {detail}");
        }
        for field in [
            "id",
            "created_at",
            "secret_hash",
            "owner",
            "is_admin",
            "enabled",
            "client_secret",
        ] {
            let document = json!({"client_name": "a", "grant_types": ["client_credentials"], field: true});
            assert!(refused(&admin.post("/clients", &document), 400).contains(&format!("`{field}`")));
            let patch = admin.patch("/clients/root", &json!({field: true}), "\"x\"");
            assert!(refused(&patch, 400).contains(&format!("`{field}`")));
        }
        refused(&send("application/json", &vec![b' '; 64 * 1024 + 1]), 413);
        assert_eq!(server.count("clients"), 1, "nothing was stored");
        done(&send("application/json; charset=UTF-8", good), 201);
    });
}

// D-08, D-10
#[test]
fn a_query_has_the_parameters_of_its_operation_once_each_and_within_their_bounds() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        for bad in [
            "limit=0",
            "limit=-1",
            "limit=201",
            "limit=1000000000",
            "limit=99999999999999999999",
            "limit=",
            "limit=1&limit=2",
            "sort=name;drop",
            "enabled='",
            "cursor=%00",
            "cursor=AAAA",
        ] {
            refused(&admin.get(&format!("/clients?{bad}")), 400);
        }
        refused(&admin.get("/families"), 400);
        refused(&admin.get("/audit?event='--"), 400);
        refused(&admin.get("/families?client_id=a%00b"), 400);
        refused(&admin.get("/reports/unused-clients?days=0"), 400);
        done(&admin.get("/clients?limit=200&enabled=true"), 200);
        for path in [
            "/clients/a%00b",
            "/users/..%2f..%2fkeys",
            "/clients/none",
            "/families/x/revoke",
        ] {
            let method = if path.ends_with("revoke") { "POST" } else { "GET" };
            let answer = server.send(&admin.request(method, path));
            assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        }
    });
}

// D-24
#[test]
fn a_database_that_does_not_answer_is_503_and_nothing_is_told_of_it() {
    let database = Database::postgres();
    let server = TestServer::start(database.url());
    let admin = Bearer::admin(&server);
    done(&admin.get("/clients"), 200);
    database.execute("ALTER TABLE clients RENAME TO elsewhere");
    let answer = admin.get("/clients");
    let detail = refused(&answer, 503);
    assert!(answer.header("retry-after").is_some());
    assert!(!detail.contains("clients") && !detail.contains("relation"), "{detail}");
    database.execute("ALTER TABLE elsewhere RENAME TO clients");
    done(&admin.get("/clients"), 200);
}

// H-30
#[test]
fn the_document_and_its_page_tell_of_every_operation() {
    let server = TestServer::start(Database::sqlite().url());
    let answer = server.get("/admin/v1/openapi.json");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    let page = server.get("/admin/v1");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let mut names = BTreeSet::new();
    for (method, path, _) in operations(&document) {
        let heading = format!("<b>{method}</b> <code>/admin/v1{path}</code>");
        assert!(page.text().contains(&heading), "{heading}");
        let operation = &document["paths"][&path][method.to_lowercase()];
        assert!(names.insert(operation["operationId"].to_string()), "{operation}");
        // Every schema that is referred to is there.
        for reference in operation.to_string().split("\"$ref\":\"").skip(1) {
            let name = reference.split('"').next().unwrap().rsplit('/').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }
    let answer = server.send(&Request::new("PUT", "/admin/v1/clients"));
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, POST")));
}

#[test]
fn a_user_may_administrate_with_a_token_of_their_own_and_not_look_after_the_clients_secrets() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let app = server.client(
            "console",
            ClientMetadata {
                grant_types: vec![keywheel::oauth::GrantType::Password],
                scope: Scope::parse("keywheel:read keywheel:self").unwrap(),
                audiences: Audiences::default(),
                ..metadata()
            },
        );
        server.user("alice", "correct horse");
        let form = [
            ("grant_type", "password"),
            ("username", "alice"),
            ("password", "correct horse"),
        ];
        let answer = server.send(&Request::form("/oauth2/token", &form).basic(&app.id, &app.secret));
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        let get = |path: &str| {
            let request = Request::get(&format!("/admin/v1{path}"));
            server.send(&request.header("Authorization", &format!("Bearer {token}")))
        };
        done(&get("/clients"), 200);
        refused(&get("/self/secrets"), 403);
        let alice = server.users().show("alice").unwrap();
        server.users().set_enabled(&alice, false, server.now()).unwrap();
        refused(&get("/clients"), 401);
    });
}

#[test]
fn a_right_that_was_taken_from_a_client_is_not_in_the_tokens_that_it_has() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        let other = Bearer::with_scope(&server, "other", "keywheel:admin keywheel:read");
        done(&other.get("/keys"), 200);
        let etag = admin.get("/clients/other").header("etag").unwrap().to_owned();
        done(
            &admin.patch("/clients/other", &json!({"scope": "keywheel:read"}), &etag),
            200,
        );
        done(&other.get("/keys"), 200);
        refused(&other.delete("/clients/none"), 403);
    });
}

// D-16
#[test]
fn of_two_administrators_who_delete_each_other_one_is_left() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        for _ in 0..10 {
            let (one, other) = (
                Bearer::with_scope(&server, "one", "keywheel:admin"),
                Bearer::with_scope(&server, "other", "keywheel:admin"),
            );
            let statuses: Vec<u16> = std::thread::scope(|scope| {
                let both = [(&one, "/clients/other"), (&other, "/clients/one")];
                let deletions = both.map(|(bearer, path)| scope.spawn(move || bearer.delete(path).status));
                deletions.into_iter().map(|deletion| deletion.join().unwrap()).collect()
            });
            assert_eq!(
                statuses.iter().filter(|status| **status == 204).count(),
                1,
                "{statuses:?}"
            );
            let admin = server.admin();
            for client in admin.list().unwrap() {
                admin.delete(&client.client_id, server.now()).unwrap();
            }
            server.tick().unwrap();
        }
    });
}
