//! A database, the nodes that serve from it, and an operator, by clocks that differ and with rows that are seen late.

mod judge;
mod operator;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use operator::{Act, settings};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::fleet::{Fetched, Verifier};
use super::{Loosened, Name};
use crate::keys::{
    AlgorithmUse, CLOCK_SKEW, Demand, KeyRecord, KeyRing, LINGERING, NODE_REFRESH, RotationPolicy, RotationSettings,
    Slot, Step, Turning,
};
use crate::oauth::{NumericDate, Seconds, SigningAlgorithm, Thumbprint};

/// A token that was not accepted.
#[derive(Debug)]
#[expect(dead_code, reason = "to be printed")]
pub(super) struct Refusal {
    at: i64,
    key: Option<Name>,
    by: String,
}

/// How often clients that wish for an algorithm other than the server's were signed for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Signed {
    /// With it.
    pub(super) as_wished: usize,
    /// With another one, because it did not sign yet or any more.
    pub(super) in_place: usize,
    /// How often a key was withdrawn because nobody wanted its algorithm.
    pub(super) withdrawals: usize,
}

impl std::ops::AddAssign for Signed {
    fn add_assign(&mut self, other: Self) {
        self.as_wished += other.as_wished;
        self.in_place += other.in_place;
        self.withdrawals += other.withdrawals;
    }
}

/// A row, without key material.
#[derive(Debug, Clone)]
struct Row {
    record: KeyRecord,
    private: bool,
    certified_until: NumericDate,
}

impl Row {
    fn name(&self) -> Name {
        (self.record.alg, self.record.slot)
    }
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
    accepted_until: BTreeMap<Name, i64>,
    /// When each key signed first.
    began: BTreeMap<Name, i64>,
    /// Whether there are algorithms beside RS256.
    several: bool,
    /// What clients have for their own.
    clients: BTreeSet<SigningAlgorithm>,
    /// When each algorithm was wanted last, and when a server was set to it.
    uses: BTreeMap<SigningAlgorithm, (i64, Option<i64>)>,
    pub(super) signed: Signed,
    pub(super) turns: usize,
    /// Whether there are fetchers that do not come.
    laggards: bool,
    /// How often a turn was put off for fetchers.
    pub(super) waits: usize,
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
            several: seed % 4 >= 2,
            clients: BTreeSet::new(),
            uses: BTreeMap::new(),
            signed: Signed::default(),
            turns: 0,
            waits: 0,
            laggards: seed.is_multiple_of(3),
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
            self.note_uses();
            for act in self.acts.remove(&self.now).unwrap_or_default() {
                // When nobody wants any more what was wanted until now, by all clocks.
                let over = self.now + LINGERING.get();
                self.agenda.extend([over - 6, over, over + 6]);
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
        self.note_uses();
        self.raise(settings.longest_access_ttl, None);
        self.nodes[node].read = self.versions.len() - 1;
        self.tick(node);
        self.promise();
    }

    /// As `demand::follow`.
    fn note_uses(&mut self) {
        for node in &self.nodes {
            let used = self.uses.entry(node.policy.settings().algorithm).or_default();
            *used = (self.now, Some(self.now));
        }
        for algorithm in &self.clients {
            self.uses.entry(*algorithm).or_default().0 = self.now;
        }
    }

    fn demand(&self) -> Demand {
        let uses = self
            .uses
            .iter()
            .map(|(algorithm, (wanted_at, served_at))| AlgorithmUse {
                algorithm: *algorithm,
                wanted_at: NumericDate::from_epoch(*wanted_at),
                served_at: served_at.map(NumericDate::from_epoch),
            });
        Demand::new(uses)
    }

    /// As `Wheel::tick`.
    fn tick(&mut self, node: usize) {
        for _ in 0..4 {
            let now = self.clock(node);
            let policy = self.nodes[node].policy;
            let ring = &self.view(&self.nodes[node]).ring;
            let demand = self.demand();
            let mut steps = policy.due(ring, &demand, now);
            if self.loosened == Some(Loosened::WithdrawnTooEarly) {
                let unwanted = ring
                    .keys()
                    .filter(|row| !policy.wants(&demand, row.record.alg, now) && row.private);
                let unwanted = unwanted.filter(|row| row.record.withdrawn_at.is_none());
                steps.extend(unwanted.map(|row| Step::Withdraw(row.record.kid.clone())));
            }
            steps.retain(|step| match step {
                Step::Postpone { .. } => self.loosened != Some(Loosened::NotPostponed),
                Step::Raise(_) => self.loosened != Some(Loosened::NotRaised),
                Step::Create(_) | Step::Withdraw(_) | Step::Destroy(_) | Step::Renew(_) => true,
            });
            if steps.is_empty() {
                return self.wait_for_fetchers(node, now);
            }
            // Nobody promises when a wheel is turned.
            if self.began.len() > 1 && self.rng.random_ratio(1, 3) {
                self.agenda.insert(self.now + self.rng.random_range(1..20));
                return;
            }
            for step in steps {
                match step {
                    Step::Create(slot) => self.create(slot, &policy),
                    Step::Withdraw(kid) => self.withdraw(&kid, now),
                    Step::Destroy(kid) => self.write(|row| {
                        if row.record.kid == kid {
                            row.private = false;
                        }
                    }),
                    Step::Postpone { kid, from, to } => self.activate(&kid, from, to),
                    Step::Raise(life) => self.raise(life, None),
                    Step::Renew(kid) => self.renew(&kid, &policy, now),
                }
            }
            self.nodes[node].read = self.versions.len() - 1;
        }
    }

    /// As `Wheel::wait_for_fetchers`, in a world where some do not come.
    fn wait_for_fetchers(&mut self, node: usize, now: NumericDate) {
        let policy = self.nodes[node].policy;
        let ring = &self.view(&self.nodes[node]).ring;
        let waits: Vec<Step> = policy.waits(ring, now).map(|(_, step)| step).collect();
        for step in waits {
            if let Step::Postpone { kid, from, to } = step
                && self.laggards
                && self.rng.random_ratio(3, 4)
            {
                self.activate(&kid, from, to);
                self.nodes[node].read = self.versions.len() - 1;
                self.waits += 1;
            }
        }
    }

    /// As `Store::withdraw_signing_key`.
    fn withdraw(&mut self, kid: &Thumbprint, now: NumericDate) {
        self.signed.withdrawals += 1;
        self.write(|row| {
            if row.record.kid == *kid {
                row.record.withdrawn_at.get_or_insert(now);
            }
        });
    }

    /// As `Wheel::renew`, with an authority that never ends.
    fn renew(&mut self, kid: &Thumbprint, policy: &RotationPolicy, now: NumericDate) {
        let ring = &self.newest().ring;
        let eternal = (NumericDate::from_epoch(0), NumericDate::from_epoch(i64::MAX));
        let renewed = ring.key(kid).and_then(|row| policy.renewal(ring, &**row, eternal, now));
        self.write(|row| {
            if let (true, Some((_, until))) = (row.record.kid == *kid, renewed) {
                row.certified_until = until;
            }
        });
    }

    /// As `Store::create_signing_key`.
    fn create(&mut self, mut slot: Slot, policy: &RotationPolicy) {
        let newest = self.newest();
        let name = (slot.algorithm, slot.slot);
        if newest.ring.keys().any(|row| row.name() == name) {
            return;
        }
        let is_first = slot.slot == 1;
        let certified_until = policy.certificate_not_after(&slot);
        let waits = slot.activates_at > slot.published_at;
        match self.loosened {
            Some(Loosened::Lead) if waits => {
                slot.published_at = slot.published_at - Seconds::new(1);
                slot.activates_at = slot.activates_at - Seconds::new(1);
            }
            Some(Loosened::UnpublishedNext) if waits => {
                slot.published_at = slot.published_at - policy.lead();
                slot.activates_at = slot.published_at + policy.lead();
            }
            Some(Loosened::FirstAtOnce) if waits && is_first => slot.activates_at = slot.published_at,
            _ => {}
        }
        let life = policy.settings().longest_access_ttl.max(newest.client_life);
        let row = Row {
            record: KeyRecord {
                kid: Thumbprint::parse(&format!("{}{:0>38}", slot.algorithm, slot.slot)).unwrap(),
                alg: slot.algorithm,
                slot: slot.slot,
                published_at: slot.published_at,
                activates_at: slot.activates_at,
                certificate: Vec::new(),
                longest_token_life: life,
                withdrawn_at: None,
                tainted_at: None,
                revoked_at: None,
            },
            private: true,
            certified_until,
        };
        let rows = self.rows().into_iter().chain([row]).collect();
        self.commit(rows, self.newest().client_life);
    }

    /// As `Store::set_activation`.
    fn activate(&mut self, kid: &Thumbprint, from: NumericDate, to: NumericDate) {
        self.write(|row| {
            if row.record.kid == *kid && row.record.activates_at == from {
                row.record.activates_at = to;
            }
        });
    }

    /// As `Store::raise_token_life`, together with a change of a client if there is one.
    fn raise(&mut self, life: Seconds, client_life: Option<Seconds>) {
        let raises = self.loosened != Some(Loosened::NotRaised);
        let mut rows = self.rows();
        for row in rows.iter_mut().filter(|row| raises && row.private) {
            row.record.longest_token_life = row.record.longest_token_life.max(life);
        }
        self.commit(rows, client_life.unwrap_or(self.newest().client_life));
    }

    fn rows(&self) -> Vec<Row> {
        self.newest().ring.keys().map(|row| (**row).clone()).collect()
    }

    /// A transaction over all rows.
    fn write(&mut self, change: impl Fn(&mut Row)) {
        let mut rows = self.rows();
        rows.iter_mut().for_each(change);
        self.commit(rows, self.newest().client_life);
    }

    fn commit(&mut self, mut rows: Vec<Row>, client_life: Seconds) {
        // Rows are kept for ever, but of the oldest of an algorithm, which left the set long ago, nothing follows any more.
        let before = &self.newest().ring;
        rows.sort_by_key(Row::name);
        let names: Vec<Name> = rows.iter().map(Row::name).collect();
        let is_over = |row: &Row| {
            let removed = before.removed_at(&row.record.kid);
            !row.private && removed.is_some_and(|removed| removed.epoch() + 1_000 < self.now)
        };
        let mut kept: BTreeSet<SigningAlgorithm> = BTreeSet::new();
        rows.retain(|row| {
            let (algorithm, slot) = row.name();
            let is_old = names.contains(&(algorithm, slot + 3));
            if !kept.contains(&algorithm) && is_old && is_over(row) {
                return false;
            }
            kept.insert(algorithm);
            true
        });
        let ring = KeyRing::new(rows.into_iter().map(Arc::new));
        for node in &self.nodes {
            self.agenda.extend([self.now + node.lag, self.now + node.lag + 1]);
            for row in ring.keys() {
                let kid = &row.record.kid;
                let changes = [ring.starts_at(kid), row.record.withdrawn_at, ring.removed_at(kid)];
                for change in changes.into_iter().flatten() {
                    let change = change.epoch() - node.clock;
                    // And when a turn may be put off.
                    let instants = [change - 12, change - 6, change - 1, change];
                    self.agenda.extend(instants.iter().filter(|change| **change > self.now));
                }
            }
        }
        self.versions.push(Version {
            committed: self.now,
            ring,
            client_life,
        });
    }
}

/// A number up to `most`, most often one of the ends.
fn extreme(most: i64, rng: &mut StdRng) -> i64 {
    match rng.random_range(0..9) {
        0..4 => 0,
        4..8 => most,
        _ => rng.random_range(0..=most),
    }
}
