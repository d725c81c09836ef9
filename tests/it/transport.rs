//! Below the endpoints: framing, sizes, methods, paths, proxies. Rows H of the catalogue of answers.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::support::http::{Connection, Request};
use crate::support::on_sqlite;
use crate::support::server::{JWKS, Options, TOKEN, TestServer, metadata};
use crate::token::assert_refused;

fn with_server(test: impl Fn(&TestServer)) {
    on_sqlite(|database| test(&TestServer::start(database.url())));
}

// H-01 to H-07
#[test]
fn ambiguous_framing_is_refused_and_the_connection_closed() {
    with_server(|server| {
        let head = "POST /oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n";
        let get = "GET /livez HTTP/1.1\r\n";
        for bytes in [
            format!("{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            format!("{head}Content-Length: 4\r\nContent-Length: 5\r\n\r\na=b&c"),
            format!("{head}Content-Length: 4, 4\r\n\r\na=b&"),
            format!("{head}Content-Length: +4\r\n\r\na=b&"),
            format!("{head}Content-Length: 0x4\r\n\r\na=b&"),
            format!("{head}Content-Length: -1\r\n\r\n"),
            format!("{head}Content-Length: 18446744073709551616\r\n\r\n"),
            format!("{head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
            format!("{get}Host : a\r\n\r\n"),
            format!("{get}Host: a\r\n: empty\r\n\r\n"),
            format!("{get}Host: a\r\nX: a\r\n folded\r\n\r\n"),
            format!("{get}Host: a\r\nX: a\0b\r\n\r\n"),
            format!("{get}\r\n"),
            format!("{get}Host: a\r\nHost: b\r\n\r\n"),
        ] {
            let mut connection = Connection::open(server.address);
            let status = connection.send_raw(bytes.as_bytes()).map(|response| response.status);
            assert_eq!(status, Some(400), "{bytes:?}");
            assert!(connection.is_closed(), "{bytes:?}");
        }
    });
}

// H-05
#[test]
fn a_malformed_chunk_is_refused() {
    with_server(|server| {
        let head = "POST /oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n";
        for chunk in [
            "\r\nabc\r\n0\r\n\r\n",
            "0x5\r\nabcde\r\n0\r\n\r\n",
            "11111111111111111\r\na\r\n0\r\n\r\n",
        ] {
            let mut connection = Connection::open(server.address);
            let response = connection.send_raw(format!("{head}{chunk}").as_bytes());
            assert_eq!(response.map(|response| response.status), Some(400), "{chunk:?}");
            assert!(connection.is_closed());
        }
    });
}

// H-08
#[test]
fn a_foreign_host_is_misdirected_where_hosts_are_listed_and_never_reflected() {
    on_sqlite(|database| {
        let options = Options {
            allowed_hosts: vec!["auth.example".to_owned()],
            ..Options::default()
        };
        let server = TestServer::with(database.url(), options);
        for path in [JWKS, "/.well-known/openid-configuration", TOKEN] {
            let foreign = server.send(&Request::get(path).header("Host", "evil.example"));
            assert_eq!(foreign.status, 421, "{path}");
            assert!(!foreign.text().contains("evil"));
        }
        assert_eq!(
            server.send(&Request::get(JWKS).header("Host", "auth.example")).status,
            200
        );
    });
}

// H-09
#[test]
fn an_upgrade_is_refused_and_what_follows_it_is_not_answered() {
    with_server(|server| {
        let bytes = format!(
            "POST {TOKEN} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\na=b&\
             GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let mut connection = Connection::open(server.address);
        assert_eq!(
            connection.send_raw(bytes.as_bytes()).map(|response| response.status),
            Some(400)
        );
        assert!(connection.is_closed());
    });
}

// H-10
#[test]
fn the_protocol_is_never_switched_to_http_2() {
    with_server(|server| {
        let request = "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
        let mut connection = Connection::open(server.address);
        assert_eq!(
            connection.send_raw(request.as_bytes()).map(|response| response.status),
            Some(400)
        );
        assert!(connection.is_closed());
    });
}

// H-14, H-15
#[test]
fn oversized_heads_and_second_names_of_paths_are_refused() {
    with_server(|server| {
        let mut connection = Connection::open(server.address);
        let huge = format!("GET /livez HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(140_000));
        let status = connection.send_raw(huge.as_bytes()).map(|response| response.status);
        assert!(matches!(status, Some(400 | 431) | None), "{status:?}");
        for path in [
            "/oauth2/token/",
            "//oauth2/token",
            "/oauth2/token%00",
            "/oauth2/token;x",
            "/OAUTH2/TOKEN",
            "/..;/oauth2/token",
        ] {
            assert_eq!(
                server
                    .send(&Request::raw_form(path, "grant_type=client_credentials"))
                    .status,
                404,
                "{path}"
            );
        }
    });
}

// H-16, H-17, H-18
#[test]
fn a_body_beyond_the_limit_is_refused_before_it_is_read() {
    with_server(|server| {
        let mut connection = Connection::open(server.address);
        let head = format!(
            "POST {TOKEN} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 16385\r\n\r\n"
        );
        let response = connection.send_raw(head.as_bytes()).expect("an answer before the body");
        assert_refused(&response, 413, "invalid_request");
        assert!(connection.is_closed());

        let mut chunked = format!("POST {TOKEN} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..5 {
            chunked += &format!("1000\r\n{}\r\n", "x".repeat(4_096));
        }
        let response = Connection::open(server.address).send_raw(chunked.as_bytes()).unwrap();
        assert_refused(&response, 413, "invalid_request");

        let gzip = Request::raw_form(TOKEN, "grant_type=client_credentials").header("Content-Encoding", "gzip");
        let response = server.send(&gzip);
        assert_refused(&response, 415, "invalid_request");
        assert_eq!(response.header("accept-encoding"), Some("identity"));
    });
}

// H-26
#[test]
fn headers_of_strangers_change_nothing() {
    with_server(|server| {
        let client = server.client("billing", metadata());
        let plain = server.get("/.well-known/openid-configuration");
        let forged = server.send(
            &Request::get("/.well-known/openid-configuration")
                .header("X-Forwarded-Proto", "http")
                .header("X-Forwarded-Host", "evil.example")
                .header("Forwarded", "host=evil.example;proto=http")
                .header("X-Original-URI", "/admin")
                .header("X-Rewrite-URL", "/admin"),
        );
        assert_eq!((forged.status, &forged.body), (200, &plain.body));
        let token = Request::raw_form(TOKEN, "grant_type=client_credentials")
            .basic(&client.id, &client.secret)
            .header("X-Forwarded-For", "not an address");
        assert_eq!(server.send(&token).status, 200);
    });
}

// H-27
#[test]
fn an_unreadable_address_from_a_trusted_proxy_is_refused() {
    on_sqlite(|database| {
        let options = Options {
            trusted_proxies: vec!["127.0.0.0/8"],
            ..Options::default()
        };
        let server = TestServer::with(database.url(), options);
        let client = server.client("billing", metadata());
        let with = |value: &str| {
            let form = Request::raw_form(TOKEN, "grant_type=client_credentials").basic(&client.id, &client.secret);
            server.send(&form.header("X-Forwarded-For", value))
        };
        assert_eq!(with("192.0.2.7").status, 200);
        for value in ["a", "fe80::1%eth0", &vec!["1.1.1.1"; 400].join(", ")] {
            assert_refused(&with(value), 400, "invalid_request");
        }
    });
}

#[test]
fn what_is_not_in_the_list_of_routes_is_not_found() {
    with_server(|server| {
        for path in [
            "/",
            "/metrics",
            "/admin/v2/clients",
            "/oauth2",
            "/.well-known/",
            "/.well-known/jwks.css",
        ] {
            assert_eq!(server.get(path).status, 404, "{path}");
        }
    });
}

// H-19
#[test]
fn a_head_that_dribbles_in_is_cut_off() {
    with_server(|server| {
        let mut connection = Connection::open(server.address);
        let begun = Instant::now();
        for byte in b"GET /livez HTTP/1.1\r\nHost: a\r\n" {
            if connection.send_raw_unanswered(&[*byte]).is_err() || begun.elapsed() > Duration::from_secs(8) {
                break;
            }
            std::thread::sleep(Duration::from_millis(400));
        }
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    });
}

// H-20
#[test]
fn a_body_that_dribbles_in_is_cut_off() {
    with_server(|server| {
        let mut connection = Connection::open(server.address);
        let begun = Instant::now();
        let head = format!(
            "POST {TOKEN} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 8000\r\n\r\na="
        );
        let mut dribble = connection.stream().try_clone().unwrap();
        let dribbling = std::thread::spawn(move || {
            // As long as it is taken, and twice as long as it may be.
            for _ in 0..40 {
                std::thread::sleep(Duration::from_millis(500));
                if dribble.write_all(b"a").is_err() {
                    break;
                }
            }
        });
        let response = connection.send_raw(head.as_bytes()).expect("an answer");
        assert_refused(&response, 408, "invalid_request");
        assert!((9..13).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        assert!(connection.is_closed());
        dribbling.join().unwrap();
    });
}

// H-17
#[test]
fn a_chunked_body_that_has_no_end_is_not_listened_to_for_long() {
    with_server(|server| {
        for (method, path) in [
            ("POST", TOKEN),
            ("POST", "/oauth2/register"),
            ("POST", "/admin/v1/clients"),
            ("DELETE", "/admin/v1/clients/x"),
            ("GET", JWKS),
            ("GET", "/nowhere"),
        ] {
            let mut connection = Connection::open(server.address);
            let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            connection.send_raw_unanswered(head.as_bytes()).unwrap();
            let chunk = format!("400\r\n{}\r\n", "x".repeat(1_024));
            let begun = Instant::now();
            while connection.send_raw_unanswered(chunk.as_bytes()).is_ok() {
                assert!(
                    begun.elapsed() < Duration::from_secs(15),
                    "{method} {path} is still read"
                );
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
}

#[test]
fn after_a_chunked_body_that_was_read_the_connection_goes_on() {
    with_server(|server| {
        let mut connection = Connection::open(server.address);
        let body = "grant_type=client_credentials";
        let request = format!(
            "POST {TOKEN} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n\
             {:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
        for _ in 0..3 {
            assert_eq!(connection.send_raw(request.as_bytes()).unwrap().status, 401);
        }
    });
}
