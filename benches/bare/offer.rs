//! A load that does not wait for its server: requests are due at instants that were fixed before the first was sent, and what a
//! request took counts from the instant it was due. A client that waits for an answer before it asks again spares a server that
//! stands still, and then does not tell of it (coordinated omission).
//!
//! Each connection has a thread, which takes the next request in the order in which they are due, sleeps until then if it is early,
//! sends it and reads the answer. When all wait for answers, requests that are due wait too, and that counts. Threads and not
//! tokio: its timers are a millisecond wide, four signatures; a sleeping thread wakes within microseconds.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

use super::Outcome;
use super::exchange::{Connection, Request};

/// Most connections, requests and seconds: whoever asks for more has mistyped.
const MOST_CONNECTIONS: usize = 1_024;
const MOST_REQUESTS: usize = 2_000_000;
const MOST_SECONDS: f64 = 120.0;
/// How long after the last request was due the server may still work off what waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// `ADDRESS FILE CONNECTIONS`, and then when requests are due: `even RATE SECONDS`, `random RATE SECONDS` or `closed COUNT`. FILE has
/// a request in each line, which are sent in turn; those that go on with what an answer gives belong to a connection each.
pub(super) fn offer(arguments: &[&str]) -> Outcome<Value> {
    let [address, file, connections, pace @ ..] = arguments else {
        return Err("bare offer ADDRESS FILE CONNECTIONS PACE".into());
    };
    let connections: usize = connections.parse()?;
    if !(1..=MOST_CONNECTIONS).contains(&connections) {
        return Err(format!("there may be 1 to {MOST_CONNECTIONS} connections").into());
    }
    wake_on_time();
    let plan = Plan {
        requests: Request::read(file)?,
        due: Due::of(pace)?,
        next: AtomicUsize::new(0),
        begun: OnceLock::new(),
    };
    if plan.requests.iter().any(Request::is_chained) && plan.requests.len() < connections {
        return Err("of requests that go on with what they are given there is one for each connection".into());
    }
    let ready = Barrier::new(connections);
    let links = (0..connections).map(|_| TcpStream::connect(address));
    let links: Vec<TcpStream> = links.collect::<Result<_, _>>()?;
    let mut answers = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = links
            .into_iter()
            .enumerate()
            .map(|(place, link)| {
                let (plan, ready) = (&plan, &ready);
                scope.spawn(move || plan.follow(place, link, ready))
            })
            .collect();
        for thread in threads {
            answers.append(&mut thread.join().map_err(|_panic| "a thread panicked")??);
        }
        Outcome::Ok(())
    })?;
    let seconds = plan.begun.get().map_or(0.0, |begun| begun.elapsed().as_secs_f64());
    Ok(report(&plan, &answers, seconds))
}

/// Linux wakes threads up to 50 µs late, to wake several at once. Where this cannot be had otherwise, `late_p99_ms` tells.
fn wake_on_time() {
    let _ = std::fs::write("/proc/self/timerslack_ns", "1000");
}

/// When requests are due.
enum Due {
    /// So long after the beginning each, in order.
    At(Vec<Duration>),
    /// So many, each as soon as a connection is free.
    Closed(usize),
}

impl Due {
    fn of(pace: &[&str]) -> Outcome<Self> {
        match pace {
            ["closed", count] => Ok(Due::Closed(bounded(count.parse()?)?)),
            [how @ ("even" | "random"), rate, seconds] => {
                let (rate, seconds): (f64, f64) = (rate.parse()?, seconds.parse()?);
                if !(rate > 0.0 && seconds > 0.0 && seconds <= MOST_SECONDS) {
                    return Err(format!("the rate is above 0, and the seconds at most {MOST_SECONDS}").into());
                }
                let gap = 1.0 / rate;
                // The same in each run.
                let mut random = StdRng::seed_from_u64(1);
                let mut at = 0.0;
                let mut due = Vec::new();
                while at < seconds {
                    due.push(Duration::from_secs_f64(at));
                    bounded(due.len())?;
                    at += match *how {
                        "even" => gap,
                        // As of many who know nothing of each other: a Poisson process.
                        _ => -gap * (1.0 - random.random::<f64>()).ln(),
                    };
                }
                Ok(Due::At(due))
            }
            _ => Err("the pace is even RATE SECONDS, random RATE SECONDS or closed COUNT".into()),
        }
    }

    fn count(&self) -> usize {
        match self {
            Due::At(due) => due.len(),
            Due::Closed(count) => *count,
        }
    }
}

fn bounded(count: usize) -> Outcome<usize> {
    match count {
        0..=MOST_REQUESTS => Ok(count),
        _ => Err(format!("at most {MOST_REQUESTS} requests").into()),
    }
}

/// What all threads share.
struct Plan {
    requests: Vec<Request>,
    due: Due,
    /// The next request that no connection has taken.
    next: AtomicUsize,
    begun: OnceLock<Instant>,
}

/// What came of a request.
struct Answer<'a> {
    request: &'a Request,
    status: u16,
    took: Duration,
    /// How much later than due the thread woke up that slept until then.
    late: Option<Duration>,
}

impl Plan {
    /// Sends over one connection, the one at this place, what is due, until nothing is left.
    fn follow(&self, place: usize, link: TcpStream, ready: &Barrier) -> Outcome<Vec<Answer<'_>>> {
        let mut connection = Connection::over(link)?;
        let mut answers = Vec::new();
        ready.wait();
        let begun = *self.begun.get_or_init(Instant::now);
        let last = match &self.due {
            Due::At(due) => due.last().copied().unwrap_or_default(),
            Due::Closed(_) => Duration::from_secs_f64(MOST_SECONDS),
        };
        while begun.elapsed() < last + PATIENCE {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let due = match &self.due {
                Due::At(due) => due.get(number).map(|at| begun + *at),
                Due::Closed(count) => (number < *count).then(Instant::now),
            };
            let own = self.requests.get(place).filter(|request| request.is_chained());
            let request = own.or_else(|| self.requests.get(number % self.requests.len()));
            let (Some(due), Some(request)) = (due, request) else {
                break;
            };
            let early = due
                .checked_duration_since(Instant::now())
                .filter(|early| !early.is_zero());
            let late = early.map(|early| {
                thread::sleep(early);
                due.elapsed()
            });
            let status = connection.ask(request)?;
            answers.push(Answer {
                request,
                status,
                took: due.elapsed(),
                late,
            });
        }
        Ok(answers)
    }
}

fn report(plan: &Plan, answers: &[Answer<'_>], seconds: f64) -> Value {
    let mut kinds: BTreeMap<&str, Vec<&Answer<'_>>> = BTreeMap::new();
    for answer in answers {
        kinds.entry(&answer.request.kind).or_default().push(answer);
    }
    let mut statuses: BTreeMap<u16, Vec<&Answer<'_>>> = BTreeMap::new();
    for answer in answers {
        statuses.entry(answer.status).or_default().push(answer);
    }
    let kinds: Map<String, Value> = kinds
        .into_iter()
        .map(|(kind, answers)| (kind.to_owned(), Value::Object(summary(&answers))))
        .collect();
    let statuses: Map<String, Value> = statuses
        .into_iter()
        .map(|(status, answers)| (status.to_string(), Value::Object(summary(&answers))))
        .collect();
    let late = Sorted::new(answers.iter().filter_map(|answer| answer.late));
    let mut all = summary(&answers.iter().collect::<Vec<_>>());
    all.insert("kinds".to_owned(), Value::Object(kinds));
    all.insert("statuses".to_owned(), Value::Object(statuses));
    all.insert("seconds".to_owned(), json!(seconds));
    all.insert("unsent".to_owned(), json!(plan.due.count() - answers.len()));
    all.insert("late_p99_ms".to_owned(), json!(late.at(0.99)));
    Value::Object(all)
}

fn summary(answers: &[&Answer<'_>]) -> Map<String, Value> {
    let took = Sorted::new(answers.iter().map(|answer| answer.took));
    let bad = answers
        .iter()
        .filter(|answer| answer.status != answer.request.status)
        .count();
    [
        ("requests", json!(answers.len())),
        ("bad_status", json!(bad)),
        ("p50_ms", json!(took.at(0.5))),
        ("p99_ms", json!(took.at(0.99))),
        ("max_ms", json!(took.at(1.0))),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// Durations in order.
struct Sorted(Vec<Duration>);

impl Sorted {
    fn new(durations: impl Iterator<Item = Duration>) -> Self {
        let mut durations: Vec<Duration> = durations.collect();
        durations.sort_unstable();
        Sorted(durations)
    }

    /// The shortest that so large a part of them is not above, in milliseconds.
    fn at(&self, part: f64) -> Option<f64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place in the list"
        )]
        let place = (self.0.len() as f64 * part).ceil() as usize;
        let found = self.0.get(place.saturating_sub(1))?;
        Some(found.as_secs_f64() * 1e3)
    }
}
