//! A crash at each step: what a client was told stays true, and what it was not told is done or not, but never half.
//!
//! The real program stays at a failpoint (`src/failpoint.rs`) while it answers one request. There it is killed, or PostgreSQL is
//! stopped at once, or both. Then the client asks again.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::refresh::{PASSWORD, Session, session};
use crate::support::http::{Connection, Request, Response, send};
use crate::support::postgres::{self, TestPostgres, await_waiting};
use crate::support::process::{Folder, Served};
use crate::support::server::TOKEN;
use crate::support::{Database, count, naming};
use crate::token::assert_refused;

use After::{Done, Either, Undone};
use Ask::{Refresh, RefreshAgain, Replay, Revoke, SignIn};
use On::{Both, Postgres, Sqlite};
use Step::{At, Waiting};

/// What is under way when it crashes; where it is then; on which database; and what a crash there leaves behind.
const STEPS: [(Ask, Step, On, After); 39] = [
    (Refresh, At("refresh.looked_up"), Both, Undone),
    (Refresh, At("token.signed"), Both, Undone),
    (Refresh, At("rotation.sending"), Postgres, Undone),
    // The statement is complete and goes on when it may, whether or not anybody still waits for it.
    (Refresh, Waiting(FAMILIES), Postgres, Either),
    (Refresh, Waiting(GATE), Postgres, Either),
    (Refresh, At("rotation.begun"), Sqlite, Undone),
    (Refresh, At("rotation.marked"), Sqlite, Undone),
    (Refresh, At("rotation.inserted"), Sqlite, Undone),
    (Refresh, At("rotation.complete"), Sqlite, Undone),
    (Refresh, At("rotation.answered"), Both, Done),
    (Refresh, At("answer.ready"), Both, Done),
    (RefreshAgain, At("token.signed"), Both, Undone),
    (RefreshAgain, At("rotation.sending"), Postgres, Undone),
    (RefreshAgain, Waiting(FAMILIES), Postgres, Either),
    (RefreshAgain, Waiting(GATE), Postgres, Either),
    (RefreshAgain, At("rotation.begun"), Sqlite, Undone),
    (RefreshAgain, At("rotation.marked"), Sqlite, Undone),
    (RefreshAgain, At("rotation.inserted"), Sqlite, Undone),
    (RefreshAgain, At("rotation.complete"), Sqlite, Undone),
    (RefreshAgain, At("rotation.answered"), Both, Done),
    (RefreshAgain, At("answer.ready"), Both, Done),
    (SignIn, At("token.signed"), Both, Undone),
    (SignIn, Waiting(GATE), Postgres, Undone),
    (SignIn, At("family.begun"), Both, Undone),
    (SignIn, At("family.inserted"), Both, Undone),
    (SignIn, At("family.complete"), Both, Undone),
    (SignIn, At("family.answered"), Both, Done),
    (SignIn, At("answer.ready"), Both, Done),
    (Revoke, At("revocation.looked_up"), Both, Undone),
    (Revoke, Waiting(FAMILIES), Postgres, Undone),
    (Revoke, At("revocation.begun"), Both, Undone),
    (Revoke, At("revocation.marked"), Both, Undone),
    (Revoke, At("revocation.answered"), Both, Done),
    (Revoke, At("answer.ready"), Both, Done),
    (Replay, At("refresh.looked_up"), Both, Undone),
    (Replay, At("revocation.begun"), Both, Undone),
    (Replay, At("revocation.marked"), Both, Undone),
    (Replay, At("revocation.answered"), Both, Done),
    (Replay, At("answer.ready"), Both, Done),
];

/// Whoever rotates a token or ends a family waits for this.
const FAMILIES: &str = "SELECT 1 FROM token_families FOR UPDATE";
/// Whoever gives out a refresh token waits for this.
const GATE: &str = "LOCK TABLE family_gate IN EXCLUSIVE MODE";

/// The request under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// The newest token of a family is presented.
    Refresh,
    /// The same, of a token that the server gave out since it started: it exchanges it together with others.
    RefreshAgain,
    /// A user signs in.
    SignIn,
    /// The newest token of a family is revoked.
    Revoke,
    /// The first token of a family comes again, which ends it.
    Replay,
}

/// Where the request is.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// At this failpoint.
    At(&'static str),
    /// Within a statement, which waits because somebody did this.
    Waiting(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Sqlite,
    Postgres,
    Both,
}

/// Whether what was asked for is done, however the client was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Undone,
    Done,
    /// If PostgreSQL lives on. When it stops, a statement under way is undone.
    Either,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    /// `kill -9` of the server.
    Server,
    /// An immediate stop of PostgreSQL. The server lives on and finds it gone.
    Database,
    /// The one and then the other.
    Everything,
}

//
#[test]
fn a_server_that_is_killed_at_any_step_breaks_no_promise_on_sqlite() {
    crash_at_each_step(Stage::on_sqlite(), Crash::Server);
}

//
#[test]
fn a_server_that_is_killed_at_any_step_breaks_no_promise_on_postgresql() {
    crash_at_each_step(Stage::on_postgres(), Crash::Server);
}

// R-09, W-09
#[test]
fn a_postgresql_that_stops_at_any_step_breaks_no_promise_of_a_server_that_lives_on() {
    crash_at_each_step(Stage::on_postgres(), Crash::Database);
}

//
#[test]
fn when_everything_stops_at_any_step_no_promise_is_broken() {
    crash_at_each_step(Stage::on_postgres(), Crash::Everything);
}

#[test]
fn every_failpoint_is_a_step() {
    fn named(directory: &Path, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                named(&path, names);
            } else {
                let text = std::fs::read_to_string(path).unwrap();
                let points = text.split("failpoint!(\"").skip(1);
                names.extend(points.map(|rest| rest.split('"').next().unwrap().to_owned()));
            }
        }
    }
    let mut in_source = BTreeSet::new();
    named(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut in_source);
    let in_table = STEPS.iter().filter_map(|(_, step, _, _)| match step {
        At(name) => Some((*name).to_owned()),
        Waiting(_) => None,
    });
    let of_keys = crate::key_crashes::STEPS.map(|(_, name, _)| name.to_owned());
    let of_withdrawals = crate::key_crashes::WITHDRAWAL.map(|(name, _)| name.to_owned());
    let of_clients = crate::apply::STEPS.map(str::to_owned);
    let of_master_keys = crate::master_key_crashes::STEPS.map(|(_, name, _, _)| name.to_owned());
    // Where a start stays while a change is finished, and nothing crashes.
    let others = ["vault.half_read".to_owned()];
    let tested = in_table
        .chain(of_keys)
        .chain(of_withdrawals)
        .chain(of_clients)
        .chain(of_master_keys)
        .chain(others);
    assert_eq!(in_source, tested.collect());
}

fn crash_at_each_step(mut stage: Stage, crash: Crash) {
    for (ask, step, on, after) in STEPS {
        if on == Both || on == stage.database() {
            naming(&format!("{ask:?} {step}"), || stage.play(ask, step, after, crash));
        }
    }
}

/// A database, and the server that serves from it.
struct Stage {
    served: Option<Served>,
    folder: Folder,
    secret: String,
    url: String,
    /// Of PostgreSQL, the one that may be stopped.
    postgres: Option<TestPostgres>,
    /// Removes the files of SQLite at the end.
    _files: Option<Database>,
}

impl Stage {
    fn on_sqlite() -> Self {
        let files = Database::sqlite();
        Stage::new(files.url().to_owned(), None, Some(files))
    }

    fn on_postgres() -> Self {
        let postgres = TestPostgres::start_durable();
        Stage::new(postgres.url("postgres"), Some(postgres), None)
    }

    fn new(url: String, postgres: Option<TestPostgres>, files: Option<Database>) -> Self {
        let folder = Folder::empty().with("DATABASE_URL", &url);
        let client = ["client", "create", "Shop", "--id", "shop", "--scope", "read"];
        let grants = ["--grant", "password", "--grant", "refresh_token"];
        // The longest: a restart may take a while.
        let window = ["--refresh-retry-window", "60s"];
        let created = folder.json(&[&client[..], &grants, &window].concat());
        let password = format!("{PASSWORD}\n");
        folder.with_input(&["user", "create", "alice", "--password-stdin"], &password);
        Stage {
            served: Some(folder.serve(SERVE)),
            folder,
            secret: created["client_secret"].as_str().unwrap().to_owned(),
            url,
            postgres,
            _files: files,
        }
    }

    fn database(&self) -> On {
        if self.postgres.is_some() { Postgres } else { Sqlite }
    }

    fn play(&mut self, ask: Ask, step: Step, after: After, crash: Crash) {
        // What the client is told before.
        let [first, mine] = self.refreshed_twice();
        let [_, bystander] = self.refreshed_twice();
        let [replaced, newest] = self.refreshed_twice();
        let [_, revoked] = self.refreshed_twice();
        assert_eq!(self.send(&self.revoke(&revoked.refresh)).status, 200);
        let bystander = session(&self.send(&self.refresh(&bystander.refresh)));

        self.restart(ask, step);
        let mine = match ask {
            RefreshAgain => session(&self.send(&self.refresh(&mine.refresh))),
            _ => mine,
        };
        let request = match ask {
            Refresh | RefreshAgain => self.refresh(&mine.refresh),
            SignIn => self.sign_in(),
            Revoke => self.revoke(&mine.refresh),
            Replay => self.refresh(&first.refresh),
        };
        let before = self.traces(ask);
        let answer = self.crash(&request, step, crash);
        let told = check_answer(answer.as_ref(), ask, after, crash);
        let done = self
            .traces(ask)
            .iter()
            .zip(&before)
            .map(|(now, then)| now - then)
            .collect();
        let done = whether_done(done, after, crash);

        // What was acknowledged before.
        assert!(self.is_active(&bystander.access));
        session(&self.send(&self.refresh(&bystander.refresh)));
        for dead in [&revoked, &replaced, &newest] {
            assert_refused(&self.send(&self.refresh(&dead.refresh)), 400, "invalid_grant");
            assert!(!self.is_active(&dead.access));
        }
        match ask {
            Refresh | RefreshAgain => {
                let again = session(&self.send(&self.refresh(&mine.refresh)));
                assert!(
                    told.is_none_or(|told| told == again.refresh),
                    "a token has one successor"
                );
                let expected: Vec<i64> = before.iter().map(|rows| rows + 2).collect();
                // The bystander was refreshed, and this one was, however often it was asked for.
                assert_eq!(self.traces(ask), expected);
                self.goes_on_until_the_first_comes_again(&first, &again);
            }
            SignIn => {
                if let Some(told) = told {
                    session(&self.send(&self.refresh(&told)));
                }
                session(&self.send(&self.sign_in()));
            }
            Revoke | Replay if done => {
                assert!(!self.is_active(&mine.access));
                assert_refused(&self.send(&self.refresh(&mine.refresh)), 400, "invalid_grant");
            }
            Revoke => {
                assert!(self.is_active(&mine.access));
                let next = session(&self.send(&self.refresh(&mine.refresh)));
                assert_eq!(self.send(&self.revoke(&next.refresh)).status, 200);
                assert_refused(&self.send(&self.refresh(&next.refresh)), 400, "invalid_grant");
            }
            Replay => {
                assert!(self.is_active(&mine.access));
                self.goes_on_until_the_first_comes_again(&first, &mine);
            }
        }
    }

    fn goes_on_until_the_first_comes_again(&self, first: &Session, newest: &Session) {
        let next = session(&self.send(&self.refresh(&newest.refresh)));
        assert_refused(&self.send(&self.refresh(&first.refresh)), 400, "invalid_grant");
        assert_refused(&self.send(&self.refresh(&next.refresh)), 400, "invalid_grant");
        assert!(!self.is_active(&next.access));
    }

    /// A new server, which comes to the step for the first time, or, where it was asked the same before, for the second.
    fn restart(&mut self, ask: Ask, step: Step) {
        drop(self.served.take());
        let point = match (step, ask) {
            (At(name), RefreshAgain) => format!("{name} 2"),
            (At(name), _) => name.to_owned(),
            (Waiting(_), _) => "none".to_owned(),
        };
        self.served = Some(self.folder.serve_with(SERVE, &[("KEYWHEEL_FAILPOINT", &point)]));
    }

    /// Has the request come to the step and crashes there. Afterwards everything runs again.
    fn crash(&mut self, request: &Request, step: Step, crash: Crash) -> Option<Response> {
        let served = self.served.take().unwrap();
        let holder = match step {
            At(_) => None,
            Waiting(how) => {
                let session = postgres::Session::open(&self.url);
                session.execute(&format!("BEGIN; {how}"));
                Some(session)
            }
        };
        let address = served.address;
        let answer = std::thread::scope(|scope| {
            let asking = scope.spawn(move || Connection::open(address).try_send(request));
            match step {
                At(name) => served.await_failpoint(name),
                Waiting(_) => await_waiting(&self.url, 1),
            }
            let mut living = Some(served);
            if crash != Crash::Database {
                living.take().unwrap().kill();
            }
            if crash != Crash::Server {
                self.postgres.as_mut().unwrap().stop();
            }
            if let Some(served) = &mut living {
                served.release();
            }
            self.served = living;
            asking.join().unwrap()
        });
        drop(holder);
        if crash != Crash::Server {
            self.postgres.as_mut().unwrap().restart();
        }
        if self.served.is_none() {
            self.served = Some(self.folder.serve(SERVE));
        }
        self.await_database();
        answer
    }

    /// The server replaces its connections by itself.
    fn await_database(&self) {
        let begun = Instant::now();
        while self.send(&self.introspect("kwr_")).status == 503 {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "it does not come back by itself"
            );
        }
    }

    /// Counts of what must come together or not at all.
    fn traces(&self, ask: Ask) -> Vec<i64> {
        const USED: &str = "refresh_tokens WHERE rotated_at IS NOT NULL";
        const ENDED: &str = "token_families WHERE revoked_at IS NOT NULL";
        let rows: &[&str] = match ask {
            Refresh | RefreshAgain => &[USED, "refresh_tokens", "audit_events WHERE event = 'refresh'"],
            SignIn => &["token_families", "refresh_tokens", "audit_events WHERE event = 'login'"],
            Revoke => &[ENDED, "audit_events WHERE event = 'family.revoked'"],
            Replay => &[ENDED, "audit_events WHERE event = 'refresh.reuse'"],
        };
        rows.iter().map(|rows| count(&self.url, rows)).collect()
    }

    /// A family whose tokens are all acknowledged: its first session and its third.
    fn refreshed_twice(&self) -> [Session; 2] {
        let first = session(&self.send(&self.sign_in()));
        let second = session(&self.send(&self.refresh(&first.refresh)));
        let third = session(&self.send(&self.refresh(&second.refresh)));
        [first, third]
    }

    fn is_active(&self, access: &str) -> bool {
        let response = self.send(&self.introspect(access));
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["active"] == true
    }

    fn send(&self, request: &Request) -> Response {
        send(self.served.as_ref().unwrap().address, request)
    }

    fn form(&self, path: &str, parameters: &[(&str, &str)]) -> Request {
        Request::form(path, parameters).basic("shop", &self.secret)
    }

    fn sign_in(&self) -> Request {
        let form = [
            ("grant_type", "password"),
            ("username", "alice"),
            ("password", PASSWORD),
        ];
        self.form(TOKEN, &form)
    }

    fn refresh(&self, token: &str) -> Request {
        self.form(TOKEN, &[("grant_type", "refresh_token"), ("refresh_token", token)])
    }

    fn revoke(&self, token: &str) -> Request {
        self.form("/oauth2/revoke", &[("token", token)])
    }

    fn introspect(&self, token: &str) -> Request {
        self.form("/oauth2/introspect", &[("token", token)])
    }
}

const SERVE: &[&str] = &["--issuer", "https://auth.example"];

/// The one answer that is true of what was done, or none. Returns the refresh token that the client was told, if any.
fn check_answer(answer: Option<&Response>, ask: Ask, after: After, crash: Crash) -> Option<String> {
    let Some(answer) = answer else {
        assert_ne!(crash, Crash::Database, "the server lives and does not answer");
        return None;
    };
    assert_eq!(
        crash,
        Crash::Database,
        "answered by a server that was killed before: {answer:?}"
    );
    match (ask, after) {
        (_, Undone | Either) => {
            assert_refused(answer, 503, "temporarily_unavailable");
            None
        }
        (Replay, Done) => {
            assert_refused(answer, 400, "invalid_grant");
            None
        }
        (Revoke, Done) => {
            assert_eq!((answer.status, answer.text()), (200, "{}"));
            None
        }
        (Refresh | RefreshAgain | SignIn, Done) => Some(session(answer).refresh),
    }
}

/// Whether it is done, by how many rows of each kind there are more than before.
fn whether_done(rows: BTreeSet<i64>, after: After, crash: Crash) -> bool {
    let done = match Vec::from_iter(rows)[..] {
        [0] => false,
        [1] => true,
        ref more => panic!("half done: {more:?}"),
    };
    match after {
        Done => assert!(done, "it is not done"),
        Undone => assert!(!done, "it is done"),
        Either => assert!(!done || crash == Crash::Server, "it is done"),
    }
    done
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At(name) => write!(f, "at {name}"),
            Waiting(how) => write!(f, "waiting after {how}"),
        }
    }
}
