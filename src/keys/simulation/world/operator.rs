//! What an operator does: turns keys early, taints them, changes settings and clients.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::super::Loosened;
use super::World;
use crate::keys::{RotationPolicy, RotationSettings, Urgency};
use crate::oauth::{NumericDate, Seconds, SigningAlgorithm};

/// What an operator does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// `keys rotate --alg`.
    Rotate(SigningAlgorithm),
    /// `keys taint`, once every verifier can know the successor.
    Taint(SigningAlgorithm),
    /// The first client gets the algorithm for its own, or the last one that has it goes.
    Clients(SigningAlgorithm),
    /// A client's tokens live so long.
    ClientLife(Seconds),
    /// The settings of every node change, one node after the other.
    Settings,
    /// A node is restarted with new settings.
    Restart(usize, RotationSettings),
}

impl World {
    pub(super) fn act(&mut self, act: Act) {
        let now = NumericDate::from_epoch(self.now + self.operator_clock);
        let policy = RotationPolicy::new(self.settings).unwrap();
        match act {
            Act::Rotate(algorithm) => {
                let ring = &self.newest().ring;
                let Some((kid, mut at)) = policy.early_activation(ring, algorithm, now, Urgency::WhenSafe) else {
                    return;
                };
                let planned = ring.key(&kid).unwrap().record.activates_at;
                if at != planned {
                    at = at - Seconds::new(i64::from(self.loosened == Some(Loosened::EarlyTurn)));
                    self.activate(&kid, planned, at);
                }
            }
            Act::Taint(algorithm) => {
                let ring = &self.newest().ring;
                let (Some(active), Some(next)) = (ring.active(algorithm, now), ring.next(algorithm, now)) else {
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
            Act::Clients(algorithm) => {
                if !self.clients.remove(&algorithm) {
                    self.clients.insert(algorithm);
                }
            }
            Act::ClientLife(life) => self.raise(life, Some(life)),
            Act::Settings => {
                let mut settings = settings(Some((&self.settings, self.longest_max_age)), &mut self.rng);
                if self.several && self.rng.random() {
                    settings.algorithm = self.any_algorithm();
                }
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

    fn any_algorithm(&mut self) -> SigningAlgorithm {
        if self.several {
            *SigningAlgorithm::ALL.choose(&mut self.rng).unwrap()
        } else {
            SigningAlgorithm::Rs256
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

    /// A key signs for the first time: plans what the operator does until the next one does.
    pub(super) fn turned(&mut self) {
        self.turns += 1;
        let lead = RotationPolicy::new(self.settings).unwrap().lead().get();
        let period = self.settings.period.get();
        let at = self.now
            + [1, lead, lead + 11, self.rng.random_range(1..=period)]
                .choose(&mut self.rng)
                .unwrap();
        let algorithm = self.any_algorithm();
        let acts = if self.several { 14 } else { 10 };
        let act = match self.rng.random_range(0..acts) {
            0..3 => Act::Rotate(algorithm),
            3 => Act::Taint(algorithm),
            10.. => Act::Clients(algorithm),
            4 => Act::ClientLife(life(&self.settings, &mut self.rng)),
            5 | 6 => {
                let rotation = at + self.rng.random_range(30..=lead.max(60));
                self.plan(rotation, Act::Rotate(algorithm));
                Act::Settings
            }
            _ => return,
        };
        self.plan(at, act);
    }
}

/// Settings that the policy accepts. What verifiers were ever told stays within `slowest_verifier` when it is told no longer.
pub(super) fn settings(before: Option<(&RotationSettings, Seconds)>, rng: &mut StdRng) -> RotationSettings {
    let one_of = |choices: &[i64], rng: &mut StdRng| Seconds::new(*choices.choose(rng).unwrap());
    let mut slowest_verifier = one_of(&[0, 0, 0, 30, 60, 300, 600, 1_200, 3_600, 86_400], rng);
    let jwks_max_age = one_of(&[60, 120, 300, 3_600], rng);
    if let Some((before, longest_max_age)) = before {
        if rng.random() {
            return RotationSettings {
                longest_access_ttl: life(before, rng),
                ..*before
            };
        }
        if jwks_max_age < longest_max_age {
            slowest_verifier = slowest_verifier.max(longest_max_age);
        }
    }
    let lead = slowest_verifier.max(jwks_max_age).get() + 10;
    let settings = RotationSettings {
        period: Seconds::new(lead) + one_of(&[1, 1, 5, 100, lead / 2, 2 * lead], rng),
        jwks_max_age,
        slowest_verifier,
        ..crate::keys::policy::default_settings()
    };
    let wait_for_fetchers = settings.period.min(one_of(&[0, 0, 1, 90, 3_600, 86_400], rng));
    RotationSettings {
        longest_access_ttl: life(&settings, rng),
        wait_for_fetchers,
        ..settings
    }
}

fn life(settings: &RotationSettings, rng: &mut StdRng) -> Seconds {
    let most = settings.period.get() * 2;
    Seconds::new([1, 60, 600, 3_600].choose(rng).unwrap().min(&most).to_owned())
}
