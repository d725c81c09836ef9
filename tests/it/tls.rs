//! TLS on the listeners of the real program. Rows S of the catalogue of answers, and those of rows H that are about it.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};

use crate::support::http::{Connection, Request, Response, connect};
use crate::support::on_both;
use crate::support::process::{Folder, Served};
use crate::support::server::{JWKS, TOKEN};
use crate::support::tls::{Authority, open};

mod certificates;
mod clients;
mod strangers;

const ISSUER: &str = "https://auth.example";

/// A folder whose server has a certificate, and who certified it.
struct Site {
    folder: Folder,
    authority: Authority,
}

impl Site {
    fn new() -> Self {
        Site::with(Folder::empty())
    }

    fn with(folder: Folder) -> Self {
        let site = Site {
            folder: folder
                .with("KEYWHEEL_TLS_CERTIFICATE", "tls.pem")
                .with("KEYWHEEL_TLS_PRIVATE_KEY", "tls.key"),
            authority: Authority::new("servers"),
        };
        site.authority.server().place(site.folder.path());
        site
    }

    fn serve(&self) -> Served {
        self.folder.serve(&["--issuer", ISSUER])
    }

    fn serve_with(&self, settings: &[(&str, &str)]) -> Served {
        self.folder.serve_with(&["--issuer", ISSUER], settings)
    }

    /// A client that has not been here before.
    fn client(&self) -> Arc<ClientConfig> {
        Arc::new(self.authority.trusting())
    }
}

fn send(address: SocketAddr, client: &Arc<ClientConfig>, request: &Request) -> Response {
    open(address, client).unwrap().send(request)
}

fn token(id: &str, secret: &str) -> Request {
    Request::raw_form(TOKEN, "grant_type=client_credentials").basic(id, secret)
}

// S-01, section 1.0
#[test]
fn tokens_are_given_over_tls_1_2_and_1_3_and_every_answer_says_to_come_no_other_way() {
    on_both(|database| {
        let site = Site::with(Folder::empty().with("DATABASE_URL", database.url()));
        let served = site.serve();
        let secret = site.folder.client_secret("billing");
        for (version, named) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
            let client = Arc::new(site.authority.trusting_with(&[version]));
            let mut connection = open(served.address, &client).unwrap();
            assert_eq!(connection.stream().conn.protocol_version(), Some(named));
            for (request, status) in [
                (token("billing", &secret), 200),
                (token("billing", "wrong"), 401),
                (Request::get(JWKS), 200),
                (Request::get("/nowhere"), 404),
                (Request::get("/admin/v1/clients"), 401),
                (Request::get(JWKS).header("Upgrade", "h2c"), 400),
            ] {
                let answer = connection.send(&request);
                assert_eq!(answer.status, status, "{request:?}");
                assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
            }
            for path in ["/livez", "/metrics"] {
                let answer = send(served.management, &client, &Request::get(path));
                assert_eq!(answer.status, 200);
                assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
            }
        }
    });
}

#[test]
fn the_administration_apart_speaks_tls_as_well_and_asks_nobody_for_a_certificate() {
    let site = Site::new();
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    place_authority(&site, &Authority::new("clients"));
    let _served = site.serve_with(&[
        ("KEYWHEEL_ADMIN_LISTEN", &address.to_string()),
        ("KEYWHEEL_TLS_CLIENT_CA", "clients.pem"),
    ]);
    assert_eq!(
        send(address, &site.client(), &Request::get("/admin/v1/clients")).status,
        401
    );
}

fn place_authority(site: &Site, authority: &Authority) {
    crate::support::tls::place(&site.folder.path().join("clients.pem"), &authority.pem(), 0o644);
}

#[test]
fn serve_dev_derives_an_https_issuer_and_without_tls_an_http_one_and_promises_nothing() {
    let site = Site::new();
    let served = site.folder.serve(&["--dev"]);
    assert_eq!(served.issuer, format!("https://{}", served.address));
    let metadata = send(
        served.address,
        &site.client(),
        &Request::get("/.well-known/openid-configuration"),
    );
    assert_eq!(
        metadata.json()["token_endpoint"],
        format!("https://{}{TOKEN}", served.address)
    );

    let served = Folder::empty().serve(&["--dev"]);
    assert!(served.issuer.starts_with("http://"));
    let answer = Connection::open(served.address).send(&Request::get(JWKS));
    assert_eq!((answer.status, answer.header("strict-transport-security")), (200, None));
}

#[test]
fn an_http_issuer_does_not_go_with_a_listener_that_speaks_tls() {
    let said = Site::new().folder.refused(&["serve", "--issuer", "http://127.0.0.1:1"]);
    assert!(said.contains("Write it with https"), "{said}");
}

// S-02
#[test]
fn who_comes_again_is_spared_the_signature_and_can_send_nothing_before_the_handshake() {
    let site = Site::new();
    let served = site.serve();
    let mut client = site.authority.trusting();
    client.enable_early_data = true;
    let client = Arc::new(client);
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut connection = open(served.address, &client).unwrap();
        assert_eq!(connection.send(&Request::get(JWKS)).status, 200);
        assert_eq!(connection.kind(), kind);
    }
    let again = rustls::ClientConnection::new(client, "localhost".try_into().unwrap());
    assert!(again.unwrap().early_data().is_none());
}

#[test]
fn the_doctor_looks_at_the_certificate_and_at_the_server_over_tls() {
    let site = Site::new();
    let served = site.folder.serve(&["--dev"]);
    let root = site.folder.path().join("root.pem");
    std::fs::write(&root, site.authority.pem()).unwrap();
    let examined = |settings: &[(&str, &str)]| {
        let mut command = site.folder.command(&["doctor", "--output", "json"]);
        command
            .env("KEYWHEEL_ISSUER", &served.issuer)
            .envs(settings.iter().copied());
        let output = command.output().unwrap();
        let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let of = |check: &str| {
            findings
                .as_array()
                .unwrap()
                .iter()
                .find(|one| one["check"] == check)
                .cloned()
        };
        (of("TLS certificate").unwrap(), of("issuer").unwrap())
    };
    let (certificate, issuer) = examined(&[("SSL_CERT_FILE", root.to_str().unwrap())]);
    assert_eq!(
        (&certificate["state"], &issuer["state"]),
        (&"ok".into(), &"ok".into()),
        "{certificate} {issuer}"
    );
    let (_, issuer) = examined(&[]);
    assert_eq!(issuer["state"], "failed");
    assert!(issuer["mend"].as_str().unwrap().contains("SSL_CERT_FILE"), "{issuer}");
    let (certificate, _) = examined(&[("KEYWHEEL_TLS_CERTIFICATE", "root.pem")]);
    assert_eq!(certificate["state"], "failed");
    assert!(
        certificate["found"].as_str().unwrap().contains("does not belong"),
        "{certificate}"
    );
}
