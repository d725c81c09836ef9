use crate::oauth::{NumericDate, Seconds};
use crate::server::window::{Count, Window};

/// How often each of any number of keys may do something in a minute, in a table of fixed size without locks.
///
/// A key has one counter, which it may share with others, and then they have one budget. So who has very many keys makes others run
/// out sooner, and nobody is ever forgotten to make room.
#[derive(Debug)]
pub(super) struct Budget {
    most: u32,
    counters: Box<[Window]>,
}

/// What became of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spent {
    /// There was something left.
    Within,
    /// There was not.
    Over {
        /// How long until there is again: between one second and a minute.
        wait: Seconds,
        /// Whether this was the first time too many in the minute.
        first: bool,
    },
}

/// 128 KiB of them.
const COUNTERS: usize = 16_384;
/// From the first time on. A clock that was set back begins a new one.
const MINUTE: Seconds = Seconds::minutes(1);

impl Budget {
    /// `most` times a minute for each key.
    pub(super) fn new(most: u32) -> Self {
        let counters = std::iter::repeat_with(Window::default).take(COUNTERS);
        Budget {
            most,
            counters: counters.collect(),
        }
    }

    /// Takes one time from the budget of the key with this hash, all of whose bits are as good as random.
    pub(super) fn spend(&self, hash: u64, now: NumericDate) -> Spent {
        let place = (hash % COUNTERS as u64) as usize;
        match self.counters.get(place).map(|counter| counter.count(MINUTE, now)) {
            Some(Count { times, left, .. }) if times > self.most => Spent::Over {
                wait: left,
                first: times == self.most + 1,
            },
            _ => Spent::Within,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> NumericDate {
        NumericDate::from_epoch(1_000_000 + seconds)
    }

    fn over(wait: i64, first: bool) -> Spent {
        let wait = Seconds::new(wait);
        Spent::Over { wait, first }
    }

    #[test]
    fn a_minute_begins_with_the_first_time_and_ends_by_itself_or_with_a_clock_that_was_set_back() {
        for (second, expected) in [
            (7, Spent::Within),
            (8, Spent::Within),
            (9, over(58, true)),
            (9, over(58, false)),
            (66, over(1, false)),
            (67, Spent::Within),
            (56, Spent::Within),
            (56, Spent::Within),
            (115, over(1, true)),
        ] {
            thread_local!(static BUDGET: Budget = Budget::new(2));
            assert_eq!(BUDGET.with(|budget| budget.spend(42, at(second))), expected, "{second}");
        }
    }

    // P-06, C-21
    #[test]
    fn of_many_threads_no_more_than_the_budget_are_within_it_and_one_is_the_first_beyond() {
        let budget = Budget::new(60);
        let spent: Vec<Spent> = std::thread::scope(|scope| {
            let spend = || scope.spawn(|| (0..50).map(|_| budget.spend(42, at(0))).collect::<Vec<_>>());
            let threads: Vec<_> = (0..8).map(|_| spend()).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(spent.iter().filter(|one| **one == Spent::Within).count(), 60);
        assert_eq!(spent.iter().filter(|one| **one == over(60, true)).count(), 1);
    }

    proptest! {
        // N-03: whoever else fails, nobody fails unnoticed.
        #[test]
        fn nobody_is_within_the_budget_once_it_is_spent_whoever_else_spends(
            key: u64,
            others in proptest::collection::vec(any::<u64>(), 0..500),
        ) {
            let budget = Budget::new(5);
            let mut within = 0;
            for (n, other) in others.iter().enumerate() {
                budget.spend(*other, at(0));
                if n % 10 == 0 {
                    within += usize::from(budget.spend(key, at(0)) == Spent::Within);
                }
            }
            prop_assert!(within <= 5);
        }

        #[test]
        fn a_wait_is_at_least_a_second_and_at_most_a_minute(times in proptest::collection::vec(-100..200_i64, 1..200)) {
            let budget = Budget::new(1);
            for second in times {
                if let Spent::Over { wait, .. } = budget.spend(1, at(second)) {
                    prop_assert!((1..=60).contains(&wait.get()), "{wait:?}");
                }
            }
        }
    }
}
