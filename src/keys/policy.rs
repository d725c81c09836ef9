use super::broken_promise::{at_least, at_most};
use super::{BrokenPromise, KeyRecord, KeyRing, PolicyError, RsaBits, Slot, Step, Turning};
use crate::oauth::{NumericDate, Seconds, SigningAlgorithm, Thumbprint};

/// How long a node may take to see a row that another wrote. Nodes ask every second; this allows for a slow answer.
pub const NODE_REFRESH: Seconds = Seconds::new(5);

/// How far the clocks of two nodes may be apart.
pub const CLOCK_SKEW: Seconds = Seconds::new(5);

/// How much longer a key stays published than the last token that it signed is valid: a node may sign with it until it sees
/// its successor, by a clock that is ahead of the one by which the successor begins; another node, whose clock is ahead of
/// the verifier's, removes it; and verifiers grant an expired token up to five minutes of leeway.
pub const HOLD_MARGIN: Seconds = Seconds::new(NODE_REFRESH.get() + 2 * CLOCK_SKEW.get() + 300);

/// What an operator sets of the rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationSettings {
    /// `signing.alg`: what clients without a wish of their own are signed for with.
    pub algorithm: SigningAlgorithm,
    /// `signing.rsa_bits`.
    pub rsa_bits: RsaBits,
    /// `signing.period`: how long a key signs.
    pub period: Seconds,
    /// `signing.jwks_max_age`: how long verifiers may keep the JWKS, as they are told.
    pub jwks_max_age: Seconds,
    /// `signing.slowest_verifier`: how long the slowest verifier keeps it, whatever it is told.
    pub slowest_verifier: Seconds,
    /// The longest life of any client's access tokens.
    pub longest_access_ttl: Seconds,
    /// `signing.wait_for_fetchers`: how long a planned turn is put off at most until all who fetch the JWKS have the next key;
    /// zero for not at all.
    pub wait_for_fetchers: Seconds,
}

/// When keys are made, sign and vanish. One that exists breaks no verifier: settings that could are refused.
#[derive(Debug, Clone, Copy)]
pub struct RotationPolicy {
    settings: RotationSettings,
}

impl RotationPolicy {
    /// A policy, if the settings keep its promises. The error names the setting, its value and the nearest that would do.
    pub fn new(settings: RotationSettings) -> Result<Self, PolicyError> {
        let policy = RotationPolicy { settings };
        at_least(
            "signing.jwks_max_age",
            settings.jwks_max_age,
            SHORTEST_MAX_AGE,
            BrokenPromise::AskedTooOften,
        )?;
        at_most(
            "signing.jwks_max_age",
            settings.jwks_max_age,
            LONGEST_MAX_AGE,
            BrokenPromise::WithdrawnTooLate,
        )?;
        at_least(
            "tokens.access_ttl",
            settings.longest_access_ttl,
            Seconds::new(1),
            BrokenPromise::NeverValid,
        )?;
        at_least(
            "signing.period",
            settings.period,
            policy.lead() + Seconds::new(1),
            BrokenPromise::NotYetKnown,
        )?;
        at_most("signing.period", settings.period, LONGEST_PERIOD, BrokenPromise::TooOld)?;
        // Certificates outlast a turn that is a period late.
        at_most(
            "signing.wait_for_fetchers",
            settings.wait_for_fetchers,
            settings.period,
            BrokenPromise::CertifiedTooBriefly,
        )?;
        Ok(policy)
    }

    /// The settings.
    pub fn settings(&self) -> &RotationSettings {
        &self.settings
    }

    /// How long a key is published at least before it signs: until the slowest verifier has fetched it from the last node that
    /// learned of it.
    pub fn lead(&self) -> Seconds {
        self.settings.jwks_max_age.max(self.settings.slowest_verifier) + NODE_REFRESH + CLOCK_SKEW
    }

    /// How long a key stays published at least after it signed for the last time.
    pub fn hold(&self) -> Seconds {
        self.settings.longest_access_ttl + HOLD_MARGIN
    }

    /// How long who fetched the JWKS once is taken for somebody who verifies: a turn that waits for them must know of those who
    /// came just before its key was published.
    pub fn fetchers_memory(&self) -> Seconds {
        self.settings.period * 2 + self.settings.wait_for_fetchers
    }

    /// How planned turns that are about to happen can be put off a little, for the sake of fetchers that have not got the next key
    /// yet: which key they need, and what to do. Not one that an operator brought forward, and never beyond the limit.
    pub fn waits<'a, K: Turning>(
        &self,
        ring: &'a KeyRing<K>,
        now: NumericDate,
    ) -> impl Iterator<Item = (&'a KeyRecord, Step)> {
        SigningAlgorithm::ALL
            .into_iter()
            .filter_map(move |algorithm| self.wait(ring, algorithm, now))
    }

    fn wait<'a, K: Turning>(
        &self,
        ring: &'a KeyRing<K>,
        algorithm: SigningAlgorithm,
        now: NumericDate,
    ) -> Option<(&'a KeyRecord, Step)> {
        let next = ring.next(algorithm, now)?.record();
        let planned = self.planned(
            ring.active(algorithm, now).map(|active| active.record()),
            next.published_at,
        );
        let (from, latest) = (next.activates_at, planned + self.settings.wait_for_fetchers);
        let to = latest.min(from + (self.settings.wait_for_fetchers / WAITS).max(SHORTEST_WAIT));
        // Late enough to know who came, and so early that no node signs with it by then.
        let is_near = from > now + CLOCK_SKEW && from <= now + CLOCK_SKEW + NODE_REFRESH + NODE_REFRESH;
        (from >= planned && is_near && to > from).then(|| {
            let kid = next.kid.clone();
            (next, Step::Postpone { kid, from, to })
        })
    }

    /// The present next key of the algorithm and the soonest instant at which it may begin to sign; it never begins later than
    /// planned.
    pub fn early_activation<K: Turning>(
        &self,
        ring: &KeyRing<K>,
        algorithm: SigningAlgorithm,
        now: NumericDate,
        urgency: Urgency,
    ) -> Option<(Thumbprint, NumericDate)> {
        let next = ring.next(algorithm, now)?;
        let record = next.record();
        let soonest = match urgency {
            Urgency::WhenSafe => now.max(record.published_at + self.lead()).min(record.activates_at),
            Urgency::Now => now,
        };
        Some((record.kid.clone(), soonest))
    }

    /// Until when the certificate of a new key has to last: it signs for one period and is then held.
    pub fn certificate_needed_for(&self, slot: &Slot) -> NumericDate {
        slot.activates_at + self.settings.period + self.hold()
    }

    /// The end of validity of the certificate of a new key: it may be late by another period.
    pub fn certificate_not_after(&self, slot: &Slot) -> NumericDate {
        self.certificate_needed_for(slot) + self.settings.period
    }

    /// When a key published at `published_at` begins to sign: after `active`, or as the first of its algorithm.
    pub(super) fn planned(&self, active: Option<&KeyRecord>, published_at: NumericDate) -> NumericDate {
        match active {
            Some(active) => self.activation_after(active.activates_at, published_at),
            None => published_at + self.lead(),
        }
    }

    /// When a key published at `published_at` begins to sign, after one that began at `before`.
    pub(super) fn activation_after(&self, before: NumericDate, published_at: NumericDate) -> NumericDate {
        (before + self.settings.period).max(published_at + self.lead())
    }
}

/// How much an operator is in a hurry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// As soon as every verifier knows the key.
    WhenSafe,
    /// At once. Verifiers that have not fetched the key yet refuse tokens until they do.
    Now,
}

/// A wait for fetchers is divided into so many, so that the trail and the feed stay short and the turn comes soon after the last.
const WAITS: i64 = 24;
const SHORTEST_WAIT: Seconds = Seconds::minutes(1);

const SHORTEST_MAX_AGE: Seconds = Seconds::new(1);
const LONGEST_MAX_AGE: Seconds = Seconds::hours(1);
const LONGEST_PERIOD: Seconds = Seconds::days(366);

#[cfg(test)]
pub(super) fn default_settings() -> RotationSettings {
    RotationSettings {
        algorithm: SigningAlgorithm::Rs256,
        rsa_bits: RsaBits::Bits2048,
        period: Seconds::days(30),
        jwks_max_age: Seconds::new(300),
        slowest_verifier: Seconds::hours(24),
        longest_access_ttl: Seconds::minutes(10),
        wait_for_fetchers: Seconds::new(0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, record, ring};
    use super::*;

    const DAY: i64 = 86_400;
    const RS256: SigningAlgorithm = SigningAlgorithm::Rs256;

    fn policy() -> RotationPolicy {
        RotationPolicy::new(default_settings()).unwrap()
    }

    #[test]
    fn the_lead_outlasts_the_slowest_verifier_and_the_slowest_node() {
        assert_eq!(policy().lead(), Seconds::new(DAY + 10));
        let settings = RotationSettings {
            slowest_verifier: Seconds::new(0),
            ..default_settings()
        };
        assert_eq!(RotationPolicy::new(settings).unwrap().lead(), Seconds::new(310));
    }

    #[test]
    fn a_setting_one_second_beyond_its_bound_is_refused_with_the_bound() {
        let with = |change: fn(&mut RotationSettings, i64), seconds: i64| {
            let mut settings = default_settings();
            change(&mut settings, seconds);
            RotationPolicy::new(settings).map(drop)
        };
        type Change = fn(&mut RotationSettings, i64);
        let period: Change = |settings, seconds| settings.period = Seconds::new(seconds);
        let max_age: Change = |settings, seconds| settings.jwks_max_age = Seconds::new(seconds);
        let slowest: Change = |settings, seconds| settings.slowest_verifier = Seconds::new(seconds);
        let ttl: Change = |settings, seconds| settings.longest_access_ttl = Seconds::new(seconds);
        for (change, accepted, refused, setting, bound) in [
            (
                period,
                DAY + 11,
                DAY + 10,
                "signing.period is 86410s",
                "set it to 86411s or more",
            ),
            (
                period,
                366 * DAY,
                366 * DAY + 1,
                "signing.period is 31622401s",
                "set it to 366d or less",
            ),
            (max_age, 1, 0, "signing.jwks_max_age is 0s", "set it to 1s or more"),
            (
                max_age,
                3_600,
                3_601,
                "signing.jwks_max_age is 3601s",
                "set it to 1h or less",
            ),
            (
                slowest,
                30 * DAY - 11,
                30 * DAY - 10,
                "signing.period is 30d",
                "set it to 2592001s or more",
            ),
            (ttl, 1, 0, "tokens.access_ttl is 0s", "set it to 1s or more"),
        ] {
            assert_eq!(with(change, accepted), Ok(()), "{setting}");
            let refusal = with(change, refused).unwrap_err().to_string();
            assert!(refusal.contains(setting) && refusal.contains(bound), "{refusal}");
        }
    }

    #[test]
    fn a_next_key_may_begin_early_once_every_verifier_knows_it() {
        let ring = ring([record(0, 1, 0, 0), record(1, 2, 100, 30 * DAY)]);
        let early = |now, urgency| policy().early_activation(&ring, RS256, at(now), urgency).unwrap().1;
        for (now, urgency, instant) in [
            (200, Urgency::WhenSafe, 100 + DAY + 10),
            (5 * DAY, Urgency::WhenSafe, 5 * DAY),
            (200, Urgency::Now, 200),
        ] {
            assert_eq!(early(now, urgency), at(instant), "at {now}");
        }
        assert_eq!(
            policy().early_activation(&ring, RS256, at(30 * DAY), Urgency::Now),
            None,
            "no next key yet"
        );
    }

    //
    #[test]
    fn a_certificate_outlasts_a_turn_that_is_a_period_late() {
        let slot = Slot {
            algorithm: RS256,
            slot: 1,
            published_at: at(0),
            activates_at: at(DAY),
        };
        assert_eq!(policy().certificate_not_after(&slot), at(61 * DAY) + policy().hold());
    }
}
