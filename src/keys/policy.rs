use super::broken_promise::{at_least, at_most};
use super::{BrokenPromise, KeyRecord, KeyRing, KeyState, PolicyError, RsaBits, SigningAlgorithm, Turning};
use crate::oauth::{NumericDate, Seconds, Thumbprint};

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
    /// `signing.alg`.
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

    /// What must be done now. The steps do not depend on who does them: of two nodes that do the same, one finds the slot
    /// taken or the private half gone, and that is no error.
    pub fn due<K: Turning>(&self, ring: &KeyRing<K>, now: NumericDate) -> Vec<Step> {
        let retired = ring.keys().filter(|key| {
            let state = ring.state(&key.record().kid, now);
            key.can_sign() && matches!(state, Some(KeyState::Retired | KeyState::Revoked))
        });
        let mut steps: Vec<Step> = retired.map(|key| Step::Destroy(key.record().kid.clone())).collect();
        if ring.keys().any(|key| self.knows_too_short_a_life(&**key)) {
            steps.push(Step::Raise(self.settings.longest_access_ttl));
        }
        steps.extend(ring.keys().filter_map(|key| self.postponed(ring, &**key, now)));
        let mut slot = ring.keys().map(|key| key.record().slot).max().unwrap_or_default() + 1;
        let active = ring.active(now).map(|key| key.record().activates_at);
        let active = active.unwrap_or_else(|| {
            // Nothing can sign, so nothing is gained by waiting: either nobody has fetched any set yet, or all keys were barred.
            steps.push(Step::Create(Slot {
                slot,
                published_at: now,
                activates_at: now,
            }));
            slot += 1;
            now
        });
        if ring.next(now).is_none() {
            steps.push(Step::Create(Slot {
                slot,
                published_at: now,
                activates_at: self.activation_after(active, now),
            }));
        }
        let short = ring
            .keys()
            .filter(|key| self.is_certified_too_briefly(ring, &**key, now));
        steps.extend(short.map(|key| Step::Renew(key.record().kid.clone())));
        steps
    }

    /// A key that would begin to sign before every verifier knows it, because it was published when settings allowed that. Not
    /// one that signs: an operator's `--now` is not taken back, by no node whose clock is behind.
    fn postponed<K: Turning>(&self, ring: &KeyRing<K>, key: &K, now: NumericDate) -> Option<Step> {
        let record = key.record();
        let (from, to) = (record.activates_at, record.published_at + self.lead());
        let waits = from > now + CLOCK_SKEW && ring.state(&record.kid, now) == Some(KeyState::Next);
        (waits && from < to).then(|| Step::Postpone {
            kid: record.kid.clone(),
            from,
            to,
        })
    }

    /// How long who fetched the JWKS once is taken for somebody who verifies: a turn that waits for them must know of those who
    /// came just before its key was published.
    pub fn fetchers_memory(&self) -> Seconds {
        self.settings.period * 2 + self.settings.wait_for_fetchers
    }

    /// How a planned turn that is about to happen can be put off a little, for the sake of fetchers that have not got the next key
    /// yet: which key they need, and what to do. Not one that an operator brought forward, and never beyond the limit.
    pub fn wait<'a, K: Turning>(&self, ring: &'a KeyRing<K>, now: NumericDate) -> Option<(&'a KeyRecord, Step)> {
        let (active, next) = (ring.active(now)?.record(), ring.next(now)?.record());
        let planned = self.activation_after(active.activates_at, next.published_at);
        let (from, latest) = (next.activates_at, planned + self.settings.wait_for_fetchers);
        let to = latest.min(from + (self.settings.wait_for_fetchers / WAITS).max(SHORTEST_WAIT));
        // Late enough to know who came, and so early that no node signs with it by then.
        let is_near = from > now + CLOCK_SKEW && from <= now + CLOCK_SKEW + NODE_REFRESH + NODE_REFRESH;
        (from >= planned && is_near && to > from).then(|| {
            let kid = next.kid.clone();
            (next, Step::Postpone { kid, from, to })
        })
    }

    /// Whether a token signed by this key may outlive what the key knows: a node with other settings has published it.
    fn knows_too_short_a_life<K: Turning>(&self, key: &K) -> bool {
        key.can_sign() && key.record().longest_token_life < self.settings.longest_access_ttl
    }

    /// The present next key and the soonest instant at which it may begin to sign; it never begins later than planned.
    pub fn early_activation<K: Turning>(
        &self,
        ring: &KeyRing<K>,
        now: NumericDate,
        urgency: Urgency,
    ) -> Option<(Thumbprint, NumericDate)> {
        let next = ring.next(now)?;
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

    /// When a key published at `published_at` begins to sign, after one that began at `before`.
    pub(super) fn activation_after(&self, before: NumericDate, published_at: NumericDate) -> NumericDate {
        (before + self.settings.period).max(published_at + self.lead())
    }
}

/// Something to be done to the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Let a key begin to sign later, if it still begins when it did.
    Postpone {
        /// The key.
        kid: Thumbprint,
        /// When it would begin.
        from: NumericDate,
        /// When it may.
        to: NumericDate,
    },
    /// Let every key that can sign know of tokens that live so long.
    Raise(Seconds),
    /// Make and publish a key.
    Create(Slot),
    /// Destroy the private half of a key that signs never again.
    Destroy(Thumbprint),
    /// Certify a key anew: its certificate would end while the key is still needed. The key and its name stay.
    Renew(Thumbprint),
}

/// The place of a new key in the order of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Unique; the highest is the newest.
    pub slot: i64,
    /// When it is published.
    pub published_at: NumericDate,
    /// When it begins to sign.
    pub activates_at: NumericDate,
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
    use super::super::SigningKey;
    use super::super::testing::{at, record, ring};
    use super::*;

    const DAY: i64 = 86_400;

    fn policy() -> RotationPolicy {
        RotationPolicy::new(default_settings()).unwrap()
    }

    fn slot(slot: i64, published_at: i64, activates_at: i64) -> Step {
        Step::Create(Slot {
            slot,
            published_at: at(published_at),
            activates_at: at(activates_at),
        })
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
    fn the_first_key_signs_at_once_and_the_next_is_published_with_it() {
        assert_eq!(
            policy().due(&KeyRing::<SigningKey>::default(), at(1_000)),
            [slot(1, 1_000, 1_000), slot(2, 1_000, 1_000 + 30 * DAY)]
        );
    }

    #[test]
    fn a_next_key_is_made_the_moment_the_present_one_begins_to_sign() {
        let ring = ring([record(0, 1, 0, 0), record(1, 2, 0, 30 * DAY)]);
        assert_eq!(policy().due(&ring, at(30 * DAY - 1)), []);
        assert_eq!(policy().due(&ring, at(30 * DAY)), [slot(3, 30 * DAY, 60 * DAY)]);
    }

    #[test]
    fn a_next_key_that_is_made_late_still_has_its_lead() {
        let ring = ring([record(0, 1, 0, 0)]);
        let now = 30 * DAY - 5;
        assert_eq!(policy().due(&ring, at(now)), [slot(2, now, now + DAY + 10)]);
    }

    #[test]
    fn the_private_half_is_destroyed_when_the_key_retires_or_is_revoked() {
        let mut records = [record(0, 1, 0, 0), record(1, 2, 0, 30 * DAY), record(2, 3, 0, 60 * DAY)];
        let kids = records.clone().map(|record| record.kid);
        let retired = 30 * DAY + policy().hold().get();
        assert_eq!(policy().due(&ring(records.clone()), at(retired - 1)), []);
        let destroy = Step::Destroy(kids[0].clone());
        assert_eq!(policy().due(&ring(records.clone()), at(retired)), [destroy]);
        records[1].revoked_at = Some(at(31 * DAY));
        let steps = policy().due(&ring(records), at(31 * DAY));
        for kid in &kids[..2] {
            assert!(steps.contains(&Step::Destroy(kid.clone())), "{steps:?}");
        }
        // The third took over at once, so a fourth is due.
        assert!(steps.contains(&slot(4, 31 * DAY, 90 * DAY)), "{steps:?}");
    }

    //
    #[test]
    fn when_nothing_can_sign_a_key_is_made_that_signs_at_once() {
        let barred = |mut record: super::super::KeyRecord| {
            record.tainted_at = Some(at(DAY));
            record
        };
        let ring = ring([barred(record(0, 1, 0, 0)), barred(record(1, 2, 0, 30 * DAY))]);
        assert_eq!(
            policy().due(&ring, at(DAY)),
            [slot(3, DAY, DAY), slot(4, DAY, 31 * DAY)]
        );
    }

    #[test]
    fn a_next_key_may_begin_early_once_every_verifier_knows_it() {
        let ring = ring([record(0, 1, 0, 0), record(1, 2, 100, 30 * DAY)]);
        let early = |now, urgency| policy().early_activation(&ring, at(now), urgency).unwrap().1;
        for (now, urgency, instant) in [
            (200, Urgency::WhenSafe, 100 + DAY + 10),
            (5 * DAY, Urgency::WhenSafe, 5 * DAY),
            (200, Urgency::Now, 200),
        ] {
            assert_eq!(early(now, urgency), at(instant), "at {now}");
        }
        assert_eq!(
            policy().early_activation(&ring, at(30 * DAY), Urgency::Now),
            None,
            "no next key yet"
        );
    }

    fn with(change: impl Fn(&mut RotationSettings)) -> RotationPolicy {
        let mut settings = default_settings();
        change(&mut settings);
        RotationPolicy::new(settings).unwrap()
    }

    //
    #[test]
    fn a_next_key_that_was_published_too_late_for_new_settings_is_postponed_unless_it_may_sign_already() {
        let slower = with(|settings| settings.slowest_verifier = Seconds::hours(48));
        let (published, activates) = (100, 100 + DAY + 10);
        let records = [record(0, 1, 0, 0), record(1, 2, published, activates)];
        let kid = records[1].kid.clone();
        let ring = ring(records);
        let postpone = Step::Postpone {
            kid,
            from: at(activates),
            to: at(published + 2 * DAY + 10),
        };
        for (now, steps) in [
            (200, vec![postpone.clone()]),
            (activates - 6, vec![postpone]),
            // A node whose clock is ahead signs with it, or an operator has turned the wheel a moment ago.
            (activates - 5, vec![]),
        ] {
            assert_eq!(slower.due(&ring, at(now)), steps, "at {now}");
            assert_eq!(policy().due(&ring, at(now)), [], "at {now}");
        }
    }

    //
    #[test]
    fn a_key_that_a_node_with_a_shorter_token_life_published_learns_of_the_longer_one() {
        let longer = with(|settings| settings.longest_access_ttl = Seconds::hours(2));
        let ring = ring([record(0, 1, 0, 0), record(1, 2, 0, 30 * DAY)]);
        assert_eq!(longer.due(&ring, at(10)), [Step::Raise(Seconds::hours(2))]);
    }

    //
    #[test]
    fn a_certificate_outlasts_a_turn_that_is_a_period_late() {
        let slot = Slot {
            slot: 1,
            published_at: at(0),
            activates_at: at(DAY),
        };
        assert_eq!(policy().certificate_not_after(&slot), at(61 * DAY) + policy().hold());
    }
}
