//! The system gives no random numbers: nothing is made of weaker ones, requests that need them are told to come back, and when the
//! system gives them again all goes on.
//!
//! The real program is under strace, which makes the call of the system fail. Two generators live on that call: the one of each
//! thread, which makes identifiers, secrets and keys, and aws-lc's, which blinds signatures and ends the process when it is not
//! seeded anew.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::Ordering;

use crate::support::http::{Request, Response, send};
use crate::support::jwt::{part, verify_with};
use crate::support::on_sqlite;
use crate::support::process::{Folder, Served};
use crate::support::server::{JWKS, Options, TOKEN, TestServer, metadata};
use crate::support::strace::{Injection, injected};

const SERVE: [&str; 2] = ["--issuer", "https://auth.example"];
const PASSWORD: &str = "correct horse battery staple";
/// What the call may fail with: a device that is gone, and one that has not gathered enough yet.
const ERRORS: [&str; 2] = ["EIO", "EAGAIN"];
/// More signatures than aws-lc makes with one blinding, for each of the threads that answer.
const TOKENS: usize = 100;

//
#[test]
fn without_random_numbers_a_token_is_503_and_the_keys_are_served() {
    on_sqlite(|database| {
        let options = Options::default();
        let without = options.without_randomness.clone();
        let server = TestServer::with(database.url(), options);
        let client = server.client("shop", metadata());
        let token = || {
            let form = Request::form(TOKEN, &[("grant_type", "client_credentials")]);
            send(server.address, &form.basic(&client.id, &client.secret))
        };
        assert_eq!(token().status, 200);
        without.store(true, Ordering::SeqCst);
        assert_unavailable(&token());
        assert_eq!(send(server.address, &Request::get(JWKS)).status, 200);
        without.store(false, Ordering::SeqCst);
        assert_eq!(token().status, 200);
    });
}

//
#[test]
fn a_server_that_gets_no_random_numbers_gives_no_token_lives_and_recovers() {
    let folder = Folder::empty().readable();
    let secret = client(&folder);
    folder.with_input(
        &["user", "create", "alice", "--password-stdin"],
        &format!("{PASSWORD}\n"),
    );
    let served = folder.serve(&SERVE);
    let mut jtis = BTreeSet::new();
    let mut tokens = 0;
    let mut whole = |served: &Served, answer: &Response| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        verify_with(&send(served.address, &Request::get(JWKS)).json(), &token).unwrap();
        jtis.insert(part(&token, 1)["jti"].as_str().unwrap().to_owned());
        tokens += 1;
    };
    for error in ERRORS {
        // All generators are in use by then.
        for _ in 0..4 {
            whole(&served, &token(&served, &secret));
            whole(&served, &login(&served, &secret));
        }
        let Some(injection) = Injection::into(&served, &folder, "getrandom", &format!("error={error}")) else {
            return skip("what a running server does");
        };
        for _ in 0..TOKENS {
            assert_unavailable(&token(&served, &secret));
        }
        assert_unavailable(&login(&served, &secret));
        assert_eq!(send(served.address, &Request::get(JWKS)).status, 200);
        // A key has to be made now, and is when that is possible again.
        let signing = folder.json(&["keys", "list"])[1]["kid"].as_str().unwrap().to_owned();
        folder.json(&["keys", "revoke", &signing]);
        if injection.end() == 0 {
            return skip("what a running server does");
        }
        served.await_without(&signing);
        whole(&served, &token(&served, &secret));
        whole(&served, &login(&served, &secret));
    }
    assert_eq!(jtis.len(), tokens, "a jti came twice");
}

//
#[test]
fn a_command_that_gets_no_random_numbers_from_some_moment_on_makes_a_whole_client_or_none() {
    let folder = Folder::empty();
    let served = folder.serve(&SERVE);
    for error in ERRORS {
        // The first call that fails, of each thread.
        for first in 1.. {
            let trace = folder.path().join("trace");
            let inject = format!("inject=getrandom:error={error}:when={first}+");
            let mut command = folder.traced(&["-f", "-qq", "-e", "trace=getrandom", "-e", &inject], &trace);
            let id = format!("{error}-{first}");
            let arguments = [
                "client",
                "create",
                "Other",
                "--id",
                &id,
                "--grant",
                "client_credentials",
            ];
            let Ok(output) = command.args(arguments).args(["--output", "json"]).output() else {
                return skip("what a command does");
            };
            let failed = injected(&trace);
            let made = folder.run(&["client", "show", &id]).status.success();
            assert_eq!(made, output.status.success(), "{output:?}");
            if made {
                let created: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
                let form = Request::form(TOKEN, &[("grant_type", "client_credentials")]);
                let secret = created["client_secret"].as_str().unwrap();
                assert_eq!(send(served.address, &form.basic(&id, secret)).status, 200);
            }
            match failed {
                None => return skip("what a command does"),
                Some(0) if first == 1 => return skip("what a command does"),
                Some(0) => break,
                Some(_) => {}
            }
        }
    }
}

fn client(folder: &Folder) -> String {
    let arguments = "client create Shop --id shop --grant client_credentials --grant password --grant refresh_token";
    let created = folder.json(&arguments.split(' ').collect::<Vec<_>>());
    created["client_secret"].as_str().unwrap().to_owned()
}

fn token(served: &Served, secret: &str) -> Response {
    let form = Request::form(TOKEN, &[("grant_type", "client_credentials")]);
    send(served.address, &form.basic("shop", secret))
}

fn login(served: &Served, secret: &str) -> Response {
    let form = [
        ("grant_type", "password"),
        ("username", "alice"),
        ("password", PASSWORD),
    ];
    send(served.address, &Request::form(TOKEN, &form).basic("shop", secret))
}

fn assert_unavailable(answer: &Response) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.json()["error"], "temporarily_unavailable");
    assert!(answer.header("retry-after").is_some());
}

fn skip(what: &str) {
    // Past the test runner, which would swallow it.
    let why =
        format!("SKIPPED: strace cannot make getrandom fail here; {what} without random numbers was NOT checked\n");
    std::io::stderr().write_all(why.as_bytes()).unwrap();
}
