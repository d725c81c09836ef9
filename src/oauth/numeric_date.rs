use std::fmt;
use std::ops::{Add, Sub};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::Seconds;

/// An instant in whole seconds since 1970-01-01T00:00:00Z (RFC 7519 §2, `NumericDate`, without a fraction).
///
/// Arithmetic saturates: an absurd lifetime yields a far date, never a wrapped one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NumericDate(i64);

impl NumericDate {
    /// The instant `seconds` after the epoch.
    pub const fn from_epoch(seconds: i64) -> Self {
        NumericDate(seconds)
    }

    /// Seconds since the epoch, as they stand in a JWT and in the database.
    pub const fn epoch(self) -> i64 {
        self.0
    }

    /// The time from `earlier` until this instant; zero when `earlier` is later.
    pub fn since(self, earlier: NumericDate) -> Seconds {
        Seconds::new(self.0.saturating_sub(earlier.0))
    }

    /// The instant in UTC, for certificates and for people.
    pub fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.0, 0).unwrap_or(if self.0 < 0 {
            DateTime::<Utc>::MIN_UTC
        } else {
            DateTime::<Utc>::MAX_UTC
        })
    }
}

impl From<DateTime<Utc>> for NumericDate {
    /// Rounds down, so that an `iat` is never in the future.
    fn from(instant: DateTime<Utc>) -> Self {
        NumericDate(instant.timestamp())
    }
}

impl Add<Seconds> for NumericDate {
    type Output = NumericDate;

    fn add(self, span: Seconds) -> NumericDate {
        NumericDate(self.0.saturating_add(span.get()))
    }
}

impl Sub<Seconds> for NumericDate {
    type Output = NumericDate;

    fn sub(self, span: Seconds) -> NumericDate {
        NumericDate(self.0.saturating_sub(span.get()))
    }
}

impl fmt::Display for NumericDate {
    /// RFC 3339 in UTC, `2026-11-24T02:36:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.utc().to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_of_a_second_is_dropped_so_that_iat_is_never_in_the_future() {
        let late_in_the_second = DateTime::from_timestamp(1_000, 999_999_999).unwrap();
        assert_eq!(NumericDate::from(late_in_the_second), NumericDate::from_epoch(1_000));
    }

    #[test]
    fn arithmetic_saturates() {
        let end = NumericDate::from_epoch(i64::MAX);
        assert_eq!(end + Seconds::new(1), end);
        assert_eq!(
            NumericDate::from_epoch(5).since(NumericDate::from_epoch(9)),
            Seconds::new(0)
        );
        let _ = end.to_string();
    }

    #[test]
    fn an_instant_is_shown_as_rfc_3339() {
        assert_eq!(
            NumericDate::from_epoch(1_700_000_000).to_string(),
            "2023-11-14T22:13:20Z"
        );
    }
}
