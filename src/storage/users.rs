use std::collections::HashSet;
use std::fmt;

use diesel::dsl::{max, min};
use diesel::prelude::*;

use super::audit::AuditEvent;
use super::changes::ChangeKind;
use super::client_rows::first_epoch;
use super::connection::{Conn, on};
use super::deletion::{self, DELETED_TOGETHER, Deletion, Holder};
use super::error::{Error, Fault};
use super::schema::users;
use super::store::{Effect, Store};
use crate::oauth::{NumericDate, User, UserId, Username};

/// A user to be created or imported. Printing does not show the password's hash.
#[derive(Clone)]
pub struct NewUser {
    /// The public identifier.
    pub user_id: UserId,
    /// The name by which the user will sign in.
    pub username: Username,
    /// The hash of the password, in whatever form the floors above know.
    pub password_hash: String,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// When.
    pub created_at: NumericDate,
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser")
            .field("user_id", &self.user_id)
            .field("username", &self.username)
            .field("enabled", &self.enabled)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// What became of [`Store::create_user`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserCreation {
    /// The user is there.
    Created(User),
    /// The name, in its canonical form, or the identifier is taken.
    Exists,
}

/// What became of [`Store::import_users`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserImport {
    /// All of them are there, so many.
    Imported(usize),
    /// None was imported: these names and identifiers are taken, or occur twice among those to be imported. Names are in their
    /// canonical form.
    Exists(Vec<String>),
}

/// Which users are asked for.
#[derive(Debug, Clone)]
pub struct UserFilter {
    /// Only those who may sign in, or who may not.
    pub enabled: Option<bool>,
    /// Only those whose canonical name comes after this one's.
    pub after: Option<Username>,
    /// At most so many.
    pub limit: u32,
}

impl Default for UserFilter {
    /// The first five hundred.
    fn default() -> Self {
        UserFilter {
            enabled: None,
            after: None,
            limit: 500,
        }
    }
}

impl Store {
    /// The user of that name, whatever its case or width, with the hash of their password.
    pub fn user_by_name(&self, name: &Username) -> Result<Option<(User, String)>, Error> {
        self.read(|conn| {
            let row: Option<(UserRow, String)> = on!(conn, c => users::table
                .filter(users::canonical.eq(name.canonical()))
                .select((UserRow::as_select(), users::password_hash))
                .get_result(c)
                .optional())?;
            row.map(|(user, hash)| Ok((user.into_user()?, hash))).transpose()
        })
    }

    /// The user with that identifier.
    pub fn user(&self, id: &UserId) -> Result<Option<User>, Error> {
        self.read(|conn| {
            let row: Option<UserRow> = on!(conn, c => users::table
                .filter(users::user_id.eq(id.as_str()))
                .select(UserRow::as_select())
                .get_result(c)
                .optional())?;
            row.map(UserRow::into_user).transpose()
        })
    }

    /// The password hashes of about `count` users, spread evenly over all.
    pub fn sample_password_hashes(&self, count: u32) -> Result<Vec<String>, Error> {
        self.read(|conn| {
            let span: (Option<i64>, Option<i64>) = on!(conn, c => users::table
                .select((min(users::id), max(users::id)))
                .get_result(c))?;
            let (Some(first), Some(last)) = span else {
                return Ok(Vec::new());
            };
            let step = last.saturating_sub(first) / i64::from(count.max(1)) + 1;
            let rows: Vec<i64> = std::iter::successors(Some(first), |row| row.checked_add(step))
                .take_while(|row| *row <= last)
                .collect();
            Ok(on!(conn, c => users::table
                .filter(users::id.eq_any(&rows))
                .order(users::id)
                .select(users::password_hash)
                .load(c))?)
        })
    }

    /// The users that pass the filter, in the order of their canonical names.
    pub fn users(&self, filter: &UserFilter) -> Result<Vec<User>, Error> {
        self.read(|conn| {
            let rows: Vec<UserRow> = on!(conn, c => {
                let mut query = users::table
                    .filter(users::canonical.gt(filter.after.as_ref().map_or("", Username::canonical)))
                    .select(UserRow::as_select())
                    .into_boxed();
                if let Some(enabled) = filter.enabled {
                    query = query.filter(users::enabled.eq(enabled));
                }
                query.order(users::canonical).limit(i64::from(filter.limit)).load(c)
            })?;
            rows.into_iter().map(UserRow::into_user).collect()
        })
    }

    /// Creates a user.
    pub fn create_user(&self, new: &NewUser, event: &AuditEvent) -> Result<UserCreation, Error> {
        let (row, event) = (NewRow::from(new), event.clone());
        self.administer(move |conn| {
            let created: Option<UserRow> = on!(conn, c => diesel::insert_into(users::table)
                .values(&row)
                .on_conflict_do_nothing()
                .returning(UserRow::as_returning())
                .get_result(c)
                .optional())?;
            let Some(created) = created else {
                return Ok(Effect::none(UserCreation::Exists));
            };
            let user = User {
                epoch: first_epoch(created.id),
                ..created.into_user()?
            };
            set_first_epochs(conn, &[&row.user_id])?;
            let at = event.at.epoch();
            Ok(Effect::of(UserCreation::Created(user), event).changing(ChangeKind::User, row.user_id, at))
        })
    }

    /// Creates all of the users or none, in one transaction with one event. While it runs, other administrators wait.
    pub fn import_users(&self, new: &[NewUser], event: &AuditEvent) -> Result<UserImport, Error> {
        let rows: Vec<NewRow> = new.iter().map(NewRow::from).collect();
        let event = event.clone();
        self.administer(move |conn| {
            let mut clashing = repeated(&rows);
            for some in rows.chunks(IMPORTED_AT_ONCE) {
                clashing.extend(taken(conn, some)?);
            }
            if !clashing.is_empty() {
                return Ok(Effect::none(UserImport::Exists(clashing)));
            }
            for some in rows.chunks(IMPORTED_AT_ONCE) {
                on!(conn, c => diesel::insert_into(users::table).values(some).execute(c))?;
                set_first_epochs(conn, &some.iter().map(|row| &row.user_id).collect::<Vec<_>>())?;
            }
            let imported = UserImport::Imported(rows.len());
            if rows.is_empty() {
                return Ok(Effect::none(imported));
            }
            let at = event.at.epoch();
            Ok(Effect::of(imported, event).changing(ChangeKind::User, MANY, at))
        })
    }

    /// Enables or disables a user, as of the event's instant; `None` when there is no such user. Disabling ends the user's token
    /// families, and enabling does not bring them back.
    pub fn set_user_enabled(&self, id: &UserId, enabled: bool, event: &AuditEvent) -> Result<Option<User>, Error> {
        let (id, event, at) = (id.as_str().to_owned(), event.clone(), event.at.epoch());
        let change = move |conn: &mut Conn| {
            let ended = i64::from(!enabled);
            let changed: Option<UserRow> = on!(conn, c => diesel::update(users::table)
                .filter(users::user_id.eq(&id))
                .set((
                    users::enabled.eq(enabled),
                    users::epoch.eq(users::epoch + ended),
                    users::updated_at.eq(at),
                ))
                .returning(UserRow::as_returning())
                .get_result(c)
                .optional())?;
            changed_user(changed, id, event)
        };
        if enabled {
            self.administer(change)
        } else {
            self.end_families(change)
        }
    }

    /// Replaces the hash of the user's password by that of another password, as of the event's instant, and ends the user's
    /// token families; `None` when there is no such user.
    pub fn set_password(&self, id: &UserId, hash: &str, event: &AuditEvent) -> Result<Option<User>, Error> {
        let (id, hash, event, at) = (id.as_str().to_owned(), hash.to_owned(), event.clone(), event.at.epoch());
        self.end_families(move |conn| {
            let changed: Option<UserRow> = on!(conn, c => diesel::update(users::table)
                .filter(users::user_id.eq(&id))
                .set((
                    users::password_hash.eq(&hash),
                    users::epoch.eq(users::epoch + 1),
                    users::updated_at.eq(at),
                ))
                .returning(UserRow::as_returning())
                .get_result(c)
                .optional())?;
            changed_user(changed, id, event)
        })
    }

    /// Replaces the hash `old` by another hash of the same password; whether the hash still was `old`. Ends nothing and is not
    /// announced: nobody but the store knows hashes.
    pub fn upgrade_password_hash(&self, id: &UserId, old: &str, new: &str) -> Result<bool, Error> {
        let (id, old, new) = (id.as_str().to_owned(), old.to_owned(), new.to_owned());
        self.write(move |conn| {
            let upgraded = on!(conn, c => diesel::update(users::table)
                .filter(users::user_id.eq(&id).and(users::password_hash.eq(&old)))
                .set(users::password_hash.eq(&new))
                .execute(c))?;
            Ok(upgraded > 0)
        })
    }

    /// Deletes a user with all their token families; whether there was one.
    pub fn delete_user(&self, id: &UserId, event: &AuditEvent) -> Result<bool, Error> {
        loop {
            match self.delete_user_unless_crowded(id, event)? {
                Deletion::Deleted => return Ok(true),
                Deletion::Absent => return Ok(false),
                Deletion::Crowded(families) => self.clear_families(families)?,
            }
        }
    }

    fn delete_user_unless_crowded(&self, id: &UserId, event: &AuditEvent) -> Result<Deletion, Error> {
        let (id, event) = (id.as_str().to_owned(), event.clone());
        self.end_families(move |conn| {
            let at = event.at.epoch();
            let Some(row) = row_of(conn, &id)? else {
                return Ok(Effect::none(Deletion::Absent));
            };
            let holder = Holder::User(row);
            if deletion::room_beside(conn, holder, DELETED_TOGETHER)?.is_some() {
                on!(conn, c => diesel::delete(users::table.find(row)).execute(c))?;
                return Ok(Effect::of(Deletion::Deleted, event).changing(ChangeKind::User, id, at));
            }
            let crowded = Deletion::Crowded(holder);
            let disabled = on!(conn, c => diesel::update(users::table.find(row).filter(users::enabled))
                .set((
                    users::enabled.eq(false),
                    users::epoch.eq(users::epoch + 1),
                    users::updated_at.eq(at),
                ))
                .execute(c))?;
            if disabled == 0 {
                return Ok(Effect::none(crowded));
            }
            // It stays so if what follows fails.
            let event = AuditEvent {
                event: "user.disabled".to_owned(),
                ..event
            };
            Ok(Effect::of(crowded, event).changing(ChangeKind::User, id, at))
        })
    }
}

/// The row number of a user.
pub(super) fn row_of(conn: &mut Conn, id: &str) -> Result<Option<i64>, Fault> {
    Ok(on!(conn, c => users::table
        .filter(users::user_id.eq(id))
        .select(users::id)
        .get_result(c)
        .optional())?)
}

/// Rows in one statement of an import: SQLite takes 32 766 values, PostgreSQL 65 535.
const IMPORTED_AT_ONCE: usize = 1_000;

/// Whom a change is about when it is about many.
const MANY: &str = "*";

/// See [`first_epoch`]; the number of a row is known once it is there.
fn set_first_epochs(conn: &mut Conn, ids: &[&String]) -> Result<(), Fault> {
    on!(conn, c => diesel::update(users::table.filter(users::user_id.eq_any(ids)))
        .set(users::epoch.eq(users::id * first_epoch(1)))
        .execute(c))?;
    Ok(())
}

fn changed_user(changed: Option<UserRow>, id: String, event: AuditEvent) -> Result<Effect<Option<User>>, Fault> {
    let Some(user) = changed.map(UserRow::into_user).transpose()? else {
        return Ok(Effect::none(None));
    };
    let at = event.at.epoch();
    Ok(Effect::of(Some(user), event).changing(ChangeKind::User, id, at))
}

/// Names and identifiers that occur twice among `rows`.
fn repeated(rows: &[NewRow]) -> Vec<String> {
    let mut seen = HashSet::new();
    let texts = rows.iter().flat_map(|row| [&row.canonical, &row.user_id]);
    // A name of digits is no clash with the identifier of the same digits.
    let kinds = [true, false].into_iter().cycle();
    texts
        .zip(kinds)
        .filter(|text| !seen.insert(*text))
        .map(|(text, _)| text.clone())
        .collect()
}

/// Names and identifiers among those of `rows` that users have.
fn taken(conn: &mut Conn, rows: &[NewRow]) -> Result<Vec<String>, Fault> {
    let names: Vec<&str> = rows.iter().map(|row| row.canonical.as_str()).collect();
    let ids: Vec<&str> = rows.iter().map(|row| row.user_id.as_str()).collect();
    let mut taken: Vec<String> = on!(conn, c => users::table
        .filter(users::canonical.eq_any(&names))
        .select(users::canonical)
        .order(users::canonical)
        .load(c))?;
    let taken_ids: Vec<String> = on!(conn, c => users::table
        .filter(users::user_id.eq_any(&ids))
        .select(users::user_id)
        .order(users::user_id)
        .load(c))?;
    taken.extend(taken_ids);
    Ok(taken)
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = users, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
struct UserRow {
    id: i64,
    user_id: String,
    username: String,
    enabled: bool,
    epoch: i64,
    created_at: i64,
    updated_at: i64,
}

impl UserRow {
    fn into_user(self) -> Result<User, Fault> {
        let corrupt =
            |why: &dyn fmt::Display| Fault::corrupt("users", format!("user {:?}, of which {why}", self.user_id));
        Ok(User {
            row: self.id,
            user_id: UserId::parse(&self.user_id).map_err(|error| corrupt(&error))?,
            username: Username::parse(&self.username).map_err(|error| corrupt(&error))?,
            enabled: self.enabled,
            epoch: self.epoch,
            created_at: NumericDate::from_epoch(self.created_at),
            updated_at: NumericDate::from_epoch(self.updated_at),
        })
    }
}

#[derive(Insertable)]
#[diesel(table_name = users, treat_none_as_default_value = false)]
struct NewRow {
    user_id: String,
    username: String,
    canonical: String,
    password_hash: String,
    enabled: bool,
    created_at: i64,
    updated_at: i64,
}

impl From<&NewUser> for NewRow {
    fn from(new: &NewUser) -> Self {
        NewRow {
            user_id: new.user_id.as_str().to_owned(),
            username: new.username.as_str().to_owned(),
            canonical: new.username.canonical().to_owned(),
            password_hash: new.password_hash.clone(),
            enabled: new.enabled,
            created_at: new.created_at.epoch(),
            updated_at: new.created_at.epoch(),
        }
    }
}
