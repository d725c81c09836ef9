//! What operators set, at the edges of what is allowed.

use super::*;

/// A number up to `most`, most often one of the ends.
pub(super) fn extreme(most: i64, rng: &mut StdRng) -> i64 {
    match rng.random_range(0..9) {
        0..4 => 0,
        4..8 => most,
        _ => rng.random_range(0..=most),
    }
}

/// Settings that the policy accepts. What verifiers were ever told stays within `slowest_verifier` when it is told no longer.
pub(super) fn settings(before: Option<(&RotationSettings, Seconds)>, rng: &mut StdRng) -> RotationSettings {
    let one_of = |choices: &[i64], rng: &mut StdRng| Seconds::new(*choices.choose(rng).unwrap());
    let mut slowest_verifier = one_of(&[0, 30, 60, 300, 600, 1_200, 3_600, 86_400], rng);
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
    RotationSettings {
        longest_access_ttl: life(&settings, rng),
        ..settings
    }
}

pub(super) fn life(settings: &RotationSettings, rng: &mut StdRng) -> Seconds {
    let most = settings.period.get() * 2;
    Seconds::new([1, 60, 600, 3_600].choose(rng).unwrap().min(&most).to_owned())
}
