use diesel::prelude::*;

use super::connection::{Conn, on};
use super::error::{Error, Fault};
use super::schema::audit_events;
use super::store::Store;
use crate::oauth::{ClientId, NumericDate};

/// What somebody did, for those who ask later. Never holds a secret.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    /// When.
    pub at: NumericDate,
    /// What, in a word such as `client.created`.
    pub event: String,
    /// Who: an administrator's subject, the command line's user, or the server itself.
    pub actor: String,
    /// The client that it is about.
    pub client_id: Option<String>,
    /// The signing key that it is about.
    pub kid: Option<String>,
    /// More, as JSON.
    pub detail: serde_json::Value,
}

/// Which audit events are asked for.
#[derive(Debug, Clone)]
pub struct AuditFilter {
    /// Only those about this client, which may be deleted since.
    pub client_id: Option<ClientId>,
    /// Only those of this name, such as `client.created`.
    pub event: Option<String>,
    /// Only those of this instant and later ones.
    pub since: Option<NumericDate>,
    /// Only those older than the event of this instant with this id.
    pub before: Option<(NumericDate, i64)>,
    /// At most so many.
    pub limit: u32,
}

impl Default for AuditFilter {
    /// The newest hundred.
    fn default() -> Self {
        AuditFilter {
            client_id: None,
            event: None,
            since: None,
            before: None,
            limit: 100,
        }
    }
}

impl Store {
    /// Records an event that changes nothing else. Methods that change something record theirs themselves.
    pub fn record(&self, event: &AuditEvent) -> Result<(), Error> {
        let event = event.clone();
        self.write(move |conn| insert(conn, &[event]))
    }

    /// The audit events that pass the filter, newest first.
    pub fn audit_events(&self, filter: &AuditFilter) -> Result<Vec<AuditEvent>, Error> {
        let page = self.audit_page(filter)?;
        Ok(page.into_iter().map(|(_, event)| event).collect())
    }

    /// The same with their ids.
    pub fn audit_page(&self, filter: &AuditFilter) -> Result<Vec<(i64, AuditEvent)>, Error> {
        self.read(|conn| {
            let rows: Vec<(i64, Row)> = on!(conn, c => {
                let mut query = audit_events::table
                    .select((audit_events::id, Row::as_select()))
                    .into_boxed();
                if let Some(client_id) = &filter.client_id {
                    query = query.filter(audit_events::client_id.eq(client_id.as_str()));
                }
                if let Some(event) = &filter.event {
                    query = query.filter(audit_events::event.eq(event));
                }
                if let Some((at, id)) = filter.before {
                    let (at, of_the_same_second) = (at.epoch(), audit_events::at.eq(at.epoch()).and(audit_events::id.lt(id)));
                    query = query
                        // Says no more than what follows, but bounds the index.
                        .filter(audit_events::at.le(at))
                        .filter(audit_events::at.lt(at).or(of_the_same_second));
                }
                if let Some(since) = filter.since {
                    query = query.filter(audit_events::at.ge(since.epoch()));
                }
                query
                    .order((audit_events::at.desc(), audit_events::id.desc()))
                    .limit(i64::from(filter.limit))
                    .load(c)
            })?;
            rows.into_iter().map(|(id, row)| Ok((id, row.into_event()?))).collect()
        })
    }
}

/// Rows inserted in one statement, of which SQLite takes only so many values.
const ROWS_AT_ONCE: usize = 500;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = audit_events, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
#[diesel(treat_none_as_default_value = false)]
pub(super) struct Row {
    pub(super) at: i64,
    pub(super) event: String,
    pub(super) actor: String,
    pub(super) client_id: Option<String>,
    pub(super) kid: Option<String>,
    pub(super) detail: String,
}

impl From<&AuditEvent> for Row {
    fn from(event: &AuditEvent) -> Self {
        Row {
            at: event.at.epoch(),
            event: event.event.clone(),
            actor: event.actor.clone(),
            client_id: event.client_id.clone(),
            kid: event.kid.clone(),
            detail: event.detail.to_string(),
        }
    }
}

impl Row {
    fn into_event(self) -> Result<AuditEvent, Fault> {
        let detail = serde_json::from_str(&self.detail)
            .map_err(|error| Fault::corrupt("audit_events", format!("a detail that is not JSON ({error})")))?;
        Ok(AuditEvent {
            at: NumericDate::from_epoch(self.at),
            event: self.event,
            actor: self.actor,
            client_id: self.client_id,
            kid: self.kid,
            detail,
        })
    }
}

/// Records events in the transaction under way.
pub(super) fn insert(conn: &mut Conn, events: &[AuditEvent]) -> Result<(), Fault> {
    if events.is_empty() {
        return Ok(());
    }
    let rows: Vec<Row> = events.iter().map(Row::from).collect();
    // One row is inserted by a statement that is prepared once; how many there may be stands in the text of the other.
    if let [row] = rows.as_slice() {
        on!(conn, c => diesel::insert_into(audit_events::table).values(row).execute(c))?;
        return Ok(());
    }
    for some in rows.chunks(ROWS_AT_ONCE) {
        on!(conn, c => diesel::insert_into(audit_events::table).values(some).execute(c))?;
    }
    Ok(())
}
