//! Clients in a file: what `keywheel apply` makes of it, and what it leaves alone.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::{Request, send};
use crate::support::process::{Folder, Served};
use crate::support::server::TOKEN;
use crate::support::{Database, on_both, on_both_processes};

/// Where a test ends the program, or changes something behind its back.
#[cfg(feature = "failpoints")]
pub(crate) const STEPS: [&str; 2] = ["apply.planned", "apply.changed"];

mod all_or_nothing;
mod files;
mod secrets;

const FIRST: &str = "bGV0IHRoZSBmaXJzdCBzZWNyZXQgYmUgdGhpcyBvbmU+/w==";
const SECOND: &str = "5f1c7c0c2b5d4a9e8d3f6b7a1e2c4d5f60718293a4b5c6d7";

const TWO_CLIENTS: &str = r#"
owner = "platform-team"

[[client]]
client_id = "billing"
client_name = "Billing"
grant_types = ["client_credentials"]
scope = "invoices:read invoices:write"
audience = ["https://api.example", "orders"]
access_ttl = "5m"
token_reuse_window = "30s"
token_quota = "1000/1m"
token_endpoint_auth_methods = ["client_secret_basic"]
token_type = "JWT"
claim_profile = "simplejwt"
signing_alg = "PS256"
introspect = true
secret = { env = "BILLING_SECRET" }

[[client]]
client_id = "shop"
client_name = "Shop"
grant_types = ["password", "refresh_token"]
scope = ["orders:read", "orders:write"]
refresh_ttl = "7d"
refresh_absolute_ttl = "30d"
refresh_retry_window = "0s"
enabled = true
secret = "generated"
"#;

/// A file with one client of `client_credentials` and these further lines.
fn one(id: &str, lines: &str) -> String {
    format!(
        "owner = \"platform-team\"\n[[client]]\nclient_id = \"{id}\"\nclient_name = \"One\"\n\
         grant_types = [\"client_credentials\"]\n{lines}\n"
    )
}

fn write(folder: &Folder, text: &str) {
    std::fs::write(folder.path().join("clients.toml"), text).unwrap();
}

/// Applies the text, which must succeed.
fn apply(folder: &Folder, text: &str, flags: &[&str]) -> Value {
    write(folder, text);
    let mut arguments = vec!["apply", "clients.toml"];
    arguments.extend(flags);
    folder.json(&arguments)
}

/// What is said of the text, which must be refused.
fn refused(folder: &Folder, text: &str, flags: &[&str]) -> String {
    write(folder, text);
    let mut arguments = vec!["apply", "clients.toml"];
    arguments.extend(flags);
    folder.refused(&arguments)
}

/// The action for each client, in order.
fn actions(document: &Value) -> Vec<String> {
    let clients = document["clients"].as_array().unwrap().iter();
    clients
        .map(|client| {
            format!(
                "{} {}",
                client["action"].as_str().unwrap(),
                client["client_id"].as_str().unwrap()
            )
        })
        .collect()
}

/// All clients with their secrets, as the command line shows them.
fn clients(folder: &Folder) -> Vec<Value> {
    let listed = folder.json(&["client", "list"]);
    let ids = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|client| client["client_id"].as_str().unwrap());
    ids.map(|id| folder.json(&["client", "show", id])).collect()
}

/// The names of the events, the newest first.
fn events(folder: &Folder) -> Vec<Value> {
    folder.json(&["audit", "list"]).as_array().unwrap().clone()
}

fn fetch(served: &Served, id: &str, secret: &str) -> u16 {
    let request = Request::raw_form(TOKEN, "grant_type=client_credentials").basic(id, secret);
    send(served.address, &request).status
}

/// Asks until the answer has the status, for at most the two seconds in which a server must have followed.
fn within_two_seconds(served: &Served, id: &str, secret: &str, status: u16) {
    let begun = Instant::now();
    while fetch(served, id, secret) != status {
        assert!(begun.elapsed() < Duration::from_secs(2), "not {status}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// In an empty folder, once with each backend.
fn with_secret(test: impl Fn(&Folder, &Database)) {
    on_both(|database| {
        let folder = Folder::empty()
            .with("DATABASE_URL", database.url())
            .with("BILLING_SECRET", FIRST);
        test(&folder, database);
    });
}

/// A client that no file made.
fn by_hand(folder: &Folder) {
    let words = "client create Hand --id hand --grant client_credentials";
    folder.json(&words.split(' ').collect::<Vec<_>>());
}

#[test]
fn a_file_makes_clients_with_all_that_it_says_and_a_second_run_changes_nothing() {
    with_secret(|folder, database| {
        let applied = apply(folder, TWO_CLIENTS, &[]);
        assert_eq!(actions(&applied), ["create billing", "create shop"]);
        assert_eq!(
            (&applied["changed"], &applied["owner"]),
            (&json!(true), &json!("platform-team"))
        );
        assert!(applied["clients"][0].get("client_secret").is_none(), "{applied}");
        let generated = applied["clients"][1]["client_secret"].as_str().unwrap();
        assert!(generated.starts_with("kws_"));

        let billing = folder.json(&["client", "show", "billing"]);
        for (member, value) in [
            ("client_name", json!("Billing")),
            ("grant_types", json!(["client_credentials"])),
            ("token_endpoint_auth_methods", json!(["client_secret_basic"])),
            ("scope", json!("invoices:read invoices:write")),
            ("audience", json!(["https://api.example", "orders"])),
            ("access_ttl", json!(300)),
            ("token_reuse_window", json!(30)),
            ("token_quota", json!("1000/1m")),
            ("token_type", json!("JWT")),
            ("claim_profile", json!("simplejwt")),
            ("signing_alg", json!("PS256")),
            ("introspect", json!(true)),
            ("enabled", json!(true)),
            ("owner", json!("platform-team")),
        ] {
            assert_eq!(billing[member], value, "{member}");
        }
        let shop = folder.json(&["client", "show", "shop"]);
        assert_eq!(
            (
                &shop["scope"],
                &shop["refresh_ttl"],
                &shop["refresh_absolute_ttl"],
                &shop["refresh_retry_window"]
            ),
            (
                &json!("orders:read orders:write"),
                &json!(604_800),
                &json!(2_592_000),
                &json!(0)
            )
        );
        assert_eq!(shop.get("access_ttl"), None);

        let (before, told) = (clients(folder), events(folder).len());
        let again = apply(folder, TWO_CLIENTS, &["--prune"]);
        assert_eq!(actions(&again), ["keep billing", "keep shop"]);
        assert_eq!(again["changed"], false);
        assert_eq!((clients(folder), events(folder).len()), (before, told));
        let said = folder.run(&["apply", "clients.toml"]);
        assert!(said.status.success() && said.stdout.is_empty(), "{said:?}");
        assert!(
            String::from_utf8_lossy(&said.stderr).contains("nothing to change: 2 clients"),
            "{said:?}"
        );
        // Neither secret is anywhere but in the answer.
        let dump = database.dump();
        for secret in [FIRST, generated] {
            assert!(!dump.windows(20).any(|bytes| bytes == &secret.as_bytes()[..20]));
        }
    });
}

#[test]
fn what_the_file_or_a_hand_changed_is_shown_and_put_right_with_an_event_for_each_change() {
    with_secret(|folder, database| {
        apply(folder, TWO_CLIENTS, &[]);
        folder.json(&[
            "client",
            "update",
            "billing",
            "--scope",
            "invoices:read",
            "--access-ttl",
            "1h",
        ]);
        let changed = TWO_CLIENTS.replace("enabled = true", "enabled = false");
        write(folder, &changed);

        let shown = folder.run(&["apply", "clients.toml", "--dry-run"]);
        let shown = String::from_utf8_lossy(&shown.stdout);
        let expected = "~ client billing\n    scope: \"invoices:read\" -> \"invoices:read invoices:write\"\n    \
                        access_ttl: 1h -> 5m\n~ client shop\n    enabled: true -> false\n";
        assert_eq!(shown, expected);

        let applied = apply(folder, &changed, &[]);
        assert_eq!(
            applied["clients"][0]["changes"],
            json!({
                "scope": {"before": "invoices:read", "after": "invoices:read invoices:write"},
                "access_ttl": {"before": 3_600, "after": 300},
            })
        );
        let events = events(folder);
        let names: Vec<&str> = events[..2]
            .iter()
            .map(|event| event["event"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["client.disabled", "client.updated"]);
        assert_eq!(
            events[1]["detail"],
            json!({
                "applied": "platform-team",
                "before": {"scope": "invoices:read", "access_ttl": 3_600},
                "after": {"scope": "invoices:read invoices:write", "access_ttl": 300},
            })
        );
        assert_eq!(folder.json(&["client", "show", "shop"])["enabled"], false);
        // It ended its logins, too.
        assert_eq!(
            database.query("SELECT epoch % 1048576 AS value FROM clients WHERE client_id = 'shop'"),
            ["1"]
        );
    });
}

#[test]
fn a_client_disabled_by_hand_stays_so_unless_the_file_says_otherwise() {
    on_both_processes(|folder| {
        apply(folder, &one("a", ""), &[]);
        folder.json(&["client", "disable", "a"]);
        assert_eq!(actions(&apply(folder, &one("a", ""), &[])), ["keep a"]);
        let said = folder.run(&["apply", "clients.toml"]);
        assert!(
            String::from_utf8_lossy(&said.stderr).contains("client a is disabled and stays so"),
            "{said:?}"
        );
        assert_eq!(actions(&apply(folder, &one("a", "enabled = true"), &[])), ["update a"]);
        assert_eq!(folder.json(&["client", "show", "a"])["enabled"], true);
        // One can begin disabled, too.
        apply(folder, &one("b", "enabled = false"), &[]);
        assert_eq!(folder.json(&["client", "show", "b"])["enabled"], false);
    });
}

#[test]
fn what_the_file_does_not_name_is_listed_and_pruned_on_demand_and_the_clients_of_others_are_left_alone() {
    on_both_processes(|folder| {
        by_hand(folder);
        apply(folder, &one("theirs", "").replace("platform-team", "other-team"), &[]);
        apply(folder, &one("old", ""), &[]);

        let applied = apply(folder, &one("new", ""), &[]);
        assert_eq!(applied["unnamed"], json!(["old"]));
        let shown = folder.run(&["apply", "clients.toml"]);
        assert!(
            String::from_utf8_lossy(&shown.stdout).contains("? client old"),
            "{shown:?}"
        );

        write(folder, &one("new", ""));
        let shown = folder.run(&["apply", "clients.toml", "--prune", "--dry-run"]);
        assert_eq!(String::from_utf8_lossy(&shown.stdout), "- client old\n");
        let applied = apply(folder, &one("new", ""), &["--prune"]);
        assert_eq!(actions(&applied), ["keep new", "delete old"]);
        let left: Vec<Value> = clients(folder)
            .iter()
            .map(|client| client["client_id"].clone())
            .collect();
        assert_eq!(left, ["hand", "new", "theirs"]);
        let newest = &events(folder)[0];
        assert_eq!(
            (&newest["event"], &newest["client_id"]),
            (&json!("client.deleted"), &json!("old"))
        );
        assert_eq!(newest["detail"]["before"]["owner"], "platform-team");
    });
}

#[test]
fn a_client_of_somebody_else_is_a_conflict_until_it_is_adopted() {
    on_both_processes(|folder| {
        by_hand(folder);
        apply(folder, &one("theirs", "").replace("platform-team", "other-team"), &[]);
        let both = format!(
            "{}{}",
            one("hand", ""),
            one("theirs", "").trim_start_matches("owner = \"platform-team\"\n")
        );
        let before = clients(folder);
        let said = refused(folder, &both, &[]);
        assert!(
            said.contains("clients.toml:3:13: client \"hand\" exists already and was made by hand")
                && said.contains("clients.toml:8:13: client \"theirs\" exists already and belongs to \"other-team\"")
                && said.contains("--adopt"),
            "{said}"
        );
        assert_eq!(clients(folder), before);

        let adopted = apply(folder, &both, &["--adopt"]);
        assert_eq!(
            adopted["clients"][0]["changes"],
            json!({
                "client_name": {"before": "Hand", "after": "One"},
                "owner": {"before": null, "after": "platform-team"},
            })
        );
        // It keeps the secret that it had.
        assert_eq!(
            folder.json(&["client", "show", "hand"])["secrets"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        assert_eq!(actions(&apply(folder, &both, &[])), ["keep hand", "keep theirs"]);
    });
}

#[test]
fn a_dry_run_changes_nothing_at_all() {
    on_both(|database| {
        let folder = Folder::empty()
            .with("DATABASE_URL", database.url())
            .with("BILLING_SECRET", FIRST);
        let said = refused(&folder, TWO_CLIENTS, &["--dry-run"]);
        assert!(said.contains("keywheel db migrate"), "{said}");
        folder.json(&["db", "migrate"]);
        let planned = apply(&folder, TWO_CLIENTS, &["--dry-run"]);
        assert_eq!(actions(&planned), ["create billing", "create shop"]);
        assert!(
            !planned.to_string().contains("client_secret_id"),
            "a plan makes no secret: {planned}"
        );
        assert_eq!((database.count("clients"), database.count("data_keys")), (0, 0));
        assert!(!folder.master_key().exists());

        apply(&folder, TWO_CLIENTS, &[]);
        let before = database.dump();
        let changed = format!(
            "{}{}",
            one("third", ""),
            TWO_CLIENTS
                .trim_start_matches("\nowner = \"platform-team\"\n")
                .replace("invoices:read", "x")
                .replace("\"shop\"", "\"shops\"")
        );
        let planned = apply(&folder, &changed, &["--dry-run", "--prune"]);
        assert_eq!(
            actions(&planned),
            ["create third", "update billing", "create shops", "delete shop"]
        );
        assert_eq!(planned["dry_run"], true);
        assert!(database.dump() == before);
    });
}

#[test]
fn a_running_server_follows_a_file_and_a_generated_secret_is_made_once() {
    on_both_processes(|folder| {
        let served = folder.serve(&["--issuer", "https://auth.example"]);
        let file = one("job", "secret = \"generated\"");
        let applied = apply(folder, &file, &[]);
        let secret = applied["clients"][0]["client_secret"].as_str().unwrap().to_owned();
        within_two_seconds(&served, "job", &secret, 200);
        assert!(apply(folder, &file, &[])["clients"][0].get("client_secret").is_none());
        apply(folder, &one("job", "enabled = false"), &[]);
        within_two_seconds(&served, "job", &secret, 401);
        apply(folder, &one("job", "enabled = true"), &[]);
        within_two_seconds(&served, "job", &secret, 200);
        apply(folder, "owner = \"platform-team\"\n", &["--prune"]);
        within_two_seconds(&served, "job", &secret, 401);
    });
}

// Decision 5: a key stays published for as long as a token that it may have signed.
#[test]
fn a_longer_life_of_access_tokens_raises_that_of_the_keys() {
    with_secret(|folder, database| {
        drop(folder.serve(&["--issuer", "https://auth.example"]));
        apply(folder, &one("a", "access_ttl = \"20h\""), &[]);
        let lives = || database.query("SELECT max(longest_token_life) AS value FROM signing_keys");
        assert_eq!(lives(), ["72000"]);
        apply(folder, &one("a", "access_ttl = \"23h\""), &[]);
        assert_eq!(lives(), ["82800"]);
        apply(folder, &one("a", ""), &[]);
        assert_eq!(lives(), ["82800"], "tokens that live so long may be about");
    });
}
