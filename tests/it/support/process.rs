//! The real program as a child process: what a user types, and what the user sees.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::http::{Request, send};
use super::server::JWKS;

const PROGRAM: &str = env!("CARGO_BIN_EXE_keywheel");

/// The login of the user of [`Folder::shop_and_alice`].
pub(crate) const ALICE: [(&str, &str); 3] = [
    ("grant_type", "password"),
    ("username", "alice"),
    ("password", "correct horse"),
];

/// A directory in which the program runs, with the settings that every run there shares.
#[derive(Debug)]
pub(crate) struct Folder {
    directory: Arc<tempfile::TempDir>,
    program: String,
    settings: Vec<(String, String)>,
}

impl Folder {
    /// An empty directory; the database is SQLite in it.
    pub(crate) fn empty() -> Self {
        let folder = Folder {
            directory: Arc::new(tempfile::tempdir().unwrap()),
            program: PROGRAM.to_owned(),
            settings: Vec::new(),
        };
        folder
            .with("KEYWHEEL_LISTEN", "127.0.0.1:0")
            .with("KEYWHEEL_MANAGEMENT_LISTEN", "127.0.0.1:0")
            .with("KEYWHEEL_LOG", "json")
            // Nobody balances load to it.
            .with("KEYWHEEL_SHUTDOWN_DELAY", "0s")
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whoever runs the tests may look into the process, also without being root.
    pub(crate) fn readable(self) -> Self {
        self.with("KEYWHEEL_CORE_DUMPS", "true")
    }

    /// The same directory and settings, for another build of the program.
    pub(crate) fn with_program(&self, program: &str) -> Self {
        Folder {
            directory: Arc::clone(&self.directory),
            program: program.to_owned(),
            settings: self.settings.clone(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn master_key(&self) -> PathBuf {
        self.path().join("keys/master.key")
    }

    /// The program with nothing in its environment but what the folder says.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.clean(&self.program);
        command.args(arguments);
        command
    }

    fn clean(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path())
            .env_clear()
            .envs(self.settings.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed, and reads the JSON that it prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["--output", "json"]);
        let output = self.run(&all);
        assert!(
            output.status.success(),
            "{all:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{all:?}: {error}: {output:?}"))
    }

    /// Registers a client that asks for itself, with the scope `read`, and returns what is printed of it.
    pub(crate) fn create_client(&self, id: &str) -> Value {
        let words = format!("client create {id} --id {id} --grant client_credentials --scope read");
        self.json(&words.split(' ').collect::<Vec<_>>())
    }

    /// The same, when its secret is all that matters.
    pub(crate) fn client_secret(&self, id: &str) -> String {
        self.create_client(id)["client_secret"].as_str().unwrap().to_owned()
    }

    /// Registers the client `shop`, through which users log in, and the user `alice`; returns the client's secret.
    pub(crate) fn shop_and_alice(&self) -> String {
        let words = "client create shop --id shop --grant password --grant refresh_token";
        let shop = self.json(&words.split(' ').collect::<Vec<_>>());
        self.with_input(
            &["user", "create", "alice", "--password-stdin"],
            &format!("{}\n", ALICE[2].1),
        );
        shop["client_secret"].as_str().unwrap().to_owned()
    }

    /// Runs a command with something on its standard input.
    pub(crate) fn try_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut all = arguments.to_vec();
        all.extend(["--output", "json"]);
        let mut command = self.command(&all);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// The same, when it must succeed and prints JSON.
    pub(crate) fn with_input(&self, arguments: &[&str], input: &str) -> Value {
        let output = self.try_with_input(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command that must fail with status 1, and returns what it says.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        self.refused_with(arguments, &[])
    }

    /// The same with further settings.
    pub(crate) fn refused_with(&self, arguments: &[&str], settings: &[(&str, &str)]) -> String {
        let mut command = self.command(arguments);
        command.envs(settings.iter().copied());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // What is not refused may serve for ever.
        let lines = lines(child.stderr.take().unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut said = Vec::new();
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    child.kill().unwrap();
                    break;
                }
            }
        }
        let (status, said) = (child.wait().unwrap(), said.join("\n"));
        assert_eq!(status.code(), Some(1), "{arguments:?}: {said}");
        said
    }

    /// Starts a server and waits until it serves.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Served {
        self.serve_with(arguments, &[])
    }

    /// The same with further settings.
    pub(crate) fn serve_with(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Served {
        let mut command = self.command(&["serve"]);
        command.args(arguments).envs(settings.iter().copied());
        Folder::start(command)
    }

    /// The same as that user and group, to whom the folder is given; as this one where there is none.
    pub(crate) fn serve_as(&self, user: Option<(u32, u32)>, arguments: &[&str], settings: &[(&str, &str)]) -> Served {
        let Some((user, group)) = user else {
            return self.serve_with(arguments, settings);
        };
        // Where they cannot read, there the program may be.
        let program = self.path().join("keywheel");
        // By another process: one that this one forks meanwhile would hold the file open, and then it cannot be run.
        let copied = Command::new("cp").arg(&self.program).arg(&program).status();
        assert!(copied.unwrap().success());
        for given in [self.path(), &program] {
            chown(given, Some(user), Some(group)).unwrap();
        }
        let mut command = self.clean(program.to_str().unwrap());
        command.arg("serve").args(arguments).envs(settings.iter().copied());
        command.uid(user).gid(group);
        Folder::start(command)
    }

    /// The same when it may have so many files open at most.
    pub(crate) fn serve_limited(&self, files: u32, arguments: &[&str]) -> Served {
        let mut command = self.clean("sh");
        command
            .args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")])
            .args([PROGRAM, "serve"])
            .args(arguments);
        Folder::start(command)
    }

    /// Runs the program until it is at a failpoint, and ends it there as `kill -9` does.
    #[cfg(feature = "failpoints")]
    pub(crate) fn crash_at(&self, arguments: &[&str], failpoint: &str) {
        let (mut child, _lines) = stop_at(self.command(arguments), failpoint);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Runs the program, does something while it stays at a failpoint, and lets it go on to its end. Returns what it said.
    #[cfg(feature = "failpoints")]
    pub(crate) fn meanwhile(&self, command: Command, failpoint: &str, act: impl FnOnce()) -> (ExitStatus, String) {
        let (mut child, lines) = stop_at(command, failpoint);
        act();
        drop(child.stdin.take());
        let status = child.wait().unwrap();
        (status, lines.iter().collect::<Vec<_>>().join("\n"))
    }

    /// The same while strace writes down what it asks of the system.
    pub(crate) fn serve_traced(&self, arguments: &[&str], strace: &[&str], trace: &Path) -> Served {
        let mut command = self.traced(strace, trace);
        command.arg("serve").args(arguments);
        Folder::start(command)
    }

    /// The program under strace, which writes to the file `trace`.
    pub(crate) fn traced(&self, strace: &[&str], trace: &Path) -> Command {
        let mut command = self.clean("strace");
        command.args(strace).arg("-o").arg(trace).arg(&self.program);
        command
    }

    fn start(mut command: Command) -> Served {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines(child.stderr.take().unwrap());
        let mut log = Vec::new();
        while let Ok(line) = lines.recv_timeout(Duration::from_secs(60)) {
            log.push(line.clone());
            let Ok(event) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            if event["event"] == "serving" {
                let address = |name: &str| event[name].as_str().unwrap().parse().unwrap();
                return Served {
                    child,
                    lines,
                    begun: log.join("\n"),
                    address: address("listen"),
                    management: address("management"),
                    issuer: event["issuer"].as_str().unwrap().to_owned(),
                };
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        panic!("it does not serve: {}", log.join("\n"));
    }
}

/// Starts the program and waits until it is at a failpoint.
#[cfg(feature = "failpoints")]
fn stop_at(mut command: Command, failpoint: &str) -> (Child, Receiver<String>) {
    command
        .env("KEYWHEEL_FAILPOINT", failpoint)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = lines(child.stderr.take().unwrap());
    let mut log = Vec::new();
    let reached = format!("failpoint {failpoint}");
    while let Ok(line) = lines.recv_timeout(Duration::from_secs(60)) {
        if line == reached {
            return (child, lines);
        }
        log.push(line);
    }
    let _ = child.kill();
    let _ = child.wait();
    panic!("it does not come to {failpoint}: {}", log.join("\n"));
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    receive
}

/// A server that was started and serves.
#[derive(Debug)]
pub(crate) struct Served {
    child: Child,
    lines: Receiver<String>,
    /// The log until it served.
    pub(crate) begun: String,
    pub(crate) address: SocketAddr,
    pub(crate) management: SocketAddr,
    pub(crate) issuer: String,
}

impl Served {
    /// Waits until a key has left the set, and another one is next.
    pub(crate) fn await_without(&self, kid: &str) {
        let begun = Instant::now();
        loop {
            let set = send(self.address, &Request::get(JWKS)).json();
            let keys = set["keys"].as_array().unwrap();
            if keys.len() >= 2 && keys.iter().all(|key| key["kid"] != kid) {
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{kid} is still published: {set}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// An address that it told when it began.
    pub(crate) fn logged(&self, event: &str, member: &str) -> SocketAddr {
        let lines = self
            .begun
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let line = lines.into_iter().find(|line| line["event"] == event);
        line.unwrap()[member].as_str().unwrap().parse().unwrap()
    }

    /// Waits until the log tells of an event, and returns what it tells.
    pub(crate) fn await_event(&self, name: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut log = Vec::new();
        while let Ok(line) = self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["event"] == name {
                return event;
            }
            log.push(line);
        }
        panic!("nothing is told of {name}: {}", log.join("\n"));
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Where it shows its health and its metrics.
    pub(crate) fn management(&self) -> SocketAddr {
        let serving = self.begun.lines().last().unwrap();
        let serving: Value = serde_json::from_str(serving).unwrap();
        serving["management"].as_str().unwrap().parse().unwrap()
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed on stdout, up to the last line of the welcome.
    pub(crate) fn welcome(&mut self) -> String {
        let mut reader = BufReader::new(self.child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.contains("/.well-known/jwks.json") {
            assert_ne!(
                reader.read_line(&mut text).unwrap(),
                0,
                "the welcome ended early: {text}"
            );
        }
        text
    }

    /// Sends SIGTERM and waits for the end. Returns the status and the rest of the log.
    pub(crate) fn terminate(mut self) -> (ExitStatus, String) {
        let begun = self.ask_to_stop();
        let status = self.child.wait().unwrap();
        let rest: Vec<String> = self.lines.iter().collect();
        (status, format!("{begun}\n{}", rest.join("\n")))
    }

    /// Sends SIGTERM and waits until the server says that it drains. Returns the log up to there.
    pub(crate) fn ask_to_stop(&self) -> String {
        self.signal(Signal::TERM);
        let mut log = String::new();
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(10)) {
            log += &line;
            log.push('\n');
            if line.contains("\"draining\"") {
                return log;
            }
        }
        panic!("it does not drain: {log}");
    }

    /// Waits until the server is at a failpoint, where it stays.
    #[cfg(feature = "failpoints")]
    pub(crate) fn await_failpoint(&self, name: &str) {
        let mut log = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(60)) {
            if line.strip_prefix("failpoint ") == Some(name) {
                return;
            }
            log.push(line);
        }
        panic!("it does not come to {name}: {}", log.join("\n"));
    }

    /// Lets the server go on from its failpoint.
    #[cfg(feature = "failpoints")]
    pub(crate) fn release(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Ends the server as `kill -9` does.
    #[cfg(feature = "failpoints")]
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.ended()
    }

    /// The same for one that is replaced then.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
