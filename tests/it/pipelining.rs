//! What a connection gives and takes when a client sends more before it has read the answers (RFC 9112 §9.3.2).

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::http::{Connection, Request, Response};
use crate::support::on_both;
use crate::support::process::{Folder, Served};
use crate::support::server::{Credentials, JWKS, TOKEN, TestServer, metadata};

/// Requests of every kind of body, and the status of each answer.
fn requests(client: &Credentials) -> (String, Vec<u16>) {
    let basic = STANDARD.encode(format!("{}:{}", client.id, client.secret));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = |body: &str| {
        format!(
            "POST {TOKEN} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {basic}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n{body}"
        )
    };
    let form = "grant_type=client_credentials";
    let sized = |form: &str| post(&format!("Content-Length: {}\r\n\r\n{form}", form.len()));
    let chunked = |chunks: &str| post(&format!("Transfer-Encoding: chunked\r\n\r\n{chunks}"));
    let requests = [
        (get(JWKS), 200),
        (sized(form), 200),
        (get("/nowhere"), 404),
        (
            sized("grant_type=client_credentials&\r\n\r\nGET / HTTP/1.1\r\n\r\n=x"),
            200,
        ),
        (chunked("1d\r\ngrant_type=client_credentials\r\n0\r\n\r\n"), 200),
        (get(JWKS), 200),
        (chunked("5\r\n\r\n\r\n\n\r\n1\r\n&\r\n0\r\nA: b\r\n\r\n"), 400),
        (get(JWKS).replace("\r\n", "\n"), 200),
        ("\r\n\r\n".to_owned() + &sized(""), 400),
        (sized(form), 200),
        (get(JWKS), 200),
    ];
    let (texts, statuses): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
    (texts.concat(), statuses)
}

// H-21
#[test]
fn requests_are_answered_in_their_order_however_their_bytes_arrive() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let (text, statuses) = requests(&server.client("billing", metadata()));
        for at_once in [text.len(), 1_000, 97, 1] {
            let mut connection = Connection::open(server.address);
            for bytes in text.as_bytes().chunks(at_once) {
                connection.send_raw_unanswered(bytes).unwrap();
            }
            let answers: Vec<Response> = statuses.iter().map(|_| connection.read_answer()).collect();
            let answered: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
            assert_eq!(answered, statuses, "{at_once} bytes at once");
            assert_eq!(answers[1].json()["token_type"], "Bearer");
            assert!(answers[10].json()["keys"].is_array());
        }
    });
}

/// Connections that have sent as much as is taken of the shortest requests, and read nothing.
fn that_do_not_read(served: &Served, connections: usize) -> Vec<Connection> {
    let open = |_| {
        let mut connection = Connection::with_a_small_window(served.address);
        let requests = format!("GET {JWKS} HTTP/1.1\nHost:a\n\n").repeat(100);
        while connection.try_send_raw(requests.as_bytes()).is_ok() {}
        connection
    };
    (0..connections).map(open).collect()
}

/// In KiB.
fn memory(served: &Served) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", served.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Processor time so far, of all threads.
fn worked(served: &Served) -> Duration {
    let threads = fs::read_dir(format!("/proc/{}/task", served.pid())).unwrap();
    let nanoseconds = threads.map(|thread| {
        let spent = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        spent.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    Duration::from_nanos(nanoseconds.sum())
}

// H-21: actix would take apart all that it has read, at seven kilobytes for each request.
#[test]
fn thousands_of_requests_before_the_first_answer_is_read_take_neither_memory_nor_time() {
    let folder = Folder::empty();
    let served = folder.serve(&["--dev"]);
    drop(that_do_not_read(&served, 4));
    let before = memory(&served);
    let connections = that_do_not_read(&served, 40);
    let more = memory(&served).saturating_sub(before) / connections.len();
    assert!(more < 128, "{more} KiB for each connection");
    let begun = worked(&served);
    sleep(Duration::from_secs(1));
    let worked = worked(&served) - begun;
    assert!(worked < Duration::from_millis(500), "{worked:?}");
    let mut other = Connection::open(served.address);
    assert_eq!(other.send(&Request::get("/livez")).status, 200);
}
