//! What nobody may use up: attempts to authenticate, connections, and the time of those who serve them.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use keywheel::oauth::Seconds;
use keywheel::storage::AuditFilter;
use rustix::process::{Resource, getrlimit};

use crate::support::http::{Connection, Request, Response, send};
use crate::support::postgres::unprivileged_user;
use crate::support::process::Folder;
use crate::support::server::{Credentials, JWKS, Options, TOKEN, TestServer, metadata};
use crate::support::{on_both, on_sqlite};
use crate::token::assert_refused;

fn behind_a_proxy(url: &str) -> TestServer {
    let options = Options {
        trusted_proxies: vec!["127.0.0.0/8"],
        ..Options::default()
    };
    TestServer::with(url, options)
}

/// A request for a token from an address.
fn from(server: &TestServer, address: &str, client: &Credentials) -> Response {
    let request = Request::raw_form(TOKEN, "grant_type=client_credentials").basic(&client.id, &client.secret);
    server.send(&request.header("X-Forwarded-For", address))
}

fn wrong(id: &str) -> Credentials {
    Credentials {
        id: id.to_owned(),
        secret: "wrong".to_owned(),
    }
}

// C-21, T-38
#[test]
fn wrong_secrets_from_many_addresses_are_slowed_down_and_the_client_is_served_from_each_of_them() {
    on_both(|database| {
        let server = behind_a_proxy(database.url());
        let client = server.client("billing", metadata());
        let answers: Vec<_> = (0..100)
            .map(|n| from(&server, &format!("192.0.{n}.1"), &wrong("billing")))
            .collect();
        let throttled = answers
            .iter()
            .find(|answer| answer.status != 401)
            .expect("nothing slows it down");
        assert_refused(throttled, 429, "temporarily_unavailable");
        assert!(throttled.header("retry-after").is_some());
        assert_refused(&answers[99], 429, "temporarily_unavailable");
        for address in ["192.0.99.1", "192.0.1.1", "203.0.113.1"] {
            assert_eq!(from(&server, address, &client).status, 200, "{address}");
        }
        // Nor are others held up, not even by their own wrong secrets.
        server.client("shop", metadata());
        assert_refused(&from(&server, "203.0.113.1", &wrong("shop")), 401, "invalid_client");
    });
}

// C-21, T-38
#[test]
fn wrong_secrets_of_many_clients_from_one_network_are_slowed_down_and_whoever_shares_it_is_served() {
    on_both(|database| {
        let server = behind_a_proxy(database.url());
        let client = server.client("billing", metadata());
        for (network, other) in [("192.0.2", "198.51.100.1"), ("2001:db8:0:1:", "2001:db8:0:2::1")] {
            let separator = if network.contains(':') { ":" } else { "." };
            let answers: Vec<_> = (0..200)
                .map(|n| {
                    from(
                        &server,
                        &format!("{network}{separator}{}", n + 1),
                        &wrong(&format!("nobody-{n}")),
                    )
                })
                .collect();
            assert_refused(&answers[0], 401, "invalid_client");
            assert_refused(&answers[199], 429, "temporarily_unavailable");
            assert_eq!(from(&server, &format!("{network}{separator}7"), &client).status, 200);
            assert_refused(&from(&server, other, &wrong("nobody-0")), 401, "invalid_client");
        }
    });
}

// T-37: the connection goes on, and a minute later the answer is the usual one.
#[test]
fn a_budget_that_ran_out_is_counted_and_told_once_and_ends_by_itself() {
    on_both(|database| {
        let server = behind_a_proxy(database.url());
        server.client("billing", metadata());
        for _ in 0..80 {
            from(&server, "192.0.2.1", &wrong("billing"));
        }
        for (budget, times) in [("client", 1), ("address", 0)] {
            let line = format!("keywheel_failure_budgets_exhausted_total{{budget=\"{budget}\"}} {times}\n");
            assert!(server.metrics().contains(&line), "{line}");
        }
        server.advance(Seconds::minutes(1));
        server.tick().unwrap();
        assert_refused(&from(&server, "192.0.2.1", &wrong("billing")), 401, "invalid_client");
        let filter = AuditFilter {
            event: Some("failure_budget.exhausted".to_owned()),
            ..AuditFilter::default()
        };
        let events = server.store.audit_events(&filter).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].client_id.as_deref(), Some("billing"));
        assert_eq!(events[0].detail["budget"], "client");
        assert_eq!(events[0].detail["address_block"], "192.0.2.0/24");
    });
}

/// How long it takes until something holds; the test fails when that is too long.
pub(crate) fn within(seconds: u64, why: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(seconds), "{why}");
        sleep(Duration::from_millis(100));
    }
    begun.elapsed()
}

/// Every listener: that of the public, of health and metrics, and of the administration when it is apart.
pub(crate) fn on_each_listener(test: impl Fn(SocketAddr) + Sync) {
    let folder = Folder::empty().with("KEYWHEEL_ADMIN_LISTEN", "127.0.0.1:0");
    let served = folder.serve(&["--dev"]);
    let test = &test;
    scope(|scope| {
        let administration = served.logged("serving_administration", "listen");
        for address in [served.address, served.logged("serving", "management"), administration] {
            scope.spawn(move || test(address));
        }
    });
}

// H-19: actix has a time for the first head of a connection alone.
#[test]
fn a_later_head_that_dribbles_in_is_cut_off_on_every_listener() {
    on_each_listener(|address| {
        let mut connection = Connection::open(address);
        assert_ne!(connection.send(&Request::get("/livez")).status, 0);
        let mut bytes = b"GET /livez HTTP/1.1\r\nHost: a\r\nX: "
            .iter()
            .chain(std::iter::repeat(&b'x'));
        let took = within(15, "it is still listened to", || {
            connection.send_raw_unanswered(&[*bytes.next().unwrap()]).is_err()
        });
        assert!(took > Duration::from_secs(3), "{took:?}");
    });
}

// H-21: what the server sends lies in the kernel, or no longer fits into it.
#[test]
fn who_does_not_read_is_cut_off_on_every_listener() {
    on_each_listener(|address| {
        let get = |path: &str, times: usize| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(times);
        let begun = Instant::now();
        let connections: Vec<Connection> = [20, 4_000]
            .into_iter()
            .map(|times| {
                let mut connection = Connection::with_a_small_window(address);
                for request in std::iter::repeat_n(get("/nowhere", 1) + &get(JWKS, 1) + &get("/metrics", 1), times) {
                    // The server stops to take requests.
                    if connection.try_send_raw(request.as_bytes()).is_err() {
                        break;
                    }
                }
                connection
            })
            .collect();
        let left = 60 - begun.elapsed().as_secs();
        within(left, "a connection is still there that nobody reads", || {
            !connections.iter().any(Connection::has_another_end)
        });
    });
}

// H-22
#[test]
fn idle_connections_make_room_for_others() {
    on_sqlite(|database| {
        let options = Options {
            max_connections: 32,
            ..Options::default()
        };
        let server = TestServer::with(database.url(), options);
        let mut idle: Vec<Connection> = Vec::new();
        for _ in 0..80 {
            let mut connection = Connection::open(server.address);
            assert_eq!(connection.send(&Request::get("/livez")).status, 200);
            idle.push(connection);
        }
        let closed = idle.iter().filter(|connection| connection.has_answer()).count();
        assert!(closed >= 40, "{closed}");
        let mut newest = idle.pop().unwrap();
        assert_eq!(newest.send(&Request::get("/livez")).status, 200);
    });
}

// H-22
#[test]
fn more_connections_than_files_are_not_promised() {
    let folder = Folder::empty();
    let served = folder.serve_limited(1_024, &["--dev"]);
    let told = "max_connections does not fit into the limit for open files";
    assert!(served.begun.contains(told), "{}", served.begun);
    let mut connections: Vec<Connection> = Vec::new();
    for _ in 0..2_000 {
        let mut connection = Connection::open(served.address);
        assert_eq!(connection.send(&Request::get("/livez")).status, 200);
        connections.push(connection);
        // The test has a limit, too.
        if connections.len() > 500 {
            connections.remove(0);
        }
    }
    // Of its files some hundred are for other things, and so many connections more were held here.
    let closed = connections.iter().filter(|connection| connection.has_answer()).count();
    assert!(closed > 50, "{closed} of {} made room", connections.len());
}

// H-23
#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_asked_for() {
    on_sqlite(|database| {
        let server = TestServer::start(database.url());
        let head = |path: &str, length: usize| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
            )
        };
        for (path, length, status) in [
            (TOKEN, 16_384, 100),
            (TOKEN, 16_385, 413),
            ("/oauth2/register", 65_536, 100),
            ("/oauth2/register", 65_537, 413),
            ("/admin/v1/clients", 65_537, 413),
        ] {
            let mut connection = Connection::open(server.address);
            let answer = connection.send_raw(head(path, length).as_bytes()).unwrap();
            assert_eq!(answer.status, status, "{path} {length}");
            if status == 413 {
                assert_eq!(answer.json()["error"], "invalid_request");
                assert!(connection.is_closed());
            }
        }
    });
}

// Who may make no more threads, as in a container with a low `pids.max`, refuses what needs one, and afterwards refuses it no longer.
#[test]
fn work_that_no_thread_could_be_made_for_is_refused_and_takes_nothing_with_it() {
    // The system bounds nobody who may do everything, and counts all threads of a user; one is less than there are in any case.
    let user = unprivileged_user();
    let folder = Folder::empty();
    let secrets: Vec<_> = (0..40)
        .map(|number| folder.client_secret(&format!("c{number}")))
        .collect();
    if let Some((user, _)) = user {
        let mut given = Command::new("chown");
        given.args(["-R", &user.to_string()]).arg(folder.path());
        assert!(given.status().unwrap().success());
    }
    let served = folder.serve_as(user, &["--issuer", "https://auth.example"], &[]);
    // By that user, who may lower the limit and raise it again.
    let bound = |most: &str| {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &served.pid().to_string(), &format!("--nproc={most}:")]);
        if let Some((user, group)) = user {
            command.uid(user).gid(group);
        }
        assert!(command.status().unwrap().success());
    };
    let before = getrlimit(Resource::Nproc).current.unwrap_or(10_000);
    // Each is a client that the node does not know yet, and looks up on a thread that may wait.
    let ask = |(number, secret): (usize, &String)| {
        let request = Request::raw_form(TOKEN, "grant_type=client_credentials").basic(&format!("c{number}"), secret);
        send(served.address, &request).status
    };
    bound("1");
    let statuses: Vec<_> = secrets.iter().enumerate().take(30).map(ask).collect();
    assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
    bound(&before.to_string());
    let statuses: Vec<_> = secrets.iter().enumerate().skip(30).map(ask).collect();
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}
