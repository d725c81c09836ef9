//! OpenTelemetry traces: what is in them, who decides that there are any, and that no collector holds up a request.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::collector::{Answer, Collector, Span, spans, until};
use crate::support::http::{Connection, Request, Response, send};
use crate::support::on_both_processes;
use crate::support::process::{Folder, Served};
use crate::support::server::{JWKS, TOKEN};

const SERVE: [&str; 2] = ["--issuer", "https://auth.example"];
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PASSWORD: &str = "correct horse battery staple";

/// A client for people and services, and a user.
fn inhabited(folder: &Folder) -> String {
    let words =
        "client create Shop --id shop --grant client_credentials --grant password --grant refresh_token --scope read";
    let created = folder.json(&words.split(' ').collect::<Vec<_>>());
    folder.with_input(
        &["user", "create", "alice", "--password-stdin"],
        &format!("{PASSWORD}\n"),
    );
    created["client_secret"].as_str().unwrap().to_owned()
}

fn form(secret: &str, parameters: &[(&str, &str)]) -> Request {
    Request::form(TOKEN, parameters).basic("shop", secret)
}

fn granted(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

/// A metric of a running server.
fn metric(served: &Served, name: &str) -> u64 {
    let metrics = send(served.management(), &Request::get("/metrics"));
    let line = metrics
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}: {}", metrics.text()))
        .parse()
        .unwrap()
}

// N-05
#[test]
fn a_request_is_a_span_with_its_work_below_it() {
    on_both_processes(|folder| {
        let secret = inhabited(folder);
        let collector = Collector::start();
        let settings = [
            (ENDPOINT, collector.url()),
            ("OTEL_SERVICE_NAME", "tokens".to_owned()),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%20b".to_owned()),
        ];
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        let served = folder.serve_with(&SERVE, &settings);
        let to = served.address;
        granted(&send(to, &form(&secret, &[("grant_type", "client_credentials")])));
        let login = [
            ("grant_type", "password"),
            ("username", "alice"),
            ("password", PASSWORD),
        ];
        let login = granted(&send(to, &form(&secret, &login)));
        let refreshed = |before: &Value| {
            let refresh_token = before["refresh_token"].as_str().unwrap();
            let refresh = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
            granted(&send(to, &form(&secret, &refresh)))
        };
        let refresh = refreshed(&login);
        let answers = [login, refreshed(&refresh), refresh];
        let refused = send(to, &form("wrong", &[("grant_type", "client_credentials")]));
        assert_eq!(send(to, &Request::get("/nowhere/hunter2")).status, 404);
        assert_eq!(send(to, &Request::get("/admin/v1/clients/hunter2")).status, 401);
        assert_eq!(send(to, &Request::get("/livez").header("Upgrade", "h2c")).status, 400);
        // What waits is sent before the end.
        served.terminate();

        let exports = collector.rest();
        assert!(exports.iter().all(|export| export.head.starts_with("POST /v1/traces ")));
        assert!(exports.iter().all(|export| export.head.contains("x-tenant: a b\r\n")));
        for export in &exports {
            let text = String::from_utf8_lossy(&export.body);
            assert!(
                text.contains(r#"{"key":"service.name","value":{"stringValue":"tokens"}}"#),
                "{text}"
            );
            for kept in [&secret, PASSWORD, "hunter2", "wrong"] {
                assert!(!text.contains(kept), "{kept}: {text}");
            }
            for answer in &answers {
                assert!(!text.contains(answer["refresh_token"].as_str().unwrap()), "{text}");
                assert!(!text.contains(answer["access_token"].as_str().unwrap()), "{text}");
            }
        }
        let spans = spans(&exports);
        let server: Vec<&Span> = spans.iter().filter(|span| span.0["kind"] == 2).collect();
        let names: Vec<&str> = server.iter().map(|span| span.name()).collect();
        let token = "POST /oauth2/token";
        let expected = [
            token,
            token,
            token,
            token,
            token,
            "GET",
            "GET /admin/v1/clients/{client_id}",
            "GET /livez",
        ];
        assert_eq!(names, expected);
        assert_eq!(server.iter().map(|span| span.trace()).collect::<BTreeSet<_>>().len(), 8);
        for span in &server {
            let (begun, ended) = span.times();
            assert!(begun < ended && span.parent().is_none());
        }

        let below = |span: &Span| -> Vec<&str> {
            let of_it = |part: &&Span| part.parent() == Some(span.id());
            let parts: Vec<&Span> = spans.iter().filter(of_it).collect();
            let (begun, ended) = span.times();
            for part in &parts {
                assert_eq!(part.trace(), span.trace());
                assert!(part.times().0 >= begun && part.times().1 <= ended);
            }
            parts.iter().map(|part| part.name()).collect()
        };
        assert_eq!(below(server[0]), ["read", "sign"]);
        assert_eq!(below(server[1]), ["read", "hash password", "sign", "transaction"]);
        assert_eq!(below(server[2]), ["read", "sign", "write"]);
        // It was exchanged by this very server, so it is not read.
        assert_eq!(below(server[3]), ["sign", "exchange"]);
        let database = spans.iter().find(|span| span.name() == "exchange").unwrap();
        assert!(["sqlite", "postgresql"].contains(&database.attribute("db.system.name").unwrap()));

        let facts = |span: &Span| {
            ["client_id", "grant_type", "error"].map(|name| {
                span.attribute(&format!("keywheel.{name}"))
                    .map(str::to_owned)
                    .unwrap_or_default()
            })
        };
        assert_eq!(facts(server[0]), ["shop", "client_credentials", ""]);
        assert_eq!(facts(server[1]), ["shop", "password", ""]);
        assert_eq!(facts(server[2]), ["shop", "refresh_token", ""]);
        assert_eq!(facts(server[3]), ["shop", "refresh_token", ""]);
        assert_eq!(facts(server[4]), ["", "client_credentials", "invalid_client"]);
        for (span, status) in server
            .iter()
            .zip(["200", "200", "200", "200", "401", "404", "401", "400"])
        {
            assert_eq!(span.attribute("http.response.status_code"), Some(status));
            assert_eq!(span.attribute("client.address"), Some("127.0.0.1"));
            assert_eq!(span.attribute("url.scheme"), Some("https"));
            assert_eq!(span.0.get("status"), None, "no fault of the server's");
        }
        assert_eq!(server[0].attribute("http.request.method"), Some("POST"));
        assert_eq!(server[0].attribute("http.route"), Some(TOKEN));
        assert_eq!(
            server[4].attribute("keywheel.request_id"),
            refused.header("x-request-id")
        );
    });
}

#[test]
fn a_trusted_proxys_trace_goes_on_and_a_strangers_does_not() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let parent = |flags: &str| format!("00-{TRACE}-b7ad6b7169203331-{flags}");
    for (proxies, ratio, flags, goes_on, traced) in [
        ("127.0.0.1", "0", "01", true, true),
        ("127.0.0.1", "1", "00", false, false),
        ("127.0.0.1", "1", "no flags", false, true),
        ("", "0", "01", false, false),
        ("10.0.0.0/8", "0", "01", false, false),
        ("", "1", "00", false, true),
        ("", "1", "01", false, true),
    ] {
        let collector = Collector::start();
        let folder = Folder::empty()
            .with("KEYWHEEL_TRUSTED_PROXIES", proxies)
            .with(ENDPOINT, &collector.url())
            .with("KEYWHEEL_TELEMETRY_SAMPLE_RATIO", ratio);
        let served = folder.serve(&SERVE);
        send(
            served.address,
            &Request::get(JWKS).header("traceparent", &parent(flags)),
        );
        served.terminate();
        let spans = spans(&collector.rest());
        let case = format!("{proxies} {ratio} {flags}: {spans:?}");
        assert_eq!(spans.len(), usize::from(traced), "{case}");
        for span in spans {
            assert_eq!(span.trace() == TRACE, goes_on, "{case}");
            assert_eq!(span.parent(), goes_on.then_some("b7ad6b7169203331"), "{case}");
        }
    }
}

#[test]
fn without_an_endpoint_there_is_no_thread_and_without_a_part_no_connection() {
    let threads = |served: &Served| {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", served.pid())).ok()?;
        let name =
            |task: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.unwrap().path().join("comm"));
        Some(
            tasks
                .filter_map(|task| name(task).ok())
                .filter(|name| name.starts_with("keywheel-traces"))
                .count(),
        )
    };
    let collector = Collector::start();
    let folder = Folder::empty();
    let off = folder.serve_with(&SERVE, &[("KEYWHEEL_TELEMETRY_SAMPLE_RATIO", "1")]);
    assert_eq!(send(off.address, &Request::get(JWKS)).status, 200);
    let threads_off = threads(&off);
    off.terminate();
    let url = collector.url();
    let none = folder.serve_with(&SERVE, &[(ENDPOINT, &url), ("KEYWHEEL_TELEMETRY_SAMPLE_RATIO", "0")]);
    assert_eq!(send(none.address, &Request::get(JWKS)).status, 200);
    if let (Some(off), Some(none)) = (threads_off, threads(&none)) {
        assert_eq!((off, none), (0, 1));
    }
    none.terminate();
    assert_eq!(collector.connections(), 0);
}

#[test]
fn a_silent_collector_holds_up_no_request_and_what_it_does_not_take_is_counted() {
    // More than wait in the queue and are on their way.
    const REQUESTS: usize = 3_500;
    let collector = Collector::answering(&[Answer::Silence]);
    let folder = Folder::empty();
    let secret = inhabited(&folder);
    let served = folder.serve_with(&SERVE, &[(ENDPOINT, &collector.url())]);
    let mut connection = Connection::open(served.address);
    let mut slowest = Duration::ZERO;
    for number in 0..REQUESTS {
        let begun = Instant::now();
        let request = match number % 100 {
            0 => form(&secret, &[("grant_type", "client_credentials")]),
            _ => Request::get(JWKS),
        };
        assert_eq!(connection.send(&request).status, 200);
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    until("the collector is spoken to", || collector.connections() > 0);
    assert!(metric(&served, "keywheel_spans_dropped_total") > 0);
    assert_eq!(metric(&served, "keywheel_spans_exported_total"), 0);
    drop(connection);
    let begun = Instant::now();
    assert!(served.terminate().0.success());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_collector_that_is_down_is_told_of_once_and_its_return_too() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = Folder::empty();
    let served = folder.serve_with(&SERVE, &[(ENDPOINT, &format!("http://{port}"))]);
    for _ in 0..3 {
        assert_eq!(send(served.address, &Request::get(JWKS)).status, 200);
        let lost = metric(&served, "keywheel_spans_dropped_total");
        until("the span is lost", || {
            metric(&served, "keywheel_spans_dropped_total") > lost
        });
    }
    let returned = TcpListener::bind(port).unwrap();
    std::thread::spawn(move || {
        for stream in returned.incoming().map_while(Result::ok) {
            use std::io::{Read as _, Write as _};
            let mut stream = stream;
            let _ = stream.read(&mut [0; 65_536]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    send(served.address, &Request::get(JWKS));
    until("a span is taken", || {
        metric(&served, "keywheel_spans_exported_total") > 0
    });
    let (_, log) = served.terminate();
    for event in ["traces.failed", "traces.recovered"] {
        assert_eq!(log.matches(&format!("\"{event}\"")).count(), 1, "{log}");
    }
}

#[test]
fn what_a_collector_refuses_is_tried_again_or_counted() {
    for (answers, exported, dropped, requests) in [
        (&[Answer::Refused(503), Answer::Taken("")][..], 1, 0, 2),
        (&[Answer::Refused(429), Answer::Refused(503)], 0, 1, 2),
        (&[Answer::Refused(400)], 0, 1, 1),
        (&[Answer::Refused(302)], 0, 1, 1),
        (&[Answer::Taken(r#"{"partialSuccess":{"rejectedSpans":"1"}}"#)], 0, 1, 1),
        (&[Answer::Taken("not JSON")], 1, 0, 1),
    ] {
        let collector = Collector::answering(answers);
        let folder = Folder::empty();
        let served = folder.serve_with(&SERVE, &[(ENDPOINT, &collector.url())]);
        send(served.address, &Request::get("/livez"));
        let counted = || {
            let metric = |name| metric(&served, &format!("keywheel_spans_{name}_total"));
            (metric("exported"), metric("dropped"))
        };
        until("the span is counted", || counted() != (0, 0));
        assert_eq!(counted(), (exported, dropped), "{answers:?}");
        let first = collector.next();
        let again = collector.rest();
        assert_eq!(1 + again.len(), requests, "{answers:?}");
        assert!(again.iter().all(|again| again.body == first.body));
    }
}
