//! Start and end of the process, as supervisors and balancers see them.

use std::net::{SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::http::{Connection, Request, Response, send};
use crate::support::process::{Folder, Served};
use crate::support::server::{JWKS, TOKEN};

const SERVE: [&str; 2] = ["--issuer", "https://auth.example"];

fn token(served: &Served, secret: &str) -> Response {
    let request = Request::raw_form(TOKEN, "grant_type=client_credentials").basic("billing", secret);
    send(served.address, &request)
}

fn readiness(address: SocketAddr) -> Response {
    send(address, &Request::get("/readyz"))
}

/// What a supervisor hears next.
fn heard(socket: &UnixDatagram) -> String {
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut state = [0; 1_024];
    let length = socket.recv(&mut state).unwrap();
    String::from_utf8(state[..length].to_vec()).unwrap()
}

/// A supervisor's socket, and how the environment names it.
fn supervisors(folder: &Folder) -> [(UnixDatagram, String); 2] {
    let path = folder.path().join("notify");
    // Unique, as the folder is.
    let name = folder.path().display().to_string();
    let hidden = UnixAddress::from_abstract_name(&name).unwrap();
    [
        (UnixDatagram::bind(&path).unwrap(), path.display().to_string()),
        (UnixDatagram::bind_addr(&hidden).unwrap(), format!("@{name}")),
    ]
}

#[test]
fn a_supervisor_hears_that_requests_are_answered_that_the_process_lives_and_that_it_ends() {
    let folder = Folder::empty();
    for (socket, name) in supervisors(&folder) {
        let watched = [("NOTIFY_SOCKET", name.as_str()), ("WATCHDOG_USEC", "30000000")];
        let served = folder.serve_with(&SERVE, &watched);
        let ready = heard(&socket);
        assert!(ready.starts_with("READY=1\nSTATUS=https://auth.example on "), "{ready}");
        assert_eq!(readiness(served.address).status, 200);
        assert_eq!(
            (heard(&socket), heard(&socket)),
            ("WATCHDOG=1".into(), "WATCHDOG=1".into())
        );
        assert_eq!(served.terminate().0.code(), Some(0));
        let mut rest = heard(&socket);
        while rest == "WATCHDOG=1" {
            rest = heard(&socket);
        }
        assert_eq!(rest, "STOPPING=1\nSTATUS=draining");
    }
}

#[test]
fn a_watchdog_that_is_not_there_or_watches_another_process_is_not_fed() {
    let folder = Folder::empty();
    for (socket, name) in supervisors(&folder) {
        let another = [
            ("NOTIFY_SOCKET", name.as_str()),
            ("WATCHDOG_USEC", "30000000"),
            ("WATCHDOG_PID", "1"),
        ];
        let served = folder.serve_with(&SERVE, if name.starts_with('@') { &another[..1] } else { &another });
        assert!(heard(&socket).starts_with("READY=1"));
        std::thread::sleep(Duration::from_millis(2_500));
        served.terminate();
        assert!(heard(&socket).starts_with("STOPPING=1"));
    }
}

#[test]
fn a_supervisor_that_cannot_be_told_keeps_nobody_from_being_served() {
    let folder = Folder::empty();
    for name in ["/nowhere/at/all", "relative", "vsock:2:1"] {
        let served = folder.serve_with(&SERVE, &[("NOTIFY_SOCKET", name)]);
        let (status, log) = served.terminate();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("the supervisor cannot be told"), "{log}");
    }
}

#[test]
fn after_sigterm_the_server_is_not_ready_and_yet_answers_until_the_delay_is_over() {
    let folder = Folder::empty();
    let secret = folder.client_secret("billing");
    let served = folder.serve_with(&SERVE, &[("KEYWHEEL_SHUTDOWN_DELAY", "3s")]);
    let mut kept = Connection::open(served.address);
    let before = kept.send(&Request::get(JWKS));
    assert_eq!((before.status, before.header("connection")), (200, None));
    assert_eq!(readiness(served.management).status, 200);

    let begun = Instant::now();
    served.ask_to_stop();
    for address in [served.address, served.management] {
        let answer = readiness(address);
        assert_eq!(answer.status, 503);
        assert_eq!(answer.json()["reason"], "the server is about to stop");
        assert_eq!(send(address, &Request::get("/readyz?exclude=database")).status, 503);
        assert_eq!(send(address, &Request::get("/livez")).status, 200);
    }
    let last = kept.send(&Request::get(JWKS));
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    assert!(kept.is_closed());
    let granted = token(&served, &secret);
    assert_eq!((granted.status, granted.header("connection")), (200, Some("close")));
    let refused = send(served.address, &Request::get("/nothing"));
    assert_eq!((refused.status, refused.header("connection")), (404, Some("close")));

    let address = served.address;
    assert_eq!(served.wait().code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_keys_dir_that_hangs_holds_up_neither_who_follows_the_database_nor_the_end() {
    let folder = Folder::empty();
    let served = folder.serve(&SERVE);
    // Opening a pipe that nobody reads is like opening a file across a network that is gone: it does not return.
    let next = folder.path().join(format!("keys/journal.{}.tmp", served.pid()));
    assert!(Command::new("mkfifo").arg(&next).status().unwrap().success());
    let secret = folder.client_secret("billing");
    assert_eq!(token(&served, &secret).status, 200);
    // What comes after the journal in each second goes on.
    let told = served.await_event("journal.hangs");
    assert_eq!(told["seconds"], 5);
    let other = folder.client_secret("shop");
    let asked = Request::raw_form(TOKEN, "grant_type=client_credentials").basic("shop", &other);
    assert_eq!(send(served.address, &asked).status, 200);
    folder.json(&["client", "delete", "shop"]);
    let begun = Instant::now();
    while send(served.address, &asked).status == 200 {
        assert!(begun.elapsed() < Duration::from_secs(10), "nobody follows the database");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(readiness(served.address).status, 200);
    assert_eq!(served.terminate().0.code(), Some(0));
}

#[test]
fn a_person_at_a_terminal_does_not_wait_for_balancers() {
    let folder = Folder::empty();
    let served = folder.serve_with(&SERVE, &[("KEYWHEEL_SHUTDOWN_DELAY", "60s")]);
    let begun = Instant::now();
    served.signal(Signal::INT);
    assert_eq!(served.wait().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let folder = Folder::empty();
    for second in [Signal::TERM, Signal::INT] {
        let served = folder.serve_with(&SERVE, &[("KEYWHEEL_SHUTDOWN_DELAY", "60s")]);
        let begun = Instant::now();
        served.ask_to_stop();
        served.signal(second);
        assert_eq!(served.wait().code(), Some(1));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_server_that_is_tried_out_ends_without_delay() {
    let folder = Folder::empty();
    let served = folder.serve_with(&["--dev"], &[("KEYWHEEL_SHUTDOWN_DELAY", "60s")]);
    let begun = Instant::now();
    assert_eq!(served.terminate().0.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_credential_of_systemd_is_the_master_key_and_may_be_read_by_its_group_alone() {
    let folder = Folder::empty();
    let credentials = folder.path().join("credentials");
    let path = credentials.join("keywheel-master-key");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::write(&path, "a1".repeat(32)).unwrap();
    let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    let passed = [("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap())];
    for right in [0o400, 0o440] {
        mode(right);
        let served = folder.serve_with(&SERVE, &passed);
        assert_eq!(readiness(served.address).status, 200);
        assert!(!folder.master_key().exists(), "the credential is the master key");
    }
    for wrong in [0o444, 0o460, 0o450] {
        mode(wrong);
        let said = folder.refused_with(&["serve", SERVE[0], SERVE[1]], &passed);
        assert!(said.contains("can be read by others"), "{wrong:o}: {said}");
    }
}

#[test]
fn a_health_check_says_whether_a_server_is_ready_and_what_keeps_it_from_that_and_whether_it_lives() {
    let folder = Folder::empty();
    let served = folder.serve_with(&SERVE, &[("KEYWHEEL_SHUTDOWN_DELAY", "60s")]);
    let asked = |settings: &[(&str, &str)], arguments: &[&str]| {
        let mut command = folder.command(&["healthcheck"]);
        let output = command.args(arguments).envs(settings.iter().copied()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let everywhere = format!("0.0.0.0:{}", served.management.port());
    let management = [("KEYWHEEL_MANAGEMENT_LISTEN", everywhere.as_str())];
    let (status, said) = asked(&management, &[]);
    assert_eq!(status, Some(0), "{said}");
    let alive = format!("http://{}/livez", served.address);
    served.ask_to_stop();
    let (status, said) = asked(&management, &[]);
    assert_eq!(status, Some(1));
    assert!(said.contains("503") && said.contains("about to stop"), "{said}");
    assert_eq!(asked(&[], &["--url", &alive]).0, Some(0));
    let (status, said) = asked(&management, &["--live"]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(asked(&[], &["--live", "--url", &alive]).0, Some(2));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(asked(&[], &["--url", &format!("http://{nobody}/readyz")]).0, Some(1));
}
