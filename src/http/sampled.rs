use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A line of the log that anybody can cause: at most so many a second are written, and how many were not is written with the
/// next. Metrics count them all.
#[derive(Debug)]
pub(super) struct Sampled {
    most: u32,
    second: Mutex<Second>,
}

#[derive(Debug)]
struct Second {
    begun: Option<Instant>,
    written: u32,
    suppressed: u64,
}

impl Sampled {
    /// At most `most` lines a second.
    pub(super) fn new(most: u32) -> Self {
        Sampled {
            most,
            second: Mutex::new(Second {
                begun: None,
                written: 0,
                suppressed: 0,
            }),
        }
    }

    /// Whether a line may be written, and how many before it were not.
    pub(super) fn admit(&self, now: Instant) -> Option<u64> {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |begun| now.saturating_duration_since(begun) >= Duration::from_secs(1);
        if second.begun.is_none_or(over) {
            second.begun = Some(now);
            second.written = 0;
        }
        if second.written >= self.most {
            second.suppressed += 1;
            return None;
        }
        second.written += 1;
        Some(std::mem::take(&mut second.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // N-01
    #[test]
    fn a_second_has_so_many_lines_and_the_next_tells_of_those_left_out() {
        let sampled = Sampled::new(3);
        let begun = Instant::now();
        let at = |millis| sampled.admit(begun + Duration::from_millis(millis));
        assert_eq!([0, 1, 2, 3, 999].map(at), [Some(0), Some(0), Some(0), None, None]);
        assert_eq!(at(1_000), Some(2));
        assert_eq!(at(1_001), Some(0));
    }
}
