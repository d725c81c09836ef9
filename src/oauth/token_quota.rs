use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::Seconds;

/// How many tokens a client is given in which time: `1000/1m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenQuota {
    tokens: u32,
    period: Seconds,
}

impl TokenQuota {
    /// Most tokens of a quota.
    pub const MOST_TOKENS: u32 = 10_000_000;
    /// Longest time of a quota.
    pub const LONGEST_PERIOD: Seconds = Seconds::days(1);

    /// The tokens.
    pub const fn tokens(self) -> u32 {
        self.tokens
    }

    /// The time in which they are given, in seconds.
    pub const fn period(self) -> Seconds {
        self.period
    }
}

impl fmt::Display for TokenQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tokens, self.period)
    }
}

impl Serialize for TokenQuota {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a text is no quota; its message says how to write one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "\"{0}\" is no quota: write how many tokens in which time, such as 1000/1m; 1 to 10000000 of them, in 1s to 1d"
)]
pub struct TokenQuotaError(String);

impl FromStr for TokenQuota {
    type Err = TokenQuotaError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || TokenQuotaError(text.to_owned());
        let (tokens, period) = text.split_once('/').ok_or_else(refused)?;
        if !tokens.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused());
        }
        let tokens: u32 = tokens.parse().map_err(|_not_a_number| refused())?;
        let period: Seconds = period.parse().map_err(|_not_a_span| refused())?;
        let fits =
            (1..=Self::MOST_TOKENS).contains(&tokens) && (Seconds::new(1)..=Self::LONGEST_PERIOD).contains(&period);
        if fits {
            Ok(TokenQuota { tokens, period })
        } else {
            Err(refused())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_a_number_and_a_time_and_is_shown_as_it_is_written() {
        for text in ["1000/1m", "1/1s", "10000000/1d", "7/90s"] {
            assert_eq!(text.parse::<TokenQuota>().unwrap().to_string(), text);
        }
        assert_eq!("60/60s".parse::<TokenQuota>().unwrap().to_string(), "60/1m");
        for text in [
            "",
            "1000",
            "/1m",
            "1000/",
            "0/1m",
            "-1/1m",
            "+1/1m",
            "1 /1m",
            "1/0s",
            "1/2d",
            "1/m",
            "10000001/1m",
            "1/1m/1m",
        ] {
            assert_eq!(text.parse::<TokenQuota>(), Err(TokenQuotaError(text.to_owned())));
        }
    }
}
