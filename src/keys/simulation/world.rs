//! A database, the nodes that serve from it, and an operator, by clocks that differ and with rows that are seen late.

mod database;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use self::settings::{extreme, life, settings};
use super::Loosened;
use super::fleet::{Fetched, Verifier};
use crate::keys::{
    CLOCK_SKEW, Jwks, KeyRecord, KeyRing, NODE_REFRESH, RotationPolicy, RotationSettings, Slot, Step, Turning, Urgency,
};
use crate::oauth::{NumericDate, Seconds, Thumbprint};

/// How long verifiers accept a token that has expired.
const LEEWAY: i64 = 300;

/// A token that was not accepted.
#[derive(Debug)]
#[expect(dead_code, reason = "to be printed")]
pub(super) struct Refusal {
    at: i64,
    slot: i64,
    by: String,
}

/// A row, without key material.
#[derive(Debug, Clone)]
struct Row {
    record: KeyRecord,
    private: bool,
    certified_until: NumericDate,
}

impl Turning for Row {
    fn record(&self) -> &KeyRecord {
        &self.record
    }

    fn can_sign(&self) -> bool {
        self.private
    }

    fn certified_until(&self) -> NumericDate {
        self.certified_until
    }
}

/// The rows between two transactions.
struct Version {
    committed: i64,
    ring: KeyRing<Row>,
    /// The longest life of any client's tokens.
    client_life: Seconds,
}

struct Node {
    /// What its clock is ahead of the true one.
    clock: i64,
    /// How late it sees what others wrote.
    lag: i64,
    policy: RotationPolicy,
    /// The version that it has read itself.
    read: usize,
}

/// A token and a JWK set.
struct Answer {
    /// The key of the token.
    slot: i64,
    /// The last second in which a verifier accepts it, by a clock that is behind.
    accepted_until: i64,
    set: Fetched,
}

/// What an operator does.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// `keys rotate`.
    Rotate,
    /// `keys taint`, once every verifier can know the successor.
    Taint,
    /// A client's tokens live so long.
    ClientLife(Seconds),
    /// The settings of every node change, one node after the other.
    Settings,
    /// A node is restarted with new settings.
    Restart(usize, RotationSettings),
}

pub(super) struct World {
    rng: StdRng,
    loosened: Option<Loosened>,
    now: i64,
    versions: Vec<Version>,
    nodes: Vec<Node>,
    pub(super) fleet: Vec<Verifier>,
    operator_clock: i64,
    /// What the next node to start is set to, and the longest `max-age` that anybody was ever told.
    settings: RotationSettings,
    longest_max_age: Seconds,
    /// How slow a verifier may be, to know which keys: those that begin to sign since then.
    promises: Vec<(i64, i64)>,
    /// Every set that somebody may still keep: whoever refetches by time alone has one of these.
    copies: Vec<Fetched>,
    /// Instants at which something may change, and those just before.
    agenda: BTreeSet<i64>,
    acts: BTreeMap<i64, Vec<Act>>,
    /// Until when tokens of each key may be accepted.
    accepted_until: BTreeMap<i64, i64>,
    /// When each key signed first.
    began: BTreeMap<i64, i64>,
    pub(super) turns: usize,
}

impl World {
    /// The world of a number, with a promise loosened or not.
    pub(super) fn of(seed: u64, loosened: Option<Loosened>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let settings = settings(None, &mut rng);
        let skew = CLOCK_SKEW.get() + i64::from(loosened == Some(Loosened::Skew));
        let lag = NODE_REFRESH.get() + i64::from(loosened == Some(Loosened::Lag));
        let mut nodes = Vec::new();
        for _ in 0..*[1, 2, 2, 3].choose(&mut rng).unwrap() {
            nodes.push(Node {
                clock: extreme(skew, &mut rng),
                lag: extreme(lag, &mut rng),
                policy: RotationPolicy::new(settings).unwrap(),
                read: 0,
            });
        }
        let mut world = World {
            operator_clock: extreme(skew, &mut rng),
            fleet: Verifier::known(6, &mut rng).collect(),
            rng,
            loosened,
            now: 0,
            versions: vec![Version {
                committed: i64::MIN / 2,
                ring: KeyRing::default(),
                client_life: Seconds::new(0),
            }],
            nodes,
            settings,
            longest_max_age: settings.jwks_max_age,
            promises: vec![(settings.slowest_verifier.get(), i64::MIN)],
            copies: Vec::new(),
            agenda: BTreeSet::from([1]),
            acts: BTreeMap::new(),
            accepted_until: BTreeMap::new(),
            began: BTreeMap::new(),
            turns: 0,
        };
        for node in 0..world.nodes.len() {
            world.start(node, settings);
        }
        world
    }

    /// Runs until the keys have turned so often, or a token was refused.
    pub(super) fn run(mut self, turns: usize) -> Result<Self, Refusal> {
        while self.turns < turns {
            self.now = self.agenda.pop_first().unwrap_or(self.now + 60);
            for act in self.acts.remove(&self.now).unwrap_or_default() {
                self.act(act);
            }
            let mut order: Vec<usize> = (0..self.nodes.len()).collect();
            order.shuffle(&mut self.rng);
            for node in order {
                self.tick(node);
            }
            self.sign_and_verify()?;
        }
        Ok(self)
    }

    /// What a node knows: what it read itself, and what others wrote long enough ago. Rows are seen at the end of a second.
    fn view(&self, node: &Node) -> &Version {
        let seen = self
            .versions
            .iter()
            .rposition(|version| version.committed + node.lag < self.now);
        &self.versions[seen.unwrap_or(0).max(node.read)]
    }

    fn newest(&self) -> &Version {
        self.versions.last().unwrap()
    }

    fn clock(&self, node: usize) -> NumericDate {
        NumericDate::from_epoch(self.now + self.nodes[node].clock)
    }

    /// As `Wheel::open`.
    fn start(&mut self, node: usize, settings: RotationSettings) {
        self.nodes[node].policy = RotationPolicy::new(settings).unwrap();
        self.raise(settings.longest_access_ttl, None);
        self.nodes[node].read = self.versions.len() - 1;
        self.tick(node);
        self.promise();
    }

    /// What is promised from now on: a verifier has to be within what is set on every node, and for the operator.
    fn promise(&mut self) {
        let nodes = self.nodes.iter().map(|node| node.policy.settings());
        let settings = nodes.chain([&self.settings]).map(|settings| settings.slowest_verifier);
        let slowest = settings.min().map_or(0, Seconds::get);
        for (promised, _) in &mut self.promises {
            *promised = slowest.min(*promised);
        }
        if self.promises.iter().all(|(promised, _)| *promised < slowest) {
            // A key that nodes are about to sign with when settings change is out of reach.
            self.promises
                .push((slowest, self.now + (NODE_REFRESH + CLOCK_SKEW).get()));
        }
    }

    /// The first instant at which a key may begin to sign that a verifier must know then, though it learns only within so long.
    fn promised_since(&self, learns_within: i64) -> Option<i64> {
        let promises = self.promises.iter().filter(|(slowest, _)| learns_within <= *slowest);
        promises.map(|(_, since)| *since).min()
    }

    /// As `Wheel::tick`.
    fn tick(&mut self, node: usize) {
        for _ in 0..4 {
            let now = self.clock(node);
            let policy = self.nodes[node].policy;
            let mut steps = policy.due(&self.view(&self.nodes[node]).ring, now);
            steps.retain(|step| match step {
                Step::Postpone { .. } => self.loosened != Some(Loosened::NotPostponed),
                Step::Raise(_) => self.loosened != Some(Loosened::NotRaised),
                Step::Create(_) | Step::Destroy(_) | Step::Renew(_) => true,
            });
            if steps.is_empty() {
                return;
            }
            // Nobody promises when a wheel is turned.
            if self.began.len() > 1 && self.rng.random_ratio(1, 3) {
                self.agenda.insert(self.now + self.rng.random_range(1..20));
                return;
            }
            for step in steps {
                match step {
                    Step::Create(slot) => self.create(slot, &policy),
                    Step::Destroy(kid) => self.write(|row| {
                        if row.record.kid == kid {
                            row.private = false;
                        }
                    }),
                    Step::Postpone { kid, from, to } => self.activate(&kid, from, to),
                    Step::Raise(life) => self.raise(life, None),
                    Step::Renew(kid) => {
                        let ring = &self.newest().ring;
                        let eternal = (NumericDate::from_epoch(0), NumericDate::from_epoch(i64::MAX));
                        let renewed = ring
                            .key(&kid)
                            .and_then(|row| policy.renewal(ring, &**row, eternal, now));
                        let until = renewed.map(|(_, until)| until);
                        self.write(|row| {
                            if row.record.kid == kid {
                                row.certified_until = until.unwrap_or(row.certified_until);
                            }
                        });
                    }
                }
            }
            self.nodes[node].read = self.versions.len() - 1;
        }
    }

    fn act(&mut self, act: Act) {
        let now = NumericDate::from_epoch(self.now + self.operator_clock);
        let policy = RotationPolicy::new(self.settings).unwrap();
        match act {
            Act::Rotate => {
                let ring = &self.newest().ring;
                let Some((kid, mut at)) = policy.early_activation(ring, now, Urgency::WhenSafe) else {
                    return;
                };
                let planned = ring.key(&kid).unwrap().record.activates_at;
                if at != planned {
                    at = at - Seconds::new(i64::from(self.loosened == Some(Loosened::EarlyTurn)));
                    self.activate(&kid, planned, at);
                }
            }
            Act::Taint => {
                let ring = &self.newest().ring;
                let (Some(active), Some(next)) = (ring.active(now), ring.next(now)) else {
                    return;
                };
                if next.record.published_at + policy.lead() <= now {
                    let kid = active.record.kid.clone();
                    self.write(|row| {
                        if row.record.kid == kid {
                            row.record.tainted_at = Some(now);
                            row.private = false;
                        }
                    });
                }
            }
            Act::ClientLife(life) => self.raise(life, Some(life)),
            Act::Settings => {
                let settings = settings(Some((&self.settings, self.longest_max_age)), &mut self.rng);
                self.longest_max_age = self.longest_max_age.max(settings.jwks_max_age);
                self.settings = settings;
                self.promise();
                let mut at = self.now;
                for node in 0..self.nodes.len() {
                    self.plan(at, Act::Restart(node, settings));
                    at += self.rng.random_range(0..30);
                }
                self.restarts_of(self.now);
            }
            Act::Restart(node, settings) => self.start(node, settings),
        }
    }

    fn plan(&mut self, at: i64, act: Act) {
        self.acts.entry(at).or_default().push(act);
        self.agenda.insert(at);
    }

    /// Those that are to be restarted in this very second.
    fn restarts_of(&mut self, now: i64) {
        for act in self.acts.remove(&now).unwrap_or_default() {
            self.act(act);
        }
        self.agenda.remove(&now);
    }

    /// Every node signs; the whole fleet verifies, at once and for as long as it accepts the token.
    fn sign_and_verify(&mut self) -> Result<(), Refusal> {
        let now = self.now;
        let refusal = |slot, by: String| Refusal { at: now, slot, by };
        let answers: Option<Vec<Answer>> = self.nodes.iter().map(|node| self.answer(node)).collect();
        let answers = answers.ok_or_else(|| refusal(0, "nobody signs".to_owned()))?;
        let signing: BTreeSet<i64> = answers.iter().map(|answer| answer.slot).collect();
        for answer in &answers {
            let until = self.accepted_until.entry(answer.slot).or_insert(answer.accepted_until);
            *until = answer.accepted_until.max(*until);
        }
        for slot in &signing {
            if !self.began.contains_key(slot) {
                self.began.insert(*slot, now);
                self.turned();
            }
        }
        self.accepted_until.retain(|_, until| *until >= now);
        // A verifier that starts just now, by whatever node.
        for slot in self.accepted_until.keys() {
            if let Some(node) = answers.iter().position(|answer| !answer.set.slots.contains(slot)) {
                return Err(refusal(*slot, format!("whoever asks node {node}")));
            }
        }
        for answer in &answers {
            self.copies.push(answer.set.clone());
        }
        let slowest = self.promises.iter().map(|(slowest, _)| *slowest).max().unwrap_or(0);
        let late = i64::from(self.loosened == Some(Loosened::SlowestVerifier));
        self.copies
            .retain(|copy| now - copy.at < (slowest + late).max(copy.max_age));
        for copy in &self.copies {
            let age = now - copy.at;
            for slot in signing.iter().filter(|slot| !copy.slots.contains(slot)) {
                let obedient = age < copy.max_age;
                // It was not fetched anew, so it is kept for longer than its age.
                let promised = self
                    .promised_since((age + 1 - late).max(0))
                    .is_some_and(|since| self.began[slot] >= since);
                if obedient || promised {
                    return Err(refusal(*slot, format!("whoever has {copy:?}")));
                }
            }
        }
        let cold = self.rng.random_range(0..self.fleet.len());
        self.fleet[cold].restart();
        let poorest = answers
            .iter()
            .map(|answer| &answer.set)
            .min_by_key(|set| set.slots.len())
            .unwrap();
        let promises: Vec<_> = self
            .fleet
            .iter()
            .map(|verifier| self.promised_since(verifier.learns_within))
            .collect();
        for (verifier, promised_since) in self.fleet.iter_mut().zip(promises) {
            let rng = &mut self.rng;
            let mut fetch = || {
                let any = rng.random_range(0..answers.len());
                if rng.random() { poorest } else { &answers[any].set }.clone()
            };
            for slot in &signing {
                let promised = promised_since.is_some_and(|since| self.began[slot] >= since);
                if verifier.knows(*slot, now, &mut fetch) {
                    verifier.verified += usize::from(promised);
                } else if promised {
                    return Err(refusal(*slot, format!("{verifier:?}")));
                }
            }
        }
        Ok(())
    }

    /// What a node answers at this instant, if it can sign.
    fn answer(&self, node: &Node) -> Option<Answer> {
        let extra = |loosened| i64::from(self.loosened == Some(loosened));
        let Version { ring, client_life, .. } = self.view(node);
        let at = NumericDate::from_epoch(self.now + node.clock);
        let life = node.policy.settings().longest_access_ttl.max(*client_life);
        let jwks = Jwks {
            body: Vec::new(),
            etag: String::new(),
            changes_at: ring.next_change(at),
        };
        let max_age = jwks.max_age(at, node.policy.settings().jwks_max_age, 0).get();
        Some(Answer {
            slot: ring.active(at)?.record.slot,
            accepted_until: (at + life).epoch() + extra(Loosened::TokenLife) + LEEWAY + extra(Loosened::Leeway) - 1,
            set: Fetched {
                at: self.now,
                slots: self.published(ring, at),
                max_age: max_age + extra(Loosened::MaxAge),
            },
        })
    }

    fn published(&self, ring: &KeyRing<Row>, at: NumericDate) -> Vec<i64> {
        let soon = at + Seconds::new(1);
        let removed_early = |row: &Row| {
            self.loosened == Some(Loosened::Hold)
                && ring.removed_at(&row.record.kid).is_some_and(|removed| removed <= soon)
        };
        let published = ring.published(at).filter(|row| !removed_early(row));
        published.map(|row| row.record.slot).collect()
    }

    /// A key signs for the first time: plans what the operator does until the next one does.
    fn turned(&mut self) {
        self.turns += 1;
        let lead = RotationPolicy::new(self.settings).unwrap().lead().get();
        let period = self.settings.period.get();
        let at = self.now
            + [1, lead, lead + 11, self.rng.random_range(1..=period)]
                .choose(&mut self.rng)
                .unwrap();
        let act = match self.rng.random_range(0..10) {
            0..3 => Act::Rotate,
            3 => Act::Taint,
            4 => Act::ClientLife(life(&self.settings, &mut self.rng)),
            5 | 6 => {
                let rotation = at + self.rng.random_range(30..=lead.max(60));
                self.plan(rotation, Act::Rotate);
                Act::Settings
            }
            _ => return,
        };
        self.plan(at, act);
    }
}
