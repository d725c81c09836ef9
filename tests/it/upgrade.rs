//! The release before this version and this version on one PostgreSQL at the same time, as while nodes are replaced.
//!
//! `scripts/test-upgrade` builds that release and runs this.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Database;
use crate::support::http::{Request, Response, send};
use crate::support::jwt;
use crate::support::process::{Folder, Served};
use crate::support::server::{JWKS, TOKEN};

const SERVE: [&str; 2] = ["--issuer", "https://auth.example"];
const LOGIN: [(&str, &str); 3] = [
    ("grant_type", "password"),
    ("username", "alice"),
    ("password", "correct horse"),
];
const SHOP: &str = "client create shop --id shop --grant password --grant refresh_token";

/// The program of the release before.
#[expect(clippy::disallowed_methods, reason = "the tests have no configuration")]
fn previous() -> String {
    std::env::var("KEYWHEEL_TEST_PREVIOUS").expect("scripts/test-upgrade says which release was before")
}

fn asked(node: &Served, form: &[(&str, &str)], client: (&str, &str)) -> Response {
    let answer = send(node.address, &Request::form(TOKEN, form).basic(client.0, client.1));
    assert_eq!(answer.status, 200, "{form:?}: {}", answer.text());
    answer
}

fn word(answer: &Value, member: &str) -> String {
    answer[member]
        .as_str()
        .unwrap_or_else(|| panic!("no {member}: {answer}"))
        .to_owned()
}

/// Tokens of either node are good by the key set of the other, and a login goes on at whichever node it comes to.
fn work_together(nodes: &[&Served], billing: &str, shop: &str, mut refresh: String) -> String {
    for round in 0..40 {
        let (here, there) = (nodes[round % nodes.len()], nodes[(round + 1) % nodes.len()]);
        let token = asked(here, &[("grant_type", "client_credentials")], ("billing", billing)).json();
        let set = send(there.address, &Request::get(JWKS)).json();
        jwt::verify_with(&set, &word(&token, "access_token")).unwrap();
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
        let refreshed = asked(here, &form, ("shop", shop)).json();
        let question = Request::form("/oauth2/introspect", &[("token", &word(&refreshed, "access_token"))]);
        assert_eq!(
            send(there.address, &question.basic("shop", shop)).json()["active"],
            true
        );
        refresh = word(&refreshed, "refresh_token");
    }
    refresh
}

/// Waits until a node knows what another program did a moment ago.
fn follows(node: &Served, id: &str, secret: &str) {
    let request = Request::raw_form(TOKEN, "grant_type=client_credentials").basic(id, secret);
    let begun = Instant::now();
    while send(node.address, &request).status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(3), "{id} is not known");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "it needs the program of a release before this version: scripts/test-upgrade"]
fn the_release_before_and_this_version_serve_one_database_together() {
    let database = Database::postgres();
    let new = Folder::empty().with("DATABASE_URL", database.url());
    let old = new.with_program(&previous());
    let billing = old.client_secret("billing");
    let shop = word(&old.json(&SHOP.split(' ').collect::<Vec<_>>()), "client_secret");
    old.with_input(&["user", "create", "alice", "--password-stdin"], "correct horse\n");

    let first = old.serve(&SERVE);
    let second = old.serve(&SERVE);
    let refresh = word(&asked(&first, &LOGIN, ("shop", &shop)).json(), "refresh_token");
    let refresh = work_together(&[&first, &second], &billing, &shop, refresh);

    // One node is replaced: this version migrates, the other node goes on.
    second.terminate();
    let second = new.serve(&SERVE);
    let refresh = work_together(&[&first, &second], &billing, &shop, refresh);
    follows(&first, "made-by-new", &new.client_secret("made-by-new"));
    follows(&second, "made-by-old", &old.client_secret("made-by-old"));
    new.json(&["keys", "rotate", "--now"]);
    let refresh = work_together(&[&second, &first], &billing, &shop, refresh);

    // Somebody changes their mind: the release before starts on what this version has migrated.
    second.terminate();
    let second = old.serve(&SERVE);
    let refresh = work_together(&[&first, &second], &billing, &shop, refresh);

    first.terminate();
    second.terminate();
    let only = new.serve(&SERVE);
    work_together(&[&only], &billing, &shop, refresh);
}
