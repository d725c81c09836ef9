//! Real clients and resource servers against the real program: `tests/interop` holds one small program per library, with the rules
//! that it checks; here each is run against a server of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::support::http::{Request, send};
use crate::support::jwt::part;
use crate::support::on_both;
use crate::support::process::{Folder, Served};
use crate::support::server::TOKEN;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The audience of the clients, that is the resource server that every program plays.
const AUDIENCE: &str = "https://api.example";
/// The audience of the client whose tokens that resource server must refuse.
const ELSEWHERE: &str = "https://elsewhere.example";
/// What a service is registered with, and what a client for people is.
const SERVICE: [&str; 2] = ["--grant", "client_credentials"];
const PEOPLE: [&str; 4] = ["--grant", "password", "--grant", "refresh_token"];
const SIMPLEJWT: [&str; 2] = ["--claim-profile", "simplejwt"];
/// With everything that a client could encode wrongly in a form.
const PASSWORD: &str = "correct horse + battery & 100% \u{e9}=\u{20ac}";

#[test]
fn pyjwt_verifies_the_token_by_its_kid_and_cryptography_the_certificates() {
    python("pyjwt_client.py");
}

#[test]
fn who_pins_the_authority_accepts_keys_that_it_has_never_seen_and_no_others() {
    let folder = Folder::empty();
    let server = folder.serve(&["--dev"]);
    let mut description = describe(&folder, &server);
    let text = |path: &str| send(server.address, &Request::get(path)).text().to_owned();
    let token = || {
        let id = description["client_id"].as_str().unwrap();
        let secret = description["client_secret"].as_str().unwrap();
        let request = Request::raw_form(TOKEN, "grant_type=client_credentials").basic(id, secret);
        send(server.address, &request).json()["access_token"].clone()
    };
    let (ca, before) = (text("/.well-known/keywheel/ca.pem"), token());
    let rotated = folder.json(&["keys", "rotate", "--now"]);
    let begun = std::time::Instant::now();
    let after = loop {
        let token = token();
        if part(token.as_str().unwrap(), 0)["kid"] == rotated["kid"] {
            break token;
        }
        assert!(
            begun.elapsed() < std::time::Duration::from_secs(5),
            "the keys do not turn"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let verifier = Path::new(ROOT).join("examples/pinned_verifier.py");
    for (name, value) in [
        ("ca", json!(ca)),
        ("before", before),
        ("after", after),
        ("verifier", json!(verifier)),
    ] {
        description[name] = value;
    }
    finds_every_rule_kept(interpreter("pinned_client.py"), &folder, &description);
}

#[test]
fn authlib_accepts_the_metadata_and_fetches_verifies_refreshes_introspects_and_revokes_tokens() {
    python("authlib_client.py");
}

#[test]
fn requests_oauthlib_gets_the_very_scope_it_asked_for_with_raw_basic_and_refreshes_by_itself() {
    python("requests_oauthlib_client.py");
}

#[test]
fn django_rest_framework_with_simplejwt_needs_the_url_of_the_keys_alone_for_services_and_people() {
    python("drf_simplejwt.py");
}

#[test]
fn jose_verifies_the_token_with_the_remote_key_set() {
    node("jose_client.mjs");
}

#[test]
fn openid_client_discovers_the_server_in_both_ways_and_leads_tokens_through_their_life() {
    node("openid_client.mjs");
}

#[test]
fn oauth4webapi_accepts_every_answer_and_the_token_of_rfc_9068() {
    node("oauth4webapi_client.mjs");
}

// D-10, D-12, D-13: thousands of requests, good and bad, made up from the document alone.
#[test]
fn schemathesis_finds_no_answer_of_the_api_that_its_document_does_not_tell_of() {
    on_both(|database| {
        let folder = Folder::empty()
            .with("DATABASE_URL", database.url())
            .with("KEYWHEEL_TOKENS_ACCESS_TTL", "1h");
        let scope = ["--scope", "keywheel:admin keywheel:self"];
        let create = [
            "client",
            "create",
            "root",
            "--id",
            "root",
            "--grant",
            "client_credentials",
        ];
        let root = folder.json(&[&create[..], &scope].concat());
        let server = folder.serve(&["--dev"]);
        let request = Request::raw_form(TOKEN, "grant_type=client_credentials");
        let request = request.basic("root", root["client_secret"].as_str().unwrap());
        let answer = send(server.address, &request).json();
        let mut program = Command::new(installed().join("venv/bin/schemathesis"));
        program
            .args(["run", &format!("http://{}/admin/v1/openapi.json", server.address)])
            .args([
                "--header",
                &format!("Authorization: Bearer {}", answer["access_token"].as_str().unwrap()),
            ])
            // That what fits the document is accepted is not among them: a secret's end lies in the future, and no schema can say so.
            .args(["--exclude-checks", "positive_data_acceptance"])
            // It would withdraw the key that signed this very token.
            .args(["--exclude-operation-id", "revokeKey"])
            .args(["--max-examples", "25", "--seed", "1", "--no-color"])
            .current_dir(folder.path());
        let output = program.output().unwrap();
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{report}");
        let tested = report
            .lines()
            .find_map(|line| line.trim().strip_prefix("Tested: "))
            .unwrap();
        assert!(tested.parse::<usize>().unwrap() > 25, "{report}");
    });
}

#[test]
fn authlib_leads_a_registration_through_its_whole_life() {
    python("authlib_registration.py");
}

#[test]
fn openid_client_registers_dynamically_and_leads_the_registration_through_its_life() {
    node("openid_client_registration.mjs");
}

#[test]
fn pyjwt_jose_and_oauth4webapi_verify_what_a_server_of_another_algorithm_signs() {
    for alg in ["ES256", "PS256"] {
        let verifiers = [
            interpreter("pyjwt_client.py"),
            script("jose_client.mjs"),
            script("oauth4webapi_client.mjs"),
        ];
        for program in verifiers {
            let folder = Folder::empty().with("KEYWHEEL_SIGNING_ALG", alg);
            let server = folder.serve(&["--dev"]);
            finds_every_rule_kept(program, &folder, &describe(&folder, &server));
        }
    }
}

fn python(program: &str) {
    accepts(interpreter(program));
}

fn interpreter(program: &str) -> Command {
    let mut command = Command::new(installed().join("venv/bin/python"));
    // -B: no compiled files among the sources.
    command
        .arg("-B")
        .arg(Path::new(ROOT).join("tests/interop/python").join(program));
    command
}

fn node(program: &str) {
    accepts(script(program));
}

fn script(program: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(installed().join("node").join(program));
    command
}

/// Runs a client program against a new server: it must find every rule kept.
fn accepts(program: Command) {
    let folder = Folder::empty();
    let server = folder.serve(&["--dev"]);
    finds_every_rule_kept(program, &folder, &describe(&folder, &server));
}

fn finds_every_rule_kept(mut program: Command, folder: &Folder, server: &Value) {
    let description = folder.path().join("server.json");
    std::fs::write(&description, server.to_string()).unwrap();
    // A proxy of the machine has no business between two processes of one test.
    let output = program
        .arg(&description)
        .env("no_proxy", "*")
        .env("NO_PROXY", "*")
        .stdin(Stdio::null())
        .output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {program:?}: {error}"));
    assert!(
        output.status.success(),
        "{program:?}: {}\n{}",
        output.status,
        text(&output)
    );
}

/// What a client program must know of the server; `tests/interop/python/checks.py` says the same in words.
pub(crate) fn describe(folder: &Folder, server: &Served) -> Value {
    let plain = client(folder, "plain", AUDIENCE, &[&SERVICE]);
    let keys = folder.json(&["keys", "list"]);
    json!({
        "alg": keys[0]["alg"],
        "issuer": server.issuer,
        "token_endpoint": format!("{}/oauth2/token", server.issuer),
        "introspection_endpoint": format!("{}/oauth2/introspect", server.issuer),
        "revocation_endpoint": format!("{}/oauth2/revoke", server.issuer),
        "jwks_uri": format!("{}/.well-known/jwks.json", server.issuer),
        "client_id": plain["client_id"],
        "client_secret": plain["client_secret"],
        "audience": AUDIENCE,
        "simplejwt": client(folder, "simplejwt", AUDIENCE, &[&SERVICE, &SIMPLEJWT]),
        "elsewhere": client(folder, "elsewhere", ELSEWHERE, &[&SERVICE, &SIMPLEJWT]),
        "people": client(folder, "people", AUDIENCE, &[&PEOPLE]),
        "people_simplejwt": client(folder, "people-simplejwt", AUDIENCE, &[&PEOPLE, &SIMPLEJWT]),
        "gateway": client(folder, "gateway", AUDIENCE, &[&SERVICE, &["--introspect"]]),
        "user": user(folder, "alice"),
        "registration_endpoint": format!("{}/oauth2/register", server.issuer),
        "initial_access_token": initial_access_token(folder),
    })
}

/// Registers a client as an administrator does, while the server runs.
fn client(folder: &Folder, name: &str, audience: &str, more: &[&[&str]]) -> Value {
    let arguments = ["client", "create", name, "--scope", "read", "--scope", "write"];
    folder.json(&[&arguments[..], &["--audience", audience], &more.concat()].concat())
}

/// A token for the services of the one audience, with as many uses as the greediest program needs.
fn initial_access_token(folder: &Folder) -> Value {
    let arguments = ["registration-token", "create", "--name", "Interop", "--uses", "8"];
    let rights = ["--scope", "read", "--scope", "write", "--audience", AUDIENCE];
    folder.json(&[&arguments[..], &SERVICE, &rights].concat())["token"].clone()
}

/// The same for a user, whose password is no argument.
fn user(folder: &Folder, name: &str) -> Value {
    let mut child = folder
        .command(&["user", "create", name, "--password-stdin", "--output", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{PASSWORD}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let user: Value = serde_json::from_slice(&output.stdout).unwrap();
    json!({"user_id": user["user_id"], "username": user["username"], "password": PASSWORD})
}

/// Where the clients are installed, now if not before: at their pinned versions, by `scripts/interop-setup`.
pub(crate) fn installed() -> PathBuf {
    static SETUP: OnceLock<Result<(), String>> = OnceLock::new();
    let setup = SETUP.get_or_init(|| {
        let output = Command::new(Path::new(ROOT).join("scripts/interop-setup"))
            .stdin(Stdio::null())
            .output();
        let output = output.map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(())
        } else {
            Err(text(&output))
        }
    });
    if let Err(reason) = setup {
        panic!("scripts/interop-setup failed: {reason}");
    }
    Path::new(ROOT).join("target/interop")
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
