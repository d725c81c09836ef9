//! What the log holds, whoever writes to the server: rows N of the catalogue.

use serde_json::Value;

use crate::support::http::{Request, send};
use crate::support::process::Folder;
use crate::support::server::TOKEN;

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
