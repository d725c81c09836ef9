//! What the log holds, whoever writes to the server: rows N of the catalogue.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::http::{Request, send};
use crate::support::process::Folder;
use crate::support::server::{JWKS, TOKEN};

const ISSUER: [&str; 2] = ["--issuer", "https://auth.example"];

fn events(log: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}")))
        .collect()
}

// N-06
#[test]
fn nothing_that_a_client_sends_makes_a_line_of_its_own() {
    let folder = Folder::empty();
    let served = folder.serve(&ISSUER);
    let forged = "x\r\n{\"event\":\"forged\"}\u{1b}[31m\u{2028}\u{85}\"}";
    let encoded: String = url::form_urlencoded::byte_serialize(forged.as_bytes()).collect();
    for request in [
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
            .header("User-Agent", "{\"event\":\"forged\"}\u{1b}[31m")
            .header("X-Forwarded-For", "{\"event\":\"forged\"}"),
    ] {
        send(served.address, &request);
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
    assert!(
        !log.contains('\u{1b}') && !log.contains('\u{2028}') && !log.contains('\u{85}'),
        "{log}"
    );
}

// N-01
#[test]
fn a_flood_of_refusals_is_counted_whole_and_logged_in_part() {
    const FLOOD: u64 = 400;
    let folder = Folder::empty();
    let served = folder.serve(&ISSUER);
    let wrong = Request::form(TOKEN, &[("grant_type", "client_credentials")]).basic("nobody", "wrong");
    for _ in 0..FLOOD {
        send(served.address, &wrong);
    }
    let (_, log) = served.terminate();
    let refused: Vec<Value> = events(&log)
        .into_iter()
        .filter(|event| event["event"] == "token.refused")
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
