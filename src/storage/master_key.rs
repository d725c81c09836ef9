use diesel::prelude::*;

use super::audit::AuditEvent;
use super::connection::{Conn, on};
use super::error::{Error, Fault};
use super::keys::StoredDataKey;
use super::schema::{coming_data_key, data_keys};
use super::store::{Effect, Store};
use crate::failpoint::failpoint;
use crate::oauth::NumericDate;

/// What became of [`Store::begin_master_key`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterKeyChange {
    /// Both master keys open the database from now on.
    Begun,
    /// They did before: this one was begun already.
    Resumed,
    /// A change to another master key, of this identifier, is under way.
    Busy(String),
}

const ONLY: i64 = 1;

impl Store {
    /// The data key as it is wrapped by the master key that comes, while that changes.
    pub fn coming_data_key(&self) -> Result<Option<StoredDataKey>, Error> {
        self.read(coming)
    }

    /// Has a further master key open the database, beside the present one.
    pub fn begin_master_key(&self, key: &StoredDataKey, event: &AuditEvent) -> Result<MasterKeyChange, Error> {
        let (key, event) = (key.clone(), event.clone());
        self.administer(move |conn| {
            if let Some(under_way) = coming(conn)? {
                return Ok(Effect::none(if under_way.master_key_id == key.master_key_id {
                    MasterKeyChange::Resumed
                } else {
                    MasterKeyChange::Busy(under_way.master_key_id)
                }));
            }
            on!(conn, c => diesel::insert_into(coming_data_key::table)
                .values((
                    coming_data_key::id.eq(ONLY),
                    coming_data_key::master_key_id.eq(&key.master_key_id),
                    coming_data_key::wrapped.eq(&key.wrapped),
                    coming_data_key::created_at.eq(key.created_at.epoch()),
                ))
                .execute(c))?;
            failpoint!("master.inserted");
            Ok(Effect::of(MasterKeyChange::Begun, event))
        })
    }

    /// Ends the change: from now on the master key `id` alone opens the database; `false` when no change to it is under way.
    pub fn finish_master_key(&self, id: &str, event: &AuditEvent) -> Result<bool, Error> {
        let (id, event) = (id.to_owned(), event.clone());
        self.administer(move |conn| {
            let Some(key) = coming(conn)?.filter(|key| key.master_key_id == id) else {
                return Ok(Effect::none(false));
            };
            on!(conn, c => diesel::update(data_keys::table.find(ONLY))
                .set((data_keys::master_key_id.eq(&key.master_key_id), data_keys::wrapped.eq(&key.wrapped)))
                .execute(c))?;
            failpoint!("master.rewrapped");
            on!(conn, c => diesel::delete(coming_data_key::table).execute(c))?;
            failpoint!("master.complete");
            Ok(Effect::of(true, event))
        })
    }

    /// Gives a change up: the present master key alone opens the database; `false` when none is under way.
    pub fn abandon_master_key(&self, event: &AuditEvent) -> Result<bool, Error> {
        let event = event.clone();
        self.administer(move |conn| {
            let deleted = on!(conn, c => diesel::delete(coming_data_key::table).execute(c))?;
            failpoint!("master.deleted");
            Ok(if deleted == 0 {
                Effect::none(false)
            } else {
                Effect::of(true, event)
            })
        })
    }
}

fn coming(conn: &mut Conn) -> Result<Option<StoredDataKey>, Fault> {
    let row: Option<(String, Vec<u8>, i64)> = on!(conn, c => coming_data_key::table
        .find(ONLY)
        .select((coming_data_key::master_key_id, coming_data_key::wrapped, coming_data_key::created_at))
        .get_result(c)
        .optional())?;
    Ok(row.map(|(master_key_id, wrapped, created_at)| StoredDataKey {
        master_key_id,
        wrapped,
        created_at: NumericDate::from_epoch(created_at),
    }))
}
