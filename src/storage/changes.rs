use diesel::dsl::max;
use diesel::prelude::*;

use super::connection::{Conn, on};
use super::error::{Error, Fault};
use super::schema::changes;
use super::store::Store;
use crate::oauth::NumericDate;

/// One entry of the feed by which nodes learn what to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Rises from entry to entry, with gaps; entries become visible in this order.
    pub id: i64,
    /// What changed.
    pub kind: ChangeKind,
    /// The `client_id`, the `kid` or the user's id; `*` for many users at once, or for an authority.
    pub subject: String,
}

/// What a [`Change`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// A client or its secrets.
    Client,
    /// A signing key, or an authority that certifies them.
    SigningKey,
    /// A user.
    User,
    /// Something that a newer version announces and this one does not know: to be on the safe side, everything.
    Unknown,
}

impl ChangeKind {
    const fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Client => "client",
            ChangeKind::SigningKey => "signing_key",
            ChangeKind::User => "user",
            ChangeKind::Unknown => "unknown",
        }
    }

    /// Two versions run side by side while nodes are replaced one by one, so a word of the newer one is no error.
    fn stored(text: &str) -> Self {
        let known = [ChangeKind::Client, ChangeKind::SigningKey, ChangeKind::User]
            .into_iter()
            .find(|kind| kind.as_str() == text);
        known.unwrap_or(ChangeKind::Unknown)
    }
}

impl Store {
    /// The oldest `limit` changes after the one with the number `id`, in order.
    pub fn changes_after(&self, id: i64, limit: u32) -> Result<Vec<Change>, Error> {
        self.read(|conn| {
            let rows: Vec<(i64, String, String)> = on!(conn, c => changes::table
                .filter(changes::id.gt(id))
                .order(changes::id)
                .limit(i64::from(limit))
                .select((changes::id, changes::kind, changes::subject))
                .load(c))?;
            let changes = rows.into_iter().map(|(id, kind, subject)| Change {
                id,
                kind: ChangeKind::stored(&kind),
                subject,
            });
            Ok(changes.collect())
        })
    }

    /// The number of the newest change, zero when there never was one.
    pub fn latest_change(&self) -> Result<i64, Error> {
        self.read(|conn| {
            let latest: Option<i64> = on!(conn, c => changes::table.select(max(changes::id)).get_result(c))?;
            Ok(latest.unwrap_or(0))
        })
    }

    /// Deletes at most `limit` changes older than `before`, and tells how many. The newest stays, so that
    /// [`latest_change`](Self::latest_change) never falls back.
    ///
    /// A node that was cut off for longer than changes are kept must forget everything it cached.
    pub fn prune_changes(&self, before: NumericDate, limit: u32) -> Result<usize, Error> {
        // Short statements, none of which holds up an administrator.
        let stale: Vec<i64> = self.read(|conn| {
            Ok(on!(conn, c => changes::table
                .filter(changes::at.lt(before.epoch()))
                .order(changes::id)
                .limit(i64::from(limit))
                .select(changes::id)
                .load(c))?)
        })?;
        let latest = self.latest_change()?;
        let Some(last) = stale.into_iter().rfind(|id| *id < latest) else {
            return Ok(0);
        };
        self.write(move |conn| {
            Ok(on!(conn, c => diesel::delete(changes::table)
                .filter(changes::id.le(last).and(changes::at.lt(before.epoch())))
                .execute(c))?)
        })
    }
}

/// A change to be announced.
#[derive(Insertable)]
// Without this diesel inserts several rows on SQLite one by one, in a transaction of its own that cannot be had here.
#[diesel(table_name = changes, treat_none_as_default_value = false)]
pub(super) struct NewChange {
    kind: &'static str,
    subject: String,
    at: i64,
}

impl NewChange {
    pub(super) fn new(kind: ChangeKind, subject: String, at: i64) -> Self {
        let kind = kind.as_str();
        NewChange { kind, subject, at }
    }
}

pub(super) fn insert(conn: &mut Conn, announced: &[NewChange]) -> Result<(), Fault> {
    // In portions, because SQLite takes only so many parameters in a statement.
    for some in announced.chunks(1_000) {
        on!(conn, c => diesel::insert_into(changes::table).values(some).execute(c))?;
    }
    Ok(())
}
