//! The keys of one algorithm, and the span of time in which each of them is the one that signs.

use std::sync::Arc;

use super::{HOLD_MARGIN, KeyRecord, KeyState, LINGERING, Turning};
use crate::oauth::{NumericDate, SigningAlgorithm};

/// The keys of one algorithm, in the order in which they sign.
#[derive(Debug)]
pub(super) struct Lane<K> {
    pub(super) algorithm: SigningAlgorithm,
    places: Vec<Place<K>>,
}

/// A key and the span of time in which it is the one that signs.
#[derive(Debug)]
pub(super) struct Place<K> {
    pub(super) key: Arc<K>,
    /// `None` when the key was barred or withdrawn before its turn came.
    pub(super) starts: Option<NumericDate>,
    /// When it stops, as far as the rows tell.
    pub(super) superseded: Option<NumericDate>,
}

/// What came before a key of the lane.
#[derive(Clone, Copy)]
enum Before {
    /// Nobody at all could sign.
    Nobody,
    /// A key that signs until its successor begins, or one that was withdrawn: its successor is new to verifiers until then.
    InTime,
    /// A key that was barred then.
    Barred(NumericDate),
}

impl Before {
    /// When a key begins to sign.
    fn hands_over_to(self, record: &KeyRecord) -> NumericDate {
        match self {
            Before::Nobody => record.activates_at.min(record.published_at),
            // At once, as soon as the next one is published: else nothing would sign. Not to one that is made when the algorithm comes
            // into use again.
            Before::Barred(at) if record.published_at < at + LINGERING => {
                record.activates_at.min(record.published_at.max(at))
            }
            Before::Barred(_) | Before::InTime => record.activates_at,
        }
    }
}

impl<K: Turning> Place<K> {
    pub(super) fn barred(&self) -> bool {
        self.key.record().barred_at().is_some()
    }

    fn started(&self, now: NumericDate) -> bool {
        self.starts.is_some_and(|starts| starts <= now)
    }

    fn withdrawn(&self, now: NumericDate) -> bool {
        self.key.record().withdrawn_at.is_some_and(|withdrawn| withdrawn <= now)
    }

    /// When no token that the key signed can live any more.
    pub(super) fn removed(&self) -> Option<NumericDate> {
        let record = self.key.record();
        record.revoked_at.or_else(|| {
            self.superseded
                .map(|superseded| superseded + record.longest_token_life + HOLD_MARGIN)
        })
    }
}

impl<K: Turning> Lane<K> {
    /// A lane of these keys, all of `algorithm`, in any order. `vacant` says that nobody could sign before the first of them, so
    /// that it signs as soon as it is published.
    pub(super) fn new(algorithm: SigningAlgorithm, mut keys: Vec<Arc<K>>, vacant: bool) -> Self {
        // Not by activation: a key that was brought forward may be set to an instant before the planned one of the key that
        // signs, when that took over early from one that was barred. It follows nevertheless.
        keys.sort_by_key(|key| key.record().slot);
        let mut places: Vec<Place<K>> = Vec::with_capacity(keys.len());
        let mut before = if vacant { Before::Nobody } else { Before::InTime };
        for key in keys {
            let record = key.record();
            let starts = before.hands_over_to(record);
            let (barred, withdrawn) = (record.barred_at(), record.withdrawn_at);
            let ended = [barred, withdrawn].into_iter().flatten().min();
            // One that was barred in the very second in which it began may have signed, and hands its turn over.
            let never_signs =
                barred.is_some_and(|barred| barred < starts) || withdrawn.is_some_and(|withdrawn| withdrawn <= starts);
            if withdrawn.is_some() {
                before = Before::InTime;
            } else if !never_signs {
                before = barred.map_or(Before::InTime, Before::Barred);
            }
            if !never_signs {
                let before = places.iter_mut().rfind(|place| place.starts.is_some());
                if let Some(before) = before {
                    before.superseded = Some(before.superseded.map_or(starts, |ended| ended.min(starts)));
                }
            }
            places.push(Place {
                starts: (!never_signs).then_some(starts),
                superseded: ended,
                key,
            });
        }
        Lane { algorithm, places }
    }

    /// In the order in which they sign.
    pub(super) fn places(&self) -> &[Place<K>] {
        &self.places
    }

    /// The one that signs: the newest that has begun, while that is sound and `able`.
    pub(super) fn in_turn(&self, now: NumericDate, able: impl Fn(&K) -> bool) -> Option<&Place<K>> {
        let fit = |place: &&Place<K>| !place.barred() && able(&place.key);
        let Some((newest, later)) = self.newest_begun(now) else {
            // The very first key signs at once, also where the clock is behind; the first one of a further algorithm waits.
            let at_once = |place: &&Place<K>| place.starts <= Some(place.key.record().published_at);
            return self
                .places
                .iter()
                .find(|place| place.starts.is_some() && at_once(place) && fit(place));
        };
        if newest.withdrawn(now) {
            return None;
        }
        if fit(&newest) {
            return Some(newest);
        }
        // Something is wrong: it was barred by a node whose clock is ahead, or its private half is missing. The next key is published
        // already and takes over; one that was made when the algorithm came into use again is not.
        let mut next = later
            .iter()
            .take_while(|place| place.key.record().withdrawn_at.is_none());
        let barred_at = newest.key.record().barred_at();
        next.find(|place| {
            let known = barred_at.is_none_or(|at| place.key.record().published_at < at + LINGERING);
            known && place.starts.is_some() && fit(place)
        })
    }

    /// The key that will sign after the one that does: published, sound and able.
    pub(super) fn next(&self, now: NumericDate) -> Option<&Place<K>> {
        self.places
            .iter()
            .find(|place| !place.barred() && place.key.can_sign() && self.state_of(place, now) == KeyState::Next)
    }

    /// Whether the key that signed was lost a moment ago, so that those who want the algorithm are left with nothing they know.
    pub(super) fn is_bereft(&self, now: NumericDate) -> bool {
        let Some((lost, later)) = self.newest_begun(now) else {
            return false;
        };
        let lately = lost.superseded.is_none_or(|ended| now < ended + LINGERING);
        let withdrawn = std::iter::once(lost)
            .chain(later)
            .any(|place| place.key.record().withdrawn_at.is_some());
        lately && !withdrawn && self.in_turn(now, K::can_sign).is_none()
    }

    /// The number of the newest key; 0 when there is none.
    pub(super) fn newest_slot(&self) -> i64 {
        self.places.last().map_or(0, |place| place.key.record().slot)
    }

    pub(super) fn state_of(&self, place: &Place<K>, now: NumericDate) -> KeyState {
        let record = place.key.record();
        if record.revoked_at.is_some() {
            KeyState::Revoked
        } else if place.removed().is_some_and(|removed| removed <= now) {
            KeyState::Retired
        } else if record.tainted_at.is_some() {
            KeyState::Tainted
        } else if self
            .in_turn(now, |_| true)
            .is_some_and(|active| std::ptr::eq(active, place))
        {
            KeyState::Active
        } else if place.started(now) || place.starts.is_none() {
            // One that was withdrawn before its turn is on its way out like the others.
            KeyState::Retiring
        } else {
            KeyState::Next
        }
    }

    /// The newest key that has begun to sign, and those after it.
    fn newest_begun(&self, now: NumericDate) -> Option<(&Place<K>, &[Place<K>])> {
        let position = self.places.iter().rposition(|place| place.started(now))?;
        self.places.get(position..)?.split_first()
    }
}

#[cfg(test)]
mod tests {
    use super::super::KeyState::{Active, Retired, Retiring};
    use super::super::testing::{TOKEN_LIFE, at, record, record_for, ring};
    use super::*;

    const RS256: SigningAlgorithm = SigningAlgorithm::Rs256;
    const ES256: SigningAlgorithm = SigningAlgorithm::Es256;

    /// Three turns of RS256.
    fn three() -> [KeyRecord; 3] {
        [
            record(0, 1, 1_000, 1_000),
            record(1, 2, 1_000, 5_000),
            record(2, 3, 5_000, 9_000),
        ]
    }

    /// RS256 as above, and ES256 from 2000 on: its first key waits until 6000.
    fn two_algorithms() -> Vec<KeyRecord> {
        let mut records = three().to_vec();
        records.push(record_for(ES256, 0, 1, 2_000, 6_000));
        records
    }

    #[test]
    fn a_further_algorithm_signs_only_when_its_first_key_is_due_and_until_then_another_one_does() {
        let ring = ring(two_algorithms());
        let signs = |now| {
            ring.signer([ES256, RS256], at(now))
                .map(|key| (key.record().alg, key.record().slot))
        };
        for (now, expected) in [
            (1_000, (RS256, 1)),
            (2_000, (RS256, 1)),
            (5_999, (RS256, 2)),
            (6_000, (ES256, 1)),
            (9_000_000, (ES256, 1)),
        ] {
            assert_eq!(signs(now), Some(expected), "at {now}");
            assert_eq!(ring.signer([RS256], at(now)).unwrap().record().alg, RS256);
        }
        assert_eq!(
            ring.active(SigningAlgorithm::Ps256, at(9_000)).map(|key| key.kid()),
            None
        );
        let set: Vec<_> = ring
            .published(at(2_000))
            .map(|key| (key.record().alg, key.record().slot))
            .collect();
        assert_eq!(set, [(RS256, 3), (RS256, 2), (RS256, 1), (ES256, 1)]);
        assert_eq!(ring.algorithms(at(2_000)).collect::<Vec<_>>(), [RS256, ES256]);
    }

    #[test]
    fn the_keys_of_an_algorithm_are_what_they_are_without_the_others() {
        let (alone, both) = (ring(three()), ring(two_algorithms()));
        for now in [0, 1_000, 5_000, 6_000, 9_000, 9_000_000] {
            for record in &three() {
                assert_eq!(
                    both.state(&record.kid, at(now)),
                    alone.state(&record.kid, at(now)),
                    "at {now}"
                );
                assert_eq!(both.removed_at(&record.kid), alone.removed_at(&record.kid));
            }
            assert_eq!(both.next(RS256, at(now)).map(|key| key.kid().clone()), {
                alone.next(RS256, at(now)).map(|key| key.kid().clone())
            });
        }
    }

    #[test]
    fn what_nobody_wants_signs_until_it_is_withdrawn_and_is_held_then() {
        let mut records = two_algorithms();
        let kid = records[3].kid.clone();
        let (next, withdrawn) = (record_for(ES256, 1, 2, 6_000, 12_000), 8_000);
        records[3].withdrawn_at = Some(at(withdrawn));
        records.push(next);
        records[4].withdrawn_at = Some(at(withdrawn));
        let next = records[4].kid.clone();
        // And later somebody wants it again.
        records.push(record_for(ES256, 2, 3, 20_000, 30_000));
        let ring = ring(records);
        let removed = withdrawn + (TOKEN_LIFE + HOLD_MARGIN).get();
        for (now, first, second, signs) in [
            // By a clock that is behind the one by which it was withdrawn it signs on.
            (7_999, Active, Retiring, true),
            (8_000, Retiring, Retiring, false),
            (removed - 1, Retiring, Retiring, false),
            (removed, Retired, Retired, false),
            (29_999, Retired, Retired, false),
            (30_000, Retired, Retired, true),
        ] {
            assert_eq!(ring.state(&kid, at(now)), Some(first), "at {now}");
            assert_eq!(ring.state(&next, at(now)), Some(second), "at {now}");
            assert_eq!(ring.active(ES256, at(now)).is_some(), signs, "at {now}");
        }
        assert_eq!(ring.starts_at(&next), None);
        assert_eq!(ring.next(ES256, at(25_000)).map(|key| key.record().slot), Some(3));
        assert_eq!(ring.next_change(at(7_999)), Some(at(8_000)));
    }

    #[test]
    fn the_first_key_of_all_signs_as_soon_as_it_is_published_and_by_a_clock_that_is_behind() {
        let ring = ring([record(0, 1, 1_000, 5_000), record_for(ES256, 0, 1, 1_011, 5_000)]);
        assert_eq!(
            ring.starts_at(ring.active(RS256, at(996)).unwrap().kid()),
            Some(at(1_000))
        );
        assert_eq!(ring.active(ES256, at(4_999)).map(|key| key.kid()), None);
        // A node whose clock is behind publishes a further key before the first one, as it seems.
        let ring = super::super::testing::ring([record(0, 1, 1_000, 1_000), record_for(ES256, 0, 1, 995, 5_000)]);
        for now in [995, 1_000, 4_999] {
            assert!(ring.active(ES256, at(now)).is_none(), "at {now}");
            assert!(ring.active(RS256, at(now)).is_some(), "at {now}");
        }
    }

    #[test]
    fn a_key_that_is_made_when_an_algorithm_comes_into_use_again_waits_whatever_became_of_those_before() {
        let later = record_for(ES256, 2, 3, 100_000, 200_000);
        let tainted = |mut record: KeyRecord| {
            record.tainted_at = Some(at(7_000));
            record
        };
        let withdrawn = |mut record: KeyRecord, instant| {
            record.withdrawn_at = Some(at(instant));
            record
        };
        let (first, second) = (
            record_for(ES256, 0, 1, 2_000, 6_000),
            record_for(ES256, 1, 2, 6_000, 12_000),
        );
        for before in [
            vec![tainted(first.clone())],
            vec![tainted(first.clone()), tainted(second.clone())],
            // Withdrawn by a clock that is behind the one by which the key before was barred.
            vec![tainted(first.clone()), withdrawn(second.clone(), 6_995)],
            vec![withdrawn(first, 7_000), withdrawn(second, 7_000)],
        ] {
            let ring = ring(three().into_iter().chain(before).chain([later.clone()]));
            assert!(ring.active(ES256, at(199_999)).is_none());
            assert!(!ring.is_bereft(ES256, at(199_999)));
            assert_eq!(ring.active(ES256, at(200_000)).map(|key| key.record().slot), Some(3));
        }
    }

    #[test]
    fn a_key_that_is_barred_in_the_second_in_which_it_begins_hands_its_turn_over() {
        let (mut first, next) = (
            record_for(ES256, 0, 1, 2_000, 6_000),
            record_for(ES256, 1, 2, 6_000, 90_000),
        );
        first.revoked_at = Some(at(6_000));
        let ring = ring(three().into_iter().chain([first, next]));
        assert_eq!(ring.active(ES256, at(6_000)).map(|key| key.record().slot), Some(2));
    }

    #[test]
    fn a_lost_key_is_told_from_one_that_is_not_wanted_or_not_due() {
        let bereft = |change: fn(&mut KeyRecord), now| {
            let mut records = two_algorithms();
            change(&mut records[3]);
            ring(records).is_bereft(ES256, at(now))
        };
        for (change, now, expected) in [
            ((|_| {}) as fn(&mut KeyRecord), 3_000, false),
            (|_| {}, 7_000, false),
            (|record| record.tainted_at = Some(at(3_000)), 7_000, false),
            (|record| record.tainted_at = Some(at(6_500)), 7_000, true),
            (|record| record.withdrawn_at = Some(at(6_500)), 7_000, false),
        ] {
            assert_eq!(bereft(change, now), expected, "at {now}");
        }
    }
}
