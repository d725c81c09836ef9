//! What a connection may keep: time, memory, and its place among others.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::limits::{on_each_listener, within};
use crate::support::http::{Connection, Request};
use crate::support::on_sqlite;
use crate::support::process::Folder;
use crate::support::server::{JWKS, Options, TestServer};

const LIVEZ: &str = "GET /livez HTTP/1.1\r\nHost: a\r\n";

// H-19: actix measures no time while it has bytes that it takes for none of a request.
#[test]
fn an_empty_line_after_an_answer_has_the_time_of_a_head_on_every_listener() {
    on_each_listener(|address| {
        let after_an_answer = ["\r\n", "\n", "\r"].map(|empty| {
            let mut connection = Connection::open(address);
            assert_ne!(connection.send(&Request::get("/livez")).status, 0);
            connection.send_raw_unanswered(empty.as_bytes()).unwrap();
            connection
        });
        let mut behind_a_request = Connection::open(address);
        behind_a_request
            .send_raw_unanswered(format!("{LIVEZ}\r\n\r\n").as_bytes())
            .unwrap();
        behind_a_request.read_answer();
        for connection in after_an_answer.iter().chain([&behind_a_request]) {
            within(15, "an empty line holds it for ever", || connection.has_answer());
        }
    });
}

#[test]
fn an_empty_line_before_a_request_is_ignored() {
    on_each_listener(|address| {
        let mut connection = Connection::open(address);
        for _ in 0..3 {
            let answer = connection.send_raw(format!("\r\n{LIVEZ}\r\n").as_bytes()).unwrap();
            assert_ne!(answer.status, 400);
        }
    });
}

// H-17
#[test]
fn a_chunked_body_that_nobody_reads_and_nobody_sends_holds_no_connection_on_any_listener() {
    on_each_listener(|address| {
        for head in [
            format!("{LIVEZ}Transfer-Encoding: chunked\r\n\r\n"),
            format!("{LIVEZ}Transfer-Encoding: chunked\r\nUpgrade: x\r\n\r\n"),
            "GET /livez HTTP/1.1\r\nHost: a b\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        ] {
            let mut connection = Connection::open(address);
            let answer = connection.send_raw(head.as_bytes()).unwrap();
            assert_eq!(answer.header("connection"), Some("close"), "{head}");
            within(10, "it is still there", || connection.has_answer());
        }
    });
}

#[test]
fn the_room_that_was_made_for_a_long_request_is_not_kept() {
    on_each_listener(|address| {
        let mut connection = Connection::open(address);
        let with = |length: usize| Request::get("/livez").header("X-Long", &"x".repeat(length));
        assert_eq!(connection.send(&with(8_000)).header("connection"), None);
        assert_eq!(connection.send(&with(20_000)).header("connection"), Some("close"));
        assert!(connection.is_closed());
    });
}

// H-22
#[test]
fn who_does_not_read_makes_room_for_others_too() {
    on_sqlite(|database| {
        let options = Options {
            max_connections: 32,
            ..Options::default()
        };
        let server = TestServer::with(database.url(), options);
        let asked = format!("GET {JWKS} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(100);
        let deaf: Vec<Connection> = (0..32)
            .map(|_| {
                let mut connection = Connection::with_a_small_window(server.address);
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_secs(5) && connection.try_send_raw(asked.as_bytes()).is_ok() {}
                connection
            })
            .collect();
        sleep(Duration::from_secs(1));
        let begun = Instant::now();
        let mut others: Vec<Connection> = (0..8).map(|_| Connection::open(server.address)).collect();
        for connection in &mut others {
            assert_eq!(connection.send(&Request::get("/livez")).status, 200);
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        drop(deaf);
    });
}

// N-01
#[test]
fn what_cannot_be_read_is_no_line_of_the_log() {
    let folder = Folder::empty();
    let served = folder.serve(&["--dev"]);
    for malformed in [
        "x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nX\r\n",
    ] {
        let mut connection = Connection::open(served.address);
        assert!(connection.send_raw(malformed.as_bytes()).unwrap().status >= 400);
    }
    let log = served.ask_to_stop();
    assert!(!log.contains("stream error") && !log.contains("actix_http"), "{log}");
}
