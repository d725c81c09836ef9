//! A power cut: all that SQLite had not had synced is gone, and what a client was told stays true.
//!
//! The real program serves under strace, which writes down each write to the database, each sync and each answer. From that the
//! files are made as a disk may have them at the moment of an answer: with the writes that were synced, and with no other.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::refresh::{PASSWORD, Session, session};
use crate::support::http::{Request, Response, send};
use crate::support::process::{Folder, Served};
use crate::support::server::TOKEN;
use crate::support::{Database, count, naming};
use crate::token::assert_refused;

const SERVE: &[&str] = &["--issuer", "https://auth.example"];
/// So many that the log is written back into the database and begun anew in between.
const REFRESHES: usize = 600;
/// Every so many answers the power is cut.
const EVERY: usize = 25;

// R-09
#[test]
fn what_was_answered_survives_a_power_cut_on_sqlite() {
    if !can_trace() {
        // Past the test runner, which would swallow it.
        let why = "SKIPPED: strace cannot trace here; that SQLite survives a power cut was NOT checked\n";
        return std::io::stderr().write_all(why.as_bytes()).unwrap();
    }
    let files = Database::sqlite();
    let path = files.url().trim_start_matches("sqlite://").to_owned();
    let folder = Folder::empty().readable().with("DATABASE_URL", files.url());
    let arguments = "client create Shop --id shop --grant password --grant refresh_token";
    let created = folder.json(&arguments.split(' ').collect::<Vec<_>>());
    let client = Client(created["client_secret"].as_str().unwrap().to_owned());
    let password = format!("{PASSWORD}\n");
    folder.with_input(&["user", "create", "alice", "--password-stdin"], &password);
    let mut disk = Disk::new(&path);

    let trace = folder.path().join("trace");
    let strace = format!("-D -f -qq -xx -y -s 70000 -e trace={CALLS}");
    let served = folder.serve_traced(SERVE, &strace.split(' ').collect::<Vec<_>>(), &trace);
    let first = session(&client.sign_in(&served));
    let ended = session(&client.sign_in(&served));
    assert_eq!(client.revoke(&served, &ended).status, 200);
    let mut newest = first.clone();
    for _ in 0..REFRESHES {
        newest = session(&client.refresh(&served, &newest));
    }
    // Returns when the server has ended, and strace with it.
    served.terminate();

    let image = folder.path().join("image.db");
    let url = format!("sqlite://{}", image.display());
    let mut answers = 0;
    for line in fs::read_to_string(&trace).unwrap().lines() {
        if disk.follow(line) {
            answers += 1;
            if answers % EVERY == 0 || answers == 3 + REFRESHES {
                disk.cut_power(&image);
                naming(&format!("after answer {answers}"), || check(&url, answers));
            }
        }
        if answers == 3 + REFRESHES {
            break;
        }
    }
    assert_eq!(answers, 3 + REFRESHES, "the answers are not in the trace");
    assert!(disk.written_back, "there was no checkpoint");

    disk.cut_power(&image);
    let served = folder.serve_with(SERVE, &[("DATABASE_URL", &url)]);
    newest = session(&client.refresh(&served, &newest));
    assert_refused(&client.refresh(&served, &ended), 400, "invalid_grant");
    assert_refused(&client.refresh(&served, &first), 400, "invalid_grant");
    assert_refused(&client.refresh(&served, &newest), 400, "invalid_grant");
}

/// What the database holds after so many answers: two logins, a revocation, and refreshes.
fn check(url: &str, answers: usize) {
    let refreshes = i64::try_from(answers.saturating_sub(3)).unwrap();
    let logins = i64::try_from(answers.min(2)).unwrap();
    assert_eq!(count(url, "refresh_tokens"), logins + refreshes);
    assert_eq!(count(url, "refresh_tokens WHERE rotated_at IS NOT NULL"), refreshes);
    assert_eq!(
        count(url, "token_families WHERE revoked_at IS NOT NULL"),
        i64::from(answers >= 3)
    );
    assert_eq!(count(url, "pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
}

fn can_trace() -> bool {
    let tried = Command::new("strace")
        .args(["-D", "-f", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// What may change the files or answer. A call that is not understood fails the test.
const CALLS: &str = "pwrite64,pwritev,pwritev2,ftruncate,fallocate,rename,fsync,fdatasync,sync_file_range,sendto";
/// How an answer begins, as strace writes it.
const OK: &str = r"\x48\x54\x54\x50\x2f\x31\x2e\x31\x20\x32\x30\x30\x20";

/// The files of a database as they are in the memory of the system and on the disk.
struct Disk {
    path: String,
    directory: String,
    /// By what comes after the path: nothing, or `-wal`. The index of the log is made anew after a crash.
    files: BTreeMap<&'static str, File>,
    /// Syncs under way, by thread: the file, and how many writes to it were there at the beginning.
    syncing: BTreeMap<String, (String, [usize; 2])>,
    written_back: bool,
}

#[derive(Default)]
struct File {
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// Whether the directory with its name in it is on the disk.
    is_named: bool,
}

enum Change {
    /// Offset and data.
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Disk {
    fn new(path: &str) -> Self {
        let before = File {
            durable: fs::read(path).unwrap(),
            unsynced: Vec::new(),
            is_named: true,
        };
        assert!(!Path::new(&format!("{path}-wal")).exists());
        Disk {
            path: path.to_owned(),
            directory: Path::new(path).parent().unwrap().display().to_string(),
            files: BTreeMap::from([("", before), ("-wal", File::default())]),
            syncing: BTreeMap::new(),
            written_back: false,
        }
    }

    /// Follows a line of the trace; whether it is a successful answer that begins.
    fn follow(&mut self, line: &str) -> bool {
        let (thread, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        if call.starts_with("<... ") {
            self.end_sync(thread, call);
            return false;
        }
        let Some((name, arguments)) = call.split_once('(') else {
            return false;
        };
        if name == "sendto" {
            return arguments.split('"').nth(1).is_some_and(|data| data.starts_with(OK));
        }
        let Some(named) = arguments.split(['<', '>']).nth(1) else {
            return false;
        };
        let named = String::from_utf8(bytes(named)).unwrap();
        if !named.starts_with(&self.directory) || named.ends_with("-shm") {
            return false;
        }
        match name {
            "pwrite64" => {
                let mut parts = arguments.split('"').skip(1);
                let data = bytes(parts.next().unwrap());
                let rest: Vec<&str> = parts
                    .next()
                    .unwrap()
                    .split([',', ')', ' '])
                    .filter(|part| !part.is_empty())
                    .collect();
                assert_eq!(rest[0].parse(), Ok(data.len()), "{line}");
                let suffix = self.suffix(&named);
                self.written_back |= suffix.is_empty();
                let file = self.files.get_mut(suffix).unwrap();
                file.unsynced.push(Change::Write(rest[1].parse().unwrap(), data));
            }
            "ftruncate" => {
                let length: String = (arguments.rsplit_once(", ").unwrap().1.chars())
                    .take_while(char::is_ascii_digit)
                    .collect();
                let suffix = self.suffix(&named);
                let file = self.files.get_mut(suffix).unwrap();
                file.unsynced.push(Change::Length(length.parse().unwrap()));
            }
            "fsync" | "fdatasync" => {
                let until = ["", "-wal"].map(|suffix| self.files[suffix].unsynced.len());
                self.syncing.insert(thread.to_owned(), (named, until));
                if !call.ends_with("<unfinished ...>") {
                    self.end_sync(thread, call);
                }
            }
            _ => panic!("a call that this test does not know: {line}"),
        }
        false
    }

    fn suffix(&self, named: &str) -> &'static str {
        match named.strip_prefix(&self.path) {
            Some("") => "",
            Some("-wal") => "-wal",
            _ => panic!("a file that this test does not know: {named}"),
        }
    }

    fn end_sync(&mut self, thread: &str, call: &str) {
        let Some((named, until)) = self.syncing.remove(thread) else {
            return;
        };
        assert!(call.ends_with("= 0"), "{call}");
        if named == self.directory {
            self.files.values_mut().for_each(|file| file.is_named = true);
            return;
        }
        let suffix = self.suffix(&named);
        let until = until[usize::from(!suffix.is_empty())];
        let file = self.files.get_mut(suffix).unwrap();
        for change in file.unsynced.drain(..until) {
            match change {
                Change::Write(offset, data) => {
                    let end = offset + data.len();
                    file.durable.resize(file.durable.len().max(end), 0);
                    file.durable[offset..end].copy_from_slice(&data);
                }
                Change::Length(length) => file.durable.resize(length, 0),
            }
        }
    }

    /// Leaves the files as they are found when the power is back.
    fn cut_power(&self, image: &Path) {
        for suffix in ["-wal", "-shm"] {
            drop(fs::remove_file(format!("{}{suffix}", image.display())));
        }
        for (suffix, file) in self.files.iter().filter(|(_, file)| file.is_named) {
            fs::write(format!("{}{suffix}", image.display()), &file.durable).unwrap();
        }
    }
}

/// What strace wrote as `\x2f\x74…`.
fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.split("\\x").skip(1);
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// The client, by its secret.
struct Client(String);

impl Client {
    fn post(&self, served: &Served, path: &str, form: &[(&str, &str)]) -> Response {
        send(served.address, &Request::form(path, form).basic("shop", &self.0))
    }

    fn sign_in(&self, served: &Served) -> Response {
        let form = [
            ("grant_type", "password"),
            ("username", "alice"),
            ("password", PASSWORD),
        ];
        self.post(served, TOKEN, &form)
    }

    fn refresh(&self, served: &Served, session: &Session) -> Response {
        let form = [("grant_type", "refresh_token"), ("refresh_token", &session.refresh)];
        self.post(served, TOKEN, &form)
    }

    fn revoke(&self, served: &Served, session: &Session) -> Response {
        self.post(served, "/oauth2/revoke", &[("token", &session.refresh)])
    }
}
