use diesel::dsl::max;
use diesel::prelude::*;

use super::audit::Row;
use super::connection::on;
use super::error::{Error, Fault};
use super::keys::Insertion;
use super::schema::{audit_events, audit_seals};
use super::store::{Effect, Store};
use crate::oauth::NumericDate;

/// An audit event exactly as it is stored, to be sealed or exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Rises from event to event, with gaps.
    pub id: i64,
    /// When.
    pub at: NumericDate,
    /// What.
    pub event: String,
    /// Who.
    pub actor: String,
    /// The client that it is about.
    pub client_id: Option<String>,
    /// The signing key that it is about.
    pub kid: Option<String>,
    /// More, as the text of a JSON document.
    pub detail: String,
}

/// A seal over a run of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSeal {
    /// 1 for the first, and one more for each that follows.
    pub number: i64,
    /// The id of the last event under it.
    pub last_id: i64,
    /// How many events are under it.
    pub events: i64,
    /// Over the seal before and the events.
    pub mac: [u8; 32],
    /// When it was made.
    pub sealed_at: NumericDate,
    /// Whether the trail begins after it, because its events have outlived their retention.
    pub pruned: bool,
    /// Over all of this, for when its events are gone.
    pub row_mac: [u8; 32],
}

impl Store {
    /// The first `limit` events with an id beyond `id`, in the order of their ids.
    pub fn audit_records_after(&self, id: i64, limit: u32) -> Result<Vec<AuditRecord>, Error> {
        self.read(|conn| {
            let rows: Vec<(i64, Row)> = on!(conn, c => audit_events::table
                .filter(audit_events::id.gt(id))
                .order(audit_events::id)
                .limit(i64::from(limit))
                .select((audit_events::id, Row::as_select()))
                .load(c))?;
            Ok(rows.into_iter().map(into_record).collect())
        })
    }

    /// The newest seal.
    pub fn last_audit_seal(&self) -> Result<Option<AuditSeal>, Error> {
        self.read(|conn| {
            let newest: Option<i64> =
                on!(conn, c => audit_seals::table.select(max(audit_seals::number)).get_result(c))?;
            let Some(newest) = newest else { return Ok(None) };
            let row: Option<SealRow> = on!(conn, c => audit_seals::table
                .find(newest)
                .select(SealRow::as_select())
                .get_result(c)
                .optional())?;
            row.map(SealRow::into_seal).transpose()
        })
    }

    /// The first `limit` seals with a number beyond `number`, in order.
    pub fn audit_seals_after(&self, number: i64, limit: u32) -> Result<Vec<AuditSeal>, Error> {
        self.read(|conn| {
            let rows: Vec<SealRow> = on!(conn, c => audit_seals::table
                .filter(audit_seals::number.gt(number))
                .order(audit_seals::number)
                .limit(i64::from(limit))
                .select(SealRow::as_select())
                .load(c))?;
            rows.into_iter().map(SealRow::into_seal).collect()
        })
    }

    /// Stores a seal, unless another node made one of this number first: then that counts.
    pub fn add_audit_seal(&self, seal: &AuditSeal) -> Result<Insertion, Error> {
        let row = SealRow {
            number: seal.number,
            last_id: seal.last_id,
            events: seal.events,
            mac: seal.mac.to_vec(),
            sealed_at: seal.sealed_at.epoch(),
            pruned: seal.pruned,
            row_mac: seal.row_mac.to_vec(),
        };
        self.write(move |conn| {
            let inserted = on!(conn, c => diesel::insert_into(audit_seals::table)
                .values(&row)
                .on_conflict_do_nothing()
                .execute(c))?;
            Ok(Insertion::from_count(inserted))
        })
    }

    /// Has the trail begin after a seal, and forgets the seals before it. `row_mac` is its new one.
    pub fn begin_audit_trail_after(&self, number: i64, row_mac: &[u8; 32]) -> Result<(), Error> {
        let row_mac = row_mac.to_vec();
        self.act(move |conn| {
            on!(conn, c => diesel::update(audit_seals::table.find(number))
                .set((audit_seals::pruned.eq(true), audit_seals::row_mac.eq(&row_mac)))
                .execute(c))?;
            on!(conn, c => diesel::delete(audit_seals::table.filter(audit_seals::number.lt(number))).execute(c))?;
            Ok(Effect::none(()))
        })
    }

    /// Deletes the `limit` oldest events with an id up to `last_id`, and tells how many. The newest of all stays, whose number must
    /// not fall.
    pub fn delete_audit_events(&self, last_id: i64, limit: u32) -> Result<usize, Error> {
        let (newest, upper) = self.read(|conn| {
            let newest: Option<i64> = on!(conn, c => audit_events::table.select(max(audit_events::id)).get_result(c))?;
            let ids: Vec<i64> = on!(conn, c => audit_events::table
                .filter(audit_events::id.le(last_id))
                .order(audit_events::id)
                .limit(i64::from(limit))
                .select(audit_events::id)
                .load(c))?;
            Ok((newest.unwrap_or(i64::MIN), ids.last().copied()))
        })?;
        let Some(upper) = upper else { return Ok(0) };
        self.write(move |conn| {
            let old = audit_events::table.filter(audit_events::id.le(upper).and(audit_events::id.lt(newest)));
            Ok(on!(conn, c => diesel::delete(old).execute(c))?)
        })
    }

    /// The number of the newest event.
    pub fn newest_audit_event(&self) -> Result<Option<i64>, Error> {
        self.read(|conn| Ok(on!(conn, c => audit_events::table.select(max(audit_events::id)).get_result(c))?))
    }
}

fn into_record((id, row): (i64, Row)) -> AuditRecord {
    AuditRecord {
        id,
        at: NumericDate::from_epoch(row.at),
        event: row.event,
        actor: row.actor,
        client_id: row.client_id,
        kid: row.kid,
        detail: row.detail,
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = audit_seals, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
struct SealRow {
    number: i64,
    last_id: i64,
    events: i64,
    mac: Vec<u8>,
    sealed_at: i64,
    pruned: bool,
    row_mac: Vec<u8>,
}

impl SealRow {
    fn into_seal(self) -> Result<AuditSeal, Fault> {
        let code = |bytes: Vec<u8>| {
            bytes.try_into().map_err(|_wrong_length| {
                Fault::corrupt(
                    "audit_seals",
                    format!("seal {} without a code of 32 bytes", self.number),
                )
            })
        };
        Ok(AuditSeal {
            number: self.number,
            last_id: self.last_id,
            events: self.events,
            mac: code(self.mac)?,
            sealed_at: NumericDate::from_epoch(self.sealed_at),
            pruned: self.pruned,
            row_mac: code(self.row_mac)?,
        })
    }
}
