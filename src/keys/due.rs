//! What has to be done to the keys at an instant, for every algorithm that somebody wants.

use super::{CLOCK_SKEW, Demand, KeyRing, KeyState, RotationPolicy, Turning};
use crate::oauth::{NumericDate, Seconds, SigningAlgorithm, Thumbprint};

impl RotationPolicy {
    /// What must be done now. The steps do not depend on who does them: of two nodes that do the same, one finds the slot
    /// taken or the private half gone, and that is no error.
    pub fn due<K: Turning>(&self, ring: &KeyRing<K>, demand: &Demand, now: NumericDate) -> Vec<Step> {
        let retired = ring.keys().filter(|key| {
            let state = ring.state(&key.record().kid, now);
            key.can_sign() && matches!(state, Some(KeyState::Retired | KeyState::Revoked))
        });
        let mut steps: Vec<Step> = retired.map(|key| Step::Destroy(key.record().kid.clone())).collect();
        if ring.keys().any(|key| self.knows_too_short_a_life(&**key)) {
            steps.push(Step::Raise(self.settings().longest_access_ttl));
        }
        steps.extend(ring.keys().filter_map(|key| self.postponed(ring, &**key, now)));
        for algorithm in SigningAlgorithm::ALL {
            if self.wants(demand, algorithm, now) {
                steps.extend(self.turns_due(ring, algorithm, now));
            } else if self.is_settled(ring, demand, now) {
                steps.extend(withdrawable(ring, algorithm, now));
            } else if ring.active(algorithm, now).is_some() {
                // Who waits for another algorithm may be signed for with this one until then.
                steps.extend(self.turns_due(ring, algorithm, now));
            }
        }
        let short = ring
            .keys()
            .filter(|key| self.is_certified_too_briefly(ring, &**key, now));
        steps.extend(short.map(|key| Step::Renew(key.record().kid.clone())));
        steps
    }

    /// Whether somebody wants tokens of the algorithm: this server, or another one or a client until lately.
    pub fn wants(&self, demand: &Demand, algorithm: SigningAlgorithm, now: NumericDate) -> bool {
        algorithm == self.settings().algorithm || demand.wants(algorithm, now)
    }

    /// Whether every algorithm that is wanted has a key that signs, by every clock, so that nobody needs another one in its place.
    fn is_settled<K: Turning>(&self, ring: &KeyRing<K>, demand: &Demand, now: NumericDate) -> bool {
        let mut wanted = SigningAlgorithm::ALL
            .into_iter()
            .filter(|algorithm| self.wants(demand, *algorithm, now));
        wanted.all(|algorithm| ring.active(algorithm, now - CLOCK_SKEW).is_some())
    }

    /// Whether a key that is made now signs at once. Nothing can sign, so nothing is gained by waiting: either nobody has fetched any
    /// set yet, or all keys were barred.
    pub(super) fn signs_at_once<K: Turning>(
        &self,
        ring: &KeyRing<K>,
        algorithm: SigningAlgorithm,
        now: NumericDate,
    ) -> bool {
        let is_own = algorithm == self.settings().algorithm;
        ring.is_bereft(algorithm, now) || (is_own && ring.signer(SigningAlgorithm::ALL, now).is_none())
    }

    /// The keys of an algorithm that have to be made now.
    fn turns_due<K: Turning>(&self, ring: &KeyRing<K>, algorithm: SigningAlgorithm, now: NumericDate) -> Vec<Step> {
        let create = |number, activates_at| {
            Step::Create(Slot {
                algorithm,
                slot: ring.newest_slot(algorithm) + number,
                published_at: now,
                activates_at,
            })
        };
        let has_next = ring.next(algorithm, now).is_some();
        // One that another node has withdrawn a moment ahead of this one's clock has no successor.
        let active = ring.active(algorithm, now);
        if let Some(active) = active.filter(|active| active.record().withdrawn_at.is_none()) {
            let activates_at = self.activation_after(active.record().activates_at, now);
            return if has_next {
                Vec::new()
            } else {
                vec![create(1, activates_at)]
            };
        }
        if self.signs_at_once(ring, algorithm, now) {
            let mut steps = vec![create(1, now)];
            if !has_next {
                steps.push(create(2, self.activation_after(now, now)));
            }
            return steps;
        }
        // An algorithm that comes into use: it signs when every verifier knows its first key, and until then another one does.
        if has_next {
            Vec::new()
        } else {
            vec![create(1, now + self.lead())]
        }
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

    /// Whether a token signed by this key may outlive what the key knows: a node with other settings has published it.
    fn knows_too_short_a_life<K: Turning>(&self, key: &K) -> bool {
        key.can_sign() && key.record().longest_token_life < self.settings().longest_access_ttl
    }
}

/// The keys of an algorithm that nobody wants: they are not to sign any more.
fn withdrawable<K: Turning>(ring: &KeyRing<K>, algorithm: SigningAlgorithm, now: NumericDate) -> Vec<Step> {
    let of_it = ring.keys().filter(|key| key.record().alg == algorithm);
    let in_use = of_it.filter(|key| {
        let state = ring.state(&key.record().kid, now);
        matches!(state, Some(KeyState::Next | KeyState::Active)) && key.record().withdrawn_at.is_none()
    });
    in_use.map(|key| Step::Withdraw(key.record().kid.clone())).collect()
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
    /// Let a key sign no more, because nobody wants its algorithm.
    Withdraw(Thumbprint),
    /// Destroy the private half of a key that signs never again.
    Destroy(Thumbprint),
    /// Certify a key anew: its certificate would end while the key is still needed. The key and its name stay.
    Renew(Thumbprint),
}

/// The place of a new key in the order of its algorithm's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// What the key signs with.
    pub algorithm: SigningAlgorithm,
    /// Unique among those; the highest is the newest.
    pub slot: i64,
    /// When it is published.
    pub published_at: NumericDate,
    /// When it begins to sign.
    pub activates_at: NumericDate,
}

#[cfg(test)]
mod tests {
    use super::super::policy::default_settings;
    use super::super::testing::{at, record, record_for, ring};
    use super::super::{AlgorithmUse, KeyRecord, RotationSettings, SigningKey};
    use super::*;

    const DAY: i64 = 86_400;
    const RS256: SigningAlgorithm = SigningAlgorithm::Rs256;
    const ES256: SigningAlgorithm = SigningAlgorithm::Es256;
    const LEAD: i64 = DAY + 10;

    fn policy() -> RotationPolicy {
        with(|_| {})
    }

    fn with(change: impl Fn(&mut RotationSettings)) -> RotationPolicy {
        let mut settings = default_settings();
        change(&mut settings);
        RotationPolicy::new(settings).unwrap()
    }

    fn slot(slot: i64, published_at: i64, activates_at: i64) -> Step {
        slot_of(RS256, slot, published_at, activates_at)
    }

    fn slot_of(algorithm: SigningAlgorithm, slot: i64, published_at: i64, activates_at: i64) -> Step {
        Step::Create(Slot {
            algorithm,
            slot,
            published_at: at(published_at),
            activates_at: at(activates_at),
        })
    }

    #[test]
    fn the_first_key_signs_at_once_and_the_next_is_published_with_it() {
        assert_eq!(
            policy().due(&KeyRing::<SigningKey>::default(), &Demand::default(), at(1_000)),
            [slot(1, 1_000, 1_000), slot(2, 1_000, 1_000 + 30 * DAY)]
        );
    }

    #[test]
    fn a_next_key_is_made_the_moment_the_present_one_begins_to_sign() {
        let ring = ring([record(0, 1, 0, 0), record(1, 2, 0, 30 * DAY)]);
        assert_eq!(policy().due(&ring, &Demand::default(), at(30 * DAY - 1)), []);
        assert_eq!(
            policy().due(&ring, &Demand::default(), at(30 * DAY)),
            [slot(3, 30 * DAY, 60 * DAY)]
        );
    }

    #[test]
    fn a_next_key_that_is_made_late_still_has_its_lead() {
        let ring = ring([record(0, 1, 0, 0)]);
        let now = 30 * DAY - 5;
        assert_eq!(
            policy().due(&ring, &Demand::default(), at(now)),
            [slot(2, now, now + DAY + 10)]
        );
    }

    #[test]
    fn the_private_half_is_destroyed_when_the_key_retires_or_is_revoked() {
        let mut records = [record(0, 1, 0, 0), record(1, 2, 0, 30 * DAY), record(2, 3, 0, 60 * DAY)];
        let kids = records.clone().map(|record| record.kid);
        let retired = 30 * DAY + policy().hold().get();
        assert_eq!(
            policy().due(&ring(records.clone()), &Demand::default(), at(retired - 1)),
            []
        );
        let destroy = Step::Destroy(kids[0].clone());
        assert_eq!(
            policy().due(&ring(records.clone()), &Demand::default(), at(retired)),
            [destroy]
        );
        records[1].revoked_at = Some(at(31 * DAY));
        let steps = policy().due(&ring(records), &Demand::default(), at(31 * DAY));
        for kid in &kids[..2] {
            assert!(steps.contains(&Step::Destroy(kid.clone())), "{steps:?}");
        }
        // The third took over at once, so a fourth is due.
        assert!(steps.contains(&slot(4, 31 * DAY, 90 * DAY)), "{steps:?}");
    }

    //
    #[test]
    fn when_nothing_can_sign_a_key_is_made_that_signs_at_once() {
        let barred = |mut record: KeyRecord| {
            record.tainted_at = Some(at(DAY));
            record
        };
        let ring = ring([barred(record(0, 1, 0, 0)), barred(record(1, 2, 0, 30 * DAY))]);
        assert_eq!(
            policy().due(&ring, &Demand::default(), at(DAY)),
            [slot(3, DAY, DAY), slot(4, DAY, 31 * DAY)]
        );
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
            assert_eq!(slower.due(&ring, &Demand::default(), at(now)), steps, "at {now}");
            assert_eq!(policy().due(&ring, &Demand::default(), at(now)), [], "at {now}");
        }
    }

    //
    #[test]
    fn a_key_that_a_node_with_a_shorter_token_life_published_learns_of_the_longer_one() {
        let longer = with(|settings| settings.longest_access_ttl = Seconds::hours(2));
        let ring = ring([record(0, 1, 0, 0), record(1, 2, 0, 30 * DAY)]);
        assert_eq!(
            longer.due(&ring, &Demand::default(), at(10)),
            [Step::Raise(Seconds::hours(2))]
        );
    }

    fn wanted(uses: &[(SigningAlgorithm, i64)]) -> Demand {
        Demand::new(uses.iter().map(|(algorithm, wanted_at)| AlgorithmUse {
            algorithm: *algorithm,
            wanted_at: at(*wanted_at),
            served_at: None,
        }))
    }

    fn two() -> Vec<KeyRecord> {
        vec![record(0, 1, 0, 0), record(1, 2, 0, 30 * DAY)]
    }

    #[test]
    fn the_first_key_of_a_further_algorithm_is_published_a_lead_before_it_signs_and_the_next_when_it_does() {
        let demand = wanted(&[(ES256, 40 * DAY)]);
        let first = record_for(ES256, 0, 1, DAY, DAY + LEAD);
        let next = record_for(ES256, 1, 2, DAY + LEAD, 31 * DAY + LEAD);
        for (of_curve, now, due) in [
            (vec![], DAY, vec![slot_of(ES256, 1, DAY, DAY + LEAD)]),
            (vec![first.clone()], DAY, vec![]),
            (vec![first.clone()], DAY + LEAD - 1, vec![]),
            (
                vec![first.clone()],
                DAY + LEAD,
                vec![slot_of(ES256, 2, DAY + LEAD, 31 * DAY + LEAD)],
            ),
            (vec![first, next], DAY + LEAD, vec![]),
        ] {
            let ring = ring(two().into_iter().chain(of_curve));
            assert_eq!(policy().due(&ring, &demand, at(now)), due, "at {now}");
        }
    }

    #[test]
    fn what_nobody_wants_is_withdrawn_when_nobody_needs_it_in_the_place_of_another() {
        let curve = [
            record_for(ES256, 0, 1, 0, LEAD),
            record_for(ES256, 1, 2, LEAD, 40 * DAY),
        ];
        let kids: Vec<_> = curve.iter().map(|record| record.kid.clone()).collect();
        let both = ring(two().into_iter().chain(curve.clone()));
        // The next one first: whoever is interrupted in between leaves a key that signs, not one that waits for a whole period.
        let withdraw = [Step::Withdraw(kids[1].clone()), Step::Withdraw(kids[0].clone())];
        let now = 3 * DAY;
        for (wanted_at, due) in [(now - 3_599, &[][..]), (now - 3_600, &withdraw)] {
            assert_eq!(policy().due(&both, &wanted(&[(ES256, wanted_at)]), at(now)), due);
        }
        // PS256 is wanted and has no key yet: until it signs, both stay.
        let unsettled = wanted(&[(ES256, 0), (SigningAlgorithm::Ps256, now)]);
        let first = slot_of(SigningAlgorithm::Ps256, 1, now, now + LEAD);
        assert_eq!(policy().due(&both, &unsettled, at(now)), [first]);
        // And once they are withdrawn, nothing more is due until they leave the set.
        let gone = curve.map(|mut record| {
            record.withdrawn_at = Some(at(now));
            record
        });
        let gone = ring(two().into_iter().chain(gone));
        let removed = now + policy().hold().get();
        for now in [now, now + 5, removed - 1] {
            assert_eq!(policy().due(&gone, &Demand::default(), at(now)), [], "at {now}");
        }
        let destroy = [Step::Destroy(kids[1].clone()), Step::Destroy(kids[0].clone())];
        assert_eq!(policy().due(&gone, &Demand::default(), at(removed)), destroy);
        // By a clock that is behind, somebody wants it again before it is withdrawn: that takes a new key.
        let again = policy().due(&gone, &wanted(&[(ES256, now)]), at(now - 3));
        assert_eq!(again, [slot_of(ES256, 3, now - 3, now - 3 + LEAD)]);
    }

    #[test]
    fn a_changed_setting_lets_the_algorithm_before_sign_and_turn_until_the_new_one_does() {
        let changed = with(|settings| settings.algorithm = ES256);
        let first = slot_of(ES256, 1, DAY, DAY + LEAD);
        assert_eq!(changed.due(&ring(two()), &Demand::default(), at(DAY)), [first]);
        let waiting = ring([record(0, 1, 0, 0), record_for(ES256, 0, 1, DAY, DAY + LEAD)]);
        let turns = slot(2, DAY, 30 * DAY);
        assert_eq!(changed.due(&waiting, &Demand::default(), at(DAY)), [turns]);
        let withdrawn = Step::Withdraw(two()[0].kid.clone());
        for (now, withdraws) in [(DAY + LEAD, false), (DAY + LEAD + 4, false), (DAY + LEAD + 5, true)] {
            let steps = changed.due(&waiting, &Demand::default(), at(now));
            assert_eq!(steps.contains(&withdrawn), withdraws, "at {now}");
            assert!(steps.contains(&slot_of(ES256, 2, now, 31 * DAY + LEAD)), "at {now}");
        }
    }

    #[test]
    fn a_key_signs_at_once_only_where_those_before_were_lost_while_they_were_wanted() {
        let demand = wanted(&[(ES256, 10 * DAY)]);
        let lost_at = 3 * DAY;
        let mut lost = record_for(ES256, 0, 1, 0, LEAD);
        lost.tainted_at = Some(at(lost_at));
        let ring = ring(two().into_iter().chain([lost]));
        let due = |now| policy().due(&ring, &demand, at(now));
        for now in [lost_at, lost_at + 3_599] {
            for made in [slot_of(ES256, 2, now, now), slot_of(ES256, 3, now, now + 30 * DAY)] {
                assert!(due(now).contains(&made), "at {now}");
            }
        }
        let now = lost_at + 3_600;
        assert!(due(now).contains(&slot_of(ES256, 2, now, now + LEAD)));
    }
}
