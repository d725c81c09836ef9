//! What administrators see of algorithms: on the command line and through the API.

use serde_json::{Value, json};

use super::with;
use crate::support::api::{Bearer, done, refused};
use crate::support::http::{Request, send};
use crate::support::jwt::part;
use crate::support::server::{TOKEN, TestServer};
use crate::support::{on_both, on_both_processes};
use keywheel::oauth::SigningAlgorithm::Es256;

#[test]
fn the_command_line_tells_and_turns_the_keys_of_each_algorithm() {
    on_both_processes(|folder| {
        let server = folder.serve(&["--dev"]);
        let grant = ["--grant", "client_credentials", "--id", "curve"];
        let created = folder.json(&[&["client", "create", "Curve", "--signing-alg", "ES256"], &grant[..]].concat());
        assert_eq!(created["signing_alg"], "ES256");
        let refused = folder.run(&["client", "update", "curve", "--signing-alg", "HS256"]);
        assert_eq!(refused.status.code(), Some(2));
        let refusal = String::from_utf8(refused.stderr).unwrap();
        assert!(refusal.contains("RS256, PS256, ES256"), "{refusal}");
        let alg = || {
            let request = Request::raw_form(TOKEN, "grant_type=client_credentials");
            let request = request.basic("curve", created["client_secret"].as_str().unwrap());
            let token = send(server.address, &request).json()["access_token"].clone();
            part(token.as_str().unwrap(), 0)["alg"].clone()
        };
        let keys = || folder.json(&["keys", "list"]).as_array().unwrap().clone();
        let of = |wanted: &str| {
            keys()
                .into_iter()
                .filter(|key| key["alg"] == wanted)
                .collect::<Vec<Value>>()
        };
        within_seconds("no key of ES256 is published", || of("ES256").len() == 1);
        assert_eq!((of("RS256").len(), &of("ES256")[0]["state"]), (2, &json!("next")));
        assert_eq!(alg(), "RS256", "no verifier can know the key yet");

        let plan = folder.json(&["keys", "plan"]);
        let events = plan["events"].as_array().unwrap();
        for name in ["RS256", "ES256"] {
            assert!(
                events
                    .iter()
                    .any(|event| event["alg"] == name && event["what"] == "activate")
            );
        }
        let warnings = plan["warnings"].to_string();
        assert!(
            warnings.contains("until then its tokens are signed with RS256"),
            "{warnings}"
        );
        let drawn = String::from_utf8(folder.run(&["keys", "plan"]).stdout).unwrap();
        assert!(drawn.contains("\nRS256\n") && drawn.contains("\nES256\n"), "{drawn}");

        let refusal = folder.refused(&["keys", "rotate", "--alg", "PS256"]);
        assert!(refusal.contains("nobody uses PS256"), "{refusal}");
        let rotated = folder.json(&["keys", "rotate", "--alg", "ES256", "--now"]);
        assert_eq!((&rotated["alg"], &rotated["safe"]), (&json!("ES256"), &json!(false)));
        within_seconds("the key does not sign", || alg() == "ES256" && of("ES256").len() == 2);
        let revoked = folder.json(&["keys", "revoke", of("ES256")[1]["kid"].as_str().unwrap()]);
        assert!(revoked["successor"].is_string(), "{revoked}");
        within_seconds("nothing follows the revoked key", || {
            alg() == "ES256" && of("ES256").len() >= 3
        });
        let told = folder.json(&["doctor", "--offline"]).to_string();
        assert!(told.contains("(RS256)") && told.contains("(ES256)"), "{told}");
    });
}

fn within_seconds(why: &str, holds: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{why}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn the_api_sets_shows_and_takes_back_a_clients_algorithm_and_the_trail_has_what_was_before() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let admin = Bearer::admin(&server);
        server.client("curve", with(Es256));
        let read = admin.get("/clients/curve");
        assert_eq!(done(&read, 200)["signing_alg"], "ES256");
        let etag = read.header("etag").unwrap();
        let patched = done(
            &admin.patch("/clients/curve", &json!({"signing_alg": "PS256"}), etag),
            200,
        );
        assert_eq!(patched["signing_alg"], "PS256");
        let etag = admin.get("/clients/curve").header("etag").unwrap().to_owned();
        let back = done(
            &admin.patch("/clients/curve", &json!({"signing_alg": null}), &etag),
            200,
        );
        assert_eq!(back.get("signing_alg"), None);
        let new = json!({"client_name": "X", "grant_types": ["client_credentials"], "signing_alg": "PS256"});
        assert_eq!(done(&admin.post("/clients", &new), 201)["signing_alg"], "PS256");

        let events = done(&admin.get("/audit?client_id=curve"), 200)["items"].clone();
        let before = |index: usize| {
            (
                events[index]["detail"]["signing_alg"].clone(),
                events[index]["detail"]["before"].clone(),
            )
        };
        assert_eq!(before(0), (Value::Null, json!({"signing_alg": "PS256"})));
        assert_eq!(before(1), (json!("PS256"), json!({"signing_alg": "ES256"})));
        assert_eq!(events[2]["detail"]["signing_alg"], "ES256");

        server.tick().unwrap();
        let listed = done(&admin.get("/keys"), 200);
        assert!(
            listed
                .as_array()
                .unwrap()
                .iter()
                .any(|key| key["alg"] == "PS256" && key["state"] == "next")
        );
        assert!(
            server.metrics().contains(r#"alg="PS256",state="next""#),
            "{}",
            server.metrics()
        );
        let rotated = done(&admin.post("/keys/rotate", &json!({"alg": "PS256", "now": true})), 200);
        assert_eq!(rotated["alg"], "PS256");
        refused(&admin.post("/keys/rotate", &json!({"alg": "none"})), 400);
    });
}
