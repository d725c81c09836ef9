//! Files of certificates: those that cannot be used, and those that change while the server runs.

use rustix::process::Signal;

use super::*;
use crate::support::naming;
use crate::support::tls::{Pair, place};

#[test]
fn files_that_cannot_be_used_are_refused_before_the_port_opens_and_the_mend_is_told() {
    let site = Site::new();
    let path = site.folder.path();
    let good = site.authority.server();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    place(&path.join("open.key"), &good.key, 0o604);
    place(&path.join("other.key"), &site.authority.server().key, 0o600);
    place(&path.join("encrypted.key"), encrypted, 0o600);
    place(&path.join("empty.pem"), "", 0o600);
    place(&path.join("huge.pem"), &"x".repeat(2 << 20), 0o600);
    place(&path.join("cut.pem"), &good.certificate[..200], 0o600);
    place(
        &path.join("wrong.pem"),
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        0o600,
    );
    for (name, file, expected) in [
        (
            "KEYWHEEL_TLS_CERTIFICATE",
            "",
            "tls.certificate (not set): tls.private_key is set without it",
        ),
        (
            "KEYWHEEL_TLS_PRIVATE_KEY",
            "",
            "tls.private_key (not set): tls.certificate is set without it",
        ),
        (
            "KEYWHEEL_TLS_CERTIFICATE",
            "none.pem",
            "tls.certificate (none.pem): it cannot be read",
        ),
        (
            "KEYWHEEL_TLS_CERTIFICATE",
            "empty.pem",
            "it holds no certificate in PEM",
        ),
        (
            "KEYWHEEL_TLS_CERTIFICATE",
            "cut.pem",
            "tls.certificate (cut.pem): it is no sound PEM",
        ),
        ("KEYWHEEL_TLS_CERTIFICATE", "wrong.pem", "it holds no sound certificate"),
        ("KEYWHEEL_TLS_CERTIFICATE", "huge.pem", "2097152 bytes"),
        (
            "KEYWHEEL_TLS_PRIVATE_KEY",
            "none.key",
            "tls.private_key (none.key): it cannot be read",
        ),
        ("KEYWHEEL_TLS_PRIVATE_KEY", "open.key", "(mode 0604): chmod 6"),
        (
            "KEYWHEEL_TLS_PRIVATE_KEY",
            "other.key",
            "does not belong to the first certificate of tls.certificate",
        ),
        (
            "KEYWHEEL_TLS_PRIVATE_KEY",
            "encrypted.key",
            "\"openssl pkey -in FILE\" decrypts one",
        ),
        ("KEYWHEEL_TLS_PRIVATE_KEY", "tls.pem", "(mode 0644)"),
        (
            "KEYWHEEL_TLS_CLIENT_CA",
            "none.pem",
            "tls.client_ca (none.pem): it cannot be read",
        ),
        (
            "KEYWHEEL_TLS_CLIENT_CA",
            "tls.key",
            "tls.client_ca (tls.key): it holds no certificate in PEM",
        ),
    ] {
        for arguments in [&["serve", "--issuer", ISSUER][..], &["config", "check"]] {
            let said = site.folder.refused_with(arguments, &[(name, file)]);
            assert!(said.contains(expected), "{name}={file} {arguments:?}: {said}");
            assert!(!said.contains(&good.key[40..80]), "the key is told");
        }
    }
    assert!(site.folder.run(&["config", "check"]).status.success());
}

/// Asks as fast as it is answered, until it is told to stop, and counts.
fn asking(address: SocketAddr, client: &Arc<ClientConfig>, stop: &AtomicBool, answered: &AtomicUsize, again: bool) {
    let mut connection = open(address, client).unwrap();
    while !stop.load(Ordering::SeqCst) {
        if !again {
            connection = open(address, client).unwrap();
        }
        assert_eq!(connection.send(&Request::get(JWKS)).status, 200);
        answered.fetch_add(1, Ordering::SeqCst);
    }
}

/// What a client is shown that has never been here.
fn shown(site: &Site, served: &Served) -> Vec<u8> {
    open(served.address, &site.client()).unwrap().certificate()
}

// S-03
#[test]
fn a_certificate_is_replaced_under_load_and_no_request_fails() {
    let site = Site::new();
    let served = site.serve();
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for again in [true, false, true, false] {
            let client = site.client();
            let (address, stop, answered) = (served.address, &stop, &answered);
            scope.spawn(move || asking(address, &client, stop, answered, again));
        }
        for signal in [None, Some(Signal::HUP), None, Some(Signal::HUP)] {
            let next = site.authority.server();
            next.place(site.folder.path());
            if let Some(signal) = signal {
                served.signal(signal);
            }
            served.await_event("tls.replaced");
            assert!(shown(&site, &served) == next.der(), "the new one is shown");
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(answered.load(Ordering::SeqCst) > 100, "{answered:?}");
}

// S-03
#[test]
fn a_file_that_cannot_be_used_keeps_the_certificate_before_and_is_told_once() {
    let site = Site::new();
    let served = site.serve();
    let path = site.folder.path().to_owned();
    let mut present = shown(&site, &served);
    let next = site.authority.server();
    let ended = site.authority.server_until(2_020);
    let early = site.authority.server_between(2_090, 2_100);
    let spoils: [(&str, &dyn Fn()); 7] = [
        ("it holds no certificate", &|| place(&path.join("tls.pem"), "", 0o644)),
        ("does not belong", &|| {
            place(&path.join("tls.pem"), &next.certificate, 0o644)
        }),
        ("it cannot be read", &|| {
            std::fs::remove_file(path.join("tls.pem")).unwrap()
        }),
        ("mode 0644", &|| place(&path.join("tls.key"), &next.key, 0o644)),
        ("it cannot be read", &|| {
            std::fs::remove_file(path.join("tls.key")).unwrap()
        }),
        ("ended at 2020-01-01", &|| ended.place(&path)),
        ("valid from 2090-01-01", &|| early.place(&path)),
    ];
    for (expected, spoil) in spoils {
        naming(expected, || {
            spoil();
            let told = served.await_event("tls.refused");
            assert_eq!(told["level"], "ERROR");
            assert!(told["cause"].as_str().unwrap().contains(expected), "{told}");
            assert!(shown(&site, &served) == present, "the one before is shown");
            let good = site.authority.server();
            good.place(&path);
            served.await_event("tls.replaced");
            present = good.der();
            assert!(shown(&site, &served) == present, "the new one is shown");
        });
    }
    served.signal(Signal::HUP);
    served.await_event("tls.unchanged");
}

#[test]
fn a_metric_tells_when_the_certificate_ends() {
    let site = Site::new();
    let metric = |served: &Served| {
        let text = send(served.management, &site.client(), &Request::get("/metrics"));
        let mut lines = text
            .text()
            .lines()
            .filter(|line| line.starts_with("keywheel_tls_certificate_not_after"));
        let line = lines.next().unwrap().to_owned();
        assert_eq!(lines.next(), None);
        line.rsplit(' ').next().unwrap().parse::<i64>().unwrap()
    };
    let ends = |year: i32| rcgen::date_time_ymd(year, 1, 1).unix_timestamp();
    let until = |year: i32| -> Pair { site.authority.server_until(year) };
    until(2_040).place(site.folder.path());
    let served = site.serve();
    assert_eq!(metric(&served), ends(2_040));
    until(2_050).place(site.folder.path());
    served.await_event("tls.replaced");
    assert_eq!(metric(&served), ends(2_050));
}

#[test]
fn a_certificate_that_has_ended_is_served_from_the_start_with_a_warning() {
    let site = Site::new();
    site.authority.server_until(2_020).place(site.folder.path());
    let served = site.serve();
    assert!(served.begun.contains("tls.ended"), "{}", served.begun);
}
