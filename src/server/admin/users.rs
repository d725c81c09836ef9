use serde_json::json;
use thiserror::Error;
use zeroize::Zeroizing;

use super::once::KeyReused;
use super::user_import::ImportedUser;
use super::{Actor, Once};
use crate::oauth::{NumericDate, User, UserId, UserIdError, Username, UsernameError};
use crate::server::Context;
use crate::server::password::{Overloaded, PasswordHash, PasswordHashError, PasswordHasher};
use crate::storage::{self, AuditEvent, NewUser, Store, UserCreation, UserFilter, UserImport};

/// Makes users, changes them, and takes them over from elsewhere. Every act leaves an audit event in its transaction.
#[derive(Debug)]
pub struct UserAdmin<'a> {
    store: &'a Store,
    /// Who acts, for the audit trail.
    actor: Actor,
    once: Option<Once>,
    hasher: Option<&'a PasswordHasher>,
}

/// Why an act on a user was refused.
#[derive(Debug, Error)]
pub enum UserError {
    /// The name is taken.
    #[error("a user with the name \"{0}\" exists already: choose another, or use \"user set-password\"")]
    Exists(String),
    /// No such user.
    #[error("there is no user \"{0}\": \"user list\" shows those that exist")]
    Unknown(String),
    /// Not a name.
    #[error(transparent)]
    Username(#[from] UsernameError),
    /// Not an identifier.
    #[error(transparent)]
    Id(#[from] UserIdError),
    /// Somebody else was made with the same key.
    #[error("the Idempotency-Key was used for another request: use a new one for each")]
    KeyReused,
    /// The user was made with the same key, and is not there any more.
    #[error("the user that was made with this Idempotency-Key is gone: use a new one to make another")]
    MadeAndGone,
    /// Too many passwords wait to be hashed.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// Not a password.
    #[error("a password has 8 to 1024 bytes and no NUL")]
    Password,
    /// Could not be hashed.
    #[error(transparent)]
    Hash(#[from] PasswordHashError),
    /// Names or identifiers of an import that exist already. Nothing was imported.
    #[error("nothing was imported, because these exist already: {}", .0.join(", "))]
    Clash(Vec<String>),
    /// The database did not answer.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl From<KeyReused> for UserError {
    fn from(_: KeyReused) -> Self {
        UserError::KeyReused
    }
}

impl<'a> UserAdmin<'a> {
    /// Acts in the name of `actor`.
    pub fn new(store: &'a Store, actor: impl Into<Actor>) -> Self {
        UserAdmin {
            store,
            actor: actor.into(),
            once: None,
            hasher: None,
        }
    }

    /// The same, to make a user who may have been made before.
    #[must_use]
    pub fn once(self, once: Option<Once>) -> Self {
        UserAdmin { once, ..self }
    }

    /// The same, inside a server: passwords are hashed by its threads, and no more of them at once.
    pub(super) fn with_hasher(self, hasher: &'a PasswordHasher) -> Self {
        UserAdmin {
            hasher: Some(hasher),
            ..self
        }
    }

    /// Makes a user.
    pub fn create(&self, name: &str, password: &Zeroizing<String>, cx: &mut Context<'_>) -> Result<User, UserError> {
        let username = Username::parse(name)?;
        let user_id = match &self.once {
            Some(once) => UserId::generate(&mut once.identifiers()),
            None => UserId::generate(cx.rng),
        };
        if let Some(once) = &self.once
            && once.is_repeated()?
        {
            return self.store.user(&user_id)?.ok_or(UserError::MadeAndGone);
        }
        let password_hash = self.hashed(password, cx)?;
        let event = self.event("user.created", &user_id, cx.now, json!({"username": username.as_str()}));
        let new = NewUser {
            user_id,
            username,
            password_hash,
            enabled: true,
            created_at: cx.now,
        };
        let created = match &self.once {
            Some(once) => once.store(self.store).create_user(&new, &event)?,
            None => self.store.create_user(&new, &event)?,
        };
        match created {
            UserCreation::Created(user) => Ok(user),
            UserCreation::Exists => Err(UserError::Exists(name.to_owned())),
        }
    }

    /// The users that pass the filter.
    pub fn page(&self, filter: &UserFilter) -> Result<Vec<User>, UserError> {
        Ok(self.store.users(filter)?)
    }

    /// The user of that identifier.
    pub fn with_id(&self, id: &UserId) -> Result<User, UserError> {
        self.store.user(id)?.ok_or_else(|| UserError::Unknown(id.to_string()))
    }

    /// The user of that name, if there is one.
    pub fn named(&self, name: &Username) -> Result<Option<User>, UserError> {
        Ok(self.store.user_by_name(name)?.map(|(user, _)| user))
    }

    /// The user of a name or an identifier.
    pub fn show(&self, name_or_id: &str) -> Result<User, UserError> {
        let by_id = match UserId::parse(name_or_id) {
            Ok(id) => self.store.user(&id)?,
            Err(_) => None,
        };
        let by_name = || -> Result<Option<User>, UserError> { self.named(&Username::parse(name_or_id)?) };
        let found = match by_id {
            Some(user) => Some(user),
            None => by_name()?,
        };
        found.ok_or_else(|| UserError::Unknown(name_or_id.to_owned()))
    }

    /// All users in the order of their names.
    pub fn list(&self) -> Result<Vec<User>, UserError> {
        let mut users: Vec<User> = Vec::new();
        loop {
            let filter = UserFilter {
                after: users.last().map(|user| user.username.clone()),
                ..UserFilter::default()
            };
            let page = self.store.users(&filter)?;
            let is_last = page.len() < filter.limit as usize;
            users.extend(page);
            if is_last {
                return Ok(users);
            }
        }
    }

    /// Enables or disables a user. Disabling ends everything the user has signed in to.
    pub fn set_enabled(&self, user: &User, enabled: bool, now: NumericDate) -> Result<(), UserError> {
        let event = self.event(
            if enabled { "user.enabled" } else { "user.disabled" },
            &user.user_id,
            now,
            json!({}),
        );
        self.known(
            user,
            self.store.set_user_enabled(&user.user_id, enabled, &event)?.is_some(),
        )
    }

    /// Sets a password, which ends everything the user has signed in to.
    pub fn set_password(
        &self,
        user: &User,
        password: &Zeroizing<String>,
        cx: &mut Context<'_>,
    ) -> Result<(), UserError> {
        let hash = self.hashed(password, cx)?;
        let event = self.event("user.password_set", &user.user_id, cx.now, json!({}));
        self.known(user, self.store.set_password(&user.user_id, &hash, &event)?.is_some())
    }

    /// Removes a user for good.
    pub fn delete(&self, user: &User, now: NumericDate) -> Result<(), UserError> {
        let event = self.event(
            "user.deleted",
            &user.user_id,
            now,
            json!({"username": user.username.as_str()}),
        );
        self.known(user, self.store.delete_user(&user.user_id, &event)?)
    }

    /// Takes users over from elsewhere, all or none of them.
    pub fn import(&self, users: Vec<ImportedUser>, cx: &mut Context<'_>) -> Result<usize, UserError> {
        let mut new = Vec::with_capacity(users.len());
        for user in users {
            let user_id = match user.id {
                Some(id) => UserId::parse(&id)?,
                None => UserId::generate(cx.rng),
            };
            new.push(NewUser {
                user_id,
                username: Username::parse(&user.username)?,
                password_hash: user.password_hash.as_str().to_owned(),
                enabled: user.enabled,
                created_at: cx.now,
            });
        }
        let event = self.actor.event("user.imported", cx.now, json!({"users": new.len()}));
        match self.store.import_users(&new, &event)? {
            UserImport::Imported(count) => Ok(count),
            UserImport::Exists(names) => Err(UserError::Clash(names)),
        }
    }

    fn hashed(&self, password: &str, cx: &mut Context<'_>) -> Result<String, UserError> {
        if !(SHORTEST_PASSWORD..=LONGEST_PASSWORD).contains(&password.len()) || password.contains('\0') {
            return Err(UserError::Password);
        }
        let hash = match self.hasher {
            Some(hasher) => hasher.hash(password, cx.rng)?,
            None => PasswordHash::create(password, cx.rng),
        };
        Ok(hash?.as_str().to_owned())
    }

    fn known(&self, user: &User, found: bool) -> Result<(), UserError> {
        if found {
            Ok(())
        } else {
            Err(UserError::Unknown(user.username.to_string()))
        }
    }

    fn event(&self, event: &str, user: &UserId, at: NumericDate, mut detail: serde_json::Value) -> AuditEvent {
        if let Some(members) = detail.as_object_mut() {
            members.insert("user_id".to_owned(), user.as_str().into());
        }
        self.actor.event(event, at, detail)
    }
}

/// Shortest password that is accepted (NIST SP 800-63B §5.1.1.1).
const SHORTEST_PASSWORD: usize = 8;
/// Longest password that is accepted, in bytes.
const LONGEST_PASSWORD: usize = 1_024;
