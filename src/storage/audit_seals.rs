use diesel::dsl::max;
use diesel::prelude::*;

use super::audit::Row;
use super::connection::on;
use super::error::{Error, Fault};
use super::keys::Insertion;
use super::schema::{audit_events, audit_seals};
use super::store::Store;
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
        };
        self.write(move |conn| {
            let inserted = on!(conn, c => diesel::insert_into(audit_seals::table)
                .values(&row)
                .on_conflict_do_nothing()
                .execute(c))?;
            Ok(Insertion::from_count(inserted))
        })
    }

    /// Deletes the events under seals that were made before `before`, until `limit` or more are gone, and of those seals all but the
    /// last, so that what follows can be verified from there. Tells how many events it deleted; two nodes that do it at once delete
    /// the same ones. What is not sealed stays, and so does the newest event, whose number must not fall.
    pub fn prune_audit_events(&self, before: NumericDate, limit: u32) -> Result<usize, Error> {
        let newest: Option<i64> =
            self.read(|conn| Ok(on!(conn, c => audit_events::table.select(max(audit_events::id)).get_result(c))?))?;
        let newest = newest.unwrap_or(0);
        let mut deleted = 0;
        while deleted < limit as usize {
            let mut seals = self
                .audit_seals_after(0, 2)?
                .into_iter()
                .filter(|seal| seal.sealed_at < before);
            let Some(oldest) = seals.next() else { break };
            deleted += self.write(move |conn| {
                let under =
                    audit_events::table.filter(audit_events::id.le(oldest.last_id).and(audit_events::id.lt(newest)));
                Ok(on!(conn, c => diesel::delete(under).execute(c))?)
            })?;
            if seals.next().is_none() {
                break;
            }
            self.write(move |conn| {
                let done = audit_seals::table.filter(audit_seals::number.le(oldest.number));
                Ok(on!(conn, c => diesel::delete(done).execute(c))?)
            })?;
        }
        Ok(deleted)
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
}

impl SealRow {
    fn into_seal(self) -> Result<AuditSeal, Fault> {
        let mac = self.mac.try_into().map_err(|_wrong_length| {
            Fault::corrupt(
                "audit_seals",
                format!("seal {} without a code of 32 bytes", self.number),
            )
        })?;
        Ok(AuditSeal {
            number: self.number,
            last_id: self.last_id,
            events: self.events,
            mac,
            sealed_at: NumericDate::from_epoch(self.sealed_at),
        })
    }
}
