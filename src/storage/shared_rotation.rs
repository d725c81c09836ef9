//! Many rotations in one statement of PostgreSQL.

use std::collections::HashSet;

use diesel::expression::ValidGrouping;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Binary, Nullable, Text};

use super::audit;
use super::couriers::Parcel;
use super::error::Fault;
use super::families::stands;
use super::postgres::Link;
use super::refresh_tokens::usable;
use super::schema::{clients, refresh_tokens, token_families, users};
use crate::failpoint::failpoint;

/// Whether each of the rotations happened, in one transaction, which is durable when this returns.
///
/// It does what [`Store::rotate`](super::Store::rotate) does, and waits for nobody: a family whose row somebody holds is left out,
/// so that one of them does not keep the others waiting, and two statements with the same families do not wait for each other.
/// Why a rotation did not happen is not asked here.
pub(super) fn rotate(link: &mut Link, parcels: &[Parcel]) -> Result<Vec<bool>, Fault> {
    failpoint!("rotation.sending");
    let presented = Presented::from(parcels);
    // The latest instant: whoever is not refused at that is not refused at their own.
    let at = presented.at.iter().copied().max().unwrap_or_default();
    let statement = SharedRotation {
        usable: usable!(refresh_tokens::hash.eq(PresentedHash), at).select((
            token_families::id,
            token_families::expires_at,
            refresh_tokens::generation,
        )),
        presented: &presented,
    };
    // To the end, which waits for the commit.
    let rotated: Vec<Vec<u8>> = statement.load(&mut link.connection)?;
    let mut rotated: HashSet<Vec<u8>> = rotated.into_iter().collect();
    // Who presents the same token twice has used it once.
    let happened = presented.hash.iter().map(|hash| rotated.remove(*hash)).collect();
    Ok(happened)
}

/// What is presented, column by column.
#[derive(Default)]
struct Presented<'a> {
    hash: Vec<&'a [u8]>,
    successor_hash: Vec<&'a [u8]>,
    at: Vec<i64>,
    successor_expires_at: Vec<i64>,
    event_at: Vec<i64>,
    event: Vec<String>,
    actor: Vec<String>,
    client_id: Vec<Option<String>>,
    kid: Vec<Option<String>>,
    detail: Vec<String>,
}

impl<'a> From<&'a [Parcel]> for Presented<'a> {
    fn from(parcels: &'a [Parcel]) -> Self {
        let mut presented = Presented::default();
        for Parcel { rotation, event, .. } in parcels {
            let event = audit::Row::from(event);
            presented.hash.push(rotation.hash.as_bytes());
            presented.successor_hash.push(rotation.successor_hash.as_bytes());
            presented.at.push(rotation.at.epoch());
            presented
                .successor_expires_at
                .push(rotation.successor_expires_at.epoch());
            presented.event_at.push(event.at);
            presented.event.push(event.event);
            presented.actor.push(event.actor);
            presented.client_id.push(event.client_id);
            presented.kid.push(event.kid);
            presented.detail.push(event.detail);
        }
        presented
    }
}

/// The hash of one of those that are presented.
#[derive(QueryId, ValidGrouping)]
struct PresentedHash;

impl Expression for PresentedHash {
    type SqlType = Binary;
}

impl<T> AppearsOnTable<T> for PresentedHash {}

impl QueryFragment<Pg> for PresentedHash {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("presented.hash");
        Ok(())
    }
}

/// One text for any number of rotations, so it is prepared once per connection. Its order is that of the statement for one (see
/// there): the gate, the families, the tokens, and only then what is stored.
struct SharedRotation<'a, Q> {
    usable: Q,
    presented: &'a Presented<'a>,
}

impl<Q: QueryId> QueryId for SharedRotation<'_, Q> {
    type QueryId = SharedRotation<'static, Q::QueryId>;
    const HAS_STATIC_QUERY_ID: bool = Q::HAS_STATIC_QUERY_ID;
}

impl<Q> Query for SharedRotation<'_, Q> {
    type SqlType = Binary;
}

impl<Q, C> RunQueryDsl<C> for SharedRotation<'_, Q> {}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for SharedRotation<'_, Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let presented = self.presented;
        out.push_sql("WITH gate AS (");
        out.push_sql(super::store::OPEN_GATE);
        out.push_sql("), usable AS (SELECT presented.*, found.* FROM unnest(");
        out.push_bind_param::<Array<Binary>, _>(&presented.hash)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Binary>, _>(&presented.successor_hash)?;
        for numbers in [&presented.at, &presented.successor_expires_at, &presented.event_at] {
            out.push_sql(", ");
            out.push_bind_param::<Array<BigInt>, _>(numbers)?;
        }
        for texts in [&presented.event, &presented.actor] {
            out.push_sql(", ");
            out.push_bind_param::<Array<Text>, _>(texts)?;
        }
        for texts in [&presented.client_id, &presented.kid] {
            out.push_sql(", ");
            out.push_bind_param::<Array<Nullable<Text>>, _>(texts)?;
        }
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&presented.detail)?;
        out.push_sql(
            ") AS presented (hash, successor_hash, at, successor_expires_at, event_at, event, actor, client_id, kid, detail) \
             CROSS JOIN LATERAL (",
        );
        self.usable.walk_ast(out.reborrow())?;
        out.push_sql(
            " FOR UPDATE OF token_families SKIP LOCKED) AS found (family, expires_at, generation)), rotated AS (\
             UPDATE refresh_tokens SET rotated_at = usable.at FROM usable WHERE refresh_tokens.hash = usable.hash \
             AND refresh_tokens.rotated_at IS NULL AND NOT EXISTS (SELECT FROM gate) RETURNING usable.*), successor AS (\
             INSERT INTO refresh_tokens (hash, family, generation, issued_at, expires_at) \
             SELECT successor_hash, family, generation + 1, at, LEAST(expires_at, successor_expires_at) FROM rotated), audited AS (\
             INSERT INTO audit_events (at, event, actor, client_id, kid, detail) \
             SELECT event_at, event, actor, client_id, kid, detail FROM rotated) \
             SELECT hash FROM rotated",
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What is not cached is prepared for each request anew.
    #[test]
    fn the_statement_is_prepared_once_for_any_number_of_rotations() {
        fn is_cached<Q: QueryId + QueryFragment<Pg>>(query: &Q) -> bool {
            Q::query_id().is_some() && query.is_safe_to_cache_prepared(&Pg).unwrap()
        }
        let presented = Presented::default();
        let statement = SharedRotation {
            usable: usable!(refresh_tokens::hash.eq(PresentedHash), 1).select((
                token_families::id,
                token_families::expires_at,
                refresh_tokens::generation,
            )),
            presented: &presented,
        };
        assert!(is_cached(&statement));
    }
}
