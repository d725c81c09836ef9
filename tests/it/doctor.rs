//! `keywheel doctor` finds what is wrong and says how to mend it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::http::{Request, send};
use crate::support::process::{Folder, Served};
use crate::support::server::JWKS;
use crate::support::{Database, on_both};

const SERVE: [&str; 2] = ["--issuer", "http://127.0.0.1:1"];

/// What was found about one thing.
fn finding<'a>(findings: &'a Value, check: &str) -> &'a Value {
    let found = findings
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("{check} was not looked at: {findings}"))
}

/// What the command finds, and its exit status.
fn examined(folder: &Folder, arguments: &[&str]) -> (Value, Option<i32>) {
    let mut all = vec!["doctor"];
    all.extend_from_slice(arguments);
    all.extend(["--output", "json"]);
    let output = folder.run(&all);
    let findings = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (findings, output.status.code())
}

fn assert_finding(findings: &Value, check: &str, state: &str, found: &str, mend: &str) {
    let finding = finding(findings, check);
    assert_eq!(finding["state"], state, "{finding}");
    assert!(finding["found"].as_str().unwrap().contains(found), "{finding}");
    assert!(finding["mend"].as_str().unwrap_or_default().contains(mend), "{finding}");
}

#[test]
fn a_sound_server_has_nothing_to_mend() {
    on_both(|database| {
        let folder = Folder::empty().with("DATABASE_URL", database.url());
        let served = folder.serve(&SERVE);
        let folder = folder.with("KEYWHEEL_ISSUER", SERVE[1]);
        let url = format!("http://{}", served.address);
        let (findings, status) = examined(&folder, &["--url", &url]);
        assert_eq!(status, Some(0), "{findings}");
        // PostgreSQL need not sync what tests write.
        let sound = |finding: &&Value| !database.url().starts_with("postgres") || finding["check"] != "durability";
        for finding in findings.as_array().unwrap().iter().filter(sound) {
            assert_eq!(finding["state"], "ok", "{finding}");
            assert!(finding.get("mend").is_none(), "{finding}");
        }
        for check in [
            "configuration",
            "database",
            "durability",
            "clock",
            "master key",
            "keys",
            "issuer",
            "key set",
            "caching of the key set",
        ] {
            finding(&findings, check);
        }
        let text = folder.run(&["doctor", "--url", &url]);
        assert!(String::from_utf8_lossy(&text.stdout).contains("master key"), "{text:?}");
    });
}

#[test]
fn a_postgresql_that_tells_before_it_has_written_is_called_forgetful() {
    let database = Database::postgres();
    let name = database.query("SELECT current_database()").remove(0);
    let folder = Folder::empty().with("DATABASE_URL", database.url());
    let told =
        |served: &Served| served.begun.contains("database.forgetful") && served.begun.contains("synchronous_commit");
    let served = folder.serve(&SERVE);
    assert!(!told(&served), "{}", served.begun);
    drop(served.terminate());
    database.execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off"));
    let served = folder.serve(&SERVE);
    assert!(told(&served), "{}", served.begun);
    let folder = folder.with("KEYWHEEL_ISSUER", SERVE[1]);
    let (findings, status) = examined(&folder, &["--offline"]);
    assert_eq!(status, Some(0), "{findings}");
    assert_finding(
        &findings,
        "durability",
        "warning",
        "synchronous_commit",
        "postgresql.conf",
    );
}

#[test]
fn what_is_wrong_on_this_machine_fails_with_its_mend_and_changes_nothing() {
    let folder = Folder::empty().with("KEYWHEEL_ISSUER", "http://127.0.0.1:1");
    let (findings, status) = examined(&folder, &["--offline"]);
    assert_eq!(status, Some(1));
    assert_finding(&findings, "database file", "failed", "No such file", "DATABASE_URL");
    assert!(!folder.path().join("keywheel.db").exists());
    std::fs::write(folder.path().join("keywheel.db"), "").unwrap();
    let (findings, status) = examined(&folder, &["--offline"]);
    assert_eq!(status, Some(1));
    assert_finding(
        &findings,
        "database",
        "failed",
        "lacks 0001_initial",
        "keywheel db migrate",
    );
    folder.json(&["db", "migrate"]);
    let (findings, status) = examined(&folder, &["--offline"]);
    assert_eq!(status, Some(0), "a database that is new is no fault: {findings}");
    assert_finding(&findings, "keys", "warning", "no keys yet", "start a server");
    assert!(!folder.path().join("keys").exists(), "a look makes no master key");

    drop(folder.serve(&[]).terminate());
    let database = folder.path().join("keywheel.db");
    std::fs::set_permissions(&database, PermissionsExt::from_mode(0o644)).unwrap();
    let (findings, status) = examined(&folder, &["--offline"]);
    assert_eq!(status, Some(0), "{findings}");
    assert_finding(&findings, "database file", "warning", "644", "chmod 600");
    let key = folder.path().join("keys/master.key");
    let away = folder.path().join("away.key");
    std::fs::rename(&key, &away).unwrap();
    let (findings, status) = examined(&folder, &["--offline"]);
    assert_eq!(status, Some(1));
    assert_finding(
        &findings,
        "master key",
        "failed",
        "none on this machine",
        "KEYWHEEL_MASTER_KEY_FILE",
    );
    assert!(!key.exists());
    std::fs::rename(&away, &key).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let (findings, status) = examined(&folder, &["--offline"]);
    assert_eq!(status, Some(1));
    assert_eq!(finding(&findings, "master key")["state"], "failed");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();

    folder.create_client("billing");
    let secrets = folder.json(&["client", "secret", "list", "billing"]);
    folder.json(&["client", "secret", "add", "billing", "--expires", "3d"]);
    let (findings, _) = examined(&folder, &["--offline"]);
    assert_eq!(finding(&findings, "client secrets")["state"], "ok", "another one lasts");
    folder.json(&[
        "client",
        "secret",
        "revoke",
        "billing",
        secrets[0]["id"].as_str().unwrap(),
    ]);
    let (findings, status) = examined(&folder, &["--offline"]);
    assert_eq!(status, Some(0));
    assert_finding(
        &findings,
        "client secrets",
        "warning",
        "billing at",
        "client secret add",
    );
}

#[test]
fn a_database_out_of_reach_fails_and_no_password_is_told() {
    let folder = Folder::empty().with("DATABASE_URL", "postgres://keywheel:hunter2@127.0.0.1:1/keywheel");
    let output = folder.run(&["doctor", "--offline", "--output", "json"]);
    let (findings, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(1), "{findings}{said}");
    assert!(findings.contains("DATABASE_URL"), "{findings}");
    assert!(!findings.contains("hunter2") && !said.contains("hunter2"));
    let remote = Folder::empty().with(
        "DATABASE_URL",
        "postgres://u@192.0.2.1/k?sslmode=disable&connect_timeout=1",
    );
    let (findings, _) = examined(&remote, &["--offline"]);
    // Nodes on different databases are told apart by it.
    assert_finding(
        &findings,
        "database connection",
        "warning",
        "postgres://u@192.0.2.1:5432/k?sslmode=disable may be in clear",
        "sslmode=verify-full",
    );
}

#[test]
fn what_is_wrong_from_outside_fails_with_its_mend() {
    let folder = Folder::empty();
    let served = folder.serve(&SERVE);
    let url = format!("http://{}", served.address);
    let other = folder.with("KEYWHEEL_ISSUER", "https://auth.example");
    let (findings, status) = examined(&other, &["--url", &url]);
    assert_eq!(status, Some(1));
    assert_finding(
        &findings,
        "issuer",
        "failed",
        "calls itself http://127.0.0.1:1",
        "same KEYWHEEL_ISSUER",
    );
    let folder = other.with("KEYWHEEL_ISSUER", SERVE[1]);
    let (findings, status) = examined(&folder, &[]);
    assert_eq!(status, Some(1), "nobody serves at the issuer");
    assert_finding(&findings, "issuer", "failed", "127.0.0.1:1", "--url");
    // A proxy that meddles.
    for (header, replaced, check, state, found) in [
        (
            "cache-control",
            "cache-control: public, max-age=86400",
            "caching of the key set",
            "failed",
            "86400s",
        ),
        (
            "cache-control",
            "x-removed: 1",
            "caching of the key set",
            "warning",
            "are not told how long",
        ),
        (
            "etag",
            "x-removed: 1",
            "caching of the key set",
            "warning",
            "no entity tag",
        ),
    ] {
        let proxy = proxy(served.address, move |_, answer| {
            for (name, value) in &mut answer.headers {
                if name == header {
                    let (other, text) = replaced.split_once(": ").unwrap();
                    (*name, *value) = (other.to_owned(), text.to_owned());
                }
            }
        });
        let (findings, status) = examined(&folder, &["--url", &format!("http://{proxy}")]);
        assert_eq!(status, Some(i32::from(state == "failed")), "{findings}");
        assert_finding(&findings, check, state, found, "as they are");
    }
    // Somebody in between goes on giving out an old set.
    let document = send(served.address, &Request::get(JWKS));
    let kid = document.json()["keys"][0]["kid"].as_str().unwrap().to_owned();
    let old = document.body.clone();
    let proxy = proxy(served.address, move |target, answer| {
        if target == JWKS && answer.status == 200 {
            answer.body.clone_from(&old);
        }
    });
    let url = format!("http://{proxy}");
    assert_eq!(examined(&folder, &["--url", &url]).1, Some(0));
    folder.json(&["keys", "revoke", &kid]);
    let (findings, status) = examined(&folder, &["--url", &url]);
    assert_eq!(status, Some(1), "{findings}");
    assert_finding(&findings, "key set", "failed", &kid, "old copy");
}

/// An answer on its way through a proxy.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// Passes requests on to the server, and lets `meddle` change the answer to each target.
fn proxy(server: SocketAddr, meddle: impl Fn(&str, &mut Answer) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            let asked: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let target = first.split(' ').nth(1).unwrap_or("/").to_owned();
            let mut request = Request::get(&target);
            for line in asked {
                if let Some((name, value)) = line.split_once(": ")
                    && name.eq_ignore_ascii_case("if-none-match")
                {
                    request = request.header(name, value);
                }
            }
            let found = send(server, &request);
            let header = |name: &str| Some((name.to_owned(), found.header(name)?.to_owned()));
            let headers = ["content-type", "cache-control", "etag"].into_iter().filter_map(header);
            let mut answer = Answer {
                status: found.status,
                headers: headers.collect(),
                body: found.body.clone(),
            };
            meddle(&target, &mut answer);
            let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", answer.status);
            for (name, value) in &answer.headers {
                head += &format!("{name}: {value}\r\n");
            }
            head += &format!("content-length: {}\r\n\r\n", answer.body.len());
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&answer.body));
        }
    });
    address
}
