use serde_json::json;
use thiserror::Error;

use super::client_secrets::secret_id;
use super::once::KeyReused;
use super::{Actor, Once};
use crate::oauth::{InitialAccessToken, InitialAccessTokenRecord, NumericDate, RegistrationPolicy, Seconds};
use crate::server::{Context, Vault};
use crate::storage::{self, Store};

/// Makes and revokes initial access tokens (RFC 7591 §1.2). Every act leaves an audit event in its transaction.
#[derive(Debug)]
pub struct RegistrationAdmin<'a> {
    store: &'a Store,
    /// Who acts, for the audit trail.
    actor: Actor,
    once: Option<Once>,
}

/// An initial access token to be made.
#[derive(Debug, Clone)]
pub struct NewInitialAccessToken {
    /// A name for people: whom it is given to.
    pub name: String,
    /// How many clients it may register.
    pub uses: u32,
    /// How long it may be used.
    pub life: Seconds,
    /// What its clients may have registered.
    pub policy: RegistrationPolicy,
}

/// An initial access token just made. The token is here and nowhere else.
#[derive(Debug)]
pub struct CreatedInitialAccessToken {
    /// The token, to be shown once.
    pub token: InitialAccessToken,
    /// What is stored of it.
    pub record: InitialAccessTokenRecord,
}

/// Why an act on an initial access token was refused.
#[derive(Debug, Error)]
pub enum RegistrationTokenError {
    /// A name that cannot be shown.
    #[error("a registration token's name has 1 to 128 characters, none of them a control character")]
    Name,
    /// Too many uses, or none.
    #[error("a registration token registers from 1 to {MOST_USES} clients")]
    Uses,
    /// Too long a life, or none.
    #[error("a registration token lives from 1m to 366d")]
    Life,
    /// Another one was made with the same key.
    #[error("the Idempotency-Key was used for another request: use a new one for each")]
    KeyReused,
    /// The token was made with the same key, and is not there any more.
    #[error("the token that was made with this Idempotency-Key is gone: use a new one to make another")]
    MadeAndGone,
    /// No such token.
    #[error("there is no registration token with id \"{0}\": \"registration-token list\" shows those that exist")]
    Unknown(String),
    /// The database did not answer.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl From<KeyReused> for RegistrationTokenError {
    fn from(_: KeyReused) -> Self {
        RegistrationTokenError::KeyReused
    }
}

impl<'a> RegistrationAdmin<'a> {
    /// Acts in the name of `actor`.
    pub fn new(store: &'a Store, actor: impl Into<Actor>) -> Self {
        RegistrationAdmin {
            store,
            actor: actor.into(),
            once: None,
        }
    }

    /// The same, to make a token that may have been made before.
    #[must_use]
    pub fn once(self, once: Option<Once>) -> Self {
        RegistrationAdmin { once, ..self }
    }

    /// Makes an initial access token.
    pub fn create(
        &self,
        new: NewInitialAccessToken,
        vault: &Vault,
        cx: &mut Context<'_>,
    ) -> Result<CreatedInitialAccessToken, RegistrationTokenError> {
        if new.name.is_empty() || new.name.chars().count() > 128 || new.name.chars().any(char::is_control) {
            return Err(RegistrationTokenError::Name);
        }
        if !(1..=MOST_USES).contains(&new.uses) {
            return Err(RegistrationTokenError::Uses);
        }
        if !(Seconds::minutes(1)..=Seconds::days(366)).contains(&new.life) {
            return Err(RegistrationTokenError::Life);
        }
        let (id, token) = match &self.once {
            None => (secret_id(cx.rng), InitialAccessToken::generate(cx.rng)),
            Some(once) => (
                secret_id(&mut once.identifiers()),
                InitialAccessToken::generate(&mut once.secrets()),
            ),
        };
        if let Some(once) = &self.once
            && once.is_repeated()?
        {
            return self.made_before(&id, token, vault, cx);
        }
        let record = InitialAccessTokenRecord {
            id,
            hash: vault.hasher().hash(token.expose()),
            hint: token.hint().to_owned(),
            name: new.name,
            uses_left: new.uses,
            policy: new.policy,
            created_at: cx.now,
            expires_at: cx.now + new.life,
        };
        let detail = json!({
            "token_id": record.id,
            "name": record.name,
            "uses": record.uses_left,
            "expires_at": record.expires_at,
            "grant_types": record.policy.grant_types(),
            "scope": record.policy.scope(),
            "audiences": record.policy.audiences().to_string(),
        });
        let event = self.actor.event("registration_token.created", cx.now, detail);
        match &self.once {
            Some(once) => once.store(self.store).create_initial_access_token(&record, &event)?,
            None => self.store.create_initial_access_token(&record, &event)?,
        }
        Ok(CreatedInitialAccessToken { token, record })
    }

    /// The token that the same request made before, unless it is gone.
    fn made_before(
        &self,
        id: &str,
        token: InitialAccessToken,
        vault: &Vault,
        cx: &Context<'_>,
    ) -> Result<CreatedInitialAccessToken, RegistrationTokenError> {
        let found = self.store.initial_access_token(&vault.hasher().hash(token.expose()))?;
        let record = found
            .filter(|record| record.id == id)
            .ok_or(RegistrationTokenError::MadeAndGone)?;
        let event = self
            .actor
            .event("registration_token.shown_again", cx.now, json!({"token_id": id}));
        self.store.record(&event)?;
        Ok(CreatedInitialAccessToken { token, record })
    }

    /// All initial access tokens, the oldest first; also those that are used up or have expired.
    pub fn list(&self) -> Result<Vec<InitialAccessTokenRecord>, RegistrationTokenError> {
        Ok(self.store.initial_access_tokens()?)
    }

    /// Refuses a token from now on. The clients that it registered stay, with the rights that it carried.
    pub fn revoke(&self, id: &str, now: NumericDate) -> Result<(), RegistrationTokenError> {
        let event = self
            .actor
            .event("registration_token.revoked", now, json!({"token_id": id}));
        if self.store.revoke_initial_access_token(id, &event)? {
            Ok(())
        } else {
            Err(RegistrationTokenError::Unknown(id.to_owned()))
        }
    }
}

/// Most clients that one token registers.
const MOST_USES: u32 = 100_000;
