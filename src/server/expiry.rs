use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tracing::{info, warn};

use super::Turn;
use crate::keys::RotationPolicy;
use crate::oauth::{NumericDate, Seconds};

/// Tells in the log when certificates come to their end: once for each threshold that is passed, not once a tick.
#[derive(Debug, Default)]
pub(super) struct Expiries {
    /// The last threshold that was told of each certificate, by its SHA-256.
    told: Mutex<HashMap<[u8; 32], i64>>,
}

/// Days before the end of a certificate. The last one is the end itself.
const THRESHOLDS: [i64; 4] = [0, 1, 7, 14];

/// A certificate that comes to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expiry {
    sha256: [u8; 32],
    /// Whose it is: an authority's subject or a `kid`.
    of: String,
    not_after: NumericDate,
    matters: Matters,
}

/// What the end of a certificate means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Matters {
    /// No key can be certified any more, and verifiers that pin the authority refuse its keys.
    Authority,
    /// Verifiers that look at certificates refuse tokens that are good.
    Key,
    /// Nothing: the key leaves the set before.
    No,
}

/// The lowest threshold that is passed, in days.
fn passed(not_after: NumericDate, now: NumericDate) -> Option<i64> {
    let left = not_after.epoch().saturating_sub(now.epoch());
    THRESHOLDS.into_iter().find(|days| left <= Seconds::days(*days).get())
}

impl Expiries {
    /// Tells what is new at `now`.
    pub(super) fn tell(&self, turn: &Turn, policy: &RotationPolicy, now: NumericDate) {
        for (expiry, days) in self.news(expiries(turn, policy, now), now) {
            let (of, not_after) = (expiry.of, expiry.not_after);
            match expiry.matters {
                Matters::Authority => warn!(
                    event = "authority.expires", subject = of, %not_after, days,
                    "the certificate of an authority ends: import another one with \"keys import ca\" and give it to the verifiers"
                ),
                Matters::Key => warn!(
                    event = "key.certificate_expires", kid = of, %not_after, days,
                    "the certificate of a published key ends before the key: see until when the authority is valid with \"keys ca show\""
                ),
                Matters::No => info!(
                    event = "key.certificate_expires", kid = of, %not_after, days,
                    "the certificate of a published key ends, after the key"
                ),
            }
        }
    }

    /// Those that have passed a threshold since they were told last, with the threshold in days.
    fn news(&self, expiries: Vec<Expiry>, now: NumericDate) -> Vec<(Expiry, i64)> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|sha256, _| expiries.iter().any(|expiry| expiry.sha256 == *sha256));
        let mut news = Vec::new();
        for expiry in expiries {
            let Some(days) = passed(expiry.not_after, now) else {
                continue;
            };
            if told.get(&expiry.sha256).is_none_or(|before| days < *before) {
                told.insert(expiry.sha256, days);
                news.push((expiry, days));
            }
        }
        news
    }
}

/// Every certificate that verifiers see.
fn expiries(turn: &Turn, policy: &RotationPolicy, now: NumericDate) -> Vec<Expiry> {
    let authorities = turn.authorities().iter().map(|authority| Expiry {
        sha256: authority.sha256(),
        of: authority.subject().to_owned(),
        not_after: authority.not_after(),
        matters: Matters::Authority,
    });
    let keys = turn.ring().published(now).map(|key| Expiry {
        sha256: key.certificate().sha256(),
        of: key.kid().to_string(),
        not_after: key.certificate().not_after(),
        matters: if policy.is_certified_too_briefly(turn.ring(), key, now) {
            Matters::Key
        } else {
            Matters::No
        },
    });
    authorities.chain(keys).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> NumericDate {
        NumericDate::from_epoch(seconds)
    }

    #[test]
    fn the_thresholds_are_fourteen_seven_and_one_days_and_the_end() {
        let end = 100 * DAY;
        for (left, expected) in [
            (14 * DAY + 1, None),
            (14 * DAY, Some(14)),
            (7 * DAY + 1, Some(14)),
            (7 * DAY, Some(7)),
            (DAY, Some(1)),
            (1, Some(1)),
            (0, Some(0)),
            (-DAY, Some(0)),
        ] {
            assert_eq!(passed(at(end), at(end - left)), expected, "{left}");
        }
    }

    #[test]
    fn each_threshold_is_told_once_and_a_new_certificate_anew() {
        let expiries = Expiries::default();
        let certificate = |sha256: u8, end: i64| Expiry {
            sha256: [sha256; 32],
            of: "k".to_owned(),
            not_after: at(end),
            matters: Matters::Key,
        };
        let mut told = Vec::new();
        // Twenty days in steps of an hour: the second certificate takes the place of the first after fifteen.
        for now in (0..20 * DAY).step_by(3_600) {
            let present = if now < 15 * DAY {
                certificate(1, 16 * DAY)
            } else {
                certificate(2, 22 * DAY)
            };
            let news = expiries.news(vec![present], at(now));
            told.extend(
                news.into_iter()
                    .map(|(expiry, days)| (now / DAY, expiry.sha256[0], days)),
            );
        }
        assert_eq!(told, [(2, 1, 14), (9, 1, 7), (15, 2, 7)]);
    }
}
