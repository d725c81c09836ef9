//! The private key of TLS, which is the operator's own file.

use std::fs;
use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::ISSUER;
use super::hunt::Canaries;
use crate::private_bytes::files;
use crate::support::collector::Collector;
use crate::support::http::{Request, connect};
use crate::support::process::Folder;
use crate::support::server::JWKS;
use crate::support::tls::{Authority, open, place};

/// The private number of a key on a curve (RFC 5915 §3), which stands after this in its encoding.
fn private_number(pem: &str) -> Vec<u8> {
    const BEFORE: [u8; 5] = [0x02, 0x01, 0x01, 0x04, 0x20];
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = BASE64_STANDARD.decode(body).unwrap();
    let at = der.windows(5).position(|window| window == BEFORE).unwrap() + 5;
    der[at..at + 32].to_vec()
}

/// That part of the number with which PEM begins its second line.
fn private_line(pem: &str) -> &str {
    &pem.lines().nth(2).unwrap()[..26]
}

// N-05
#[test]
fn the_private_key_of_tls_is_nowhere_but_in_its_file() {
    let collector = Collector::start();
    let folder = Folder::empty()
        .readable()
        .with("KEYWHEEL_LOG", "json,trace")
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .with("KEYWHEEL_TLS_CERTIFICATE", "tls.pem")
        .with("KEYWHEEL_TLS_PRIVATE_KEY", "tls.key");
    let authority = Authority::new("servers");
    let mut canaries = Canaries::default();
    let pair = authority.server();
    pair.place(folder.path());
    canaries.keep_bytes("the private key of TLS", &private_number(&pair.key));
    canaries.keep_bytes("the same in PEM", private_line(&pair.key).as_bytes());
    let served = folder.serve(&["--issuer", ISSUER]);
    let client = Arc::new(authority.trusting());
    assert_eq!(
        open(served.address, &client).unwrap().send(&Request::get(JWKS)).status,
        200
    );
    // Strangers, of other protocols and of none.
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0],
        &[0; 64],
    ] {
        let mut stream = connect(served.address);
        let _ = stream.write_all(bytes);
    }
    // A key that is not the certificate's, for the server to complain of.
    let other = authority.server();
    canaries.keep_bytes("a private key of another certificate", &private_number(&other.key));
    canaries.keep_bytes("that in PEM", private_line(&other.key).as_bytes());
    place(&folder.path().join("tls.key"), &other.key, 0o600);
    let complaints: Vec<u8> = ["doctor --offline", "config show", "config check"]
        .iter()
        .flat_map(|words| {
            let output = folder.run(&words.split(' ').collect::<Vec<_>>());
            [output.stdout, output.stderr].concat()
        })
        .collect();

    let hunt = canaries.hunt();
    let process = |name: &str| fs::read(format!("/proc/{}/{name}", served.pid())).unwrap_or_default();
    hunt.assert_absent("the environment", &process("environ"), "tls.key");
    hunt.assert_absent("the arguments", &process("cmdline"), ISSUER);
    hunt.assert_absent("what commands wrote", &complaints, "tls.key");
    let metrics = open(served.management(), &client)
        .unwrap()
        .send(&Request::get("/metrics"));
    hunt.assert_absent("the metrics", &metrics.body, "keywheel_requests_total{");
    let key = folder.path().join("tls.key");
    assert!(
        !hunt.found_in(&fs::read(&key).unwrap()).is_empty(),
        "the search finds nothing"
    );
    for file in files(folder.path()).into_iter().filter(|file| *file != key) {
        hunt.assert_none(&file.display().to_string(), &fs::read(&file).unwrap());
    }
    let begun = served.begun.clone();
    let log = format!("{begun}\n{}", served.terminate().1);
    hunt.assert_absent("the log", log.as_bytes(), "\"TRACE\"");
    let traces: Vec<u8> = collector.rest().into_iter().flat_map(|export| export.body).collect();
    hunt.assert_absent("the traces", &traces, JWKS);
}
