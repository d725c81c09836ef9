//! Two nodes behind the HAProxy of `deploy/haproxy/haproxy.cfg` are replaced one after the other, and no request fails.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::Database;
use crate::support::http::{Connection, Request, Response, send};
use crate::support::process::{ALICE, Folder, Served};
use crate::support::server::{JWKS, TOKEN};

const SHIPPED: &str = include_str!("../../deploy/haproxy/haproxy.cfg");

/// A proxy with the shipped configuration, in clear and with other addresses.
struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Proxy {
    fn start(directory: &Path, nodes: [SocketAddr; 2]) -> Self {
        let address = free();
        let mut configuration = SHIPPED.to_owned();
        for (shipped, here) in [
            (
                "bind :443 ssl crt /etc/haproxy/certs/auth.example.com.pem alpn h2,http/1.1",
                format!("bind {address}"),
            ),
            // Whatever number of files a process may have open here.
            ("maxconn 8000\n", "maxconn 200\n".to_owned()),
            ("10.0.0.11:8080\n", format!("{}\n", nodes[0])),
            ("10.0.0.12:8080\n", format!("{}\n", nodes[1])),
        ] {
            assert!(configuration.contains(shipped), "{shipped}");
            configuration = configuration.replace(shipped, &here);
        }
        let file = directory.join("haproxy.cfg");
        std::fs::write(&file, configuration).unwrap();
        // In the foreground, so that it is this child and no other process.
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/bin:/usr/local/bin")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("HAProxy is not installed: run scripts/install-missing");
        let proxy = Proxy { child, address };
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "HAProxy does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Two nodes on one database. Each has a directory for keys of its own, with the same master key.
struct Nodes {
    folder: Folder,
    addresses: [SocketAddr; 2],
}

impl Nodes {
    fn start(&self, node: usize) -> Served {
        let keys = self.folder.path().join(format!("keys-{node}"));
        let listen = self.addresses[node].to_string();
        if !keys.exists() {
            std::fs::create_dir(&keys).unwrap();
            std::fs::copy(self.folder.master_key(), keys.join("master.key")).unwrap();
        }
        self.folder.serve_with(
            &["--issuer", "https://auth.example.com"],
            &[
                ("KEYWHEEL_LISTEN", &listen),
                ("KEYWHEEL_KEYS_DIR", keys.to_str().unwrap()),
                // As it is by default.
                ("KEYWHEEL_SHUTDOWN_DELAY", "5s"),
            ],
        )
    }
}

/// Sends one request after the other until it is told to stop, and counts those that were answered with 200. `next` makes a request
/// of the answer before.
fn keep_asking(proxy: SocketAddr, stop: &AtomicBool, mut next: impl FnMut(Option<&Response>) -> Request) -> u32 {
    let mut connection = Connection::open(proxy);
    let (mut answered, mut last) = (0, None);
    while !stop.load(Ordering::Relaxed) {
        let answer = connection.try_send(&next(last.as_ref()));
        let answer = answer.unwrap_or_else(|| panic!("request {answered} is not answered"));
        assert_eq!(answer.status, 200, "request {answered}: {}", answer.text());
        if answer.header("connection") == Some("close") {
            connection = Connection::open(proxy);
        }
        answered += 1;
        last = Some(answer);
        std::thread::sleep(Duration::from_millis(2));
    }
    answered
}

#[test]
#[expect(clippy::print_stdout, reason = "how many requests were answered meanwhile")]
fn nodes_are_replaced_one_after_the_other_and_no_request_fails() {
    let database = Database::postgres();
    let folder = Folder::empty().with("DATABASE_URL", database.url());
    let shop = &folder.shop_and_alice();
    let billing = folder.client_secret("billing");

    let nodes = Nodes {
        folder,
        addresses: [free(), free()],
    };
    let mut running = [nodes.start(0), nodes.start(1)];
    let proxy = Proxy::start(nodes.folder.path(), nodes.addresses);
    let address = proxy.address;
    let signed_in = send(address, &Request::form(TOKEN, &ALICE).basic("shop", shop));
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());

    let stop = AtomicBool::new(false);
    let granted =
        |_: Option<&Response>| Request::raw_form(TOKEN, "grant_type=client_credentials").basic("billing", &billing);
    let refreshed = |last: Option<&Response>| {
        let token = last.unwrap_or(&signed_in).json()["refresh_token"]
            .as_str()
            .unwrap()
            .to_owned();
        let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        Request::form(TOKEN, &form).basic("shop", shop)
    };
    let answered = std::thread::scope(|scope| {
        let load = [
            scope.spawn(|| keep_asking(address, &stop, granted)),
            scope.spawn(|| keep_asking(address, &stop, refreshed)),
            scope.spawn(|| keep_asking(address, &stop, |_| Request::get(JWKS))),
        ];
        // Whatever becomes of the nodes, the load comes to an end.
        let replaced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for (node, served) in running.iter_mut().enumerate() {
                std::thread::sleep(Duration::from_secs(1));
                served.signal(rustix::process::Signal::TERM);
                assert_eq!(served.ended().code(), Some(0));
                *served = nodes.start(node);
                // The proxy has to notice before the other one may go.
                std::thread::sleep(Duration::from_secs(3));
            }
        }));
        stop.store(true, Ordering::Relaxed);
        let answered = load.map(|load| load.join().unwrap());
        replaced.unwrap();
        answered
    });
    println!("answered, and none failed: {answered:?}");
    assert!(answered.iter().all(|answered| *answered > 100), "{answered:?}");
    for path in [
        "/admin/v1",
        "/admin/v1/clients",
        "/metrics",
        "/readyz",
        "//admin/v1",
        "/%61dmin/v1",
    ] {
        assert_eq!(send(address, &Request::get(path)).status, 404, "{path}");
    }
}
