//! keywheel behind PgBouncer, with `deploy/pgbouncer/pgbouncer.ini` as it is shipped but for addresses and who may log in.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::http::{Connection, Request, send};
use crate::support::process::{ALICE, Folder, Served};
use crate::support::server::TOKEN;
use crate::support::{Database, postgres};

const SHIPPED: &str = include_str!("../../deploy/pgbouncer/pgbouncer.ini");
const SERVE: [&str; 2] = ["--issuer", "https://auth.example"];

struct Pooler {
    child: Child,
    url: String,
    _directory: tempfile::TempDir,
}

impl Pooler {
    /// `differing` lines stand in the place of shipped ones.
    fn start(database: &Database, differing: &[(&str, &str)]) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = url::Url::parse(database.url()).unwrap();
        let name = url.path().trim_start_matches('/');
        let (host, port, user) = (url.host_str().unwrap(), url.port().unwrap_or(5432), url.username());
        let backend = format!("{name} = host={host} port={port} dbname={name} user={user}");
        let listen_port = format!("listen_port = {}", address.port());
        let here = [
            ("keywheel = host=127.0.0.1 port=5432 dbname=keywheel", backend.as_str()),
            ("listen_port = 6432", &listen_port),
            ("auth_type = scram-sha-256", "auth_type = any"),
            ("auth_file = /etc/pgbouncer/userlist.txt", "unix_socket_dir ="),
        ];
        let mut configuration = SHIPPED.to_owned();
        for (shipped, other) in here.iter().chain(differing) {
            assert!(configuration.contains(&format!("\n{shipped}\n")), "{shipped}");
            configuration = configuration.replacen(&format!("\n{shipped}\n"), &format!("\n{other}\n"), 1);
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pgbouncer.ini");
        std::fs::write(&file, configuration).unwrap();
        // It refuses to be root, as PostgreSQL does.
        let user = postgres::unprivileged_user();
        for path in [directory.path(), &file] {
            std::os::unix::fs::chown(path, user.map(|(user, _)| user), user.map(|(_, group)| group)).unwrap();
        }
        let command = postgres::as_user(user, "pgbouncer", &["-q".to_owned(), file.display().to_string()]);
        let child = Command::new(&command[0])
            .args(&command[1..])
            .env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/bin:/usr/local/bin")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("PgBouncer is not installed: run scripts/install-missing");
        let pooler = Pooler {
            child,
            url: format!("postgres://{}@{address}/{name}?sslmode=disable", url.username()),
            _directory: directory,
        };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "PgBouncer does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        pooler
    }

    fn folder(&self) -> Folder {
        Folder::empty().with("DATABASE_URL", &self.url)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A few connections for everybody, so that none of them is for long the one that it was.
const BY_TRANSACTION: [(&str, &str); 2] = [
    ("pool_mode = session", "pool_mode = transaction"),
    ("default_pool_size = 64", "default_pool_size = 4"),
];

fn word(answer: &Value, member: &str) -> String {
    answer[member]
        .as_str()
        .unwrap_or_else(|| panic!("no {member}: {answer}"))
        .to_owned()
}

/// Many logins refresh at the same time, at two nodes in turns, and each keeps going.
fn refresh_under_load(folder: &Folder) {
    let secret = folder.shop_and_alice();
    let nodes: Vec<Served> = (0..2).map(|_| folder.serve(&SERVE)).collect();
    let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
    let ask = |connection: &mut Connection, form: &[(&str, &str)]| {
        let answer = connection.send(&Request::form(TOKEN, form).basic("shop", &secret));
        assert_eq!(answer.status, 200, "{form:?}: {}", answer.text());
        word(&answer.json(), "refresh_token")
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connections: Vec<Connection> =
                    addresses.iter().map(|address| Connection::open(*address)).collect();
                let mut token = ask(&mut connections[0], &ALICE);
                for round in 0..40 {
                    let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
                    token = ask(&mut connections[round % 2], &form);
                }
            });
        }
    });
    let metrics = send(nodes[0].management, &Request::get("/metrics"));
    assert_eq!(metrics.status, 200);
    for node in nodes {
        let (status, log) = node.terminate();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!log.contains("tick.failed") && !log.contains("token.failed"), "{log}");
    }
}

#[test]
fn nodes_work_behind_a_pooler_that_gives_each_session_its_connection() {
    let database = Database::postgres();
    let pooler = Pooler::start(&database, &[]);
    refresh_under_load(&pooler.folder());
}

#[test]
fn nodes_that_keep_no_statements_work_behind_a_pooler_that_gives_each_transaction_another_connection() {
    let database = Database::postgres();
    let pooler = Pooler::start(&database, &BY_TRANSACTION);
    refresh_under_load(&pooler.folder().with("KEYWHEEL_DATABASE_PREPARED_STATEMENTS", "false"));
}

#[test]
fn a_server_that_keeps_statements_works_behind_such_a_pooler_or_says_what_to_set() {
    let database = Database::postgres();
    let pooler = Pooler::start(&database, &BY_TRANSACTION);
    let folder = pooler.folder();
    let version = Command::new("pgbouncer")
        .arg("--version")
        .env("PATH", "/usr/sbin:/usr/bin:/bin")
        .output()
        .unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let minor: u32 = version
        .split(['.', ' '])
        .nth(2)
        .and_then(|minor| minor.parse().ok())
        .unwrap_or_default();
    if minor >= 24 {
        // It keeps track of statements without being told to.
        return refresh_under_load(&folder);
    }
    let said = folder.refused(&["serve", SERVE[0], SERVE[1]]);
    assert!(
        said.contains("database_prepared_statements") && said.contains("max_prepared_statements"),
        "{said}"
    );
}
