//! How a request is framed, row by row: what two readers could understand in two ways is refused, and the connection closed.

use super::http::{POSTED, administrator};
use super::stage::{ECHO, on_sqlite};
use crate::support::http::{Connection, Request};
use crate::support::server::TOKEN;
use crate::token::assert_refused;

/// A request to the token endpoint with these header lines and this body.
fn posted(lines: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {TOKEN} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nX-Marker: {ECHO}\r\n{lines}\r\n{body}"
    )
    .into_bytes()
}

/// Each is refused with 400 and closed, and nothing of it reaches the rules.
pub(super) fn malformed(requests: &[Vec<u8>]) {
    on_sqlite(|stage| {
        stage.unchanged(|| {
            for bytes in requests {
                stage.closes_on(bytes, 400);
            }
        });
    });
}

// H-01
#[test]
fn h_01_a_length_beside_a_chunked_body_is_refused() {
    let body = "0\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    malformed(&[
        posted("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", body),
        posted("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", body),
        posted("transfer-encoding: CHUNKED\r\ncontent-length: 0\r\n", body),
    ]);
}

// H-02
#[test]
fn h_02_a_second_length_is_refused_even_when_it_is_the_same() {
    malformed(&[
        posted("Content-Length: 4\r\nContent-Length: 4\r\n", "a=b&"),
        posted("Content-Length: 4\r\nContent-Length: 5\r\n", "a=b&c"),
        posted("Content-Length: 0\r\nContent-Length: 4\r\n", "a=b&"),
        posted("Content-Length: 4, 4\r\n", "a=b&"),
    ]);
}

// H-03
#[test]
fn h_03_a_length_is_decimal_digits() {
    let lengths = [
        "+4",
        "0x4",
        "-1",
        "4 4",
        "4;",
        "4.0",
        "",
        "18446744073709551616",
        "99999999999999999999999999",
    ];
    malformed(&lengths.map(|length| posted(&format!("Content-Length: {length}\r\n"), "a=b&")));
}

// H-04
#[test]
fn h_04_no_other_transfer_coding_than_chunked_is_read_and_none_in_http_1_0() {
    let codings = [
        "chunked, identity",
        "identity",
        "identity, chunked",
        "gzip, chunked",
        "xchunked",
        "chunked\x0b",
        "\"chunked\"",
        "chunked, chunked",
        "",
    ];
    let mut requests = codings
        .map(|coding| posted(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n"))
        .to_vec();
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n";
    requests.push(posted(twice, "0\r\n\r\n"));
    requests.push(b"POST /oauth2/token HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec());
    malformed(&requests);
}

// H-05
#[test]
fn h_05_a_chunk_begins_with_its_size_in_hexadecimal_and_a_whole_line_end() {
    let chunks = [
        "\r\nabc\r\n0\r\n\r\n",
        "0x5\r\nabcde\r\n0\r\n\r\n",
        "-5\r\nabcde\r\n0\r\n\r\n",
        "11111111111111111\r\na\r\n0\r\n\r\n",
        "5\nabcde\r\n0\r\n\r\n",
        "5\rabcde\r\n0\r\n\r\n",
        "5\r\nabcdeX\r\n0\r\n\r\n",
        "5;a=\x01\r\nabcde\r\n0\r\n\r\n",
        "5;a\nb\r\nabcde\r\n0\r\n\r\n",
    ];
    malformed(&chunks.map(|chunk| posted("Transfer-Encoding: chunked\r\n", chunk)));
}

// H-06
#[test]
fn h_06_a_header_line_has_a_name_a_colon_and_no_control_character() {
    let lines = [
        "X-A : b\r\n",
        ": b\r\n",
        "X-A\r\n",
        "X A: b\r\n",
        "X-A: a\r\n folded\r\n",
        "X-A: a\r\n\tfolded\r\n",
        " X-A: a\r\n",
        "X-A: a\rb\r\n",
        "X-A: a\0b\r\n",
        "X\0A: b\r\n",
        "X-A: a\x0bb\r\n",
        "Content-Length : 4\r\n",
        "Transfer-Encoding : chunked\r\n",
    ];
    malformed(&lines.map(|line| posted(line, "")));
}

// H-09
#[test]
fn h_09_what_follows_an_upgrade_is_neither_its_body_nor_answered() {
    let upgrade = |kind: &str, rest: &str| {
        let lines = format!("Connection: Upgrade\r\nUpgrade: {kind}\r\nContent-Length: 60\r\n");
        posted(&lines, rest)
    };
    let second = format!("{}GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(60));
    malformed(&[
        upgrade("websocket", &second),
        upgrade("WebSocket", ""),
        upgrade("tls/1.0", &"x".repeat(60)),
    ]);
}

// H-10
#[test]
fn h_10_nothing_switches_to_http_2() {
    malformed(&[
        b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
            .to_vec(),
        b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nUpgrade: h2c\r\n\r\n".to_vec(),
    ]);
}

// H-13
#[test]
fn h_13_the_greeting_of_http_2_is_no_request() {
    malformed(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec()]);
}

// H-14
#[test]
fn h_14_a_head_of_more_than_128_kib_or_96_lines_is_431() {
    on_sqlite(|stage| {
        stage.unchanged(|| {
            let head = "GET /livez HTTP/1.1\r\nHost: a\r\nX: ";
            let huge = format!("{head}{}", "x".repeat(131_072 - head.len()));
            stage.closes_on(huge.as_bytes(), 431);
            let lines = "X: y\r\n".repeat(96);
            stage.closes_on(format!("GET /livez HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes(), 431);
        });
        let lines = "X: y\r\n".repeat(95);
        let most = format!("GET /livez HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let answer = Connection::open(stage.server.address).send_raw(most.as_bytes());
        assert_eq!(answer.map(|answer| answer.status), Some(200));
    });
}

// H-16, N-11
#[test]
fn h_16_a_body_that_says_it_is_too_long_is_413_before_any_of_it_is_read() {
    on_sqlite(|stage| {
        let head = |method: &str, path: &str, length: usize| {
            format!("{method} {path} HTTP/1.1\r\nHost: a\r\nX-Marker: {ECHO}\r\nContent-Length: {length}\r\n\r\n")
        };
        stage.unchanged(|| {
            for path in [TOKEN, "/oauth2/introspect", "/oauth2/revoke"] {
                for length in [16_385, 1 << 31, usize::MAX] {
                    let answer = stage.closes_on(head("POST", path, length).as_bytes(), 413);
                    assert_refused(&answer, 413, "invalid_request");
                }
            }
        });
        // The administration asks first who that is.
        let admin = administrator(stage);
        let bearer = format!("Authorization: Bearer {admin}\r\n\r\n");
        let told = |path: &str| head("POST", path, 65_537).replace("\r\n\r\n", &format!("\r\n{bearer}"));
        stage.unchanged(|| {
            let answer = stage.closes_on(told("/admin/v1/clients").as_bytes(), 413);
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            let answer = stage.closes_on(told("/oauth2/register").as_bytes(), 413);
            assert_refused(&answer, 413, "invalid_request");
        });
    });
}

// H-17
#[test]
fn h_17_a_chunked_body_is_413_as_soon_as_it_is_too_long() {
    on_sqlite(|stage| {
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(4_096));
        stage.unchanged(|| {
            for path in [TOKEN, "/oauth2/introspect", "/oauth2/revoke"] {
                let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
                let answer = stage.closes_on(format!("{head}{}", chunk.repeat(5)).as_bytes(), 413);
                assert_refused(&answer, 413, "invalid_request");
            }
        });
    });
}

// H-18
#[test]
fn h_18_a_compressed_body_is_415_wherever_it_is_posted() {
    on_sqlite(|stage| {
        let compressed = |request: Request, coding: &str| request.header("Content-Encoding", coding);
        stage.unchanged(|| {
            for path in &POSTED[..3] {
                for coding in ["gzip", "br", "identity, gzip", "deflate"] {
                    let request = compressed(stage.form_of(&stage.billing, path, "token=x"), coding);
                    let answer = stage.refuses(&request, 415, "invalid_request");
                    assert_eq!(answer.header("accept-encoding"), Some("identity"));
                }
            }
        });
        let admin = administrator(stage);
        let request = Request::new("POST", "/admin/v1/clients")
            .header("Authorization", &format!("Bearer {admin}"))
            .header("Content-Type", "application/json")
            .body(b"\x1f\x8b\x08\x00");
        stage.unchanged(|| assert_eq!(stage.server.send(&compressed(request, "gzip")).status, 415));
    });
}

// H-23
#[test]
fn h_23_who_asks_before_sending_too_much_is_refused_at_once() {
    on_sqlite(|stage| {
        let head = posted("Expect: 100-continue\r\nContent-Length: 1000000\r\n", "");
        let mut connection = Connection::open(stage.server.address);
        let answer = connection.send_raw(&head).unwrap();
        assert_refused(&answer, 413, "invalid_request");
        assert!(connection.is_closed());
    });
}
