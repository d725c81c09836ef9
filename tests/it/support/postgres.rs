//! A private PostgreSQL, never the machine's own.
//!
//! `KEYWHEEL_TEST_POSTGRES` may hold the URL of a server on which databases may be created. Otherwise a server is started in a
//! temporary directory, under a supervising shell that stops it and removes the directory as soon as the tests end, however
//! they end: the shell reads from a pipe that only the test process holds.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_postgres::NoTls;

/// The server that tests share, or the one of `KEYWHEEL_TEST_POSTGRES`.
pub(crate) fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| {
        #[expect(clippy::disallowed_methods, reason = "the tests have no configuration")]
        let given = std::env::var("KEYWHEEL_TEST_POSTGRES").ok();
        match given {
            Some(url) => Server { url, _own: None },
            None => {
                let own = TestPostgres::start();
                Server {
                    url: own.url("postgres"),
                    _own: Some(own),
                }
            }
        }
    })
}

/// A server on which tests make databases.
pub(crate) struct Server {
    url: String,
    _own: Option<TestPostgres>,
}

impl Server {
    /// A new database's URL.
    pub(crate) fn create_database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = COUNT.fetch_add(1, Ordering::Relaxed);
        let random = tempfile::Builder::new().rand_bytes(12).tempfile().unwrap();
        let random = random.path().file_name().unwrap().to_str().unwrap().to_lowercase();
        let name: String = random.chars().filter(char::is_ascii_alphanumeric).collect();
        let name = format!("keywheel_test_{name}_{unique}");
        execute(&self.url, &format!("CREATE DATABASE {name}")).unwrap();
        with_database(&self.url, &name)
    }

    /// A new database in the state of another one, to which nobody may be connected any more.
    pub(crate) fn copy_database(&self, url: &str) -> String {
        let copy = self.create_database();
        let name = |url: &str| {
            let path = url.rsplit_once('/').unwrap().1;
            path.split_once('?').map_or(path, |(name, _)| name).to_owned()
        };
        let (from, to) = (name(url), name(&copy));
        execute(&self.url, &format!("DROP DATABASE {to}")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        // Connections that were closed on this side may live on for a moment on the other.
        while let Err(error) = execute(&self.url, &format!("CREATE DATABASE {to} TEMPLATE {from}")) {
            assert!(Instant::now() < deadline, "{error}");
            std::thread::sleep(Duration::from_millis(50));
        }
        copy
    }

    pub(crate) fn drop_database(&self, url: &str) {
        let (name, _) = url
            .rsplit_once('/')
            .unwrap()
            .1
            .split_once('?')
            .unwrap_or((url.rsplit_once('/').unwrap().1, ""));
        // The server may be gone with the test that needed it.
        drop(execute(
            &self.url,
            &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        ));
    }
}

/// The same server's database `name`.
fn with_database(url: &str, name: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(a, q)| (a, Some(q)));
    let scheme = address.find("://").unwrap() + 3;
    let server = address[scheme..]
        .find('/')
        .map_or(address, |slash| &address[..scheme + slash]);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{server}/{name}{query}")
}

/// Runs SQL in clear text.
pub(crate) fn execute(url: &str, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        let answer = client.simple_query(sql).await?;
        Ok(answer
            .iter()
            .filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
            .collect())
    })
}

/// A session that holds locks until it is dropped.
pub(crate) struct Session {
    runtime: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
}

impl Session {
    pub(crate) fn open(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
            tokio::spawn(connection);
            client
        });
        Session { runtime, client }
    }

    pub(crate) fn execute(&self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap();
    }
}

/// Waits until so many sessions of a database wait for a lock.
pub(crate) fn await_waiting(url: &str, count: usize) {
    let waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let begin = Instant::now();
    while execute(url, waiting).unwrap().len() < count {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "fewer than {count} wait for a lock"
        );
        std::thread::yield_now();
    }
}

/// A server of one's own, which may be stopped and started again.
pub(crate) struct TestPostgres {
    directory: PathBuf,
    port: u16,
    supervisor: Child,
    answers: BufReader<ChildStdout>,
}

/// `word`s on standard input stop and start the server; the end of input ends everything.
const SUPERVISOR: &str = r#"
directory=$1; shift
launch() { "$@" >>"$directory/log" 2>&1 </dev/null & server=$!; }
launch "$@"; echo started
while read -r word; do
    case $word in
        stop) kill -QUIT "$server"; wait "$server" ;;
        start) launch "$@" ;;
    esac
    echo "$word"
done
kill -QUIT "$server" 2>/dev/null; wait "$server"
rm -rf "$directory"
"#;

impl TestPostgres {
    /// A server without TLS.
    pub(crate) fn start() -> Self {
        Self::launch(None, &["fsync=off", "full_page_writes=off"])
    }

    /// A server that keeps what it acknowledged, whatever happens to it.
    pub(crate) fn start_durable() -> Self {
        Self::launch(None, &["fsync=on", "synchronous_commit=on"])
    }

    /// A server that offers TLS with a certificate for `localhost` (and not for `127.0.0.1`), signed by [`root`](Self::root).
    pub(crate) fn start_with_tls() -> Self {
        Self::launch(Some(()), &["fsync=off", "full_page_writes=off"])
    }

    fn launch(tls: Option<()>, durability: &[&str]) -> Self {
        Self::launch_with(tls, durability, &|data| {
            let arguments = [
                "-D",
                data,
                "-A",
                "trust",
                "-U",
                "keywheel",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ];
            ("initdb", arguments.map(str::to_owned).to_vec())
        })
    }

    /// A server that follows this one and acknowledges each of its commits before this one does.
    pub(crate) fn standby(&self) -> Self {
        let port = self.port.to_string();
        let standby = Self::launch_with(None, &["fsync=on"], &|data| {
            let from = ["-h", "127.0.0.1", "-p", &port, "-U", "keywheel"];
            let how = ["-D", data, "-R", "-X", "stream", "--checkpoint=fast", "--no-sync"];
            (
                "pg_basebackup",
                [&from[..], &how[..]].concat().into_iter().map(str::to_owned).collect(),
            )
        });
        let here = self.url("postgres");
        execute(&here, "ALTER SYSTEM SET synchronous_standby_names = '*'").unwrap();
        execute(&here, "SELECT pg_reload_conf()").unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while execute(&here, "SELECT sync_state FROM pg_stat_replication").unwrap() != ["sync"] {
            assert!(Instant::now() < deadline, "the standby does not follow");
            std::thread::sleep(Duration::from_millis(50));
        }
        standby
    }

    /// From now on a commit waits for a standby that is not there, until [`expects_no_standby`](Self::expects_no_standby).
    pub(crate) fn expects_a_standby(&self) {
        let url = self.url("postgres");
        execute(&url, "CREATE ROLE somebody LOGIN").unwrap();
        execute(&url, "ALTER SYSTEM SET synchronous_standby_names = 'gone'").unwrap();
        execute(&url, "SELECT pg_reload_conf()").unwrap();
        // The last to hear of it is a process of the server's own. When it has, somebody else's commit waits.
        let somebody = url.replacen("keywheel@", "somebody@", 1);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            let url = somebody.clone();
            std::thread::spawn(move || execute(&url, "SELECT pg_logical_emit_message(true, 'test', '')"));
            std::thread::sleep(Duration::from_millis(50));
            if !self.waiting("somebody").is_empty() {
                return;
            }
        }
        panic!("no commit waits for the standby");
    }

    /// The sessions of a role that wait for a standby.
    pub(crate) fn waiting(&self, role: &str) -> Vec<String> {
        let sql = format!("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND usename = '{role}'");
        execute(&self.url("postgres"), &sql).unwrap()
    }

    /// From now on no commit waits for a standby, and those that do are answered.
    pub(crate) fn expects_no_standby(&self) {
        let url = self.url("postgres");
        execute(&url, "ALTER SYSTEM RESET synchronous_standby_names").unwrap();
        execute(&url, "SELECT pg_reload_conf()").unwrap();
    }

    /// Has a standby take over.
    pub(crate) fn promote(&self) {
        assert_eq!(execute(&self.url("postgres"), "SELECT pg_promote()").unwrap(), ["t"]);
    }

    /// `make` names the program that makes the data directory, and its arguments.
    fn launch_with(tls: Option<()>, durability: &[&str], make: &dyn Fn(&str) -> (&'static str, Vec<String>)) -> Self {
        let programs = programs();
        let directory = tempfile::tempdir().unwrap().keep();
        let mut options: Vec<String> = [
            "max_connections=200",
            "shared_buffers=32MB",
            "listen_addresses=127.0.0.1",
        ]
        .map(str::to_owned)
        .into();
        options.extend(durability.iter().map(|option| (*option).to_owned()));
        options.push(format!("unix_socket_directories={}", directory.display()));
        if tls.is_some() {
            write_certificates(&directory);
            options.push("ssl=on".to_owned());
            options.push(format!("ssl_cert_file={}", directory.join("server.pem").display()));
            options.push(format!("ssl_key_file={}", directory.join("server.key").display()));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        options.push(format!("port={port}"));

        let user = unprivileged_user();
        if let Some((user, group)) = user {
            for entry in fs::read_dir(&directory).unwrap() {
                chown(entry.unwrap().path(), Some(user), Some(group)).unwrap();
            }
            chown(&directory, Some(user), Some(group)).unwrap();
        }
        let data = directory.join("data").display().to_string();
        let (program, arguments) = make(&data);
        let made = as_user(user, &programs.join(program).display().to_string(), &arguments);
        let output = Command::new(&made[0])
            .args(&made[1..])
            .current_dir("/")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        );

        let mut arguments = vec!["-D".to_owned(), data];
        for option in options {
            arguments.extend(["-c".to_owned(), option]);
        }
        let server = as_user(user, &programs.join("postgres").display().to_string(), &arguments);
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh", directory.to_str().unwrap()])
            .args(server)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // An interrupt at the terminal ends the tests; the pipe tells the supervisor.
            .process_group(0)
            .spawn()
            .unwrap();
        let answers = BufReader::new(supervisor.stdout.take().unwrap());
        let mut server = TestPostgres {
            directory,
            port,
            supervisor,
            answers,
        };
        server.await_word("started");
        server.await_connection();
        server
    }

    /// The URL of one of its databases, by address.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://keywheel@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of one of its databases, by name and with options.
    pub(crate) fn url_by_name(&self, options: &str) -> String {
        format!("postgres://keywheel@localhost:{}/postgres?{options}", self.port)
    }

    /// The directory of its Unix socket.
    pub(crate) fn socket_url(&self, encoded: bool) -> String {
        let directory = self.directory.display().to_string();
        let directory = if encoded {
            directory.replace('/', "%2F")
        } else {
            directory
        };
        format!("postgres://keywheel@/postgres?host={directory}&port={}", self.port)
    }

    /// The file with the root certificate that vouches for the server.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.join("root.pem")
    }

    /// Stops it at once, as a crash would.
    pub(crate) fn stop(&mut self) {
        self.tell("stop");
    }

    /// Starts it again on the same port, and waits until it answers.
    pub(crate) fn restart(&mut self) {
        self.tell("start");
        self.await_connection();
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.supervisor.stdin.as_mut().unwrap(), "{word}").unwrap();
        self.await_word(word);
    }

    fn await_word(&mut self, word: &str) {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word, "{}", self.log());
    }

    fn await_connection(&self) {
        let begin = Instant::now();
        while let Err(error) = execute(&self.url("postgres"), "SELECT 1") {
            let waited = begin.elapsed();
            assert!(
                waited < Duration::from_secs(30),
                "PostgreSQL does not start: {error}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for TestPostgres {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        drop(self.supervisor.wait());
    }
}

/// Where `initdb` and `postgres` are: the newest of Debian's, else those in `PATH`.
pub(crate) fn programs() -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let directory = entry.ok()?.path();
            let version = directory.file_name()?.to_str()?.parse().ok()?;
            Some((version, directory.join("bin")))
        })
        .filter(|(_, programs)| programs.join("initdb").exists())
        .collect();
    versions.sort();
    if let Some((_, programs)) = versions.pop() {
        return programs;
    }
    let found = Command::new("sh").args(["-c", "command -v initdb"]).output().unwrap();
    let path = PathBuf::from(String::from_utf8(found.stdout).unwrap().trim());
    path.canonicalize()
        .ok()
        .and_then(|initdb| initdb.parent().map(Path::to_owned))
        .expect("PostgreSQL is not installed: install the package postgresql, or set KEYWHEEL_TEST_POSTGRES")
}

/// PostgreSQL refuses to run as root; then `postgres`, or `nobody`, runs it. User and group.
pub(crate) fn unprivileged_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| Some((id(&["-u", name])?, id(&["-g", name])?)))
}

/// The words of a command that runs under that user.
pub(crate) fn as_user(user: Option<(u32, u32)>, program: &str, arguments: &[String]) -> Vec<String> {
    let mut command = Vec::new();
    if let Some((user, group)) = user {
        command.push("setpriv".to_owned());
        command.push(format!("--reuid={user}"));
        command.push(format!("--regid={group}"));
        command.push("--clear-groups".to_owned());
        command.push("--".to_owned());
    }
    command.push(program.to_owned());
    command.extend_from_slice(arguments);
    command
}

/// A root and a server's certificate for `localhost`.
fn write_certificates(directory: &Path) {
    let root = authority("root");
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &root).unwrap();
    fs::write(directory.join("root.pem"), root.pem()).unwrap();
    fs::write(directory.join("server.pem"), leaf.pem()).unwrap();
    fs::write(directory.join("server.key"), key.serialize_pem()).unwrap();
    fs::set_permissions(directory.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
}

/// A root certificate that nobody has seen before.
pub(crate) fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}
