use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel::upsert::excluded;

use super::connection::{Conn, on};
use super::error::{Error, Fault};
use super::schema::jwks_fetchers;
use super::store::{Effect, Store};
use crate::oauth::NumericDate;

/// Fetches of the JWK set by one fetcher, that all got the same newest key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetches {
    /// The `User-Agent`, or what stands for many.
    pub user_agent: String,
    /// The network that they came from, or what stands for many.
    pub address_block: String,
    /// When the newest key of the set was published.
    pub newest_key_at: NumericDate,
    /// How many there were.
    pub fetches: u64,
    /// When the last one came.
    pub last_fetched_at: NumericDate,
}

/// Who fetches the JWK set, and what they have of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetcher {
    /// The newest set that they got, how often they got it, and when last.
    pub newest: Fetches,
    /// Whether this stands for fetchers that are not told apart.
    pub is_many: bool,
}

impl Fetcher {
    /// Whether this is a fetcher of its own that has not got a key that was published at `published_at`.
    pub fn lacks(&self, published_at: NumericDate) -> bool {
        !self.is_many && self.newest.newest_key_at < published_at
    }
}

/// Fetchers that are told apart. Anybody can make up a `User-Agent`, but not crowd out those that are known.
pub const MOST_FETCHERS: usize = 1_000;
/// Fetchers of one network that are told apart.
const MOST_OF_A_BLOCK: usize = 16;
/// Stands for all others: of a network, or of all.
const OTHERS: &str = "(others)";

impl Store {
    /// Adds up fetches of this node with those of all nodes before.
    pub fn add_fetches(&self, fetches: &[Fetches]) -> Result<(), Error> {
        let fetches = fetches.to_vec();
        self.act(move |conn| {
            let mut known = Known::load(conn)?;
            // Under the names that they are stored under, and in one order on all nodes, so that two of them do not wait for each
            // other in a circle.
            let mut rows: BTreeMap<(String, String, i64), Row> = BTreeMap::new();
            for fetches in fetches {
                let (user_agent, address_block) = known.admit(fetches.user_agent, fetches.address_block);
                let newest_key_at = fetches.newest_key_at.epoch();
                let name = (user_agent.clone(), address_block.clone(), newest_key_at);
                let row = rows.entry(name).or_insert(Row {
                    user_agent,
                    address_block,
                    newest_key_at,
                    fetches: 0,
                    last_fetched_at: i64::MIN,
                });
                row.fetches = row.fetches.saturating_add_unsigned(fetches.fetches);
                row.last_fetched_at = row.last_fetched_at.max(fetches.last_fetched_at.epoch());
            }
            for row in rows.values() {
                on!(conn, c => diesel::insert_into(jwks_fetchers::table)
                    .values(row)
                    .on_conflict((
                        jwks_fetchers::user_agent,
                        jwks_fetchers::address_block,
                        jwks_fetchers::newest_key_at,
                    ))
                    .do_update()
                    .set((
                        jwks_fetchers::fetches.eq(jwks_fetchers::fetches + excluded(jwks_fetchers::fetches)),
                        jwks_fetchers::last_fetched_at.eq(excluded(jwks_fetchers::last_fetched_at)),
                    ))
                    .execute(c))?;
            }
            Ok(Effect::none(()))
        })
    }

    /// All fetchers, in the order of their names.
    pub fn fetchers(&self) -> Result<Vec<Fetcher>, Error> {
        self.read(|conn| {
            let rows: Vec<Row> = on!(conn, c => jwks_fetchers::table
                .order(jwks_fetchers::newest_key_at)
                .select(Row::as_select())
                .load(c))?;
            let newest: BTreeMap<(String, String), Row> = rows
                .into_iter()
                .map(|row| ((row.user_agent.clone(), row.address_block.clone()), row))
                .collect();
            Ok(newest.into_values().map(Row::into_fetcher).collect())
        })
    }

    /// Forgets who did not come since `before`, and what they got before that.
    pub fn forget_fetchers(&self, before: NumericDate) -> Result<usize, Error> {
        self.write(move |conn| {
            let old = jwks_fetchers::table.filter(jwks_fetchers::last_fetched_at.lt(before.epoch()));
            Ok(on!(conn, c => diesel::delete(old).execute(c))?)
        })
    }
}

/// Those who are told apart.
struct Known {
    all: BTreeSet<(String, String)>,
    of_block: BTreeMap<String, usize>,
}

impl Known {
    fn load(conn: &mut Conn) -> Result<Self, Fault> {
        let all: Vec<(String, String)> = on!(conn, c => jwks_fetchers::table
            .select((jwks_fetchers::user_agent, jwks_fetchers::address_block))
            .distinct()
            .load(c))?;
        let mut known = Known {
            all: BTreeSet::new(),
            of_block: BTreeMap::new(),
        };
        for fetcher in all {
            known.add(fetcher);
        }
        Ok(known)
    }

    fn add(&mut self, fetcher: (String, String)) {
        *self.of_block.entry(fetcher.1.clone()).or_default() += 1;
        self.all.insert(fetcher);
    }

    /// Under which name a fetcher is counted.
    fn admit(&mut self, user_agent: String, address_block: String) -> (String, String) {
        let others = || OTHERS.to_owned();
        let of_block = self.of_block.get(&address_block).copied().unwrap_or(0);
        let own = (user_agent, address_block);
        if self.all.contains(&own) {
            return own;
        }
        let named = match (self.all.len() < MOST_FETCHERS, of_block < MOST_OF_A_BLOCK) {
            (true, true) => own,
            (true, false) => (others(), own.1),
            (false, _) => (others(), others()),
        };
        if !self.all.contains(&named) {
            self.add(named.clone());
        }
        named
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = jwks_fetchers, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
struct Row {
    user_agent: String,
    address_block: String,
    newest_key_at: i64,
    fetches: i64,
    last_fetched_at: i64,
}

impl Row {
    fn into_fetcher(self) -> Fetcher {
        Fetcher {
            is_many: self.user_agent == OTHERS,
            newest: Fetches {
                user_agent: self.user_agent,
                address_block: self.address_block,
                newest_key_at: NumericDate::from_epoch(self.newest_key_at),
                fetches: u64::try_from(self.fetches).unwrap_or_default(),
                last_fetched_at: NumericDate::from_epoch(self.last_fetched_at),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_fetchers_are_told_apart_and_no_more_and_those_that_are_known_stay_so() {
        let mut known = Known {
            all: BTreeSet::new(),
            of_block: BTreeMap::new(),
        };
        let mut admit = |agent: &str, block: &str| known.admit(agent.to_owned(), block.to_owned());
        let pair = |agent: &str, block: &str| (agent.to_owned(), block.to_owned());
        for number in 0..MOST_OF_A_BLOCK {
            let agent = format!("curl/{number}");
            assert_eq!(admit(&agent, "192.0.2.0/24"), pair(&agent, "192.0.2.0/24"));
        }
        assert_eq!(admit("one more", "192.0.2.0/24"), pair(OTHERS, "192.0.2.0/24"));
        assert_eq!(admit("curl/0", "192.0.2.0/24"), pair("curl/0", "192.0.2.0/24"));
        for number in 0..2 * MOST_FETCHERS {
            admit("curl/8", &format!("{number}.0/24"));
        }
        assert_eq!(admit("curl/8", "198.51.100.0/24"), pair(OTHERS, OTHERS));
        assert_eq!(admit("curl/0", "192.0.2.0/24"), pair("curl/0", "192.0.2.0/24"));
        assert!(known.all.len() <= MOST_FETCHERS + 1, "{}", known.all.len());
    }
}
