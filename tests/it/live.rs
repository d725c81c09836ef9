//! Real verifiers with the caches that they have when nobody configures them, against the real program while its keys turn, by
//! a clock that nobody moves: these tests wait.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use keywheel::keys::{KNOWN_VERIFIERS, KnownVerifier};
use keywheel::oauth::Seconds;
use serde::Deserialize;
use serde_json::Value;

use crate::interop::{describe, installed};
use crate::support::http::{Request, send};
use crate::support::process::{Folder, Served};
use crate::support::server::JWKS;

const VERIFIERS: [&str; 4] = ["PyJWKClient", "jose", "jwks-rsa", "oauth4webapi"];

/// The slowest of them is oauth4webapi, which fetches an unknown `kid` once its set is a minute old. With ten seconds for nodes
/// and clocks, that is the shortest safe lead, and one second more the shortest period.
const SHORTEST: [(&str, &str); 3] = [
    ("KEYWHEEL_SIGNING_PERIOD", "71s"),
    ("KEYWHEEL_SIGNING_JWKS_MAX_AGE", "60s"),
    ("KEYWHEEL_SIGNING_SLOWEST_VERIFIER", "60s"),
];

//
#[test]
#[expect(clippy::print_stdout, reason = "the figures are for people, with --nocapture")]
fn through_three_turns_real_verifiers_with_default_caches_accept_every_token() {
    #[expect(clippy::disallowed_methods, reason = "the tests have no configuration")]
    let turns = std::env::var("KEYWHEEL_LIVE_TURNS").map_or(3, |turns| turns.parse().unwrap());
    let stage = Stage::with(&SHORTEST);
    let watch = Watch::start(&stage);
    let begun = Instant::now();
    let mut accepted: BTreeMap<(String, String), usize> = BTreeMap::new();
    // Every verifier accepts tokens of the first key and of as many more as there are turns.
    while VERIFIERS.iter().any(|verifier| {
        let keys = accepted
            .iter()
            .filter(|((by, _), tokens)| by == verifier && **tokens > 3);
        keys.count() <= turns
    }) {
        assert!(
            begun.elapsed() < Duration::from_secs(71 * turns as u64 + 60),
            "it does not turn: {accepted:?}"
        );
        let seen = watch.next();
        assert_eq!(seen.error, None, "{seen:?}");
        *accepted.entry((seen.verifier, seen.kid)).or_default() += 1;
    }
    println!(
        "{turns} turns in {:?}, {} verifications",
        begun.elapsed(),
        accepted.values().sum::<usize>()
    );
}

#[test]
#[ignore = "waits eleven minutes, until the last cache has let go of a revoked key"]
#[expect(clippy::print_stdout, reason = "the figures are for people, with --nocapture")]
fn a_verifier_learns_of_a_new_key_and_forgets_a_revoked_one_within_what_is_said_of_it() {
    let stage = Stage::with(&[("KEYWHEEL_TOKENS_ACCESS_TTL", "30m")]);
    let watch = Watch::start(&stage);
    watch.await_each(Duration::from_secs(30), |seen| seen.error.is_none());
    // The key after the next is published now, a moment after everybody has fetched the set, and signs at once.
    let second = stage.rotate_now();
    let third = stage.await_next(&second);
    let rotated = Instant::now();
    assert_eq!(stage.rotate_now(), third);
    let learned = watch.await_each(Duration::from_secs(90), |seen| {
        seen.kid == third && seen.error.is_none()
    });
    let learned = learned.map(|at| at.duration_since(rotated));

    let revoked = Instant::now();
    let exposure = stage.folder.json(&["keys", "revoke", &third]);
    let fourth = exposure["successor"].as_str().unwrap();
    let again = watch.await_each(Duration::from_secs(90), |seen| {
        seen.kid == fourth && seen.error.is_none()
    });
    let again = again.map(|at| at.duration_since(revoked));
    let forgot = watch.await_each(Duration::from_secs(700), |seen| {
        seen.kid == third && seen.error.is_some()
    });
    let forgot = forgot.map(|at| at.duration_since(revoked));

    println!(
        "verifier | accepts an unpublished key after | accepts the successor after | refuses the revoked key after"
    );
    for (index, verifier) in VERIFIERS.iter().enumerate() {
        let [learned, again, forgot] = [learned[index], again[index], forgot[index]].map(|span| span.as_secs_f64());
        println!("{verifier} | {learned:.1} s | {again:.1} s | {forgot:.1} s");
        let known = known(verifier);
        for (measured, said) in [(learned, known.learns_within()), (forgot, known.forgets_within())] {
            let said = said.map_or(0, Seconds::get);
            // A tick of the server, a second between two looks, and a request.
            assert!(
                measured <= said as f64 + 4.0,
                "{verifier}: {measured}, and it is said to be {said}"
            );
        }
        assert!(again < 5.0, "the successor was published before: {verifier}");
    }
}

fn known(verifier: &str) -> &'static KnownVerifier {
    KNOWN_VERIFIERS
        .iter()
        .find(|known| known.name.starts_with(verifier))
        .unwrap()
}

struct Stage {
    folder: Folder,
    server: Served,
}

impl Stage {
    fn with(settings: &[(&str, &str)]) -> Self {
        let folder = settings
            .iter()
            .fold(Folder::empty(), |folder, (name, value)| folder.with(name, value));
        let server = folder.serve(&["--dev"]);
        Stage { folder, server }
    }

    fn rotate_now(&self) -> String {
        self.folder.json(&["keys", "rotate", "--now"])["kid"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Waits until the key after `kid` is published. The newest comes first.
    fn await_next(&self, kid: &str) -> String {
        let begun = Instant::now();
        loop {
            let set: Value = send(self.server.address, &Request::get(JWKS)).json();
            let newest = set["keys"][0]["kid"].as_str().unwrap();
            if newest != kid {
                return newest.to_owned();
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "no next key is published");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// One verification.
#[derive(Debug, Deserialize)]
struct Seen {
    verifier: String,
    kid: String,
    error: Option<String>,
}

/// The verifiers at work.
struct Watch {
    programs: [Child; 2],
    lines: Receiver<Seen>,
}

impl Watch {
    fn start(stage: &Stage) -> Self {
        let installed = installed();
        let description = stage.folder.path().join("server.json");
        std::fs::write(&description, describe(&stage.folder, &stage.server).to_string()).unwrap();
        let mut python = Command::new(installed.join("venv/bin/python"));
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/python");
        python.arg("-B").arg(sources.join("pyjwt_watcher.py"));
        let mut node = Command::new("node");
        node.arg(installed.join("node/watcher.mjs"));
        let (send, lines) = channel();
        let programs = [python, node].map(|mut program| {
            program.arg(&description).env("no_proxy", "*").env("NO_PROXY", "*");
            let program = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            let mut program = program.unwrap();
            forward(program.stdout.take().unwrap(), send.clone());
            program
        });
        Watch { programs, lines }
    }

    fn next(&self) -> Seen {
        self.lines.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    /// When each verifier was first seen so, in the order of [`VERIFIERS`].
    fn await_each(&self, within: Duration, so: impl Fn(&Seen) -> bool) -> [Instant; 4] {
        let begun = Instant::now();
        let mut found = [None; 4];
        while found.iter().any(Option::is_none) {
            assert!(begun.elapsed() < within, "{VERIFIERS:?}: {found:?}");
            let seen = self.next();
            let index = VERIFIERS
                .iter()
                .position(|verifier| *verifier == seen.verifier)
                .unwrap();
            if so(&seen) {
                found[index].get_or_insert_with(Instant::now);
            }
        }
        found.map(Option::unwrap)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

fn forward(output: impl std::io::Read + Send + 'static, to: Sender<Seen>) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = to.send(serde_json::from_str(&line).unwrap());
        }
    });
}
