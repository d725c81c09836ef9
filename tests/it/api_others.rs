//! Users, keys, logins and reports over the API.

use keywheel::oauth::{Audiences, ClientMetadata, GrantType, Seconds};
use keywheel::server::admin::Reports;
use serde_json::{Value, json};

use crate::support::api::{Bearer, done, refused, with};
use crate::support::http::{Request, Response};
use crate::support::on_both;
use crate::support::server::{Credentials, JWKS, Options, TestServer, metadata};

fn application(server: &TestServer) -> Credentials {
    server.client(
        "app",
        ClientMetadata {
            grant_types: vec![GrantType::Password, GrantType::RefreshToken],
            audiences: Audiences::default(),
            ..metadata()
        },
    )
}

fn login(server: &TestServer, app: &Credentials, name: &str, password: &str) -> Response {
    let form = [("grant_type", "password"), ("username", name), ("password", password)];
    server.send(&Request::form("/oauth2/token", &form).basic(&app.id, &app.secret))
}

fn refresh(server: &TestServer, app: &Credentials, token: &Value) -> u16 {
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.as_str().unwrap()),
    ];
    server
        .send(&Request::form("/oauth2/token", &form).basic(&app.id, &app.secret))
        .status
}

#[test]
fn a_user_lives_from_the_first_password_to_deletion() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let (admin, app) = (Bearer::admin(&server), application(&server));
        let new = json!({"username": "Alice", "password": "correct horse"});
        let alice = done(&admin.post_once("/users", &new, "key-0001"), 201);
        assert_eq!(done(&admin.post_once("/users", &new, "key-0001"), 201), alice);
        refused(&admin.post("/users", &new), 409);
        refused(
            &admin.post_once(
                "/users",
                &json!({"username": "bob", "password": "correct horse"}),
                "key-0001",
            ),
            422,
        );
        for (member, value) in [
            ("password", json!("short")),
            ("password", json!("a\u{0}bcdefgh")),
            ("username", json!("")),
        ] {
            let mut bad = new.clone();
            bad[member] = value;
            assert!(refused(&admin.post("/users", &bad), 400).starts_with(member), "{bad}");
        }
        let at = format!("/users/{}", alice["user_id"].as_str().unwrap());
        assert_eq!(done(&admin.get(&at), 200), alice);
        let found = done(&admin.get("/users?username=aLiCe"), 200);
        assert_eq!(found["items"], json!([alice]));
        assert_eq!(
            done(&admin.get("/users?username=alice&enabled=false"), 200)["items"],
            json!([])
        );

        let granted = login(&server, &app, "alice", "correct horse").json();
        done(
            &admin.put(&format!("{at}/password"), &json!({"password": "battery staple"})),
            204,
        );
        assert_eq!(refresh(&server, &app, &granted["refresh_token"]), 400);
        assert_eq!(login(&server, &app, "alice", "correct horse").status, 400);
        assert_eq!(login(&server, &app, "alice", "battery staple").status, 200);
        assert_eq!(done(&admin.act(&format!("{at}/disable")), 200)["enabled"], false);
        assert_eq!(login(&server, &app, "alice", "battery staple").status, 400);
        assert_eq!(done(&admin.act(&format!("{at}/enable")), 200)["enabled"], true);
        done(&admin.delete(&at), 204);
        refused(&admin.get(&at), 404);
        let trail = done(&admin.get("/audit"), 200).to_string();
        assert!(!trail.contains("correct horse") && !trail.contains("battery staple"));
    });
}

#[test]
fn users_are_listed_page_by_page() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        for name in ["dora", "Adam", "eve", "Bob", "carol"] {
            server.user(name, "correct horse");
        }
        let first = done(&admin.get("/users?limit=3"), 200);
        let cursor = first["next_cursor"].as_str().unwrap();
        let second = done(&admin.get(&format!("/users?limit=3&cursor={cursor}")), 200);
        let names: Vec<_> = [&first, &second]
            .iter()
            .flat_map(|page| page["items"].as_array().unwrap())
            .map(|user| user["username"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["Adam", "Bob", "carol", "dora", "eve"]);
        assert!(second.get("next_cursor").is_none());
    });
}

#[test]
fn a_login_is_seen_and_ended() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let (admin, app) = (Bearer::admin(&server), application(&server));
        server.user("alice", "correct horse");
        let logins: Vec<_> = (0..3)
            .map(|_| {
                server.advance(Seconds::new(1));
                login(&server, &app, "alice", "correct horse").json()
            })
            .collect();
        let first = done(&admin.get("/families?client_id=app&limit=2"), 200);
        let cursor = first["next_cursor"].as_str().unwrap();
        let second = done(
            &admin.get(&format!("/families?client_id=app&limit=2&cursor={cursor}")),
            200,
        );
        assert_eq!(
            (
                first["items"].as_array().unwrap().len(),
                second["items"].as_array().unwrap().len()
            ),
            (2, 1)
        );
        // The newest comes first.
        let newest = &first["items"][0];
        assert_eq!((&newest["client_id"], newest.get("ended")), (&json!("app"), None));
        let revoke = format!("/families/{}/revoke", newest["id"].as_str().unwrap());
        done(&admin.act(&revoke), 204);
        refused(&admin.act(&revoke), 404);
        assert_eq!(refresh(&server, &app, &logins[2]["refresh_token"]), 400);
        assert_eq!(refresh(&server, &app, &logins[1]["refresh_token"]), 200);
        let user = newest["user_id"].as_str().unwrap();
        let of_user = done(&admin.get(&format!("/families?user_id={user}")), 200);
        assert_eq!(of_user["items"][0]["ended"], "revoked");
        let events = done(&admin.get("/audit?event=family.revoked"), 200);
        assert_eq!(events["items"][0]["detail"]["family"], newest["id"]);
        assert_eq!(events["items"][0]["actor"], "root");
    });
}

#[test]
fn keys_are_looked_at_turned_and_withdrawn() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        let keys = done(&admin.get("/keys"), 200);
        let kid = |state: &str| {
            let keys = done(&admin.get("/keys"), 200);
            let key = keys
                .as_array()
                .unwrap()
                .iter()
                .find(|key| key["state"] == state)
                .cloned();
            key.map(|key| key["kid"].as_str().unwrap().to_owned())
        };
        assert_eq!(keys.as_array().unwrap().len(), 2);
        let plan = done(&admin.get("/keys/plan"), 200);
        assert!(
            plan["events"].as_array().is_some_and(|events| events.len() > 3),
            "{plan}"
        );
        let next = kid("next").unwrap();
        let rotation = done(&admin.post("/keys/rotate", &json!({"now": true})), 200);
        assert_eq!((&rotation["kid"], &rotation["safe"]), (&json!(next), &json!(false)));
        server.tick().unwrap();

        let reading = Bearer::with_scope(&server, "reader", "keywheel:read");
        let active = kid("active").unwrap();
        let at = format!("/keys/{active}");
        refused(
            &admin.post(&format!("{at}/revoke"), &json!({"reason": "x".repeat(201)})),
            400,
        );
        let told = done(&admin.post(&format!("{at}/revoke"), &json!({"dry_run": true})), 200);
        assert_eq!((&told["kid"], kid("active")), (&json!(active), Some(active.clone())));
        done(&admin.post(&format!("{at}/taint"), &json!({"reason": "laptop"})), 200);
        assert!(refused(&admin.post(&format!("{at}/taint"), &json!({})), 409).contains("tainted already"));
        server.tick().unwrap();
        assert_ne!(kid("active"), Some(active.clone()));
        // Revoked, it takes the tokens that it signed along, this reader's among them.
        done(&reading.get("/keys"), 200);
        let admin = admin.again();
        done(&admin.post(&format!("{at}/revoke"), &json!({})), 200);
        server.tick().unwrap();
        assert!(!server.get(JWKS).text().contains(&active));
        refused(&reading.get("/keys"), 401);
        let events = done(&admin.get("/audit?event=key.tainted"), 200);
        assert_eq!(events["items"][0]["detail"]["reason"], "laptop");
        assert_eq!(
            (&events["items"][0]["kid"], &events["items"][0]["actor"]),
            (&json!(active), &json!("root"))
        );
    });
}

#[test]
fn the_trail_is_read_page_by_page_from_the_newest_on() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        for number in 0..5 {
            // Two in each second: the page must not break between them.
            server.advance(Seconds::new(number % 2));
            server.client(&format!("c{number}"), metadata());
        }
        let since = server.now().epoch() - 10;
        let mut seen = Vec::new();
        let mut next = Some(String::new());
        while let Some(cursor) = next {
            let page = done(
                &admin.get(&format!("/audit?event=client.created&since={since}&limit=2{cursor}")),
                200,
            );
            let items = page["items"].as_array().unwrap().clone();
            seen.extend(
                items
                    .iter()
                    .map(|event| event["client_id"].as_str().unwrap().to_owned()),
            );
            next = page["next_cursor"].as_str().map(|cursor| format!("&cursor={cursor}"));
        }
        assert_eq!(seen, ["c4", "c3", "c2", "c1", "c0", "root"]);
    });
}

#[test]
fn reports_say_the_same_as_on_the_command_line() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        server.client("idle", metadata());
        server.advance(Seconds::days(100));
        let admin = admin.again();
        server.tick().unwrap();
        let unused = done(&admin.get("/reports/unused-clients?days=90"), 200);
        assert!(
            unused
                .as_array()
                .unwrap()
                .iter()
                .any(|client| client["client_id"] == "idle"),
            "{unused}"
        );
        let reports = Reports::new(&server.store, Seconds::minutes(10), server.now());
        let own = reports.unused_clients(Seconds::days(90)).unwrap();
        assert_eq!(unused, serde_json::to_value(own).unwrap());
        for path in ["/reports/over-issuance", "/reports/failed-logins", "/reports/secrets"] {
            assert!(done(&admin.get(path), 200).is_array(), "{path}");
        }
    });
}

#[test]
fn a_registration_token_is_made_used_and_revoked() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        let new = json!({"name": "Team", "uses": 2, "expires_in": 3_600, "grant_types": ["client_credentials"], "scope": "read"});
        let post = |document: &Value, key: &str| admin.post_once("/registration-tokens", document, key);
        let made = done(&post(&new, "key-0001"), 201);
        assert_eq!(done(&post(&new, "key-0001"), 201), made);
        let register = || {
            let token = format!("Bearer {}", made["token"].as_str().unwrap());
            let request = Request::new("POST", "/oauth2/register").header("Authorization", &token);
            server.send(&with(request, &json!({"client_name": "One"}))).status
        };
        assert_eq!(register(), 201);
        let listed = done(&admin.get("/registration-tokens"), 200);
        assert_eq!(
            (listed.as_array().unwrap().len(), &listed[0]["uses_left"]),
            (1, &json!(1))
        );
        assert!(!listed.to_string().contains(&made["token"].as_str().unwrap()[4..20]));
        let at = format!("/registration-tokens/{}", made["id"].as_str().unwrap());
        done(&admin.delete(&at), 204);
        refused(&admin.delete(&at), 404);
        assert_eq!(register(), 401);
        for (member, value) in [
            ("name", json!("")),
            ("uses", json!(0)),
            ("expires_in", json!(1)),
            ("grant_types", json!(["implicit"])),
            ("scope", json!("keywheel:admin")),
        ] {
            let mut bad = new.clone();
            bad[member] = value;
            assert!(refused(&post(&bad, "key-0002"), 400).starts_with(member), "{bad}");
        }
    });
}

// D-23
#[test]
fn the_trail_says_with_which_secret_from_where_and_in_which_request_somebody_signed_in() {
    on_both(|database| {
        let server = TestServer::with(
            database.url(),
            Options {
                trusted_proxies: vec!["127.0.0.1/32"],
                ..Options::default()
            },
        );
        let (admin, app) = (Bearer::admin(&server), application(&server));
        server.user("alice", "correct horse");
        let form = [
            ("grant_type", "password"),
            ("username", "alice"),
            ("password", "correct horse"),
        ];
        let request = Request::form("/oauth2/token", &form)
            .basic(&app.id, &app.secret)
            .header("X-Forwarded-For", "192.0.2.7")
            .header("X-Request-Id", "req-1");
        assert_eq!(server.send(&request).status, 200);
        let secrets = done(&admin.get("/clients/app/secrets"), 200);
        let login = done(&admin.get("/audit?event=login"), 200)["items"][0]["detail"].clone();
        assert_eq!(
            login,
            json!({"address": "192.0.2.7", "request_id": "req-1", "secret_id": secrets[0]["id"]})
        );
        // What the proxy calls a request is what the API calls it.
        let request = admin.request("GET", "/keys").header("X-Request-Id", "0123456789abcdef");
        assert_eq!(server.send(&request).header("x-request-id"), Some("0123456789abcdef"));
    });
}
