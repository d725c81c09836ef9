//! What is promised, and whether it is kept.

use std::collections::BTreeSet;

use rand::RngExt;

use super::super::fleet::Fetched;
use super::super::{Loosened, Name};
use super::{Node, Refusal, Row, Version, World};
use crate::keys::{CLOCK_SKEW, Jwks, KeyRing, NODE_REFRESH};
use crate::oauth::{NumericDate, Seconds, SigningAlgorithm};

/// How long verifiers accept a token that has expired.
const LEEWAY: i64 = 300;

/// A token and a JWK set.
struct Answer {
    /// The keys of its tokens: for clients of every wish.
    keys: BTreeSet<Name>,
    /// The last second in which a verifier accepts it, by a clock that is behind.
    accepted_until: i64,
    set: Fetched,
}

impl World {
    /// What is promised from now on: a verifier has to be within what is set on every node, and for the operator.
    pub(super) fn promise(&mut self) {
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

    /// Every node signs; the whole fleet verifies, at once and for as long as it accepts the token.
    pub(super) fn sign_and_verify(&mut self) -> Result<(), Refusal> {
        let now = self.now;
        let refusal = |key, by: String| Refusal { at: now, key, by };
        let answers: Option<Vec<Answer>> = self.nodes.iter().map(|node| self.answer(node)).collect();
        let answers = answers.ok_or_else(|| refusal(None, "nobody signs".to_owned()))?;
        let signing: BTreeSet<Name> = answers.iter().flat_map(|answer| answer.keys.iter().copied()).collect();
        for answer in &answers {
            for key in &answer.keys {
                let until = self.accepted_until.entry(*key).or_insert(answer.accepted_until);
                *until = answer.accepted_until.max(*until);
            }
            for wish in &self.clients {
                let granted = answer.keys.iter().any(|(algorithm, _)| algorithm == wish);
                self.signed.as_wished += usize::from(granted);
                self.signed.in_place += usize::from(!granted);
            }
        }
        for key in &signing {
            if !self.began.contains_key(key) {
                self.began.insert(*key, now);
                self.turned();
            }
        }
        self.accepted_until.retain(|_, until| *until >= now);
        // A verifier that starts just now, by whatever node.
        for key in self.accepted_until.keys() {
            if let Some(node) = answers.iter().position(|answer| !answer.set.keys.contains(key)) {
                return Err(refusal(Some(*key), format!("whoever asks node {node}")));
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
            for key in signing.iter().filter(|key| !copy.keys.contains(key)) {
                let obedient = age < copy.max_age;
                // It was not fetched anew, so it is kept for longer than its age.
                let promised = self
                    .promised_since((age + 1 - late).max(0))
                    .is_some_and(|since| self.began[key] >= since);
                if obedient || promised {
                    return Err(refusal(Some(*key), format!("whoever has {copy:?}")));
                }
            }
        }
        let cold = self.rng.random_range(0..self.fleet.len());
        self.fleet[cold].restart();
        let poorest = answers
            .iter()
            .map(|answer| &answer.set)
            .min_by_key(|set| set.keys.len())
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
            for key in &signing {
                let promised = promised_since.is_some_and(|since| self.began[key] >= since);
                if verifier.knows(*key, now, &mut fetch) {
                    verifier.verified += usize::from(promised);
                } else if promised {
                    return Err(refusal(Some(*key), format!("{verifier:?}")));
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
        let order = self.demand().order(node.policy.settings().algorithm);
        let wishes = SigningAlgorithm::ALL.map(Some).into_iter().chain([None]);
        let keys: Option<BTreeSet<Name>> = wishes
            .map(|wish| Some(ring.signer(wish.into_iter().chain(order), at)?.name()))
            .collect();
        Some(Answer {
            keys: keys?,
            accepted_until: (at + life).epoch() + extra(Loosened::TokenLife) + LEEWAY + extra(Loosened::Leeway) - 1,
            set: Fetched {
                at: self.now,
                keys: self.published(ring, at),
                max_age: max_age + extra(Loosened::MaxAge),
            },
        })
    }

    fn published(&self, ring: &KeyRing<Row>, at: NumericDate) -> Vec<Name> {
        let soon = at + Seconds::new(1);
        let removed_early = |row: &Row| {
            self.loosened == Some(Loosened::Hold)
                && ring.removed_at(&row.record.kid).is_some_and(|removed| removed <= soon)
        };
        let published = ring.published(at).filter(|row| !removed_early(row));
        published.map(|row| row.name()).collect()
    }
}
