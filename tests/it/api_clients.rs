//! Clients and their secrets over the API.

use std::collections::BTreeSet;

use keywheel::oauth::Seconds;
use serde_json::{Value, json};

use crate::support::api::{Bearer, done, refused};
use crate::support::on_both;
use crate::support::server::{Credentials, TestServer, metadata};

fn credentials(created: &Value) -> Credentials {
    Credentials {
        id: created["client_id"].as_str().unwrap().to_owned(),
        secret: created["client_secret"].as_str().unwrap().to_owned(),
    }
}

fn new_client(name: &str) -> Value {
    json!({"client_name": name, "grant_types": ["client_credentials"], "scope": "read write"})
}

// D-05, D-23
#[test]
fn a_client_lives_from_registration_to_deletion() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        let created = admin.post("/clients", &new_client("Billing"));
        let etag = created.header("etag").unwrap().to_owned();
        let created = done(&created, 201);
        let client = credentials(&created);
        assert_eq!(created["client_secret_expires_at"], 0);
        server.granted(&client, &[("scope", "read")]);

        let at = format!("/clients/{}", client.id);
        let read = admin.get(&at);
        assert_eq!(read.header("etag"), Some(etag.as_str()));
        let read = done(&read, 200);
        assert_eq!(read["client_name"], "Billing");
        assert_eq!(
            read["token_endpoint_auth_methods"],
            json!(["client_secret_basic", "client_secret_post"])
        );

        let change = json!({"scope": "read", "access_ttl": 60, "audience": ["https://api.example"]});
        let changed = admin.patch(&at, &change, &etag);
        let newer = changed.header("etag").unwrap().to_owned();
        assert_ne!(newer, etag);
        assert_eq!(done(&changed, 200)["access_ttl"], 60);
        // null returns to the server's own value; what is absent stays.
        let reset = done(&admin.patch(&at, &json!({"access_ttl": null}), &newer), 200);
        assert_eq!((reset.get("access_ttl"), &reset["scope"]), (None, &json!("read")));

        assert_eq!(done(&admin.act(&format!("{at}/disable")), 200)["enabled"], false);
        // This node follows at once.
        assert_eq!(server.token(&client, &[]).status, 401);
        assert_eq!(done(&admin.act(&format!("{at}/enable")), 200)["enabled"], true);
        // What is said to be seen is compared, also where nothing has to be said.
        let stale = admin.request("DELETE", &at).header("If-Match", &etag);
        refused(&server.send(&stale), 412);
        done(&admin.delete(&at), 204);
        refused(&admin.get(&at), 404);
        refused(&admin.delete(&at), 404);

        let events = done(&admin.get(&format!("/audit?client_id={}", client.id)), 200);
        let names: Vec<_> = events["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["event"].clone())
            .collect();
        let expected = ["deleted", "enabled", "disabled", "updated", "updated", "created"];
        assert_eq!(names, expected.map(|name| json!(format!("client.{name}"))));
        let updated = &events["items"][4];
        assert_eq!(updated["actor"], "root");
        assert_eq!(
            updated["detail"]["before"],
            json!({"scope": "read write", "access_ttl": null, "audience": []})
        );
        let via = &updated["detail"]["via"];
        assert_eq!(
            (&via["client_id"], &via["address"]),
            (&json!("root"), &json!("127.0.0.1"))
        );
        assert!(via["jti"].is_string() && via["request_id"].as_str().is_some_and(|id| id.len() == 16));
        let trail = events.to_string();
        assert!(!trail.contains(&client.secret) && !trail.contains(&admin.token));
    });
}

// D-05, D-18
#[test]
fn no_answer_but_the_first_ever_holds_a_secret() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        let client = credentials(&done(&admin.post("/clients", &new_client("Billing")), 201));
        let added = done(&admin.post(&format!("/clients/{}/secrets", client.id), &json!({})), 201);
        let hashes = |secret: &str| {
            server
                .vault()
                .hasher()
                .hash(secret)
                .matches(&server.vault().hasher().hash(secret))
        };
        for secret in [client.secret.as_str(), added["client_secret"].as_str().unwrap()] {
            assert!(hashes(secret));
            for path in [
                "/clients".to_owned(),
                format!("/clients/{}", client.id),
                format!("/clients/{}/secrets", client.id),
                "/audit".to_owned(),
                "/reports/secrets".to_owned(),
            ] {
                let answer = admin.get(&path);
                assert!(!done(&answer, 200).to_string().contains(&secret[4..20]), "{path}");
            }
        }
    });
}

// D-14
#[test]
fn of_two_administrators_who_change_one_client_the_second_is_told() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        server.client("billing", metadata());
        let etag = admin.get("/clients/billing").header("etag").unwrap().to_owned();
        let change = |scope: &str| json!({"scope": scope});
        for stale in ["\"x\"", "", &etag.replace('"', "")] {
            refused(&admin.patch("/clients/billing", &change("read"), stale), 412);
        }
        let without = crate::support::api::with(admin.request("PATCH", "/clients/billing"), &change("read"));
        refused(&server.send(&without), 412);
        // Sixteen at once, each of whom saw the same: one of them changes it.
        let answers: Vec<_> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..16)
                .map(|number| {
                    let (admin, etag) = (admin.clone(), &etag);
                    scope.spawn(move || admin.patch("/clients/billing", &change(&format!("s{number}")), etag))
                })
                .collect();
            tries.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let done: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(done.len(), 1);
        assert!(answers.iter().all(|answer| [200, 412].contains(&answer.status)));
        assert_eq!(admin.get("/clients/billing").json()["scope"], done[0].json()["scope"]);
        assert_eq!(
            server.audit().iter().filter(|event| *event == "client.updated").count(),
            1
        );
    });
}

// D-15
#[test]
fn rules_hold_for_what_comes_out_and_name_the_member() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        server.client("billing", metadata());
        let etag = admin.get("/clients/billing").header("etag").unwrap().to_owned();
        for (member, value) in [
            ("client_name", json!("")),
            ("client_name", json!("a\u{1b}[31m")),
            ("grant_types", json!([])),
            ("grant_types", json!(["refresh_token"])),
            ("grant_types", json!(["authorization_code"])),
            ("token_endpoint_auth_methods", json!([])),
            ("token_endpoint_auth_methods", json!(["none"])),
            ("scope", json!("a  b")),
            ("scope", json!("a\r\nb")),
            ("audience", json!(["a b"])),
            ("access_ttl", json!(5)),
            ("access_ttl", json!(-1)),
            ("token_reuse_window", json!(0)),
            ("token_reuse_window", json!(-30)),
            ("token_reuse_window", json!(3_601)),
            ("token_quota", json!("many")),
            ("token_quota", json!("0/1m")),
            ("refresh_ttl", json!(1)),
            ("refresh_retry_window", json!(3_600)),
            ("token_type", json!("bearer")),
            ("claim_profile", json!("django")),
            ("signing_alg", json!("HS256")),
        ] {
            let detail = refused(&admin.patch("/clients/billing", &json!({member: value}), &etag), 400);
            assert!(detail.starts_with(&format!("{member}: ")), "{member}: {detail}");
            let mut new = new_client("x");
            new[member] = value;
            assert!(refused(&admin.post("/clients", &new), 400).starts_with(&format!("{member}: ")));
        }
        let mut new = new_client("x");
        new["client_id"] = json!("a b");
        assert!(refused(&admin.post("/clients", &new), 400).starts_with("client_id: "));
        new["client_id"] = json!("billing");
        refused(&admin.post("/clients", &new), 409);
        assert_eq!(admin.get("/clients/billing").header("etag"), Some(etag.as_str()));
        assert_eq!(server.count("clients"), 2);
    });
}

// D-09
#[test]
fn a_list_is_read_page_by_page_and_its_cursors_are_good_for_nothing_else() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        for number in 0..7 {
            server.client(&format!("c{number}"), metadata());
        }
        done(&admin.act("/clients/c3/disable"), 200);
        let mut seen = Vec::new();
        let mut next = Some(String::new());
        while let Some(cursor) = next {
            let page = done(&admin.get(&format!("/clients?enabled=true&limit=2{cursor}")), 200);
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2);
            seen.extend(
                items
                    .iter()
                    .map(|client| client["client_id"].as_str().unwrap().to_owned()),
            );
            next = page["next_cursor"].as_str().map(|cursor| format!("&cursor={cursor}"));
        }
        assert_eq!(seen, ["c0", "c1", "c2", "c4", "c5", "c6", "root"]);

        let page = done(&admin.get("/clients?limit=2"), 200);
        let cursor = page["next_cursor"].as_str().unwrap();
        refused(&admin.get(&format!("/clients?enabled=true&cursor={cursor}")), 400);
        refused(&admin.get(&format!("/users?cursor={cursor}")), 400);
        let mut forged = cursor.to_owned();
        let last = if forged.ends_with('A') { "B" } else { "A" };
        forged.replace_range(forged.len() - 2..forged.len() - 1, last);
        refused(&admin.get(&format!("/clients?cursor={forged}")), 400);
        // It outlives what it points at.
        done(&admin.delete("/clients/c1"), 204);
        let rest = done(&admin.get(&format!("/clients?limit=200&cursor={cursor}")), 200);
        assert_eq!(rest["items"][0]["client_id"], "c2");
    });
}

#[test]
fn a_creation_that_is_repeated_with_its_key_makes_nothing_and_is_answered_as_before() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        let first = done(&admin.post_once("/clients", &new_client("Billing"), "key-0001"), 201);
        // Another administrator's key of that name, and another key, are other creations.
        let other = Bearer::with_scope(&server, "other", "keywheel:admin");
        let others = done(&other.post_once("/clients", &new_client("Billing"), "key-0001"), 201);
        let second = done(&admin.post_once("/clients", &new_client("Billing"), "key-0002"), 201);
        let ids: BTreeSet<_> = [&first, &others, &second]
            .map(|client| client["client_id"].to_string())
            .into();
        assert_eq!(ids.len(), 3);

        server.advance(Seconds::hours(48));
        let admin = admin.again();
        let again = done(&admin.post_once("/clients", &new_client("Billing"), "key-0001"), 201);
        assert_eq!(again, first, "the secret included");
        server.granted(&credentials(&again), &[]);
        refused(&admin.post_once("/clients", &new_client("Another"), "key-0001"), 422);
        let mut named = new_client("Named");
        named["client_id"] = json!("named");
        let named_first = done(&admin.post_once("/clients", &named, "key-0003"), 201);
        assert_eq!(done(&admin.post_once("/clients", &named, "key-0003"), 201), named_first);
        // What was refused used up no key.
        refused(&admin.post_once("/clients", &named, "key-0004"), 409);
        named["client_id"] = json!("another");
        done(&admin.post_once("/clients", &named, "key-0004"), 201);
        assert_eq!(server.count("clients"), 7);

        let secrets = "/clients/named/secrets";
        let added = done(&admin.post_once(secrets, &json!({}), "key-0001"), 201);
        assert_eq!(done(&admin.post_once(secrets, &json!({}), "key-0001"), 201), added);
        let ends = server.now().epoch() + 60;
        refused(&admin.post_once(secrets, &json!({"expires_at": ends}), "key-0001"), 422);
        assert_eq!(done(&admin.get(secrets), 200).as_array().unwrap().len(), 2);
        let shown = done(&admin.get("/audit?event=client.secret_shown_again"), 200);
        assert_eq!(shown["items"].as_array().unwrap().len(), 3);

        for bad in ["short", &"x".repeat(256)] {
            refused(&admin.post_once("/clients", &new_client("x"), bad), 400);
        }
    });
}

#[test]
fn a_repeated_creation_brings_nothing_back_that_was_taken_away() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        let client = credentials(&done(
            &admin.post_once("/clients", &new_client("Billing"), "key-0001"),
            201,
        ));
        let secrets = format!("/clients/{}/secrets", client.id);
        let added = done(&admin.post_once(&secrets, &json!({}), "key-0002"), 201);
        let added_id = added["client_secret_id"].as_str().unwrap();
        done(&admin.delete(&format!("{secrets}/{added_id}?force=true")), 204);
        assert!(refused(&admin.post_once(&secrets, &json!({}), "key-0002"), 409).contains("gone"));
        done(&admin.delete(&format!("/clients/{}", client.id)), 204);
        assert!(refused(&admin.post_once("/clients", &new_client("Billing"), "key-0001"), 409).contains("gone"));
        assert_eq!(server.count("clients"), 1);
        // After a week the key is forgotten, and makes another client with another secret.
        server.advance(Seconds::days(8));
        server.tick().unwrap();
        let admin = admin.again();
        let another = credentials(&done(
            &admin.post_once("/clients", &new_client("Billing"), "key-0001"),
            201,
        ));
        assert_ne!((&another.id, &another.secret), (&client.id, &client.secret));
    });
}

#[test]
fn of_many_repetitions_at_once_one_makes_something_and_all_are_answered_alike() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..12)
                .map(|_| {
                    let admin = admin.clone();
                    scope.spawn(move || admin.post_once("/clients", &new_client("Billing"), "key-0001"))
                })
                .collect();
            tries.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let first = done(&answers[0], 201);
        for answer in &answers {
            assert_eq!(done(answer, 201), first);
        }
        assert_eq!(server.count("clients"), 2);
    });
}

#[test]
fn so_are_repetitions_at_once_of_what_has_a_name_of_its_own() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        for round in 0..8 {
            let mut client = new_client("Billing");
            client["client_id"] = json!(format!("billing-{round}"));
            let user = json!({"username": format!("alice-{round}"), "password": "correct horse battery"});
            for (path, new) in [("/clients", client), ("/users", user)] {
                let answers: Vec<_> = std::thread::scope(|scope| {
                    let tries: Vec<_> = (0..4)
                        .map(|_| {
                            let (admin, new, key) = (admin.clone(), &new, format!("key-{round:04}"));
                            scope.spawn(move || admin.post_once(path, new, &key))
                        })
                        .collect();
                    tries.into_iter().map(|one| one.join().unwrap()).collect()
                });
                let first = done(&answers[0], 201);
                for answer in &answers {
                    assert_eq!(done(answer, 201), first);
                }
                // Another request with the same name makes nothing.
                refused(&admin.post_once(path, &new, &format!("other-{round:04}")), 409);
            }
        }
    });
}

// C-23
#[test]
fn a_secret_is_replaced_without_a_refusal_and_one_in_use_is_not_revoked_by_mistake() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        let client = credentials(&done(&admin.post("/clients", &new_client("Billing")), 201));
        let secrets = format!("/clients/{}/secrets", client.id);
        let first = done(&admin.get(&secrets), 200)[0]["id"].as_str().unwrap().to_owned();
        let ends = server.now().epoch() + 86_400;
        let added = done(&admin.post(&secrets, &json!({"expires_at": ends})), 201);
        assert_eq!(added["client_secret_expires_at"], ends);
        server.tick().unwrap();
        server.granted(&client, &[]);
        // This node knows it at once.
        let newer = Credentials {
            secret: added["client_secret"].as_str().unwrap().to_owned(),
            ..client.clone()
        };
        server.granted(&newer, &[]);
        server.advance(Seconds::minutes(1));
        server.tick().unwrap();
        let detail = refused(&admin.delete(&format!("{secrets}/{first}")), 409);
        assert!(detail.contains("force=true"), "{detail}");
        done(&admin.delete(&format!("{secrets}/{first}?force=true")), 204);
        refused(&admin.delete(&format!("{secrets}/{first}?force=true")), 404);
        server.tick().unwrap();
        assert_eq!(server.token(&client, &[]).status, 401);
        server.granted(&newer, &[]);
        for (document, member) in [
            (json!({"expires_at": 1}), "expires_at"),
            (json!({"expires_at": i64::MAX}), "expires_at"),
            (json!({"expires_at": ends, "not_before": ends}), "expires_at"),
        ] {
            assert!(
                refused(&admin.post(&secrets, &document), 400).starts_with(member),
                "{document}"
            );
        }
        let soon = done(&admin.get("/reports/secrets?soon_days=7"), 200);
        assert_eq!(soon[0]["why"], "expires soon");
    });
}

#[test]
fn a_client_looks_after_its_own_secrets_and_those_of_no_other() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let own = Bearer::with_scope(&server, "billing", "read keywheel:self");
        let other = Bearer::with_scope(&server, "other", "keywheel:self");
        let added = done(&own.post("/self/secrets", &json!({})), 201);
        server.tick().unwrap();
        let newer = Credentials {
            secret: added["client_secret"].as_str().unwrap().to_owned(),
            ..own.client.clone()
        };
        server.granted(&newer, &[]);
        let mine = done(&own.get("/self/secrets"), 200);
        assert_eq!(mine.as_array().unwrap().len(), 2);
        let first = mine
            .as_array()
            .unwrap()
            .iter()
            .find(|secret| secret["id"] != added["client_secret_id"])
            .unwrap();
        let first = format!("/self/secrets/{}?force=true", first["id"].as_str().unwrap());
        refused(&other.delete(&first), 404);
        refused(&other.get("/clients/billing/secrets"), 403);
        done(&own.delete(&first), 204);
        server.tick().unwrap();
        assert_eq!(server.token(&own.client, &[]).status, 401);
        server.granted(&newer, &[]);
    });
}
