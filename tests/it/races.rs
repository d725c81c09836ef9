//! Races for one refresh token: 64 requests at once over two nodes, round after round, each judged by what was asked and
//! answered when. `KEYWHEEL_RACE_ROUNDS` says how many rounds on each database.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use keywheel::oauth::{ClientMetadata, Seconds, Username};

use self::history::{Answer, Ask, Event, judge};
use crate::refresh::{PASSWORD, Session, for_people, session};
use crate::support::http::{Connection, Request, Response};
use crate::support::server::{Credentials, Options, TOKEN, TestServer};
use crate::support::{Database, audit_event};

mod history;

/// How a client's parallel requests with one token are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    /// All get the one successor.
    Lenient,
    /// One gets it.
    Strict,
}

/// What the refreshes race with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Race {
    /// Each other alone.
    Refreshes,
    /// Two revocations by the client, one on each node.
    Revocation,
    /// The user is disabled.
    Disabling,
    /// The user gets a new password.
    NewPassword,
}

/// The rounds, in turns.
const RACES: [(Client, Race); 8] = [
    (Client::Lenient, Race::Refreshes),
    (Client::Lenient, Race::Revocation),
    (Client::Strict, Race::Refreshes),
    (Client::Strict, Race::Revocation),
    (Client::Lenient, Race::Disabling),
    (Client::Lenient, Race::NewPassword),
    (Client::Strict, Race::Disabling),
    (Client::Strict, Race::NewPassword),
];

/// Requests at once.
const RACERS: usize = 64;
/// Rounds on each database, unless the environment says otherwise.
const ROUNDS: usize = 96;

//
#[test]
fn a_token_has_one_successor_and_none_after_an_acknowledged_end_on_sqlite() {
    race(&Database::sqlite());
}

//
#[test]
fn a_token_has_one_successor_and_none_after_an_acknowledged_end_on_postgresql() {
    race(&Database::postgres());
}

#[expect(
    clippy::print_stdout,
    reason = "how often what happened is for people, with --nocapture"
)]
fn race(database: &Database) {
    #[expect(clippy::disallowed_methods, reason = "the tests have no configuration")]
    let rounds = std::env::var("KEYWHEEL_RACE_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let options = Options::default();
    let nodes = [(); 2].map(|()| TestServer::with(database.url(), options.clone()));
    let strict = ClientMetadata {
        refresh_retry_window: Some(Seconds::new(0)),
        ..for_people()
    };
    let clients = [
        nodes[0].client("lenient", for_people()),
        nodes[0].client("strict", strict),
    ];
    // One keeps what follows from signing in once; the other's sessions are ended.
    nodes[0].user("alice", PASSWORD);
    nodes[0].user("bob", PASSWORD);
    let line = Line::default();
    std::thread::scope(|scope| {
        let (finished, results) = channel();
        let racers: Vec<Sender<Job>> = (0..RACERS)
            .map(|number| {
                let (send, jobs) = channel();
                let (line, finished) = (&line, finished.clone());
                let connection = Connection::open(nodes[number % 2].address);
                scope.spawn(move || line.run(connection, &jobs, &finished));
                send
            })
            .collect();
        let mut course = Course {
            database,
            nodes: &nodes,
            clients: &clients,
            racers,
            results,
            line: &line,
            living: [None, None],
            tally: Tally::default(),
        };
        for number in 0..rounds {
            course.round(number);
        }
        let tally = &course.tally;
        println!("{rounds} rounds on {}: {tally:?}", database.backend);
        assert!(tally.granted >= rounds, "hardly anybody was served: {tally:?}");
        assert!(tally.unavailable < tally.granted, "most were put off: {tally:?}");
        assert!(
            rounds < 32 || tally.ends_in_between > 0,
            "no end met a refresh: {tally:?}"
        );
    });
}

/// A request to be sent once so many others of its round are answered.
struct Job {
    ask: Ask,
    request: Request,
    after: usize,
}

/// Where all racers start at once, and what time is measured by.
struct Line {
    start: Barrier,
    clock: AtomicU64,
    answered: AtomicUsize,
}

impl Default for Line {
    fn default() -> Self {
        Line {
            // And the one who sends them off.
            start: Barrier::new(RACERS + 1),
            clock: AtomicU64::new(0),
            answered: AtomicUsize::new(0),
        }
    }
}

impl Line {
    /// One racer: a connection that is kept, and one request in every round.
    fn run(&self, mut connection: Connection, jobs: &Receiver<Job>, finished: &Sender<(Event, Option<Session>)>) {
        for job in jobs {
            self.start.wait();
            self.await_answers(job.after);
            let event = self.record(job.ask, || connection.send(&job.request));
            self.answered.fetch_add(1, Ordering::SeqCst);
            finished.send(event).unwrap();
        }
    }

    /// Lets a race get under way, by as much as the round wants and with no time measured.
    fn await_answers(&self, count: usize) {
        while self.answered.load(Ordering::SeqCst) < count {
            std::thread::yield_now();
        }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn record(&self, ask: Ask, send: impl FnOnce() -> Response) -> (Event, Option<Session>) {
        let began = self.tick();
        let response = send();
        let ended = self.tick();
        let granted = (response.status == 200 && matches!(ask, Ask::Refresh(_))).then(|| session(&response));
        let answer = match (&granted, response.status) {
            (Some(granted), _) => Answer::Granted(granted.refresh.clone()),
            (None, 503) => Answer::Unavailable,
            (None, 400) if response.json()["error"] == "invalid_grant" => Answer::InvalidGrant,
            (None, 200) if ask == Ask::End => Answer::Ended,
            (None, 200) if response.json()["active"] == true => Answer::Active,
            (None, 200) if response.json()["active"] == false => Answer::Inactive,
            (None, status) => Answer::Other(format!("{status} {}", response.text())),
        };
        let event = Event {
            ask,
            answer,
            began,
            ended,
        };
        (event, granted)
    }
}

/// What came of all rounds.
#[derive(Debug, Default)]
struct Tally {
    granted: usize,
    refused: usize,
    unavailable: usize,
    /// Ends in the midst of a lenient client's refreshes: some were granted, others refused.
    ends_in_between: usize,
}

struct Course<'a> {
    database: &'a Database,
    nodes: &'a [TestServer; 2],
    clients: &'a [Credentials; 2],
    racers: Vec<Sender<Job>>,
    results: Receiver<(Event, Option<Session>)>,
    line: &'a Line,
    /// The sessions that nobody ended, by client.
    living: [Option<Session>; 2],
    tally: Tally,
}

impl Course<'_> {
    fn round(&mut self, number: usize) {
        let (client, race) = RACES[number % RACES.len()];
        let credentials = &self.clients[client as usize];
        let first = match race {
            Race::Refreshes => self.living[client as usize].take(),
            _ => None,
        };
        let user = if race == Race::Refreshes { "alice" } else { "bob" };
        let first = first.unwrap_or_else(|| self.sign_in(credentials, user));
        let before = self.database.count("refresh_tokens");
        // From an end that nobody was before to one that most were before.
        let after = number / RACES.len() * 7 % (RACERS - 8);

        self.line.answered.store(0, Ordering::SeqCst);
        for (position, racer) in self.racers.iter().enumerate() {
            let revokes = race == Race::Revocation && position < 2;
            let job = if revokes {
                Job {
                    ask: Ask::End,
                    request: form(credentials, "/oauth2/revoke", &[("token", &first.refresh)]),
                    after,
                }
            } else {
                Job {
                    ask: Ask::Refresh(first.refresh.clone()),
                    request: refresh(credentials, &first.refresh),
                    after: 0,
                }
            };
            racer.send(job).unwrap();
        }
        self.line.start.wait();
        let mut history: Vec<Event> = self.administer(race, after, number).into_iter().collect();
        let (events, granted): (Vec<Event>, Vec<Option<Session>>) = self.results.iter().take(RACERS).unzip();
        history.extend(events);
        self.count(&history, client, race);
        let next = granted.into_iter().flatten().next();
        if race == Race::Refreshes {
            // If no node had room for anybody, the token is as good as before.
            self.living[client as usize] = Some(next.unwrap_or(first));
        } else {
            self.ask_afterwards(credentials, &first, next.as_ref(), &mut history);
        }
        let stored = self.database.count("refresh_tokens") - before;
        let wrong = judge(client, &history, stored);
        assert!(
            wrong.is_empty(),
            "round {number}, {client:?} {race:?}: {wrong:?}, {stored} stored\n{history:#?}"
        );
        if race == Race::Disabling {
            self.set_enabled(number, true);
        }
    }

    /// The end that an administrator makes, if this race is with one.
    fn administer(&self, race: Race, after: usize, number: usize) -> Option<Event> {
        let store = &self.nodes[number % 2].store;
        let bob = || store.user_by_name(&Username::parse("bob").unwrap()).unwrap().unwrap();
        let act: Box<dyn Fn()> = match race {
            Race::Refreshes | Race::Revocation => return None,
            Race::Disabling => Box::new(|| self.set_enabled(number, false)),
            // The same hash again is as good as another: it is set, and whatever followed from the old one ends.
            Race::NewPassword => {
                let (user, hash) = bob();
                Box::new(move || {
                    let event = audit_event("user.password_set");
                    store.set_password(&user.user_id, &hash, &event).unwrap();
                })
            }
        };
        self.line.await_answers(after);
        let began = self.line.tick();
        act();
        Some(Event {
            ask: Ask::End,
            answer: Answer::Ended,
            began,
            ended: self.line.tick(),
        })
    }

    fn set_enabled(&self, number: usize, enabled: bool) {
        let store = &self.nodes[number % 2].store;
        let (bob, _) = store.user_by_name(&Username::parse("bob").unwrap()).unwrap().unwrap();
        store
            .set_user_enabled(&bob.user_id, enabled, &audit_event("user"))
            .unwrap();
    }

    /// After an end, every token that there was is presented once more, on both nodes.
    fn ask_afterwards(
        &self,
        credentials: &Credentials,
        first: &Session,
        next: Option<&Session>,
        history: &mut Vec<Event>,
    ) {
        for node in self.nodes {
            for session in std::iter::once(first).chain(next) {
                let ask = Ask::Refresh(session.refresh.clone());
                let request = refresh(credentials, &session.refresh);
                history.push(self.line.record(ask, || node.send(&request)).0);
                let request = form(credentials, "/oauth2/introspect", &[("token", &session.access)]);
                history.push(self.line.record(Ask::Introspect, || node.send(&request)).0);
            }
        }
    }

    fn count(&mut self, history: &[Event], client: Client, race: Race) {
        let of = |wanted: fn(&Answer) -> bool| history.iter().filter(|event| wanted(&event.answer)).count();
        let granted = of(|answer| matches!(answer, Answer::Granted(_)));
        let refused = of(|answer| *answer == Answer::InvalidGrant);
        self.tally.granted += granted;
        self.tally.refused += refused;
        self.tally.unavailable += of(|answer| *answer == Answer::Unavailable);
        let in_between = client == Client::Lenient && race != Race::Refreshes && granted > 0 && refused > 0;
        self.tally.ends_in_between += usize::from(in_between);
    }

    fn sign_in(&self, credentials: &Credentials, user: &str) -> Session {
        let parameters = [("grant_type", "password"), ("username", user), ("password", PASSWORD)];
        session(&self.nodes[0].send(&form(credentials, TOKEN, &parameters)))
    }
}

fn refresh(credentials: &Credentials, token: &str) -> Request {
    form(
        credentials,
        TOKEN,
        &[("grant_type", "refresh_token"), ("refresh_token", token)],
    )
}

fn form(credentials: &Credentials, path: &str, parameters: &[(&str, &str)]) -> Request {
    Request::form(path, parameters).basic(&credentials.id, &credentials.secret)
}
