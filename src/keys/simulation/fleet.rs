//! Verifiers that cache as real ones do.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::super::{KNOWN_VERIFIERS, UnknownKid};
use super::Name;
use crate::oauth::Seconds;

/// A set as a verifier has it.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    pub(super) at: i64,
    /// Its keys.
    pub(super) keys: Vec<Name>,
    /// For how long it may be kept, as was said with it.
    pub(super) max_age: i64,
}

/// A resource server.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) name: &'static str,
    /// `None`: until it is restarted.
    keeps: Option<i64>,
    unknown_kid: UnknownKid,
    /// How long it may go without a key that is published.
    pub(super) learns_within: i64,
    set: Option<Fetched>,
    /// How many tokens it accepted while it was promised to.
    pub(super) verified: usize,
}

impl Verifier {
    /// Some of those whose defaults are known.
    pub(super) fn known(count: usize, rng: &mut StdRng) -> impl Iterator<Item = Self> {
        KNOWN_VERIFIERS.sample(rng, count).map(|known| Verifier {
            name: known.name,
            keeps: known.keeps.map(Seconds::get),
            unknown_kid: known.unknown_kid,
            learns_within: known.learns_within().map_or(i64::MAX, Seconds::get),
            set: None,
            verified: 0,
        })
    }

    /// It starts cold.
    pub(super) fn restart(&mut self) {
        self.set = None;
    }

    /// Whether it accepts a token of this key now; it may fetch the set for that.
    pub(super) fn knows(&mut self, key: Name, now: i64, mut fetch: impl FnMut() -> Fetched) -> bool {
        let keeps = self.keeps;
        let current = self
            .set
            .take()
            .filter(|set| keeps.is_none_or(|keeps| now - set.at < keeps));
        let mut set = current.unwrap_or_else(&mut fetch);
        if let UnknownKid::Refetch(cooldown) = self.unknown_kid
            && !set.keys.contains(&key)
            && now - set.at >= cooldown.get()
        {
            set = fetch();
        }
        let known = set.keys.contains(&key);
        self.set = Some(set);
        known
    }
}
