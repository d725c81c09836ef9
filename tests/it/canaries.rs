//! Marked secrets (row N-05): a server and its commands are given many, in right places and in all wrong ones, at the highest level of the
//! log and with every request traced. Then they are looked for wherever the server or a command writes.

mod hunt;
mod misuse;
mod tls;

use std::fs;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

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
        let folder = Folder::empty().with("KEYWHEEL_LOG", "json,trace");
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

    /// Runs a command, and keeps what it wrote: all of it, or what is not meant for whoever it was done for.
    fn run(&mut self, words: &[&str], input: &str, prints: Prints) -> Value {
        let mut words = words.to_vec();
        words.extend(["--output", "json"]);
        let mut command = self.folder.command(&words);
        self.output(&mut command, input, prints)
    }

    fn output(&mut self, command: &mut Command, input: &str, prints: Prints) -> Value {
        use std::io::Write as _;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that refuses its arguments reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        self.written.commands.extend(&output.stderr);
        if prints == Prints::NoSecret {
            self.written.commands.extend(&output.stdout);
        }
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn client(&mut self, id: &str, scope: &str, grants: &[&str]) -> Credentials {
        let mut words = vec!["client", "create", id, "--id", id, "--scope", scope, "--introspect"];
        words.extend(grants.iter().flat_map(|grant| ["--grant", grant]));
        let created = self.run(&words, "", Prints::ItsSecret);
        let secret = created["client_secret"].as_str().unwrap().to_owned();
        self.canaries.keep(&format!("the secret of {id}"), &secret);
        self.canaries.keep(
            &format!("the Basic header of {id}"),
            &BASE64_STANDARD.encode(format!("{id}:{secret}")),
        );
        let added = self.run(&["client", "secret", "add", id], "", Prints::ItsSecret);
        let added = added["client_secret"].as_str().unwrap();
        self.canaries.keep(&format!("another secret of {id}"), added);
        Credentials {
            id: id.to_owned(),
            secret,
        }
    }

    /// Users, and mistakes with their passwords.
    fn people(&mut self) {
        for name in ["alice", "bob", "carol"] {
            let password = self.canaries.marked(&format!("the password of {name}"));
            self.run(
                &["user", "create", name, "--password-stdin"],
                &format!("{password}\n"),
                Prints::NoSecret,
            );
        }
        for (words, name) in [
            (
                &["user", "create", "alice", "--password-stdin"][..],
                "a password for a user that exists",
            ),
            (
                &["user", "create", "", "--password-stdin"],
                "a password for a user without a name",
            ),
            (&["user", "create", "dora"], "a password that nobody said would come"),
            (
                &["user", "set-password", "nobody", "--password-stdin"],
                "a password for nobody",
            ),
            (
                &["user", "set-password", "bob", "--password-stdin"],
                "a new password of bob",
            ),
            (
                &["user", "set-password", "bob"],
                "a password that nobody said would be set",
            ),
        ] {
            let password = self.canaries.marked(name);
            self.run(words, &format!("{password}\n"), Prints::NoSecret);
        }
    }

    /// Secrets in files and on standard input, good and bad.
    fn keys_and_files(&mut self) {
        let chosen = self.canaries.marked("a chosen secret in the environment");
        let in_file = self.canaries.marked("a chosen secret in a file");
        let refused = self.canaries.marked("a chosen secret of a file that is refused");
        let file = |name: &str, text: &str| fs::write(self.folder.path().join(name), text).unwrap();
        file("secret", &format!("{in_file}\n"));
        let clients = |secret: &str| {
            format!(
                "owner = \"team\"\n[[client]]\nclient_id = \"{secret}\"\nclient_name = \"x\"\n\
                 grant_types = [\"client_credentials\"]\nscope = \"read\"\nsecret = {{ {secret} }}\n"
            )
        };
        let named = |id: &str, secret: &str| {
            clients(secret).replacen(
                &format!("client_id = \"{secret}\""),
                &format!("client_id = \"{id}\""),
                1,
            )
        };
        file("by_env.toml", &named("by-env", "env = \"CHOSEN\""));
        file("by_file.toml", &named("by-file", "file = \"secret\""));
        file("in_clear.toml", &named("in-clear", &format!("text = \"{refused}\"")));
        for (clients, prints) in [
            ("by_env.toml", Prints::NoSecret),
            ("by_file.toml", Prints::NoSecret),
            // What is wrong with a file may be shown with the line, which is the operator's own.
            ("in_clear.toml", Prints::ItsSecret),
        ] {
            let mut command = self.folder.command(&["apply", clients, "--output", "json"]);
            command.env("CHOSEN", &chosen);
            self.output(&mut command, "", prints);
        }
        for name in ["secret", "by_env.toml", "by_file.toml", "in_clear.toml"] {
            fs::remove_file(self.folder.path().join(name)).unwrap();
        }
        // No private key, though it says so.
        let marked = self.canaries.marked("what looks like a private key");
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            BASE64_STANDARD.encode(&marked)
        );
        for input in [pem, marked] {
            self.run(
                &["keys", "import", "key", "--certificate", "/dev/null", "--key", "-"],
                &input,
                Prints::NoSecret,
            );
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

    /// All commands that show something.
    fn look_around(&mut self) {
        for words in [
            "client list",
            "client show shop",
            "client secret list shop",
            "user list",
            "user show alice",
            "registration-token list",
            "keys list",
            "keys plan",
            "keys ca show",
            "audit list",
            "audit export",
            "audit verify",
            "report unused-clients",
            "report secrets",
            "report over-issuance",
            "report failed-logins",
            "db status",
            "master-key status",
            "config show",
            "config check",
            "doctor --offline",
        ] {
            let words: Vec<&str> = words.split(' ').collect();
            self.run(&words, "", Prints::NoSecret);
        }
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

/// What a command prints on standard output.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prints {
    /// A secret that it has just made, once.
    ItsSecret,
    NoSecret,
}

// N-05: what is documented, that the environment of a process can be read, so a file is the better place.
#[test]
fn a_master_key_in_the_environment_stays_there_and_goes_nowhere_else() {
    let folder = Folder::empty();
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
