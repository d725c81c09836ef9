use std::fmt;

use diesel::dsl::exists;
use diesel::prelude::*;

use super::connection::{Conn, on};
use super::error::{Error, Fault};
use super::schema::creations;
use super::store::Store;
use crate::oauth::NumericDate;

/// That something is created, or was, by a request that may come again.
#[derive(Clone, PartialEq, Eq)]
pub struct Creation {
    /// Names the request, as a keyed hash.
    pub name: [u8; 32],
    /// What is made is derived from it.
    pub salt: [u8; 32],
    /// A keyed hash of what was asked for.
    pub content: [u8; 32],
    /// When.
    pub created_at: NumericDate,
}

impl fmt::Debug for Creation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Creation")
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The creation of that name.
    pub fn creation(&self, name: &[u8; 32]) -> Result<Option<Creation>, Error> {
        self.read(|conn| {
            let row: Option<Row> = on!(conn, c => creations::table
                .find(name.as_slice())
                .select(Row::as_select())
                .get_result(c)
                .optional())?;
            row.map(Row::into_creation).transpose()
        })
    }

    /// Forgets creations of before an instant, at most `limit` of them; how many.
    pub fn forget_creations(&self, before: NumericDate, limit: u32) -> Result<usize, Error> {
        self.write(move |conn| {
            let old: Vec<Vec<u8>> = on!(conn, c => creations::table
                .filter(creations::created_at.lt(before.epoch()))
                .select(creations::name)
                .limit(i64::from(limit))
                .load(c))?;
            Ok(on!(conn, c => diesel::delete(creations::table.filter(creations::name.eq_any(&old))).execute(c))?)
        })
    }
}

/// Records the creation in the transaction under way, or ends that.
pub(super) fn insert(conn: &mut Conn, creation: &Creation) -> Result<(), Fault> {
    let row = Row {
        name: creation.name.to_vec(),
        salt: creation.salt.to_vec(),
        content: creation.content.to_vec(),
        created_at: creation.created_at.epoch(),
    };
    let inserted = on!(conn, c => diesel::insert_into(creations::table)
        .values(&row)
        .on_conflict_do_nothing()
        .execute(c))?;
    if inserted == 0 { Err(Fault::Repeated) } else { Ok(()) }
}

/// Ends the transaction under way if there was that creation before.
pub(super) fn must_be_new(conn: &mut Conn, creation: &Creation) -> Result<(), Fault> {
    let before = creations::table.find(creation.name.as_slice());
    match on!(conn, c => diesel::select(exists(before)).get_result(c))? {
        true => Err(Fault::Repeated),
        false => Ok(()),
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = creations, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
struct Row {
    name: Vec<u8>,
    salt: Vec<u8>,
    content: Vec<u8>,
    created_at: i64,
}

impl Row {
    fn into_creation(self) -> Result<Creation, Fault> {
        let fixed = |bytes: Vec<u8>| {
            let wrong = |bytes: Vec<u8>| Fault::corrupt("creations", format!("{} bytes in place of 32", bytes.len()));
            <[u8; 32]>::try_from(bytes).map_err(wrong)
        };
        Ok(Creation {
            name: fixed(self.name)?,
            salt: fixed(self.salt)?,
            content: fixed(self.content)?,
            created_at: NumericDate::from_epoch(self.created_at),
        })
    }
}
