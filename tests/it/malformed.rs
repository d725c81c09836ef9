//! Malformed requests by the hundred, directly and through proxies that use a connection for one client after the other. The
//! requests are made, sent and judged by `tests/malformed`.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::process::Folder;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The same requests every time.
const SEED: u64 = 1;

// H-01 to H-07, H-09, H-10, H-13 to H-18, H-23, H-24
#[test]
fn of_hundreds_of_malformed_requests_none_is_a_fault_hangs_or_harms_who_comes_after_it() {
    send(None);
}

// H-11
#[test]
fn behind_haproxy_whoever_comes_after_a_malformed_request_gets_their_own_answer() {
    send(Some("haproxy"));
}

// H-11
#[test]
fn behind_nginx_whoever_comes_after_a_malformed_request_gets_their_own_answer() {
    send(Some("nginx"));
}

// H-11
#[test]
fn behind_apache_whoever_comes_after_a_malformed_request_gets_their_own_answer() {
    send(Some("apache"));
}

fn send(proxy: Option<&str>) {
    let folder = Folder::empty().with("KEYWHEEL_ISSUER", "https://auth.example");
    let client = |id: &str| json!({"client_id": id, "client_secret": folder.client_secret(id)});
    let clients = ["sender", "one", "two", "three"].map(client);
    let server = folder.serve(&[]);
    let description = json!({
        "address": server.address.to_string(),
        "clients": clients,
        "pid": server.pid(),
        "proxy": proxy,
        "seed": SEED,
        "tries": tries(),
    });
    let path = folder.path().join("malformed.json");
    std::fs::write(&path, description.to_string()).unwrap();
    let output = Command::new("python3")
        .arg("-B")
        .arg(Path::new(ROOT).join("tests/malformed/run.py"))
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    #[expect(clippy::print_stdout, reason = "what was sent, for those who ask with --nocapture")]
    {
        print!("{said}");
    }
    let (status, log) = server.terminate();
    assert!(status.success() && !log.contains("panicked"), "{log}");
}

/// How many requests go through a proxy; 0 for each of them once.
fn tries() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "the tests have no configuration")]
    let tries = std::env::var("KEYWHEEL_MALFORMED_TRIES").ok();
    tries.map_or(0, |tries| tries.parse().unwrap())
}
