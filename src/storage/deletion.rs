//! How a client or a user is deleted with all that they hold, without keeping those waiting who sign in or refresh meanwhile.

use diesel::prelude::*;

use super::connection::{Conn, on};
use super::error::{Error, Fault};
use super::schema::{refresh_tokens, token_families};
use super::store::{Effect, Store};

/// Whose families are meant, by row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holder {
    Client(i64),
    User(i64),
}

/// How far the deletion of a client or a user came.
pub(super) enum Deletion {
    Deleted,
    Absent,
    /// They hold so much that deleting it in one transaction would hold up everybody. They are disabled and their families
    /// ended; these are to be cleared away before the next attempt.
    Crowded(Holder),
}

/// Most families and refresh tokens that are deleted together with those who hold them: nobody signs in or refreshes meanwhile.
pub(super) const DELETED_TOGETHER: usize = 1_000;
/// Most refresh tokens, or families, in one transaction that clears them away.
const CLEARED_AT_ONCE: usize = 1_000;
/// Keys in one statement. Told to delete many keys, or what a subquery finds, PostgreSQL may read the whole table.
const KEYS_AT_ONCE: usize = 100;

/// How many of `room` families and refresh tokens are left when the holder's are deleted; `None` if it has more.
pub(super) fn room_beside(conn: &mut Conn, holder: Holder, room: usize) -> Result<Option<usize>, Fault> {
    let one_more = room.saturating_add(1);
    let families = families_of(conn, holder, i64::MIN, one_more)?;
    let families: Vec<String> = families.into_iter().map(|(id, _)| id).collect();
    let tokens = tokens_of(conn, &families, one_more.saturating_sub(families.len()))?;
    Ok(room.checked_sub(families.len() + tokens.len()))
}

impl Store {
    /// Deletes the families of one holder bit by bit. As an administrator, so that nobody deletes a client or a user meanwhile,
    /// who might hold one of these tokens and wait for another.
    pub(super) fn clear_families(&self, holder: Holder) -> Result<(), Error> {
        // Not from the beginning each time, where more and more dead rows lie.
        let mut since = i64::MIN;
        while let Some(next) = self.administer(move |conn| Ok(Effect::none(clear_some(conn, holder, since)?)))? {
            since = next;
        }
        Ok(())
    }
}

/// Deletes tokens of the holder's oldest families, or these when they have none left. Since when the families are that may be left;
/// `None` when there were none.
fn clear_some(conn: &mut Conn, holder: Holder, since: i64) -> Result<Option<i64>, Fault> {
    let (families, opened): (Vec<_>, Vec<_>) = families_of(conn, holder, since, CLEARED_AT_ONCE)?.into_iter().unzip();
    let tokens = tokens_of(conn, &families, CLEARED_AT_ONCE)?;
    for some in tokens.chunks(KEYS_AT_ONCE) {
        on!(conn, c => diesel::delete(refresh_tokens::table)
            .filter(refresh_tokens::hash.eq_any(some))
            .execute(c))?;
    }
    if tokens.is_empty() {
        for some in families.chunks(KEYS_AT_ONCE) {
            on!(conn, c => diesel::delete(token_families::table)
                .filter(token_families::id.eq_any(some))
                .execute(c))?;
        }
    }
    Ok(opened.first().copied())
}

/// The oldest of the holder's families that were opened at some instant or later, and when they were.
fn families_of(conn: &mut Conn, holder: Holder, since: i64, most: usize) -> Result<Vec<(String, i64)>, Fault> {
    let some = token_families::table
        .filter(token_families::created_at.ge(since))
        .order(token_families::created_at)
        .select((token_families::id, token_families::created_at))
        .limit(limit(most));
    Ok(on!(conn, c => match holder {
        Holder::Client(row) => some.filter(token_families::client.eq(row)).load(c),
        Holder::User(row) => some.filter(token_families::owner.eq(row)).load(c),
    })?)
}

/// The hashes of the families' tokens.
fn tokens_of(conn: &mut Conn, families: &[String], most: usize) -> Result<Vec<Vec<u8>>, Fault> {
    let mut tokens: Vec<Vec<u8>> = Vec::new();
    for some in families.chunks(KEYS_AT_ONCE) {
        let room = most.saturating_sub(tokens.len());
        if room == 0 {
            break;
        }
        let found: Vec<Vec<u8>> = on!(conn, c => refresh_tokens::table
            .filter(refresh_tokens::family.eq_any(some))
            .select(refresh_tokens::hash)
            .limit(limit(room))
            .load(c))?;
        tokens.extend(found);
    }
    Ok(tokens)
}

fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
