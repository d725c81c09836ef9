//! Initial access tokens on the command line: made, listed, revoked, and shown once.

use serde_json::json;

use crate::support::http::send;
use crate::support::process::Folder;
use crate::support::{on_both_processes, on_sqlite};

use super::{REGISTER, request};

const CREATE: [&str; 6] = [
    "registration-token",
    "create",
    "--name",
    "Partner",
    "--grant",
    "client_credentials",
];

#[test]
fn a_token_is_made_listed_used_and_revoked() {
    on_both_processes(|folder| {
        let more = [
            "--uses",
            "2",
            "--expires",
            "1h",
            "--scope",
            "read",
            "--audience",
            "https://api.example",
        ];
        let created = folder.json(&[&CREATE[..], &more].concat());
        let text = |member: &str| created[member].as_str().unwrap().to_owned();
        let (id, token) = (text("id"), text("token"));
        assert!(token.starts_with("kwi_") && token.ends_with(&text("hint")), "{created}");
        for (member, value) in [
            ("name", json!("Partner")),
            ("uses_left", json!(2)),
            ("grant_types", json!(["client_credentials"])),
            ("scope", json!("read")),
            ("audience", json!(["https://api.example"])),
            ("live", json!(true)),
        ] {
            assert_eq!(created[member], value, "{member}");
        }

        let server = folder.serve(&["--issuer", "https://auth.example"]);
        let register = || send(server.address, &request("POST", REGISTER, &token, &json!({}))).status;
        assert_eq!(register(), 201);
        let listed = folder.json(&["registration-token", "list"]);
        assert_eq!((&listed[0]["id"], &listed[0]["uses_left"]), (&json!(id), &json!(1)));
        assert!(!listed.to_string().contains(&token), "a token is shown once");
        let table = folder.run(&["registration-token", "list"]);
        assert!(String::from_utf8(table.stdout).unwrap().contains("Partner"));

        assert_eq!(folder.json(&["registration-token", "revoke", &id]), json!({}));
        assert_eq!(register(), 401, "at once: it is in no cache");
        assert_eq!(folder.json(&["registration-token", "list"]), json!([]));
        assert_eq!(folder.json(&["client", "list"]).as_array().unwrap().len(), 1);
        let events = folder.json(&["audit", "list"]);
        let named = |name: &str| events.as_array().unwrap().iter().any(|event| event["event"] == name);
        assert!(
            named("registration_token.created") && named("registration_token.revoked"),
            "{events}"
        );
        assert!(!events.to_string().contains(&token));
        let unknown = folder.refused(&["registration-token", "revoke", &id]);
        assert!(unknown.contains("registration-token list"), "{unknown}");
    });
}

// Y-04
#[test]
fn no_token_is_made_that_would_register_administrators_or_nothing() {
    on_sqlite(|_| {
        let folder = Folder::empty();
        for (more, mend) in [
            (&["--scope", "read keywheel:admin"][..], "client create"),
            (&["--scope", "keywheel:self"], "client create"),
            (&["--uses", "0"], "from 1 to"),
            (&["--expires", "3000d"], "366d"),
            (&["--expires", "1s"], "1m"),
        ] {
            let refused = folder.refused(&[&CREATE[..], more].concat());
            assert!(refused.contains(mend), "{more:?}: {refused}");
        }
        let nameless = [&["registration-token", "create", "--name", ""], &CREATE[4..]].concat();
        assert!(folder.refused(&nameless).contains("1 to 128 characters"));
    });
}

#[test]
fn a_token_that_lets_clients_take_passwords_is_warned_of() {
    let folder = Folder::empty();
    let made = folder.run(&["registration-token", "create", "--name", "Kiosk", "--grant", "password"]);
    assert!(String::from_utf8_lossy(&made.stderr).contains("RFC 9700"), "{made:?}");
    assert!(String::from_utf8_lossy(&made.stdout).contains("kwi_"), "{made:?}");
}
