//! When a key needs another certificate, and until when that lasts.

use super::{HOLD_MARGIN, KeyRing, KeyState, RotationPolicy, Turning};
use crate::oauth::NumericDate;

impl RotationPolicy {
    /// Until when the certificate of a published key has to last: until its last token has expired. `None` for a key that is not
    /// published, or that nobody shall rely on any more.
    pub fn certificate_needed_until<K: Turning>(
        &self,
        ring: &KeyRing<K>,
        key: &K,
        now: NumericDate,
    ) -> Option<NumericDate> {
        let kid = &key.record().kid;
        match ring.state(kid, now)? {
            KeyState::Retiring => ring.removed_at(kid),
            KeyState::Next | KeyState::Active => Some(ring.removed_at(kid).unwrap_or_else(|| {
                // No successor exists yet. One is made when this key signs, or now if it does.
                let starts = ring.starts_at(kid).unwrap_or(key.record().activates_at);
                let life = key.record().longest_token_life.max(self.settings().longest_access_ttl);
                self.activation_after(key.record().activates_at, now.max(starts)) + life + HOLD_MARGIN
            })),
            KeyState::Tainted | KeyState::Retired | KeyState::Revoked => None,
        }
    }

    /// Whether the certificate of a key would end before the key is needed no longer.
    pub fn is_certified_too_briefly<K: Turning>(&self, ring: &KeyRing<K>, key: &K, now: NumericDate) -> bool {
        let needed = self.certificate_needed_until(ring, key, now);
        needed.is_some_and(|needed| key.certified_until() < needed)
    }

    /// The validity of another certificate for a key, as long as an authority that is valid from `.0` until `.1` can give it; `None`
    /// for a key that is not to be certified any more. The key may be a period late, like a new one.
    pub fn renewal<K: Turning>(
        &self,
        ring: &KeyRing<K>,
        key: &K,
        authority: (NumericDate, NumericDate),
        now: NumericDate,
    ) -> Option<(NumericDate, NumericDate)> {
        let needed = self.certificate_needed_until(ring, key, now)?;
        let (begins, ends) = authority;
        // From the publication on, as before: clocks that are behind must accept it at once.
        let not_before = key.record().published_at.max(begins);
        Some((not_before, (needed + self.settings().period).min(ends)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::default_settings;
    use super::super::testing::{at, record, ring};
    use super::super::{Demand, KeyRecord, RotationSettings, Step};
    use super::*;
    use crate::oauth::Seconds;

    const DAY: i64 = 86_400;
    const HOLD: i64 = 600 + HOLD_MARGIN.get();

    fn policy(period: i64) -> RotationPolicy {
        RotationPolicy::new(RotationSettings {
            period: Seconds::days(period),
            ..default_settings()
        })
        .unwrap()
    }

    fn renewed(policy: &RotationPolicy, records: &[KeyRecord], now: i64) -> Vec<i64> {
        let ring = ring(records.to_vec());
        let steps = policy.due(&ring, &Demand::default(), at(now)).into_iter();
        let renewed = steps.filter_map(|step| match step {
            Step::Renew(kid) => Some(ring.key(&kid).unwrap().record().slot),
            _ => None,
        });
        renewed.collect()
    }

    // The certificates of the tests' keys end 61 days after the activation, as if the period were 30 days.
    #[test]
    fn a_key_whose_certificate_ends_before_its_hold_is_certified_anew() {
        let two = [record(0, 1, 0, 0), record(1, 2, 0, 30 * DAY)];
        for (period, now, expected) in [
            (30, 0, vec![]),
            (30, 30 * DAY, vec![]),
            (60, 0, vec![]),
            // The next key would sign for 61 days and be held then; the active one is superseded after 30.
            (61, 0, vec![2]),
            (200, 0, vec![2]),
            (200, 31 * DAY, vec![2]),
            // The first one is retired by then and the second is alone: it signs until a successor made now is known.
            (30, 90 * DAY, vec![2]),
        ] {
            assert_eq!(renewed(&policy(period), &two, now), expected, "{period} days, at {now}");
        }
    }

    #[test]
    fn what_nobody_shall_rely_on_is_not_certified_anew() {
        for bar in [
            (|record: &mut KeyRecord| record.tainted_at = Some(at(DAY))) as fn(&mut KeyRecord),
            |record| record.revoked_at = Some(at(DAY)),
        ] {
            let mut two = [record(0, 1, 0, 0), record(1, 2, 0, 30 * DAY)];
            bar(&mut two[1]);
            assert_eq!(renewed(&policy(200), &two[1..], DAY), Vec::<i64>::new());
        }
    }

    #[test]
    fn a_retiring_key_is_certified_until_it_leaves_the_set() {
        let mut first = record(0, 1, 0, 0);
        first.longest_token_life = Seconds::days(40);
        let two = [first, record(1, 2, 0, 30 * DAY)];
        assert_eq!(
            renewed(&policy(30), &two, 30 * DAY),
            [1],
            "30 days and 40 are more than 61"
        );
        let ring = ring(two);
        let key = ring.keys().last().unwrap();
        let needed = policy(30).certificate_needed_until(&ring, key, at(30 * DAY));
        assert_eq!(needed, Some(at(70 * DAY) + HOLD_MARGIN));
    }

    #[test]
    fn a_renewed_certificate_lasts_a_period_longer_than_needed_and_no_longer_than_its_authority() {
        let ring = ring([record(0, 1, 500, 1_000)]);
        let key = ring.keys().next().unwrap();
        let validity = |authority| policy(90).renewal(&ring, key, authority, at(1_000)).unwrap();
        let (begins, ends) = validity((at(0), at(4_000 * DAY)));
        assert_eq!((begins, ends), (at(500), at(1_000 + 180 * DAY + HOLD)));
        let (begins, ends) = validity((at(900), at(100 * DAY)));
        assert_eq!((begins, ends), (at(900), at(100 * DAY)));
    }
}
