//! What the log holds, whoever writes to the server: rows N of the catalogue.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::{Connection, Request, send};
use crate::support::on_sqlite;
use crate::support::process::Folder;
use crate::support::server::{JWKS, Options, TOKEN, TestServer, metadata};

const ISSUER: [&str; 2] = ["--issuer", "https://auth.example"];

fn events(log: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}")))
        .collect()
}

/// What would end a line, colour a terminal, or leave the text of a JSON document.
const FORGED: &str = "x\r\n{\"event\":\"forged\"}\u{1b}[31m\u{9b}31m\u{2028}\u{2029}\u{85}\u{202e}\"}";

/// Requests with it in every place that takes one.
fn forgeries() -> Vec<Request> {
    let forged = FORGED;
    let encoded: String = url::form_urlencoded::byte_serialize(forged.as_bytes()).collect();
    let in_a_header = "{\"event\":\"forged\"}\u{1b}[31m";
    let mut forgeries = vec![
        Request::form(
            TOKEN,
            &[("grant_type", forged), ("client_id", forged), ("client_secret", forged)],
        ),
        Request::form(
            TOKEN,
            &[("grant_type", "password"), ("username", forged), ("password", forged)],
        ),
        Request::form(&format!("{TOKEN}?a={encoded}"), &[("grant_type", "client_credentials")]),
        Request::form(
            &format!("{TOKEN}?client_secret={encoded}"),
            &[("grant_type", "client_credentials")],
        ),
        Request::form(TOKEN, &[("grant_type", "client_credentials")])
            .header("User-Agent", in_a_header)
            .header("X-Forwarded-For", "{\"event\":\"forged\"}"),
        Request::form(TOKEN, &[("grant_type", "client_credentials")]).basic(forged, forged),
        Request::form(TOKEN, &[("grant_type", "refresh_token"), ("refresh_token", forged)]).basic("shop", forged),
        Request::form(TOKEN, &[("scope", forged), ("resource", forged), (forged, forged)]),
        Request::raw_form(TOKEN, forged),
        Request::new("POST", "/oauth2/register")
            .header("Content-Type", "application/json")
            .body(forged.as_bytes()),
        Request::get(&format!("/oauth2/register/{encoded}")).header("Authorization", &format!("Bearer {in_a_header}")),
        Request::get(&format!("/admin/v1/clients/{encoded}?{encoded}={encoded}")).header("Authorization", in_a_header),
        Request::get(&format!("/.well-known/keywheel/keys/{encoded}.pem")),
        Request::get(JWKS)
            .header("User-Agent", in_a_header)
            .header("If-None-Match", in_a_header),
    ];
    for header in [
        "X-Request-Id",
        "traceparent",
        "Cookie",
        "Referer",
        "Origin",
        "Idempotency-Key",
        "Content-Type",
    ] {
        forgeries.push(
            Request::form(TOKEN, &[("grant_type", "client_credentials")])
                .basic("nobody", "wrong")
                .header(header, in_a_header),
        );
    }
    forgeries
}

// N-06, T-15
#[test]
fn nothing_that_a_client_sends_makes_a_line_of_its_own() {
    let folder = Folder::empty();
    let served = folder.serve_with(&ISSUER, &[("KEYWHEEL_TRUSTED_PROXIES", "127.0.0.1")]);
    for request in forgeries() {
        // What is not HTTP is refused before anybody looks at it.
        Connection::open(served.address).try_send(&request);
    }
    let (_, log) = served.terminate();
    let events = events(&log);
    assert!(
        events.iter().filter(|event| event["event"] == "token.refused").count() >= 4,
        "{log}"
    );
    assert!(
        events.iter().any(|event| event["reason"] == "credential_in_url"),
        "T-15: {log}"
    );
    assert!(events.iter().all(|event| event["event"] != "forged"), "{log}");
    assert!(log.chars().all(|c| c == '\n' || !is_forged(c)), "{log}");
}

/// Of what was sent, the characters that must not be in a log as they are.
fn is_forged(c: char) -> bool {
    c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c)
}

// N-06
#[test]
fn nor_does_it_in_a_log_for_people() {
    let folder = Folder::empty();
    let mut command = folder.command(&["serve", "--dev"]);
    let log = folder.path().join("log");
    let file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
    command
        .env("KEYWHEEL_LOG", "text,debug")
        .stdout(Stdio::piped())
        .stderr(file);
    let mut child = command.spawn().unwrap();
    let address = listening(child.stdout.take().unwrap());
    for request in forgeries() {
        Connection::open(address).try_send(&request);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.matches("token.refused").count() >= 4, "{log}");
    assert!(log.chars().all(|c| c == '\n' || !is_forged(c)), "{log}");
    let begins = |line: &str| line.len() > 20 && line.starts_with("20") && line[..20].ends_with('.');
    assert!(log.lines().all(begins), "{log}");
}

/// The address in what `serve --dev` prints.
fn listening(stdout: impl std::io::Read) -> std::net::SocketAddr {
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    // To the end: a server that cannot print its welcome ends.
    let last = lines.find(|line| line.contains(JWKS)).unwrap();
    let (_, rest) = last.split_once("http://").unwrap();
    rest.split_once('/').unwrap().0.parse().unwrap()
}

// N-01
#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let folder = Folder::empty();
    // The disk is full.
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = folder.command(&["serve", "--dev"]);
    command.stdout(Stdio::piped()).stderr(full);
    let mut child = command.spawn().unwrap();
    let address = listening(child.stdout.take().unwrap());
    let wrong = Request::form(TOKEN, &[("grant_type", "client_credentials")]).basic("nobody", "wrong");
    // On all threads that answer.
    for _ in 0..50 {
        assert!([401, 429].contains(&send(address, &wrong).status));
        assert_eq!(send(address, &Request::get(JWKS)).status, 200);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_is_refused_has_one_name_in_the_log_and_in_its_answer() {
    let folder = Folder::empty();
    let served = folder.serve_with(&ISSUER, &[("KEYWHEEL_TRUSTED_PROXIES", "127.0.0.1")]);
    let wrong = |path: &str| Request::form(path, &[("grant_type", "client_credentials")]).basic("nobody", "wrong");
    let (introspect, revoke) = ("/oauth2/introspect", "/oauth2/revoke");
    let json = Request::new("POST", "/oauth2/register").header("Content-Type", "application/json");
    let logged = [
        wrong(TOKEN),
        wrong(TOKEN),
        wrong(TOKEN).header("X-Request-Id", "req-7"),
        wrong(TOKEN).header("X-Request-Id", "not a word"),
        wrong(introspect),
        wrong(revoke),
        Request::raw_form(TOKEN, "%"),
        json.body(b"{}"),
        Request::get("/admin/v1/clients"),
    ];
    let unlogged = [
        Request::get("/nowhere"),
        Request::get(TOKEN),
        Request::get("/admin/v1/nowhere"),
        Request::get("/livez").header("Upgrade", "h2c"),
        Request::get("/oauth2/authorize"),
    ];
    let name = |request: &Request| {
        let response = send(served.address, request);
        assert!(response.status >= 400);
        let name = response.header("x-request-id");
        name.unwrap_or_else(|| panic!("{request:?}: {response:?}")).to_owned()
    };
    let answered: Vec<String> = logged.iter().map(name).collect();
    let others: Vec<String> = unlogged.iter().map(name).collect();
    assert_eq!(answered[2], "req-7");
    let different: BTreeSet<&String> = answered.iter().chain(&others).collect();
    assert_eq!(different.len(), logged.len() + unlogged.len());
    assert_eq!(send(served.address, &Request::get(JWKS)).header("x-request-id"), None);
    let (_, log) = served.terminate();
    let refused: Vec<Value> = events(&log)
        .into_iter()
        .filter(|event| event["event"].as_str().is_some_and(|name| name.ends_with(".refused")))
        .collect();
    let names: Vec<&str> = refused
        .iter()
        .map(|event| event["request_id"].as_str().unwrap())
        .collect();
    assert_eq!(names, answered);
}

#[test]
fn what_fails_is_named_too_and_what_succeeds_is_not() {
    on_sqlite(|database| {
        let options = Options::default();
        let without = options.without_randomness.clone();
        let server = TestServer::with(database.url(), options);
        let client = server.client("shop", metadata());
        assert_eq!(server.token(&client, &[]).header("x-request-id"), None);
        without.store(true, Ordering::SeqCst);
        let failed = server.token(&client, &[]);
        assert_eq!(failed.status, 503);
        assert_eq!(failed.header("x-request-id").map(str::len), Some(16));
    });
}

// A secret in the wrong field must not come into the log as somebody's name.
#[test]
fn the_log_names_clients_that_there_are_and_no_others() {
    let folder = Folder::empty();
    folder.create_client("billing");
    let served = folder.serve(&ISSUER);
    for id in ["billing", "hunter2"] {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id),
            ("client_secret", "wrong"),
        ];
        assert_eq!(send(served.address, &Request::form(TOKEN, &form)).status, 401);
        // HTTP Basic is what most clients send.
        let request = Request::form(TOKEN, &form[..1]).basic(id, "wrong");
        assert_eq!(send(served.address, &request).status, 401);
    }
    let (_, log) = served.terminate();
    let clients: Vec<Value> = events(&log)
        .into_iter()
        .filter(|event| event["event"] == "token.refused")
        .map(|event| event["client"].clone())
        .collect();
    assert_eq!(json!(clients), json!(["billing", "billing", "-", "-"]));
    assert!(!log.contains("hunter2"), "{log}");
}

// N-01
#[test]
fn a_flood_of_refusals_is_counted_whole_and_logged_in_part() {
    const FLOOD: u64 = 400;
    let folder = Folder::empty();
    let served = folder.serve(&ISSUER);
    let floods = [
        Request::form(TOKEN, &[("grant_type", "client_credentials")]).basic("nobody", "wrong"),
        Request::get("/admin/v1/clients").header("Authorization", "Bearer wrong"),
        Request::get("/oauth2/register/nobody").header("Authorization", "Bearer wrong"),
    ];
    for wrong in floods.iter().cycle().take(FLOOD as usize) {
        send(served.address, wrong);
    }
    let (_, log) = served.terminate();
    let refused: Vec<Value> = events(&log)
        .into_iter()
        .filter(|event| event["event"].as_str().is_some_and(|name| name.ends_with(".refused")))
        .collect();
    let told: u64 = refused
        .iter()
        .map(|event| event["suppressed"].as_u64().unwrap() + 1)
        .sum();
    assert!(told <= FLOOD, "{told}");
    let mut by_second = std::collections::BTreeMap::new();
    for event in &refused {
        let second = event["timestamp"].as_str().unwrap()[..19].to_owned();
        *by_second.entry(second).or_insert(0) += 1;
    }
    // A second of the log's clock overlaps with two of the counter's.
    assert!(by_second.values().all(|lines| *lines <= 40), "{by_second:?}");
    assert!(!refused.is_empty());
}

/// A server whose log goes to `stderr`, once it listens, with its public and its management address.
fn serve_logging_to(folder: Folder, stderr: Stdio) -> (Child, [SocketAddr; 2], Folder) {
    let addresses = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let folder = folder
        .with("KEYWHEEL_LISTEN", &addresses[0].to_string())
        .with("KEYWHEEL_MANAGEMENT_LISTEN", &addresses[1].to_string());
    let mut command = folder.command(&["serve"]);
    let child = command
        .args(ISSUER)
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while std::net::TcpStream::connect(addresses[0]).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    (child, addresses, folder)
}

fn terminate(mut child: Child) {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

// N-01, N-02: the disk of the log is full.
#[test]
fn a_log_that_cannot_be_written_stops_no_answer_and_its_lines_are_counted() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (child, [public, management], _folder) = serve_logging_to(Folder::empty(), full.into());
    let wrong = Request::form(TOKEN, &[("grant_type", "client_credentials")]).basic("nobody", "wrong");
    for _ in 0..3 {
        assert_eq!(send(public, &wrong).status, 401);
    }
    let begun = Instant::now();
    let dropped = || {
        let metrics = send(management, &Request::get("/metrics"));
        let line = metrics
            .text()
            .lines()
            .find_map(|line| line.strip_prefix("keywheel_log_lines_dropped_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    while dropped() < 4 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", dropped());
        std::thread::sleep(Duration::from_millis(50));
    }
    terminate(child);
}

// N-01: whoever reads the log stands still.
#[test]
fn a_log_that_nobody_reads_stops_no_answer_and_goes_on_when_it_is_read() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // It is full before the server writes its first word.
    writer.write_all(&vec![b'\n'; 65_536]).unwrap();
    let (child, [public, _], _folder) = serve_logging_to(Folder::empty(), writer.into());
    let wrong = Request::form(TOKEN, &[("grant_type", "client_credentials")]).basic("nobody", "wrong");
    for _ in 0..10 {
        assert_eq!(send(public, &wrong).status, 401);
        assert_eq!(send(public, &Request::get(JWKS)).status, 200);
    }
    let lines = BufReader::new(reader).lines().map_while(Result::ok);
    let mut lines = lines.filter(|line| !line.is_empty());
    assert!(lines.any(|line| line.contains("\"serving\"")));
    assert!(lines.any(|line| line.contains("token.refused")));
    terminate(child);
    assert!(
        lines.any(|line| line.contains("\"stopped\"")),
        "the last words are written"
    );
}
