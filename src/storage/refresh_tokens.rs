use std::sync::Arc;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::audit::{self, AuditEvent};
use super::connection::{Conn, on};
use super::couriers::Parcel;
use super::error::{Error, Fault};
use super::families::{ClientColumns, FamilyRow, TokenFamily, UserColumns, stands};
use super::schema::{clients, refresh_tokens, token_families, users};
use super::store::{Company, OPEN_GATE, Store};
use super::turn::{Turn, Waiting};
use crate::failpoint::failpoint;
use crate::oauth::{NumericDate, SecretHash};

/// A refresh token as it is stored, without the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshTokenRecord {
    /// Its family.
    pub family: TokenFamily,
    /// Its place in the family, beginning with 0.
    pub generation: u64,
    /// When it was issued.
    pub issued_at: NumericDate,
    /// From when on it is refused if it is not used; never later than the family's end.
    pub expires_at: NumericDate,
    /// When it was used.
    pub rotated_at: Option<NumericDate>,
    /// Whether its successor was used; `None` when there is none: it was not rotated, or the successor has expired and is swept.
    pub successor_rotated: Option<bool>,
}

/// A refresh token to be replaced by its successor.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The presented token's hash.
    pub hash: SecretHash,
    /// The successor's hash.
    pub successor_hash: SecretHash,
    /// When.
    pub at: NumericDate,
    /// From when on the successor is refused if it is not used; the family's end if that is earlier.
    pub successor_expires_at: NumericDate,
}

/// What became of [`Store::rotate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationOutcome {
    /// The token is used and its successor accepted. Of all rotations of one token one is answered so.
    Rotated,
    /// Somebody used the token before: read it again.
    Replayed,
    /// The token is unknown or expired, or its family does not live.
    Ended,
}

/// Tokens, chosen by their hash, that may be used at `$at`, or were used, of families that live then: the rule of
/// [`Store::rotate`] on both backends.
macro_rules! usable {
    ($chosen:expr, $at:expr) => {
        refresh_tokens::table
            .inner_join(token_families::table.inner_join(clients::table).left_join(users::table))
            .filter($chosen.and(refresh_tokens::expires_at.gt($at)))
            .filter(token_families::expires_at.gt($at).and(stands!()))
    };
}
pub(super) use usable;

/// A token by its hash, with all that a decision about it needs.
macro_rules! by_hash {
    ($hash:expr) => {{
        let successor = diesel::alias!(refresh_tokens as successor);
        refresh_tokens::table
            .inner_join(token_families::table.inner_join(clients::table).left_join(users::table))
            .left_join(
                successor.on(successor.field(refresh_tokens::family).eq(refresh_tokens::family).and(
                    successor
                        .field(refresh_tokens::generation)
                        .eq(refresh_tokens::generation + 1),
                )),
            )
            .filter(refresh_tokens::hash.eq($hash))
            .select((
                TokenRow::as_select(),
                FamilyRow::as_select(),
                ClientColumns::as_select(),
                Option::<UserColumns>::as_select(),
                successor
                    .fields((refresh_tokens::generation, refresh_tokens::rotated_at))
                    .nullable(),
            ))
    }};
}

type Found = (
    TokenRow,
    FamilyRow,
    ClientColumns,
    Option<UserColumns>,
    Option<(i64, Option<i64>)>,
);

impl Store {
    /// The token with that hash, its family, how client and user stand, and whether its successor was used, in one statement.
    pub fn refresh_token(&self, hash: &SecretHash) -> Result<Option<RefreshTokenRecord>, Error> {
        self.read(|conn| {
            let found: Option<Found> = on!(conn, c => by_hash!(hash.as_bytes()).get_result(c).optional())?;
            found.map(into_record).transpose()
        })
    }

    /// Uses a token and stores its successor, if the token was not used and its family lives, client and user included. All of it
    /// is checked in the transaction that changes it, whatever was read before. One round trip on PostgreSQL.
    ///
    /// [`RotationOutcome::Rotated`] is durable once it is answered. The event is recorded in that case alone.
    pub fn rotate(&self, rotation: &Rotation, event: &AuditEvent) -> Result<RotationOutcome, Error> {
        let (rotation, event) = (rotation.clone(), event.clone());
        let outcome = self.write_repeatable(move |conn| match conn {
            Conn::Postgres(link) => {
                failpoint!("rotation.sending");
                let (hash, at) = (rotation.hash.as_bytes(), rotation.at.epoch());
                let statement = RotateStatement {
                    usable: usable!(refresh_tokens::hash.eq(hash), at).select((
                        token_families::id,
                        token_families::expires_at,
                        refresh_tokens::generation,
                    )),
                    hash: hash.to_vec(),
                    successor_hash: rotation.successor_hash.as_bytes().to_vec(),
                    at,
                    successor_expires_at: rotation.successor_expires_at.epoch(),
                    event: audit::Row::from(&event),
                };
                // Not `get_result`, which is content with the first row. Rows are there before the commit, and a server that is
                // shut down in between still sends them; reading on to the end waits for the commit.
                let answer: Vec<(bool, bool)> = statement.load(&mut link.connection)?;
                let (is_usable, rotated) = answer.first().copied().ok_or(DieselError::NotFound)?;
                Ok(match (rotated, is_usable) {
                    (true, _) => RotationOutcome::Rotated,
                    (false, true) => RotationOutcome::Replayed,
                    (false, false) => RotationOutcome::Ended,
                })
            }
            Conn::Sqlite(_) => rotate_in_steps(conn, &rotation, &event),
        });
        failpoint!("rotation.answered");
        outcome
    }

    /// The same for somebody who does not wait on this thread, in company of all who ask at the same time: one transaction, and one
    /// round trip on PostgreSQL. `done` is told whether the rotation happened, on another thread, or on this one when it cannot even
    /// be queued; false says that [`rotate`](Self::rotate) is to be asked, which knows why not.
    ///
    /// As long as its turn has not come, it can be given up, and is when nobody waits for it.
    pub fn rotate_soon(
        &self,
        rotation: Rotation,
        event: AuditEvent,
        done: impl FnOnce(Result<bool, Error>) + Send + 'static,
    ) -> Waiting {
        let done = |outcome| {
            failpoint!("rotation.answered");
            done(outcome);
        };
        match self.company() {
            Company::Writer(writer) => {
                let intention = move |conn: &mut Conn| rotate_in_steps(conn, &rotation, &event);
                Waiting(writer.submit_soon(intention, |outcome| {
                    done(outcome.map(|outcome| outcome == RotationOutcome::Rotated));
                }))
            }
            Company::Couriers(couriers) => {
                let turn = Arc::new(Turn::default());
                couriers.take(Parcel {
                    rotation,
                    event,
                    turn: Arc::clone(&turn),
                    done: Box::new(done),
                });
                Waiting(turn)
            }
        }
    }
}

/// On SQLite, where the writer lets nothing come in between.
fn rotate_in_steps(conn: &mut Conn, rotation: &Rotation, event: &AuditEvent) -> Result<RotationOutcome, Fault> {
    failpoint!("rotation.begun");
    let (hash, at) = (rotation.hash.as_bytes(), rotation.at.epoch());
    let usable: Option<(String, i64, i64, Option<i64>)> = on!(conn, c => usable!(refresh_tokens::hash.eq(hash), at)
        .select((
            token_families::id,
            token_families::expires_at,
            refresh_tokens::generation,
            refresh_tokens::rotated_at,
        ))
        .get_result(c)
        .optional())?;
    let (family, family_expires_at, generation) = match usable {
        Some((family, expires_at, generation, None)) => (family, expires_at, generation),
        Some((_, _, _, Some(_))) => return Ok(RotationOutcome::Replayed),
        None => return Ok(RotationOutcome::Ended),
    };
    mark(conn, hash, at)?;
    failpoint!("rotation.marked");
    let successor = NewRow {
        hash: rotation.successor_hash.as_bytes().to_vec(),
        family,
        generation: generation.saturating_add(1),
        issued_at: at,
        expires_at: rotation.successor_expires_at.epoch().min(family_expires_at),
    };
    insert(conn, &successor)?;
    failpoint!("rotation.inserted");
    audit::insert(conn, std::slice::from_ref(event))?;
    failpoint!("rotation.complete");
    Ok(RotationOutcome::Rotated)
}

/// The rotation on PostgreSQL as one statement, which is prepared once per connection.
///
/// It waits while somebody ends the families of a client or a user, and then sees that they did (see [`OPEN_GATE`]). It locks the
/// row of the family, so that it waits for a revocation under way and sees that. Then it marks the token if nobody did, and
/// only then stores the successor and the event. Whoever comes second waits for the first, finds the token marked, and changes
/// nothing.
#[derive(QueryId)]
struct RotateStatement<Q> {
    usable: Q,
    hash: Vec<u8>,
    successor_hash: Vec<u8>,
    at: i64,
    successor_expires_at: i64,
    event: audit::Row,
}

impl<Q> Query for RotateStatement<Q> {
    type SqlType = (Bool, Bool);
}

impl<Q, C> RunQueryDsl<C> for RotateStatement<Q> {}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for RotateStatement<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH gate AS (");
        out.push_sql(OPEN_GATE);
        out.push_sql("), usable (family, expires_at, generation) AS (");
        self.usable.walk_ast(out.reborrow())?;
        out.push_sql(" FOR UPDATE OF token_families), rotated AS (UPDATE refresh_tokens SET rotated_at = ");
        out.push_bind_param::<BigInt, _>(&self.at)?;
        out.push_sql(" FROM usable WHERE refresh_tokens.hash = ");
        out.push_bind_param::<Binary, _>(&self.hash)?;
        out.push_sql(
            " AND rotated_at IS NULL AND NOT EXISTS (SELECT FROM gate) RETURNING usable.*), successor AS (\
             INSERT INTO refresh_tokens (hash, family, generation, issued_at, expires_at) SELECT ",
        );
        out.push_bind_param::<Binary, _>(&self.successor_hash)?;
        out.push_sql(", family, generation + 1, ");
        out.push_bind_param::<BigInt, _>(&self.at)?;
        out.push_sql(", LEAST(expires_at, ");
        out.push_bind_param::<BigInt, _>(&self.successor_expires_at)?;
        out.push_sql(
            ") FROM rotated), audited AS (\
             INSERT INTO audit_events (at, event, actor, client_id, kid, detail) SELECT ",
        );
        out.push_bind_param::<BigInt, _>(&self.event.at)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(&self.event.event)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(&self.event.actor)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Text>, _>(&self.event.client_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Text>, _>(&self.event.kid)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(&self.event.detail)?;
        out.push_sql(" FROM rotated) SELECT EXISTS (SELECT FROM usable), EXISTS (SELECT FROM rotated)");
        Ok(())
    }
}

/// Marks a token as used, on SQLite. diesel prepares its own updates anew each time.
#[derive(QueryId)]
struct MarkStatement {
    hash: Vec<u8>,
    at: i64,
}

impl Query for MarkStatement {
    type SqlType = ();
}

impl<C> RunQueryDsl<C> for MarkStatement {}

impl QueryFragment<Sqlite> for MarkStatement {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("UPDATE refresh_tokens SET rotated_at = ");
        out.push_bind_param::<BigInt, _>(&self.at)?;
        out.push_sql(" WHERE hash = ");
        out.push_bind_param::<Binary, _>(&self.hash)?;
        Ok(())
    }
}

fn mark(conn: &mut Conn, hash: &[u8], at: i64) -> QueryResult<()> {
    if let Conn::Sqlite(connection) = conn {
        let hash = hash.to_vec();
        MarkStatement { hash, at }.execute(&mut **connection)?;
    }
    Ok(())
}

/// Stores a token in the transaction under way.
pub(super) fn insert(conn: &mut Conn, token: &NewRow) -> Result<(), Fault> {
    on!(conn, c => diesel::insert_into(refresh_tokens::table).values(token).execute(c))?;
    Ok(())
}

#[derive(Insertable)]
#[diesel(table_name = refresh_tokens)]
pub(super) struct NewRow {
    pub(super) hash: Vec<u8>,
    pub(super) family: String,
    pub(super) generation: i64,
    pub(super) issued_at: i64,
    pub(super) expires_at: i64,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = refresh_tokens, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
struct TokenRow {
    generation: i64,
    issued_at: i64,
    expires_at: i64,
    rotated_at: Option<i64>,
}

fn into_record((token, family, client, user, successor): Found) -> Result<RefreshTokenRecord, Fault> {
    let family = family.into_family(client, user)?;
    let generation = u64::try_from(token.generation).map_err(|_negative| {
        Fault::corrupt(
            "refresh_tokens",
            format!("a token of family {} with a negative generation", family.id),
        )
    })?;
    Ok(RefreshTokenRecord {
        family,
        generation,
        issued_at: NumericDate::from_epoch(token.issued_at),
        expires_at: NumericDate::from_epoch(token.expires_at),
        rotated_at: token.rotated_at.map(NumericDate::from_epoch),
        successor_rotated: successor.map(|(_, rotated_at)| rotated_at.is_some()),
    })
}

#[cfg(test)]
mod tests {
    use diesel::debug_query;

    use super::super::store::Settings;
    use super::super::url::DatabaseUrl;
    use super::*;

    #[derive(QueryableByName)]
    struct Step {
        #[diesel(sql_type = Text)]
        detail: String,
    }

    //
    #[test]
    fn sqlite_finds_a_token_by_indexes_alone() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("k.db").display());
        let store = Store::open(&Settings::new(DatabaseUrl::parse(&url).unwrap())).unwrap();
        store.migrate().unwrap();
        let hash: &[u8] = &[0; 32];
        let lookup = debug_query::<Sqlite, _>(&by_hash!(hash)).to_string();
        let rotation =
            debug_query::<Sqlite, _>(&usable!(refresh_tokens::hash.eq(hash), 1).select(token_families::id)).to_string();
        for sql in [lookup, rotation] {
            let (sql, _) = sql.split_once(" -- binds").unwrap();
            let explain = format!("EXPLAIN QUERY PLAN {sql}");
            let steps: Vec<Step> = store
                .read(|conn| Ok(on!(conn, c => diesel::sql_query(explain).load(c))?))
                .unwrap();
            assert!(steps.len() >= 4, "{sql}");
            for step in steps {
                assert!(step.detail.starts_with("SEARCH"), "{}: {sql}", step.detail);
            }
        }
    }

    // What is not cached is prepared for each request anew, which costs a round trip and a third of the rate.
    #[test]
    fn the_statements_of_a_refresh_are_prepared_once() {
        fn is_cached<Q: QueryId + QueryFragment<Pg>>(query: &Q) -> bool {
            Q::query_id().is_some() && query.is_safe_to_cache_prepared(&Pg).unwrap()
        }
        let hash: &[u8] = &[0; 32];
        assert!(is_cached(&by_hash!(hash)));
        let rotation = RotateStatement {
            usable: usable!(refresh_tokens::hash.eq(hash), 1).select((
                token_families::id,
                token_families::expires_at,
                refresh_tokens::generation,
            )),
            hash: hash.to_vec(),
            successor_hash: hash.to_vec(),
            at: 1,
            successor_expires_at: 2,
            event: audit::Row {
                at: 1,
                event: String::new(),
                actor: String::new(),
                client_id: None,
                kid: None,
                detail: String::new(),
            },
        };
        assert!(is_cached(&rotation));
        let mark = MarkStatement {
            hash: hash.to_vec(),
            at: 1,
        };
        assert!(MarkStatement::query_id().is_some() && mark.is_safe_to_cache_prepared(&Sqlite).unwrap());
    }
}
