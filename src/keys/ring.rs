use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::lane::{Lane, Place};
use super::{CLOCK_SKEW, KeyRecord, SigningKey};
use crate::oauth::{NumericDate, SigningAlgorithm, Thumbprint};

/// What decides the turns of a key. Of a [`SigningKey`] it is all that the ring and the policy look at, so a simulation turns
/// records without key material by the very same code.
pub trait Turning {
    /// The stored facts.
    fn record(&self) -> &KeyRecord;

    /// Whether the private half is here.
    fn can_sign(&self) -> bool;

    /// When the certificate ends.
    fn certified_until(&self) -> NumericDate;
}

impl Turning for SigningKey {
    fn record(&self) -> &KeyRecord {
        SigningKey::record(self)
    }

    fn can_sign(&self) -> bool {
        SigningKey::can_sign(self)
    }

    fn certified_until(&self) -> NumericDate {
        self.certificate().not_after()
    }
}

/// All signing keys at one moment. It never changes: when a row changes, a new ring takes its place.
///
/// What a key may do follows from the rows and from `now` alone, so every node that reads the same rows agrees, without a
/// leader. Each algorithm has keys of its own, which turn by themselves.
#[derive(Debug)]
pub struct KeyRing<K = SigningKey> {
    /// In the order of [`SigningAlgorithm::ALL`].
    lanes: [Lane<K>; SigningAlgorithm::ALL.len()],
}

impl<K: Turning> Default for KeyRing<K> {
    fn default() -> Self {
        KeyRing::new([])
    }
}

impl<K: Turning> KeyRing<K> {
    /// A ring of these keys, in any order.
    pub fn new(keys: impl IntoIterator<Item = Arc<K>>) -> Self {
        let keys: Vec<_> = keys.into_iter().collect();
        let begun = |is_one: &dyn Fn(SigningAlgorithm) -> bool| {
            let of_one = keys.iter().map(|key| key.record()).filter(|record| is_one(record.alg));
            of_one.map(|record| record.published_at).min()
        };
        let lanes = SigningAlgorithm::ALL.map(|algorithm| {
            let own = keys.iter().filter(|key| key.record().alg == algorithm);
            let (first, others) = (begun(&|alg| alg == algorithm), begun(&|alg| alg != algorithm));
            // By two clocks that differ as much as they may.
            let is_first = others.is_none_or(|others| first.is_some_and(|first| first + CLOCK_SKEW * 2 < others));
            Lane::new(algorithm, own.map(Arc::clone).collect(), is_first)
        });
        KeyRing { lanes }
    }

    /// Every key: those of an algorithm after another, the newest first.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<K>> {
        let places = self.lanes.iter().flat_map(|lane| lane.places().iter().rev());
        places.map(|place| &place.key)
    }

    /// The key of this name.
    pub fn key(&self, kid: &Thumbprint) -> Option<&Arc<K>> {
        self.place(kid).map(|(_, place)| &place.key)
    }

    /// The one key of the algorithm that signs. It has its private half and is neither tainted nor revoked; and it was published a
    /// lead before, unless nothing else could sign. `None` as well while the first key of the algorithm waits for that.
    pub fn active(&self, algorithm: SigningAlgorithm, now: NumericDate) -> Option<&Arc<K>> {
        let place = self.lane(algorithm)?.in_turn(now, K::can_sign);
        place.map(|place| &place.key)
    }

    /// The key that signs for who wants the first of these algorithms; of the others that come first, where it has none.
    pub fn signer(&self, order: impl IntoIterator<Item = SigningAlgorithm>, now: NumericDate) -> Option<&Arc<K>> {
        order.into_iter().find_map(|algorithm| self.active(algorithm, now))
    }

    /// The key of the algorithm that will sign after the present one: published, sound and with its private half.
    pub fn next(&self, algorithm: SigningAlgorithm, now: NumericDate) -> Option<&Arc<K>> {
        self.lane(algorithm)?.next(now).map(|place| &place.key)
    }

    /// What a key may do at `now`; `None` for a name that no key has.
    pub fn state(&self, kid: &Thumbprint, now: NumericDate) -> Option<KeyState> {
        self.place(kid).map(|(lane, place)| lane.state_of(place, now))
    }

    /// The keys that the JWKS shows: those of an algorithm after another, the newest first.
    pub fn published(&self, now: NumericDate) -> impl Iterator<Item = &Arc<K>> {
        let places = self.lanes.iter().flat_map(|lane| {
            let places = lane.places().iter().rev();
            places.map(move |place| (lane, place))
        });
        places
            .filter(move |(lane, place)| lane.state_of(place, now).is_published())
            .map(|(_, place)| &place.key)
    }

    /// Algorithms of which a key is published.
    pub fn algorithms(&self, now: NumericDate) -> impl Iterator<Item = SigningAlgorithm> {
        SigningAlgorithm::ALL
            .into_iter()
            .filter(move |algorithm| self.published(now).any(|key| key.record().alg == *algorithm))
    }

    /// When a key began or will begin to sign. It is earlier than its `activates_at` when the key before it was barred.
    pub fn starts_at(&self, kid: &Thumbprint) -> Option<NumericDate> {
        self.place(kid).and_then(|(_, place)| place.starts)
    }

    /// When a key stopped signing or will stop, as far as the rows tell: when its successor starts, or when it was tainted or
    /// withdrawn.
    pub fn superseded_at(&self, kid: &Thumbprint) -> Option<NumericDate> {
        self.place(kid).and_then(|(_, place)| place.superseded)
    }

    /// When a key left the JWKS or will leave it, as far as the rows tell: once the last token that it signed has expired for
    /// the most tolerant verifier, or when it was revoked.
    pub fn removed_at(&self, kid: &Thumbprint) -> Option<NumericDate> {
        self.place(kid).and_then(|(_, place)| place.removed())
    }

    /// The next instant at which the published set or the key that signs changes, as far as the rows tell.
    pub fn next_change(&self, now: NumericDate) -> Option<NumericDate> {
        let places = self.lanes.iter().flat_map(Lane::places);
        let changes = places.flat_map(|place| [place.starts, place.key.record().withdrawn_at, place.removed()]);
        changes.flatten().filter(|change| *change > now).min()
    }

    /// Whether the last key of the algorithm that signed was lost, so that nobody who wants it can be given what verifiers know.
    pub(super) fn is_bereft(&self, algorithm: SigningAlgorithm, now: NumericDate) -> bool {
        self.lane(algorithm).is_some_and(|lane| lane.is_bereft(now))
    }

    /// The number of the algorithm's newest key; 0 when there is none.
    pub(super) fn newest_slot(&self, algorithm: SigningAlgorithm) -> i64 {
        self.lane(algorithm).map_or(0, Lane::newest_slot)
    }

    fn lane(&self, algorithm: SigningAlgorithm) -> Option<&Lane<K>> {
        self.lanes.iter().find(|lane| lane.algorithm == algorithm)
    }

    fn place(&self, kid: &Thumbprint) -> Option<(&Lane<K>, &Place<K>)> {
        let find = |lane: &'_ Lane<K>| lane.places().iter().position(|place| place.key.record().kid == *kid);
        self.lanes
            .iter()
            .find_map(|lane| Some((lane, lane.places().get(find(lane)?)?)))
    }
}

impl KeyRing {
    /// The key that signed a token, and the claims as JSON, if it is one of the published keys; `None` for anything else.
    ///
    /// A token of ours begins with a header that a key has prepared, to the letter. Nothing of a foreign header is read: not
    /// its algorithm, no key or address in it, no critical extension (RFC 8725 §3.1, §3.10).
    pub fn verify_jwt(&self, token: &str, now: NumericDate) -> Option<(&SigningKey, Vec<u8>)> {
        let (header, _) = token.split_once('.')?;
        let key = self.published(now).find(|key| key.has_header(header))?;
        Some((key, key.verify_jwt(token)?))
    }
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Published, and will sign.
    Next,
    /// Published, and signs.
    Active,
    /// Published, because a token that it signed may still live.
    Retiring,
    /// No longer published; its private half is to be destroyed.
    Retired,
    /// Signs never again; published until it is revoked or would be retired.
    Tainted,
    /// Neither signs nor is published.
    Revoked,
}

impl KeyState {
    /// The name of the state, as the command line shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyState::Next => "next",
            KeyState::Active => "active",
            KeyState::Retiring => "retiring",
            KeyState::Retired => "retired",
            KeyState::Tainted => "tainted",
            KeyState::Revoked => "revoked",
        }
    }

    /// Whether the JWKS shows the key.
    pub const fn is_published(self) -> bool {
        match self {
            KeyState::Next | KeyState::Active | KeyState::Retiring | KeyState::Tainted => true,
            KeyState::Retired | KeyState::Revoked => false,
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TOKEN_LIFE, at, record, ring};
    use super::super::{HOLD_MARGIN, KeyRecord, SigningKey};
    use super::KeyState::{Active, Next, Retired, Retiring, Revoked, Tainted};
    use super::*;

    const RS256: SigningAlgorithm = SigningAlgorithm::Rs256;

    /// Three turns: 1000, 5000 and 9000. Each key is published when the one before begins to sign.
    fn three() -> [KeyRecord; 3] {
        [
            record(0, 1, 1_000, 1_000),
            record(1, 2, 1_000, 5_000),
            record(2, 3, 5_000, 9_000),
        ]
    }

    fn states(ring: &KeyRing, now: i64) -> Vec<KeyState> {
        let mut keys: Vec<_> = ring.keys().collect();
        keys.sort_by_key(|key| key.record().slot);
        keys.iter().map(|key| ring.state(key.kid(), at(now)).unwrap()).collect()
    }

    fn active_slot(ring: &KeyRing, now: i64) -> Option<i64> {
        ring.active(RS256, at(now)).map(|key| key.record().slot)
    }

    fn hold() -> i64 {
        (TOKEN_LIFE + HOLD_MARGIN).get()
    }

    #[test]
    fn the_state_follows_from_the_rows_and_the_time() {
        let ring = ring(three());
        for (now, expected) in [
            (1_000, [Active, Next, Next]),
            (4_999, [Active, Next, Next]),
            (5_000, [Retiring, Active, Next]),
            (5_000 + hold() - 1, [Retiring, Active, Next]),
            (5_000 + hold(), [Retired, Active, Next]),
            (9_000, [Retired, Retiring, Active]),
            (9_000 + hold(), [Retired, Retired, Active]),
            (9_000_000, [Retired, Retired, Active]),
        ] {
            assert_eq!(states(&ring, now), expected, "at {now}");
            let active = expected.iter().position(|state| *state == Active).unwrap() as i64 + 1;
            assert_eq!(active_slot(&ring, now), Some(active), "at {now}");
        }
    }

    #[test]
    fn a_tainted_key_hands_its_turn_to_the_next_at_once() {
        let mut records = three();
        records[1].tainted_at = Some(at(6_000));
        let ring = ring(records);
        for (now, expected) in [
            // Barred from now on, whatever the clock says: a node whose clock is behind does not sign with it either.
            (5_999, [Retired, Tainted, Active]),
            (6_000, [Retired, Tainted, Active]),
            (8_000, [Retired, Retired, Active]),
        ] {
            assert_eq!(states(&ring, now), expected, "at {now}");
            assert_eq!(active_slot(&ring, now), Some(3), "at {now}");
        }
        let kids: Vec<_> = three().map(|record| record.kid).into();
        assert_eq!(ring.superseded_at(&kids[1]), Some(at(6_000)));
        assert_eq!(ring.removed_at(&kids[1]), Some(at(6_000 + hold())));
        assert_eq!(ring.starts_at(&kids[2]), Some(at(6_000)));
        // What came before is not changed by it.
        assert_eq!(ring.superseded_at(&kids[0]), Some(at(5_000)));
    }

    #[test]
    fn a_next_key_that_is_tainted_never_signs_and_the_active_one_goes_on() {
        let mut records = three();
        records[1].tainted_at = Some(at(2_000));
        let ring = ring(records);
        for (now, expected) in [
            (2_500, [Active, Tainted, Next]),
            (5_000, [Active, Retired, Next]),
            (9_000, [Retiring, Retired, Active]),
        ] {
            assert_eq!(states(&ring, now), expected, "at {now}");
        }
        assert_eq!(active_slot(&ring, 8_999), Some(1));
    }

    //
    #[test]
    fn a_revoked_key_is_neither_used_nor_published_from_that_moment() {
        let mut records = three();
        records[1].revoked_at = Some(at(6_000));
        let kid = records[1].kid.clone();
        let ring = ring(records);
        assert_eq!(states(&ring, 6_000), [Retired, Revoked, Active]);
        assert!(ring.published(at(6_000)).all(|key| *key.kid() != kid));
        assert_eq!(ring.removed_at(&kid), Some(at(6_000)));
        assert_eq!(states(&ring, 9_000_000), [Retired, Revoked, Active]);
    }

    #[test]
    fn a_key_that_is_brought_forward_after_a_taint_waits_for_its_own_instant_and_the_one_before_does_not_come_back() {
        let mut records = three();
        records[0].tainted_at = Some(at(2_000));
        records[2] = record(2, 3, 2_000, 4_000);
        let ring = ring(records);
        for (now, active) in [(2_000, 2), (3_999, 2), (4_000, 3), (5_000, 3), (9_000, 3)] {
            assert_eq!(active_slot(&ring, now), Some(active), "at {now}");
        }
    }

    #[test]
    fn nothing_signs_when_every_key_is_barred() {
        let ring = ring(three().map(|mut record| {
            record.tainted_at = Some(at(6_000));
            record
        }));
        assert_eq!(active_slot(&ring, 6_000), None);
        assert_eq!(active_slot(&ring, 10_000), None);
        assert_eq!(
            KeyRing::<SigningKey>::default()
                .active(RS256, at(0))
                .map(|key| key.kid().clone()),
            None
        );
    }

    #[test]
    fn a_key_without_its_private_half_does_not_sign() {
        let keys = three().map(|record| {
            let pkcs8 =
                (record.slot != 2).then(|| super::super::testing::private_key(record.slot as usize - 1).pkcs8());
            Arc::new(SigningKey::open(record, pkcs8).unwrap())
        });
        let ring = KeyRing::new(keys);
        assert_eq!(active_slot(&ring, 4_000), Some(1));
        assert_eq!(active_slot(&ring, 6_000), Some(3));
        assert_eq!(ring.next(RS256, at(2_000)).map(|key| key.record().slot), Some(3));
    }

    #[test]
    fn the_newest_published_key_comes_first() {
        let ring = ring(three());
        let slots = |now| ring.published(at(now)).map(|key| key.record().slot).collect::<Vec<_>>();
        assert_eq!(slots(5_000), [3, 2, 1]);
        assert_eq!(slots(5_000 + hold()), [3, 2]);
    }

    #[test]
    fn the_next_change_is_the_next_start_or_removal() {
        let ring = ring(three());
        for (now, change) in [
            (0, Some(1_000)),
            (1_000, Some(5_000)),
            (5_000, Some(5_000 + hold())),
            (5_000 + hold(), Some(9_000)),
            (9_000, Some(9_000 + hold())),
            (9_000 + hold(), None),
        ] {
            assert_eq!(ring.next_change(at(now)), change.map(at), "at {now}");
        }
    }

    // J-03
    #[test]
    fn a_kid_names_one_key_and_a_key_has_one_kid() {
        let records = three();
        let kids: std::collections::HashSet<_> = records.iter().map(|record| record.kid.clone()).collect();
        assert_eq!(kids.len(), records.len());
        assert_eq!(
            record(0, 9, 7, 8).kid,
            records[0].kid,
            "certified anew, the key keeps its name"
        );
        let ring = ring(records.clone());
        for record in &records {
            assert_eq!(ring.key(&record.kid).unwrap().record(), record);
        }
        assert!(ring.key(&record(5, 9, 0, 0).kid).is_none());
    }
}
