use std::fmt;
use std::ops::{Add, Div, Mul};
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

/// A span of whole seconds, never negative: `10m`, `24h`, `30d` in settings and on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Seconds(i64);

impl Seconds {
    /// A span of `seconds`; a negative number becomes zero.
    pub const fn new(seconds: i64) -> Self {
        Seconds(if seconds < 0 { 0 } else { seconds })
    }

    /// A span of `minutes`.
    pub const fn minutes(minutes: i64) -> Self {
        Seconds::new(minutes.saturating_mul(60))
    }

    /// A span of `hours`.
    pub const fn hours(hours: i64) -> Self {
        Seconds::new(hours.saturating_mul(3_600))
    }

    /// A span of `days` of 24 hours.
    pub const fn days(days: i64) -> Self {
        Seconds::new(days.saturating_mul(86_400))
    }

    /// The number of seconds.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl Add for Seconds {
    type Output = Seconds;

    fn add(self, other: Seconds) -> Seconds {
        Seconds(self.0.saturating_add(other.0))
    }
}

impl Mul<i64> for Seconds {
    type Output = Seconds;

    fn mul(self, factor: i64) -> Seconds {
        Seconds::new(self.0.saturating_mul(factor))
    }
}

impl Div<i64> for Seconds {
    type Output = Seconds;

    /// Rounds down; dividing by zero yields the span itself.
    fn div(self, divisor: i64) -> Seconds {
        Seconds::new(self.0.checked_div(divisor).unwrap_or(self.0))
    }
}

impl fmt::Display for Seconds {
    /// The largest unit that divides the span: `30d`, `90m`, `45s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, letter) in UNITS {
            if self.0 != 0 && self.0 % unit == 0 {
                return write!(f, "{}{letter}", self.0 / unit);
            }
        }
        f.write_str("0s")
    }
}

const UNITS: [(i64, char); 4] = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];

/// Why a text is not a span of time; its message says how to write one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is not a duration: write a whole number and a unit, such as 300s, 10m, 24h or 30d")]
pub struct ParseSecondsError(String);

impl FromStr for Seconds {
    type Err = ParseSecondsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseSecondsError(text.to_owned());
        let letter = text.chars().next_back().ok_or_else(refused)?;
        let (unit, _) = UNITS.iter().find(|(_, known)| *known == letter).ok_or_else(refused)?;
        let digits = text
            .strip_suffix(letter)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let count: i64 = digits.and_then(|digits| digits.parse().ok()).ok_or_else(refused)?;
        count.checked_mul(*unit).map(Seconds).ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_a_number_and_a_unit() {
        for (text, seconds) in [
            ("10m", 600),
            ("24h", 86_400),
            ("30d", 2_592_000),
            ("45s", 45),
            ("0s", 0),
        ] {
            assert_eq!(text.parse(), Ok(Seconds::new(seconds)), "{text}");
        }
        for text in [
            "",
            "10",
            "m",
            "-5m",
            "+5m",
            "1.5h",
            "10 m",
            "10M",
            "99999999999999999d",
            "１0m",
        ] {
            assert!(text.parse::<Seconds>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_is_shown_in_its_largest_whole_unit() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (90, "90s"), (5_400, "90m"), (86_400, "1d")] {
            assert_eq!(Seconds::new(seconds).to_string(), text);
        }
    }
}
