use crate::oauth::{NumericDate, Seconds, SigningAlgorithm};

/// How long an algorithm counts as wanted after somebody wanted it: who deletes a client and registers it again, or restarts a
/// server, finds its keys as they were.
pub const LINGERING: Seconds = Seconds::hours(1);

/// That an algorithm is or was wanted, as the rows tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlgorithmUse {
    /// Which.
    pub algorithm: SigningAlgorithm,
    /// When a node saw last that a server or a client wants it.
    pub wanted_at: NumericDate,
    /// When it was last the one that some server is set to; `None` if it never was.
    pub served_at: Option<NumericDate>,
}

/// Which algorithms are wanted. It follows from rows, like the ring: servers whose settings differ do not take each other's keys
/// away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    uses: Vec<AlgorithmUse>,
}

impl Demand {
    /// The demand of these rows, one for each algorithm.
    pub fn new(uses: impl IntoIterator<Item = AlgorithmUse>) -> Self {
        Demand {
            uses: uses.into_iter().collect(),
        }
    }

    /// When the algorithm was wanted last.
    pub fn wanted_at(&self, algorithm: SigningAlgorithm) -> Option<NumericDate> {
        self.of(algorithm).map(|found| found.wanted_at)
    }

    /// When some server was set to it last.
    pub fn served_at(&self, algorithm: SigningAlgorithm) -> Option<NumericDate> {
        self.of(algorithm)?.served_at
    }

    /// Whether the algorithm is wanted at `now`, or was until lately.
    pub fn wants(&self, algorithm: SigningAlgorithm, now: NumericDate) -> bool {
        self.wanted_at(algorithm)
            .is_some_and(|wanted_at| now < wanted_at + LINGERING)
    }

    /// With what a server that is set to `own` signs for clients without a wish: `own`, and while that has no key that signs, what
    /// servers were set to last. So a changed setting changes nothing until verifiers know the new key.
    pub fn order(&self, own: SigningAlgorithm) -> [SigningAlgorithm; SigningAlgorithm::ALL.len()] {
        let mut order = SigningAlgorithm::ALL;
        order.sort_by_key(|algorithm| {
            let served_at = self.served_at(*algorithm).map(NumericDate::epoch);
            (*algorithm != own, served_at.map_or(i64::MAX, i64::saturating_neg))
        });
        order
    }

    fn of(&self, algorithm: SigningAlgorithm) -> Option<&AlgorithmUse> {
        self.uses.iter().find(|found| found.algorithm == algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::SigningAlgorithm::{Es256, Ps256, Rs256};
    use super::*;

    fn at(seconds: i64) -> NumericDate {
        NumericDate::from_epoch(seconds)
    }

    fn used(algorithm: SigningAlgorithm, wanted_at: i64, served_at: Option<i64>) -> AlgorithmUse {
        AlgorithmUse {
            algorithm,
            wanted_at: at(wanted_at),
            served_at: served_at.map(at),
        }
    }

    #[test]
    fn what_was_wanted_is_wanted_for_another_hour() {
        let demand = Demand::new([used(Es256, 1_000, None)]);
        for (now, wanted) in [(0, true), (1_000, true), (4_599, true), (4_600, false)] {
            assert_eq!(demand.wants(Es256, at(now)), wanted, "at {now}");
        }
        assert!(!demand.wants(Rs256, at(1_000)));
    }

    #[test]
    fn a_server_falls_back_on_what_servers_were_set_to_last() {
        let cases: [(&[AlgorithmUse], _, _); 5] = [
            (&[], Rs256, [Rs256, Ps256, Es256]),
            (&[], Es256, [Es256, Rs256, Ps256]),
            // From ES256 to PS256, beside clients that want RS256.
            (
                &[used(Es256, 10, Some(10)), used(Rs256, 20, None)],
                Ps256,
                [Ps256, Es256, Rs256],
            ),
            (
                &[used(Es256, 10, Some(10)), used(Rs256, 20, Some(5))],
                Ps256,
                [Ps256, Es256, Rs256],
            ),
            (
                &[used(Es256, 10, Some(10)), used(Rs256, 20, Some(11))],
                Rs256,
                [Rs256, Es256, Ps256],
            ),
        ];
        for (uses, own, order) in cases {
            assert_eq!(Demand::new(uses.iter().copied()).order(own), order, "{uses:?}");
        }
    }
}
