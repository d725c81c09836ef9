use diesel::dsl::{exists, not};
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::connection::{Conn, on};
use super::error::{Error, Fault};
use super::schema::{refresh_tokens, revoked_access_tokens, token_families};
use super::store::{Effect, Store};
use crate::oauth::{NumericDate, Seconds};

/// What [`Store::sweep`] deleted and what it left for the next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Refresh tokens deleted.
    pub refresh_tokens: usize,
    /// Token families deleted.
    pub families: usize,
    /// Revoked access tokens forgotten.
    pub revoked_access_tokens: usize,
    /// Rows that could have been deleted and are left, counted up to [`MOST_COUNTED`](Swept::MOST_COUNTED) for each kind.
    pub backlog: i64,
    /// Since when the first of those that are left could have been deleted.
    pub oldest: Option<NumericDate>,
}

impl Swept {
    /// How far the backlog of one kind of row is counted.
    pub const MOST_COUNTED: i64 = 10_000;

    /// Whether anything was deleted.
    pub fn is_empty(&self) -> bool {
        self.refresh_tokens + self.families + self.revoked_access_tokens == 0
    }
}

diesel::define_sql_function! {
    /// Whether this transaction got the lock, without waiting for it.
    fn pg_try_advisory_xact_lock(key: BigInt) -> Bool;
}

/// For so long a refresh token is found after it expired, and its family with it. The answer to an exchange in its last seconds may have
/// been lost: then it comes again, while its successor lives, as late as a client's retry window allows, a minute at most, and an
/// hour in which nobody could be answered.
const FOUND_AFTERWARDS: Seconds = Seconds::minutes(61);

/// "kwsweeps" in ASCII, as a number; nobody else's lock.
const ONE_SWEEPER: i64 = 7_743_785_040_926_306_419;

impl Store {
    /// Deletes at most `limit` expired rows of each kind, and never more than 10 000, the longest expired first. A row that has
    /// not expired at `now` is never touched, a refresh token or a family not before an hour has passed besides. Of several nodes
    /// that sweep at once one does; `None` for the others.
    ///
    /// A used token stays as long, so that a replay is noticed as long as the token could have been used.
    pub fn sweep(&self, now: NumericDate, limit: u32) -> Result<Option<Swept>, Error> {
        let limit = i64::from(limit).min(Swept::MOST_COUNTED);
        self.act(move |conn| {
            if let Conn::Postgres(link) = conn {
                let alone: bool =
                    diesel::select(pg_try_advisory_xact_lock(ONE_SWEEPER)).get_result(&mut link.connection)?;
                if !alone {
                    return Ok(Effect::none(None));
                }
            }
            let mut swept = delete(conn, now, limit)?;
            (swept.backlog, swept.oldest) = left(conn, now)?;
            Ok(Effect::none(Some(swept)))
        })
    }
}

/// Keys in one statement that deletes. Told to delete many keys, or what a subquery finds, PostgreSQL may read the whole table.
const KEYS_AT_ONCE: usize = 100;

/// Deletes those of the `limit` longest expired rows of a table that fulfil the condition, and yields how many.
///
/// It waits for nobody: rows that somebody holds are left for the next time. Whoever deletes a family locks that first and then its
/// tokens, and here it is the other way round.
macro_rules! delete_expired {
    ($conn:ident, $until:expr, $limit:ident, $table:ident.$key:ident: $type:ty $(, $condition:expr)?) => {{
        let expired = $table::table
            .filter($table::expires_at.le($until.epoch()))
            .order($table::expires_at)
            .limit($limit)
            .select($table::$key);
        let keys: Vec<$type> = match $conn {
            Conn::Postgres(link) => expired.for_update().skip_locked().load(&mut link.connection)?,
            Conn::Sqlite(connection) => expired.load(&mut **connection)?,
        };
        let mut deleted = 0;
        for some in keys.chunks(KEYS_AT_ONCE) {
            deleted += on!($conn, c => diesel::delete($table::table)
                .filter($table::$key.eq_any(some))
                $(.filter($condition))?
                .execute(c))?;
        }
        deleted
    }};
}

fn delete(conn: &mut Conn, now: NumericDate, limit: i64) -> Result<Swept, Fault> {
    // No token outlives its family. A family whose tokens are not swept yet waits for them, so that deleting it deletes one row.
    macro_rules! without_tokens {
        () => {
            not(exists(
                refresh_tokens::table.filter(refresh_tokens::family.eq(token_families::id)),
            ))
        };
    }
    Ok(Swept {
        refresh_tokens: delete_expired!(conn, now - FOUND_AFTERWARDS, limit, refresh_tokens.hash: Vec<u8>),
        families: delete_expired!(conn, now - FOUND_AFTERWARDS, limit, token_families.id: String, without_tokens!()),
        revoked_access_tokens: delete_expired!(conn, now, limit, revoked_access_tokens.jti: String),
        ..Swept::default()
    })
}

/// How many rows could be deleted, and since when.
fn left(conn: &mut Conn, now: NumericDate) -> Result<(i64, Option<NumericDate>), Fault> {
    let (mut backlog, mut oldest) = (0, None);
    macro_rules! add {
        ($table:ident, $kept:expr) => {
            // Counted one by one as far as the limit goes; counting them all would read them all.
            let expired: Vec<i64> = on!(conn, c => $table::table
                .filter($table::expires_at.le((now - $kept).epoch()))
                .order($table::expires_at)
                .limit(Swept::MOST_COUNTED)
                .select($table::expires_at)
                .load(c))?;
            backlog += i64::try_from(expired.len()).unwrap_or(i64::MAX);
            let first = expired.first().map(|at| NumericDate::from_epoch(*at) + $kept);
            oldest = first.into_iter().chain(oldest).min();
        };
    }
    add!(refresh_tokens, FOUND_AFTERWARDS);
    add!(token_families, FOUND_AFTERWARDS);
    add!(revoked_access_tokens, Seconds::new(0));
    Ok((backlog, oldest))
}
