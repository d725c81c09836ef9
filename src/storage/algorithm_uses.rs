use diesel::dsl::min;
use diesel::prelude::*;

use super::connection::on;
use super::error::Error;
use super::schema::{algorithm_uses, clients};
use super::store::{Effect, Store};
use crate::oauth::NumericDate;

/// That an algorithm is or was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUse {
    /// The JOSE name of the algorithm.
    pub alg: String,
    /// When a node saw last that a server or a client wants it.
    pub wanted_at: NumericDate,
    /// When a server was set to it last; `None` if none ever was.
    pub served_at: Option<NumericDate>,
}

impl Store {
    /// Every algorithm that was ever wanted.
    pub fn algorithm_uses(&self) -> Result<Vec<StoredUse>, Error> {
        self.read(|conn| {
            let rows: Vec<(String, i64, Option<i64>)> = on!(conn, c => algorithm_uses::table
                .order(algorithm_uses::alg)
                .select((algorithm_uses::alg, algorithm_uses::wanted_at, algorithm_uses::served_at))
                .load(c))?;
            let uses = rows.into_iter().map(|(alg, wanted_at, served_at)| StoredUse {
                alg,
                wanted_at: NumericDate::from_epoch(wanted_at),
                served_at: served_at.map(NumericDate::from_epoch),
            });
            Ok(uses.collect())
        })
    }

    /// The algorithms that clients have for their own, enabled or not. However many clients there are, it looks at one for each
    /// algorithm.
    pub fn client_algorithms(&self) -> Result<Vec<String>, Error> {
        self.read(|conn| {
            let mut found: Vec<String> = Vec::new();
            loop {
                let after = found.last().cloned().unwrap_or_default();
                let following: Option<String> = on!(conn, c => clients::table
                    .filter(clients::signing_alg.gt(&after))
                    .select(min(clients::signing_alg))
                    .get_result(c))?;
                match following {
                    Some(alg) => found.push(alg),
                    None => return Ok(found),
                }
            }
        })
    }

    /// Notes that these algorithms are wanted at `now`, and that `served` is what a server is set to. No date ever goes back.
    pub fn note_algorithm_uses(
        &self,
        wanted: &[&'static str],
        served: &'static str,
        now: NumericDate,
    ) -> Result<(), Error> {
        // In one order, so that nodes do not wait for each other in a circle.
        let mut wanted: Vec<&'static str> = wanted.iter().copied().chain([served]).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let now = now.epoch();
        self.act(move |conn| {
            for alg in wanted {
                on!(conn, c => diesel::insert_into(algorithm_uses::table)
                    .values((algorithm_uses::alg.eq(alg), algorithm_uses::wanted_at.eq(now)))
                    .on_conflict_do_nothing()
                    .execute(c))?;
                let row = algorithm_uses::table.find(alg);
                on!(conn, c => diesel::update(row.filter(algorithm_uses::wanted_at.lt(now)))
                    .set(algorithm_uses::wanted_at.eq(now))
                    .execute(c))?;
                if alg == served {
                    let earlier = algorithm_uses::served_at
                        .is_null()
                        .or(algorithm_uses::served_at.lt(now));
                    on!(conn, c => diesel::update(row.filter(earlier))
                        .set(algorithm_uses::served_at.eq(now))
                        .execute(c))?;
                }
            }
            Ok(Effect::none(()))
        })
    }
}
