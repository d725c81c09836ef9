use diesel::dsl::{exists, max};
use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::audit::AuditEvent;
use super::changes::ChangeKind;
use super::connection::{Conn, on};
use super::error::{Error, Fault};
use super::keys::{self, Barring};
use super::schema::{audit_events, changes, clients, database_identity, initial_access_tokens, users};
use super::store::{Effect, Store};
use crate::oauth::Thumbprint;

/// How far a database has come. Both numbers only rise, unless somebody puts an older state of the database in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Which database it is.
    pub uid: String,
    /// How often a restoration of it was finalized.
    pub finalized: i64,
    /// The number of its newest change.
    pub change: i64,
    /// The number of its newest audit event: every exchange of a refresh token has one.
    pub event: i64,
    /// When that was; `None` where it was written down by a version that did not say.
    #[serde(default)]
    pub event_at: Option<i64>,
}

impl Position {
    /// Whether this is an earlier state of the database of which `seen` was a later one, and nobody said that this was meant.
    pub fn is_behind(&self, seen: &Position) -> bool {
        let same = self.uid == seen.uid;
        let earlier = self.change < seen.change || self.event < seen.event;
        same && (self.finalized < seen.finalized || (self.finalized == seen.finalized && earlier))
    }
}

const ONLY: i64 = 1;
/// Clients whose families end in one transaction.
const ENDED_AT_ONCE: i64 = 10_000;

impl Store {
    /// Gives the database a name, unless it has one.
    pub fn identify(&self, uid: &str) -> Result<(), Error> {
        let uid = uid.to_owned();
        self.write(move |conn| {
            on!(conn, c => diesel::insert_into(database_identity::table)
                .values((
                    database_identity::id.eq(ONLY),
                    database_identity::uid.eq(&uid),
                    database_identity::finalized.eq(0_i64),
                ))
                .on_conflict_do_nothing()
                .execute(c))?;
            Ok(())
        })
    }

    /// How far the database has come; `None` before [`identify`](Self::identify).
    pub fn position(&self) -> Result<Option<Position>, Error> {
        self.read(|conn| {
            let change = changes::table.select(max(changes::id)).single_value();
            let event = audit_events::table.select(max(audit_events::id)).single_value();
            let newest = audit_events::table.order(audit_events::id.desc()).limit(1);
            let event_at = newest.select(audit_events::at).single_value();
            type Newest = (Option<i64>, Option<i64>, Option<i64>);
            let row: Option<(String, i64, Newest)> = on!(conn, c => database_identity::table
                .find(ONLY)
                .select((database_identity::uid, database_identity::finalized, (change, event, event_at)))
                .get_result(c)
                .optional())?;
            Ok(row.map(|(uid, finalized, (change, event, event_at))| Position {
                uid,
                finalized,
                change: change.unwrap_or(0),
                event: event.unwrap_or(0),
                event_at,
            }))
        })
    }

    /// Whether the event is there that was the newest at `seen`, or was old enough to be deleted since. A fail-over that lost it may have
    /// let others take its number, and go beyond it.
    pub fn still_has(&self, seen: &Position) -> Result<bool, Error> {
        let (event, at) = (seen.event, seen.event_at);
        self.read(move |conn| {
            let found = audit_events::table.find(event).select(audit_events::at);
            let found: Option<i64> = on!(conn, c => found.get_result(c).optional())?;
            match found {
                Some(found) => Ok(at.is_none_or(|at| at == found)),
                None => {
                    // The oldest are deleted first.
                    let older = audit_events::table.filter(audit_events::id.lt(event));
                    let has_older: bool = on!(conn, c => diesel::select(exists(older)).get_result(c))?;
                    Ok(!has_older)
                }
            }
        })
    }

    /// How many clients and users there are.
    pub fn census(&self) -> Result<(u64, u64), Error> {
        self.read(|conn| {
            let clients: i64 = on!(conn, c => clients::table.count().get_result(c))?;
            let users: i64 = on!(conn, c => users::table.count().get_result(c))?;
            Ok((clients.unsigned_abs(), users.unsigned_abs()))
        })
    }

    /// Makes an earlier state of the database safe: ends every token family of every client, bars the keys that had been barred
    /// since, and has every node forget what it knows. How many clients there were.
    ///
    /// What the restoration took back cannot be known. Refresh tokens that were exchanged since would be good again, and so would
    /// revoked ones; so all of them end, and introspection calls every access token dead that was issued before. Initial access
    /// tokens that were used up or revoked since would register clients again; so all of them are deleted.
    pub fn finalize_restore(&self, barred: &[(Thumbprint, Barring)], event: &AuditEvent) -> Result<usize, Error> {
        let mut ended = 0;
        let mut last = Some(0);
        // In parts, so that none takes longer than a statement may. Whoever is interrupted begins anew.
        while let Some(after) = last {
            let (some, next) = self.end_families(move |conn| Ok(Effect::none(end_some(conn, after)?)))?;
            ended += some;
            last = next;
        }
        let (barred, event, at) = (barred.to_vec(), event.clone(), event.at.epoch());
        self.administer(move |conn| {
            for (kid, how) in &barred {
                keys::bar(conn, kid.as_str(), *how, at)?;
            }
            on!(conn, c => diesel::delete(initial_access_tokens::table).execute(c))?;
            on!(conn, c => diesel::update(database_identity::table.find(ONLY))
                .set(database_identity::finalized.eq(database_identity::finalized + 1))
                .execute(c))?;
            Ok(Effect::of((), event).changing(ChangeKind::Unknown, "*", at))
        })?;
        Ok(ended)
    }
}

/// Ends the families of the next clients; how many, and where to go on.
fn end_some(conn: &mut Conn, after: i64) -> Result<(usize, Option<i64>), Fault> {
    let last: Option<i64> = on!(conn, c => clients::table
        .filter(clients::id.gt(after))
        .order(clients::id)
        .limit(ENDED_AT_ONCE)
        .select(clients::id)
        .load(c))?
    .last()
    .copied();
    let Some(last) = last else { return Ok((0, None)) };
    let ended = on!(conn, c => diesel::update(clients::table)
        .filter(clients::id.gt(after).and(clients::id.le(last)))
        .set(clients::epoch.eq(clients::epoch + 1))
        .execute(c))?;
    Ok((ended, Some(last)))
}
