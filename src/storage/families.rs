use std::fmt::Display;

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};

use super::audit::AuditEvent;
use super::client_rows;
use super::connection::{Conn, on};
use super::error::{Error, Fault};
use super::refresh_tokens;
use super::schema::{clients, token_families, users};
use super::store::{Effect, Store};
use crate::failpoint::failpoint;
use crate::oauth::{Audiences, Client, ClientId, FamilyId, NumericDate, Scope, SecretHash, User, UserId};

/// A client or user as they stood when a grant was decided on: the family is opened only if they still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Their row.
    pub row: i64,
    /// Their epoch.
    pub epoch: i64,
}

impl From<&Client> for Standing {
    fn from(client: &Client) -> Self {
        Standing {
            row: client.row,
            epoch: client.epoch,
        }
    }
}

impl From<&User> for Standing {
    fn from(user: &User) -> Self {
        Standing {
            row: user.row,
            epoch: user.epoch,
        }
    }
}

/// A token family to be opened: what one grant gives.
#[derive(Debug, Clone)]
pub struct NewFamily {
    /// Its identifier.
    pub id: FamilyId,
    /// The client.
    pub client: Standing,
    /// The user who granted it; `None` when the client acts for itself.
    pub user: Option<Standing>,
    /// The granted scope, of which each access token has all or some.
    pub scope: Scope,
    /// The granted audiences, of which each access token has all or some.
    pub audiences: Audiences,
    /// When.
    pub created_at: NumericDate,
    /// When it ends, however often it is refreshed.
    pub expires_at: NumericDate,
}

/// What became of [`Store::open_family`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyCreation {
    /// The family lives and its first refresh token is accepted.
    Opened,
    /// Client or user were disabled, deleted or given another password since they were read. Nothing is stored.
    Gone,
}

/// A token family and how its client and user stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFamily {
    /// Its identifier.
    pub id: FamilyId,
    /// The client's row.
    pub client_row: i64,
    /// The client.
    pub client_id: ClientId,
    /// The user who granted it; `None` when the client acts for itself.
    pub user_id: Option<UserId>,
    /// The granted scope.
    pub scope: Scope,
    /// The granted audiences.
    pub audiences: Audiences,
    /// When it was opened.
    pub created_at: NumericDate,
    /// When it ends, however often it is refreshed.
    pub expires_at: NumericDate,
    /// Whether and why it was revoked.
    pub revoked: Option<FamilyRevocation>,
    /// Whether the client is enabled and was never disabled since.
    pub client_stands: bool,
    /// Whether the user is enabled, was never disabled since and has the same password; true when there is no user.
    pub user_stands: bool,
}

/// When and why a family was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyRevocation {
    /// When.
    pub at: NumericDate,
    /// Why, in a word such as `reuse`.
    pub reason: String,
}

/// Why a family does not live any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyEnd {
    /// Somebody revoked it, or one of its tokens was used twice.
    Revoked,
    /// The client is disabled, or was in the meantime.
    Client,
    /// The user is disabled, or was in the meantime, or has another password.
    User,
    /// Its time is over.
    Expired,
}

impl TokenFamily {
    /// Why it does not live at `now`; `None` while it lives.
    pub fn end(&self, now: NumericDate) -> Option<FamilyEnd> {
        if self.revoked.is_some() {
            Some(FamilyEnd::Revoked)
        } else if !self.client_stands {
            Some(FamilyEnd::Client)
        } else if !self.user_stands {
            Some(FamilyEnd::User)
        } else if self.expires_at <= now {
            Some(FamilyEnd::Expired)
        } else {
            None
        }
    }
}

/// Which families are asked for.
#[derive(Debug, Clone)]
pub struct FamilyFilter {
    /// Only those of this client.
    pub client_id: Option<ClientId>,
    /// Only those of this user.
    pub user_id: Option<UserId>,
    /// Only those that come after the family of this instant with this identifier.
    pub after: Option<(NumericDate, FamilyId)>,
    /// At most so many.
    pub limit: u32,
}

impl Default for FamilyFilter {
    /// The newest hundred.
    fn default() -> Self {
        FamilyFilter {
            client_id: None,
            user_id: None,
            after: None,
            limit: 100,
        }
    }
}

/// A family has not been ended by anybody: [`TokenFamily::end`] but for its time, as a condition on `token_families` joined with
/// `clients` and `users`.
macro_rules! stands {
    () => {
        token_families::revoked_at
            .is_null()
            .and(clients::enabled)
            .and(clients::epoch.eq(token_families::client_epoch))
            .and(
                token_families::owner.is_null().or(users::enabled
                    .nullable()
                    .and(users::epoch.nullable().eq(token_families::owner_epoch))),
            )
    };
}
pub(super) use stands;

impl Store {
    /// Opens a token family with its first refresh token, of generation 0, unless client or user do not stand as they did. The
    /// token expires when the family does, if not earlier.
    pub fn open_family(
        &self,
        new: &NewFamily,
        first: &SecretHash,
        first_expires_at: NumericDate,
        event: &AuditEvent,
    ) -> Result<FamilyCreation, Error> {
        let (new, first, event) = (new.clone(), first.clone(), event.clone());
        let first_expires_at = first_expires_at.min(new.expires_at);
        let outcome = self.begin_family(move |conn| {
            failpoint!("family.begun");
            if !insert(conn, &new)? {
                return Ok(Effect::none(FamilyCreation::Gone));
            }
            failpoint!("family.inserted");
            let token = refresh_tokens::NewRow {
                hash: first.as_bytes().to_vec(),
                family: new.id.as_str().to_owned(),
                generation: 0,
                issued_at: new.created_at.epoch(),
                expires_at: first_expires_at.epoch(),
            };
            refresh_tokens::insert(conn, &token)?;
            failpoint!("family.complete");
            Ok(Effect::of(FamilyCreation::Opened, event))
        });
        failpoint!("family.answered");
        outcome
    }

    /// Writes down that a user signed in without a family, unless client or user do not stand as they did; whether they do.
    pub fn sign_in(&self, client: Standing, user: Standing, event: &AuditEvent) -> Result<bool, Error> {
        let event = event.clone();
        self.begin_family(move |conn| {
            let stand = clients::table
                .inner_join(users::table.on(users::id.eq(user.row)))
                .filter(clients::id.eq(client.row))
                .filter(clients::enabled.and(clients::epoch.eq(client.epoch)))
                .filter(users::enabled.and(users::epoch.eq(user.epoch)));
            match on!(conn, c => diesel::select(exists(stand)).get_result(c))? {
                true => Ok(Effect::of(true, event)),
                false => Ok(Effect::none(false)),
            }
        })
    }

    /// Ends a family as of `at`, `reason` being a word for people; whether it was this call that did. Once it is answered, no
    /// token of the family is given out or accepted.
    pub fn revoke_family(
        &self,
        id: &FamilyId,
        at: NumericDate,
        reason: &str,
        event: &AuditEvent,
    ) -> Result<bool, Error> {
        let (id, reason, event) = (id.as_str().to_owned(), reason.to_owned(), event.clone());
        let outcome = self.act(move |conn| {
            failpoint!("revocation.begun");
            let revoked = on!(conn, c => diesel::update(token_families::table)
                .filter(token_families::id.eq(&id).and(token_families::revoked_at.is_null()))
                .set((
                    token_families::revoked_at.eq(at.epoch()),
                    token_families::revoked_reason.eq(&reason),
                ))
                .execute(c))?;
            if revoked == 0 {
                return Ok(Effect::none(false));
            }
            failpoint!("revocation.marked");
            Ok(Effect::of(true, event))
        });
        failpoint!("revocation.answered");
        outcome
    }

    /// The families that pass the filter, newest first, those that have ended included.
    pub fn families(&self, filter: &FamilyFilter) -> Result<Vec<TokenFamily>, Error> {
        self.read(|conn| {
            // Their rows first: PostgreSQL reads an index in order only for a constant of the same table, and sorts all that they have
            // for one that a join finds.
            let client = match &filter.client_id {
                Some(id) => Some(client_rows::row_of(conn, id.as_str())?),
                None => None,
            };
            let user = match &filter.user_id {
                Some(id) => Some(super::users::row_of(conn, id.as_str())?),
                None => None,
            };
            if client == Some(None) || user == Some(None) {
                return Ok(Vec::new());
            }
            let rows: Vec<(FamilyRow, ClientColumns, Option<UserColumns>)> = on!(conn, c => {
                let mut query = token_families::table
                    .inner_join(clients::table)
                    .left_join(users::table)
                    .select((
                        FamilyRow::as_select(),
                        ClientColumns::as_select(),
                        Option::<UserColumns>::as_select(),
                    ))
                    .into_boxed();
                if let Some(client) = client.flatten() {
                    query = query.filter(token_families::client.eq(client));
                }
                if let Some(user) = user.flatten() {
                    query = query.filter(token_families::owner.eq(user));
                }
                if let Some((at, id)) = &filter.after {
                    let of_the_same_second = token_families::created_at.eq(at.epoch()).and(token_families::id.gt(id.as_str()));
                    query = query
                        // Says no more than what follows, but bounds the index.
                        .filter(token_families::created_at.le(at.epoch()))
                        .filter(token_families::created_at.lt(at.epoch()).or(of_the_same_second));
                }
                query
                    .order((token_families::created_at.desc(), token_families::id))
                    .limit(i64::from(filter.limit))
                    .load(c)
            })?;
            let families = rows
                .into_iter()
                .map(|(row, client, user)| row.into_family(client, user));
            families.collect()
        })
    }
}

/// Inserts the family if client and user stand; whether they did.
fn insert(conn: &mut Conn, new: &NewFamily) -> Result<bool, Fault> {
    let (user, user_epoch) = (new.user.map(|user| user.row), new.user.map(|user| user.epoch));
    let inserted = on!(conn, c => clients::table
        .left_join(users::table.on(users::id.nullable().eq(user)))
        .filter(clients::id.eq(new.client.row))
        .filter(clients::enabled.and(clients::epoch.eq(new.client.epoch)))
        .filter(user.is_none().into_sql::<Bool>().or(users::enabled
            .nullable()
            .and(users::epoch.nullable().eq(user_epoch))))
        .select((
            new.id.as_str().into_sql::<Text>(),
            clients::id,
            clients::epoch,
            users::id.nullable(),
            users::epoch.nullable(),
            new.scope.to_string().into_sql::<Text>(),
            new.audiences.to_string().into_sql::<Text>(),
            new.created_at.epoch().into_sql::<BigInt>(),
            new.expires_at.epoch().into_sql::<BigInt>(),
        ))
        .insert_into(token_families::table)
        .into_columns((
            token_families::id,
            token_families::client,
            token_families::client_epoch,
            token_families::owner,
            token_families::owner_epoch,
            token_families::scope,
            token_families::audiences,
            token_families::created_at,
            token_families::expires_at,
        ))
        .execute(c))?;
    Ok(inserted > 0)
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = token_families, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
pub(super) struct FamilyRow {
    id: String,
    client: i64,
    client_epoch: i64,
    owner_epoch: Option<i64>,
    scope: String,
    audiences: String,
    created_at: i64,
    expires_at: i64,
    revoked_at: Option<i64>,
    revoked_reason: Option<String>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = clients, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
pub(super) struct ClientColumns {
    client_id: String,
    enabled: bool,
    epoch: i64,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = users, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
pub(super) struct UserColumns {
    user_id: String,
    enabled: bool,
    epoch: i64,
}

impl FamilyRow {
    pub(super) fn into_family(self, client: ClientColumns, user: Option<UserColumns>) -> Result<TokenFamily, Fault> {
        let corrupt =
            |why: &dyn Display| Fault::corrupt("token_families", format!("family {:?}, of which {why}", self.id));
        let revoked = self.revoked_at.map(|at| FamilyRevocation {
            at: NumericDate::from_epoch(at),
            reason: self.revoked_reason.unwrap_or_default(),
        });
        let user_stands = match &user {
            Some(user) => user.enabled && Some(user.epoch) == self.owner_epoch,
            None => self.owner_epoch.is_none(),
        };
        Ok(TokenFamily {
            id: FamilyId::parse(&self.id).map_err(|error| corrupt(&error))?,
            client_row: self.client,
            client_id: ClientId::parse(&client.client_id).map_err(|error| corrupt(&error))?,
            user_id: user
                .map(|user| UserId::parse(&user.user_id))
                .transpose()
                .map_err(|error| corrupt(&error))?,
            scope: Scope::parse(&self.scope).map_err(|error| corrupt(&error))?,
            audiences: Audiences::parse(&self.audiences).map_err(|error| corrupt(&error))?,
            created_at: NumericDate::from_epoch(self.created_at),
            expires_at: NumericDate::from_epoch(self.expires_at),
            revoked,
            client_stands: client.enabled && client.epoch == self.client_epoch,
            user_stands,
        })
    }
}
