//! What operators look at names what there is: alerts, dashboard and their document.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::Value;

use crate::refresh::{PASSWORD, for_people, refresh, session, sign_in};
use crate::support::Database;
use crate::support::http::{Request, send};
use crate::support::postgres::Session;
use crate::support::process::Folder;
use crate::support::server::{JWKS, TOKEN, TestServer, metadata};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

const RULES: &str = "deploy/prometheus/keywheel.rules.yml";
/// Tells of nodes that are well and of some that are not, and which alerts that means.
const TRIALS: &str = "deploy/prometheus/keywheel.rules_test.yml";
const DASHBOARD: &str = "deploy/grafana/keywheel.json";

/// Every metric of a server that was asked a little, with its labels.
fn metrics() -> BTreeMap<String, BTreeSet<String>> {
    let database = Database::sqlite();
    let server = TestServer::start(database.url());
    let client = server.client("billing", metadata());
    server.client("shop", for_people());
    server.granted(&client, &[]);
    server.get(JWKS);
    // As a server does that speaks TLS.
    server.server.metrics().tls_certificate("c2hhMjU2", server.now());
    // Once a minute secrets that end are counted.
    server.advance(keywheel::oauth::Seconds::minutes(2));
    server.tick().unwrap();
    let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for sample in server.metrics().lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = sample.split_once(['{', ' ']).unwrap();
        let labels = rest
            .split(['{', ','])
            .filter_map(|label| Some(label.split_once("=\"")?.0.to_owned()));
        metrics.entry(name.to_owned()).or_default().extend(labels);
    }
    metrics
}

/// The metrics that a text names, each with the labels that it chooses by.
fn named(text: &str) -> Vec<(&str, Vec<&str>)> {
    let ours = text.match_indices("keywheel_");
    let of_the_process = text.match_indices("process_");
    ours.chain(of_the_process)
        .map(|(at, _)| {
            let end = text[at..].find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap() + at;
            let chosen = text[end..]
                .strip_prefix('{')
                .and_then(|rest| Some(rest.split_once('}')?.0));
            let labels = chosen
                .unwrap_or_default()
                .split(',')
                .filter_map(|label| Some(label.split_once(['=', '!'])?.0));
            (&text[at..end], labels.collect())
        })
        .collect()
}

#[test]
fn alerts_and_dashboard_name_metrics_and_labels_that_there_are() {
    let there_are = metrics();
    for file in [RULES, DASHBOARD] {
        let text = read(file).replace("\\\"", "\"");
        let named = named(&text);
        assert!(named.len() > 15, "{file}");
        for (metric, labels) in named {
            let known = there_are
                .get(metric)
                .unwrap_or_else(|| panic!("{file}: there is no {metric}"));
            for label in labels.into_iter().filter(|label| !["instance", "job"].contains(label)) {
                assert!(known.contains(label), "{file}: {metric} has no label {label}");
            }
        }
    }
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let dashboard = read(DASHBOARD);
    for metric in metrics().keys() {
        assert!(dashboard.contains(metric.as_str()), "{metric}");
    }
    let document: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = document["panels"].as_array().unwrap();
    assert!(panels.iter().all(|panel| panel["targets"][0]["expr"].is_string()));
}

#[test]
fn every_alert_has_its_section_in_the_document_and_every_section_its_alert() {
    let rules = read(RULES);
    let alerts: BTreeSet<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    let document = read("docs/operations.md");
    let sections: BTreeSet<&str> = document.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(alerts, sections);
    for alert in alerts {
        let runbook = format!("runbook: docs/operations.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&runbook), "{runbook}");
    }
}

#[test]
fn alerts_ring_when_they_should_and_not_otherwise() {
    for arguments in [["check", RULES], ["test", TRIALS]] {
        let [what, file] = arguments;
        let done = Command::new("promtool")
            .args([what, "rules", file])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("Prometheus is not installed: run scripts/install-missing");
        assert!(done.status.success(), "{what}: {done:?}");
        assert!(
            String::from_utf8_lossy(&done.stdout).contains("SUCCESS"),
            "{what}: {done:?}"
        );
    }
    // Each is tried on what it is about, and on what it is not about.
    let trials = read(TRIALS);
    let rules = read(RULES);
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let name = format!("alertname: {alert}\n");
        let asked: Vec<bool> = trials
            .split(&name)
            .skip(1)
            .map(|expected| expected.trim_start().starts_with("exp_alerts: []"))
            .collect();
        assert!(asked.contains(&true) && asked.contains(&false), "{alert}: {asked:?}");
    }
}

#[test]
fn a_request_is_measured_by_its_endpoint_once_it_was_read() {
    let database = Database::sqlite();
    let server = TestServer::start(database.url());
    let client = server.client("billing", metadata());
    server.granted(&client, &[]);
    assert_eq!(server.token(&client, &[("scope", "unknown")]).status, 400);
    // Neither is asked anything.
    assert_eq!(server.get(TOKEN).status, 405);
    server.get(JWKS);
    let metrics = server.metrics();
    let sample = |name: &str, labels: &str| {
        let line = format!("keywheel_request_duration_seconds_{name}{{{labels}}} ");
        let found = metrics.lines().find_map(|sample| sample.strip_prefix(&line));
        found.unwrap_or_else(|| panic!("{line}: {metrics}")).parse().unwrap()
    };
    let counted: [f64; 3] =
        ["token", "introspection", "revocation"].map(|of| sample("count", &format!("endpoint=\"{of}\"")));
    assert_eq!(counted, [2.0, 0.0, 0.0]);
    assert_eq!(sample("bucket", "le=\"+Inf\",endpoint=\"token\""), 2.0);
    assert!(sample("sum", "endpoint=\"token\"") > 0.0);
}

fn await_until(reached: impl Fn() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a sample says whose name and labels are these.
fn sample(metrics: &str, name: &str) -> f64 {
    let found = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("{name}: {metrics}")).parse().unwrap()
}

#[test]
fn connections_and_those_who_wait_are_told() {
    let database = Database::postgres();
    let server = TestServer::start(database.url());
    let client = server.client("app", for_people());
    server.user("alice", PASSWORD);
    // A token that this node exchanged: the next exchange takes no thread.
    let begun = sign_in(&server, &client, &[]);
    let known = session(&refresh(&server, &client, &begun.refresh, &[]));
    let told = |name: &str| sample(&server.metrics(), name);
    await_until(|| told("keywheel_connections") == 0.0);
    let open: Vec<_> = (0..3).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    await_until(|| told("keywheel_connections") == 3.0);
    drop(open);
    await_until(|| told("keywheel_connections") == 0.0);
    let waiting = |waits_for: &str| told(&format!("keywheel_waiting_requests{{waits_for=\"{waits_for}\"}}"));
    for nobody in ["signature", "exchange", "storage", "password"] {
        assert_eq!(waiting(nobody), 0.0, "{nobody}");
    }
    let holder = Session::open(database.url());
    holder.execute("BEGIN; LOCK TABLE family_gate IN EXCLUSIVE MODE");
    std::thread::scope(|scope| {
        let refreshed = scope.spawn(|| refresh(&server, &client, &known.refresh, &[]));
        await_until(|| waiting("exchange") == 1.0);
        holder.execute("COMMIT");
        assert_eq!(refreshed.join().unwrap().status, 200);
    });
    assert_eq!(waiting("exchange"), 0.0);
}

#[test]
fn the_process_is_measured_under_the_names_that_other_programs_use() {
    let folder = Folder::empty();
    let made_at = std::fs::metadata(folder.path()).unwrap().modified().unwrap();
    let begun = made_at.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let served = folder.serve(&["--issuer", "http://127.0.0.1:1"]);
    let metrics = send(served.management, &Request::get("/metrics"));
    let told = |name: &str| sample(metrics.text(), name);
    assert!(told("process_resident_memory_bytes") > 4e6 && told("process_resident_memory_bytes") < 1e9);
    assert!(told("process_virtual_memory_bytes") > told("process_resident_memory_bytes"));
    assert!(told("process_open_fds") > 5.0 && told("process_open_fds") < told("process_max_fds"));
    assert!(told("process_threads") > 3.0);
    assert!(told("process_cpu_seconds_total") > 0.0);
    assert!((told("process_start_time_seconds") - begun).abs() < 60.0, "{begun}");
}
