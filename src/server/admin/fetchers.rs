use schemars::JsonSchema;
use serde::Serialize;

use super::{KeyAdmin, KeyError};
use crate::keys::KnownVerifier;
use crate::oauth::{NumericDate, Seconds, SigningAlgorithm};
use crate::server::Failure;
use crate::storage::Fetcher;

/// Somebody who fetches the JWK set, as people and programs see them. Times are RFC 3339.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FetcherLine {
    /// The `User-Agent`; `(others)` for those that are not told apart.
    pub user_agent: String,
    /// The network; behind a proxy that is not trusted, the proxy's.
    pub address_block: String,
    /// Whether the set that it got last holds the next key of every algorithm; absent when there is no next key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_next: Option<bool>,
    /// When it came last.
    pub last_fetched_at: String,
    /// How often since the newest key that it got was published.
    pub fetches: u64,
}

/// A library that may refuse tokens of a key that is new to it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Refusing {
    /// The library.
    pub name: &'static str,
    /// Until it fetches the set again, by its defaults; absent for "until it is restarted".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>")]
    pub refuses_for: Option<Seconds>,
}

impl KeyAdmin<'_> {
    /// Who fetches the JWK set, those first that have not got the next key yet.
    pub fn fetchers(&self, now: NumericDate) -> Result<Vec<FetcherLine>, KeyError> {
        let ring = self.ring()?;
        let next = SigningAlgorithm::ALL
            .into_iter()
            .filter_map(|algorithm| ring.next(algorithm, now));
        let next = next.map(|key| key.record().published_at).max();
        let fetchers = self.store.fetchers().map_err(Failure::from)?;
        let mut lines: Vec<FetcherLine> = fetchers
            .into_iter()
            .map(|fetcher| FetcherLine::of(fetcher, next))
            .collect();
        lines.sort_by_key(|line| line.has_next);
        Ok(lines)
    }
}

impl FetcherLine {
    fn of(fetcher: Fetcher, next_published_at: Option<NumericDate>) -> Self {
        let newest = fetcher.newest;
        FetcherLine {
            has_next: next_published_at.map(|published_at| newest.newest_key_at >= published_at),
            user_agent: newest.user_agent,
            address_block: newest.address_block,
            last_fetched_at: newest.last_fetched_at.to_string(),
            fetches: newest.fetches,
        }
    }
}

impl Refusing {
    pub(super) fn of(known: &KnownVerifier) -> Option<Self> {
        let refuses_for = known.learns_within();
        // Those that fetch at once refuse nothing.
        (refuses_for != Some(Seconds::new(0))).then_some(Refusing {
            name: known.name,
            refuses_for,
        })
    }
}
