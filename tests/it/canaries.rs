//! Marked secrets (row N-05): a server and its commands are given many, in right places and in all wrong ones, at the highest level of the
//! log and with every request traced. Then they are looked for wherever the server or a command writes.

mod commands;
mod hunt;
mod misuse;
mod tls;

use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use self::commands::Prints;
use self::hunt::Canaries;
use crate::private_bytes::{files, private_keys};
use crate::support::collector::Collector;
use crate::support::http::{Connection, Request, Response, send};
use crate::support::postgres::programs;
use crate::support::process::{Folder, Served};
use crate::support::server::{Credentials, JWKS, TOKEN};
use crate::support::{Database, on_both};

const ISSUER: &str = "https://auth.example";

/// What was written by the server and by commands, each place with something that is known to be in it.
#[derive(Default)]
struct Written {
    errors: Vec<Vec<u8>>,
    commands: Vec<u8>,
}

/// A server, its commands and all that they wrote.
struct Play<'d> {
    folder: Folder,
    database: &'d Database,
    canaries: Canaries,
    written: Written,
}

// N-05
#[test]
fn no_secret_is_anywhere_but_where_it_belongs() {
    on_both(|database| {
        let collector = Collector::start();
        let mut play = Play::staged(database, &collector);
        let shop = play.client("shop", "read", &["client_credentials", "password", "refresh_token"]);
        let root = play.client("root", "keywheel:admin", &["client_credentials"]);
        play.people();
        play.keys_and_files();
        let served = play.folder.serve(&["--issuer", ISSUER]);
        let admin = play.tokens(&served, &shop, &root);
        play.registrations(&served);
        play.administration(&served, &admin);
        play.misuse(&served, &shop, &admin);
        play.look_around();
        play.every_key();
        assert!(play.canaries.count() >= 60, "{}", play.canaries.count());
        play.hunt(served, &collector);
    });
}

impl<'d> Play<'d> {
    /// What must be secret among the settings stands in the file, not in the environment.
    fn staged(database: &'d Database, collector: &Collector) -> Self {
        let mut canaries = Canaries::default();
        let folder = Folder::empty().readable().with("KEYWHEEL_LOG", "json,trace");
        let mut url = database.url().to_owned();
        if url.starts_with("postgres")
            && !url
                .split('@')
                .next()
                .unwrap()
                .trim_start_matches("postgres://")
                .contains(':')
        {
            // The server of the tests asks nobody for one.
            let password = canaries.marked("the password of the database");
            url = url.replacen('@', &format!(":{password}@"), 1);
        }
        let header = canaries.marked("a header for the collector");
        let settings = format!(
            "database_url = \"{url}\"\n[telemetry]\notlp_endpoint = \"{}\"\notlp_headers = \"authorization=Bearer%20{header}\"\n",
            collector.url()
        );
        fs::write(folder.path().join("keywheel.toml"), settings).unwrap();
        Play {
            folder,
            database,
            canaries,
            written: Written::default(),
        }
    }

    /// A request whose answer, if it is an error, is kept.
    fn send(&mut self, connection: &mut Connection, to: &Served, request: &Request) -> Option<Response> {
        // The server closes a connection when it has not read a request to its end.
        let answer = connection.try_send(request).or_else(|| {
            *connection = Connection::open(to.address);
            connection.try_send(request)
        });
        if let Some(answer) = &answer
            && answer.status >= 400
        {
            self.written.errors.push(answer.everything());
        }
        answer
    }

    /// Every grant, used well. Returns a token of an administrator.
    fn tokens(&mut self, served: &Served, shop: &Credentials, root: &Credentials) -> String {
        let form = |client: &Credentials, parameters: &[(&str, &str)]| {
            let answer = send(
                served.address,
                &Request::form(TOKEN, parameters).basic(&client.id, &client.secret),
            );
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.json()
        };
        let text = |answer: &Value, member: &str| answer[member].as_str().unwrap().to_owned();
        let admin = text(&form(root, &[("grant_type", "client_credentials")]), "access_token");
        self.canaries.keep("a token of an administrator", &admin);
        for number in 0..3 {
            let token = text(&form(shop, &[("grant_type", "client_credentials")]), "access_token");
            self.canaries.keep(&format!("access token {number}"), &token);
        }
        for name in ["alice", "carol"] {
            // The same as when it was made.
            let password = Canaries::default().marked(&format!("the password of {name}"));
            let login = [("grant_type", "password"), ("username", name), ("password", &password)];
            let mut answer = form(shop, &login);
            for generation in 0..3 {
                let refresh_token = text(&answer, "refresh_token");
                self.canaries
                    .keep(&format!("refresh token {generation} of {name}"), &refresh_token);
                self.canaries.keep(
                    &format!("access token {generation} of {name}"),
                    &text(&answer, "access_token"),
                );
                answer = form(
                    shop,
                    &[("grant_type", "refresh_token"), ("refresh_token", &refresh_token)],
                );
            }
        }
        admin
    }

    /// Clients that register themselves.
    fn registrations(&mut self, served: &Served) {
        let words = [
            "registration-token",
            "create",
            "--name",
            "Partner",
            "--grant",
            "client_credentials",
            "--scope",
            "read",
        ];
        for number in 0..2 {
            let created = self.run(&words, "", Prints::ItsSecret);
            let initial = created["token"].as_str().or(created["initial_access_token"].as_str());
            let initial = initial.unwrap_or_else(|| panic!("{created}")).to_owned();
            self.canaries.keep(&format!("initial access token {number}"), &initial);
            let document = json!({"client_name": "Partner", "grant_types": ["client_credentials"], "scope": "read"});
            let request = Request::new("POST", "/oauth2/register")
                .header("Authorization", &format!("Bearer {initial}"))
                .header("Content-Type", "application/json")
                .body(document.to_string().as_bytes());
            let registered = send(served.address, &request);
            assert_eq!(registered.status, 201, "{}", registered.text());
            let registered = registered.json();
            for member in ["client_secret", "registration_access_token"] {
                let secret = registered[member].as_str().unwrap();
                self.canaries.keep(&format!("{member} {number}"), secret);
            }
            let own = format!("/oauth2/register/{}/secrets", registered["client_id"].as_str().unwrap());
            let bearer = format!("Bearer {}", registered["registration_access_token"].as_str().unwrap());
            let added = send(
                served.address,
                &Request::new("POST", &own).header("Authorization", &bearer),
            );
            assert_eq!(added.status, 201, "{}", added.text());
            self.canaries.keep(
                &format!("a turned secret {number}"),
                added.json()["client_secret"].as_str().unwrap(),
            );
        }
    }

    /// Secrets that are made and set over the API, some of them by a key with which that can be repeated.
    fn administration(&mut self, served: &Served, admin: &str) {
        let password = self.canaries.marked("a password set over the API");
        let another = self.canaries.marked("a password of a user made over the API");
        let key = self.canaries.marked("an Idempotency-Key");
        let client = json!({"client_name": "Made", "grant_types": ["client_credentials"], "scope": "read"});
        let post = |path: &str, document: &Value, key: Option<&str>| {
            let mut request = Request::new("POST", &format!("/admin/v1{path}"))
                .header("Authorization", &format!("Bearer {admin}"))
                .header("Content-Type", "application/json")
                .body(document.to_string().as_bytes());
            if let Some(key) = key {
                request = request.header("Idempotency-Key", key);
            }
            let answer = send(served.address, &request);
            assert!([200, 201].contains(&answer.status), "{}", answer.text());
            answer.json()
        };
        for (name, key) in [
            ("a secret made over the API", None),
            ("a secret derived from a key", Some(key.as_str())),
        ] {
            let made = post("/clients", &client, key);
            self.canaries.keep(name, made["client_secret"].as_str().unwrap());
        }
        assert_eq!(post("/clients", &client, Some(&key))["client_name"], "Made");
        let user = post("/users", &json!({"username": "erna", "password": another}), None);
        let path = format!("/admin/v1/users/{}/password", user["user_id"].as_str().unwrap());
        let set = Request::new("PUT", &path)
            .header("Authorization", &format!("Bearer {admin}"))
            .header("Content-Type", "application/json")
            .body(json!({"password": password}).to_string().as_bytes());
        assert_eq!(send(served.address, &set).status, 204);
    }

    /// Every secret that can be sent, wherever it does not belong.
    fn misuse(&mut self, served: &Served, shop: &Credentials, admin: &str) {
        let mut connection = Connection::open(served.address);
        let named = self.canaries.texts().to_vec();
        let all: Vec<&str> = [
            "the secret of shop",
            "the password of alice",
            "refresh token 2 of alice",
            "access token 0",
            "registration_access_token 0",
        ]
        .into();
        for (number, (name, secret)) in named.iter().enumerate() {
            let misuses = misuse::of(secret, shop, admin);
            // One of each kind in every place, and of the others each in some.
            let (first, step) = if all.contains(&name.as_str()) {
                (0, 1)
            } else {
                (number % 30, 30)
            };
            for request in misuses.iter().skip(first).step_by(step) {
                self.send(&mut connection, served, request);
            }
        }
        // Last, for it ends what it names.
        for (_, secret) in named {
            let revoke = Request::form("/oauth2/revoke", &[("token", &secret)]).basic(&shop.id, &shop.secret);
            self.send(&mut connection, served, &revoke);
        }
        assert_eq!(connection.send(&Request::get(JWKS)).status, 200);
    }

    /// Those that never leave: private keys, and the key above all.
    fn every_key(&mut self) {
        for key in private_keys(&self.folder, self.database) {
            for (name, number) in key.named() {
                self.canaries.keep_bytes(&format!("{name} of {}", key.kid), number);
            }
        }
        let text = fs::read_to_string(self.folder.master_key()).unwrap();
        let text = text.trim();
        self.canaries.keep_bytes("the master key as text", text.as_bytes());
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        assert_eq!(bytes.len(), 32, "it is written otherwise");
        self.canaries.keep_bytes("the master key", &bytes);
    }

    /// Looks everywhere.
    fn hunt(self, served: Served, collector: &Collector) {
        let hunt = self.canaries.hunt();
        let process = |name: &str| fs::read(format!("/proc/{}/{name}", served.pid())).unwrap_or_default();
        hunt.assert_absent("the environment", &process("environ"), "KEYWHEEL_LOG=json,trace");
        hunt.assert_absent("the arguments", &process("cmdline"), ISSUER);
        let metrics = send(served.management(), &Request::get("/metrics"));
        hunt.assert_absent("the metrics", &metrics.body, "keywheel_requests_total{");
        for error in &self.written.errors {
            hunt.assert_none(&format!("this answer: {}", String::from_utf8_lossy(error)), error);
        }
        hunt.assert_absent(
            "answers that are errors",
            &self.written.errors.concat(),
            "invalid_client",
        );
        hunt.assert_absent("what commands wrote", &self.written.commands, "\"client_id\"");
        hunt.assert_absent("the database", &self.database.dump(), "client.created");
        if self.database.backend == "SQLite" {
            self.folder.json(&["db", "backup", "copy.db"]);
            let backup = fs::read(self.folder.path().join("copy.db")).unwrap();
            hunt.assert_absent("the backup", &backup, "client.created");
        } else {
            let dump = Command::new(programs().join("pg_dump"))
                .arg(self.database.url())
                .output()
                .unwrap();
            hunt.assert_absent("the dump", &dump.stdout, "client.created");
        }
        // The operator wrote the one, and the other is the key above all.
        let own = [self.folder.path().join("keywheel.toml"), self.folder.master_key()];
        let written: Vec<_> = files(self.folder.path())
            .into_iter()
            .filter(|file| !own.contains(file))
            .collect();
        assert!(
            written.iter().any(|file| file.ends_with("keys/journal.json")),
            "{written:?}"
        );
        for file in written {
            hunt.assert_none(&file.display().to_string(), &fs::read(&file).unwrap());
        }
        for file in own {
            assert!(
                !hunt.found_in(&fs::read(file).unwrap()).is_empty(),
                "the search finds nothing"
            );
        }
        let begun = served.begun.clone();
        let log = format!("{begun}\n{}", served.terminate().1);
        assert!(log.contains("\"TRACE\""));
        hunt.assert_absent("the log", log.as_bytes(), "token.refused");
        let traces: Vec<u8> = collector.rest().into_iter().flat_map(|export| export.body).collect();
        hunt.assert_absent("the traces", &traces, "POST /oauth2/token");
    }
}

// N-05: what is documented, that the environment of a process can be read, so a file is the better place.
#[test]
fn a_master_key_in_the_environment_stays_there_and_goes_nowhere_else() {
    let folder = Folder::empty().readable();
    let mut canaries = Canaries::default();
    let key = "0123456789abcdef".repeat(4);
    canaries.keep_bytes("the master key", key.as_bytes());
    let served = folder.serve_with(
        &["--issuer", ISSUER],
        &[("KEYWHEEL_MASTER_KEY", &key), ("KEYWHEEL_LOG", "json,trace")],
    );
    let hunt = canaries.hunt();
    let environment = fs::read(format!("/proc/{}/environ", served.pid())).unwrap();
    assert!(!hunt.found_in(&environment).is_empty());
    for file in files(folder.path()) {
        hunt.assert_none(&file.display().to_string(), &fs::read(&file).unwrap());
    }
    let begun = served.begun.clone();
    let log = format!("{begun}\n{}", served.terminate().1);
    hunt.assert_absent("the log", log.as_bytes(), "\"serving\"");
}
