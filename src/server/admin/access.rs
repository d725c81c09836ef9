//! Who may administrate over the API: bearers of access tokens of this very server (RFC 6750).

use std::net::IpAddr;

use serde_json::json;

use super::{
    Actor, ClientAdmin, ClientError, CreatedClient, CreatedInitialAccessToken, CreatedSecret, Cursor, CursorError,
    KeyAdmin, NewClientRequest, NewInitialAccessToken, Once, RegistrationAdmin, RegistrationTokenError, Reports,
    UserAdmin,
};
use crate::oauth::{ClientId, ClientMetadata, FamilyId, NumericDate, Scope};
use crate::server::{ActiveToken, Context, Failure, Server, TokenError};
use crate::storage::{AuditEvent, AuditFilter, FamilyFilter, Kept, TokenFamily};

/// What a request to the API needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// To look.
    Read,
    /// To change.
    Admin,
    /// To look after the secrets of the client that the token was given to.
    Own,
}

impl Right {
    /// The scope that gives the right.
    pub const fn scope(self) -> &'static str {
        match self {
            Right::Read => "keywheel:read",
            Right::Admin => "keywheel:admin",
            Right::Own => "keywheel:self",
        }
    }

    fn is_given_by(self, scope: &Scope) -> bool {
        let has = |right: Right| scope.tokens().any(|token| token == right.scope());
        has(self) || (self == Right::Read && has(Right::Admin))
    }
}

/// Somebody who was let in.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// For the audit trail.
    pub actor: Actor,
    /// The client that the token was given to.
    pub client_id: ClientId,
    /// Names the bearer as nobody else will be named, also after somebody was deleted and made anew.
    whose: String,
}

/// Why somebody was not let in.
#[derive(Debug)]
pub enum NotAdmitted {
    /// The token is not one of ours, is not meant for this server, or has ended (RFC 6750 §3.1 `invalid_token`).
    InvalidToken,
    /// The token is good and does not reach so far (RFC 6750 §3.1 `insufficient_scope`).
    InsufficientScope(Right),
    /// It could not be found out.
    Failed(Failure),
}

impl Server {
    /// Lets the bearer of a token in, if it is active at this moment, meant for the issuer, and gives the right. What it hangs on is
    /// asked each time: a token that was revoked, or whose client was disabled, opens nothing a second later.
    pub fn admit(
        &self,
        token: &str,
        right: Right,
        (address, request_id): (Option<IpAddr>, &str),
        cx: &Context<'_>,
    ) -> Result<Admitted, NotAdmitted> {
        if self.watch.is_restored() {
            // Who was revoked since is back in the database, until somebody has looked at it.
            let failure = Failure::Unavailable("the database was restored and not finalized", None);
            return Err(NotAdmitted::Failed(failure));
        }
        let active = match self.active_bearer(token, cx) {
            Ok(active) => active.ok_or(NotAdmitted::InvalidToken)?,
            Err(TokenError::Failed(failure)) => return Err(NotAdmitted::Failed(failure)),
            Err(_) => return Err(NotAdmitted::InvalidToken),
        };
        let issuer = self.settings.issuer.as_str();
        if !active.aud.iter().any(|audience| audience.as_str() == issuer) {
            return Err(NotAdmitted::InvalidToken);
        }
        let client_id = ClientId::parse(&active.client_id).map_err(|_no_client| NotAdmitted::InvalidToken)?;
        let client = match self.directory.client(&client_id, cx) {
            Ok(client) => client.ok_or(NotAdmitted::InvalidToken)?,
            Err(TokenError::Failed(failure)) => return Err(NotAdmitted::Failed(failure)),
            Err(_) => return Err(NotAdmitted::InvalidToken),
        };
        // Of the client as well: a right that was taken from it is not in the tokens that it still has.
        if !right.is_given_by(&active.scope) || !right.is_given_by(&client.client.metadata.scope) {
            return Err(NotAdmitted::InsufficientScope(right));
        }
        // A user's token gives no hold of the secrets of the client that the user signed in to.
        if right == Right::Own && active.sub != active.client_id {
            return Err(NotAdmitted::InsufficientScope(right));
        }
        let ActiveToken {
            sub,
            client_id: of,
            jti,
            ..
        } = &active;
        let actor = Actor::with_token(sub, of, jti.as_deref().unwrap_or_default(), address, request_id);
        let whose = format!("{} {sub}", client.client.row);
        Ok(Admitted {
            actor,
            client_id,
            whose,
        })
    }

    /// The creation that the `Idempotency-Key` of a request names.
    pub fn once(
        &self,
        admitted: &Admitted,
        (operation, key): (&str, &str),
        body: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<Once, Failure> {
        let named = (&[admitted.whose.as_str(), operation][..], key);
        Ok(Once::look(&self.store, self.vault.api_key(), named, body, cx)?)
    }

    /// A cursor as a word, for the list of that name and filters.
    pub fn seal_cursor(&self, cursor: &Cursor, list: &str) -> String {
        cursor.seal(self.vault.api_key(), list)
    }

    /// The cursor that a word is, if it was made for this list.
    pub fn open_cursor(&self, text: &str, list: &str) -> Result<Cursor, CursorError> {
        Cursor::open(text, self.vault.api_key(), list)
    }

    /// Follows at once what was changed about a client here; other nodes do within a second.
    pub fn forget_client(&self, id: &ClientId) {
        self.directory.forget(id.as_str());
    }

    /// Acts on clients, and leaves one that can administrate.
    pub fn client_admin(&self, actor: Actor) -> ClientAdmin<'_> {
        ClientAdmin::new(&self.store, actor).keeping(self.administrators())
    }

    /// Registers a client, and hashes its secret as this server does.
    pub fn create_client(
        &self,
        admin: ClientAdmin<'_>,
        request: NewClientRequest,
        cx: &mut Context<'_>,
    ) -> Result<CreatedClient, ClientError> {
        admin.create(request, &self.vault, cx)
    }

    /// Makes a further secret of a client, likewise.
    pub fn add_secret(
        &self,
        admin: &ClientAdmin<'_>,
        client_id: &ClientId,
        span: (Option<NumericDate>, Option<NumericDate>),
        cx: &mut Context<'_>,
    ) -> Result<CreatedSecret, ClientError> {
        admin.add_secret(client_id, span, &self.vault, cx)
    }

    /// Acts on initial access tokens.
    pub fn registration_admin(&self, actor: Actor) -> RegistrationAdmin<'_> {
        RegistrationAdmin::new(&self.store, actor)
    }

    /// Makes an initial access token, and hashes it as this server does.
    pub fn create_initial_access_token(
        &self,
        admin: &RegistrationAdmin<'_>,
        new: NewInitialAccessToken,
        cx: &mut Context<'_>,
    ) -> Result<CreatedInitialAccessToken, RegistrationTokenError> {
        admin.create(new, &self.vault, cx)
    }

    /// The token families that pass the filter.
    pub fn token_families(&self, filter: &FamilyFilter) -> Result<Vec<TokenFamily>, Failure> {
        Ok(self.store.families(filter)?)
    }

    /// Ends a token family; whether it lived.
    pub fn revoke_token_family(&self, admitted: &Admitted, id: &FamilyId, now: NumericDate) -> Result<bool, Failure> {
        let event = admitted
            .actor
            .event("family.revoked", now, json!({"family": id.as_str()}));
        Ok(self.store.revoke_family(id, now, "administrator", &event)?)
    }

    /// The audit events that pass the filter, with their ids.
    pub fn audit_page(&self, filter: &AuditFilter) -> Result<Vec<(i64, AuditEvent)>, Failure> {
        Ok(self.store.audit_page(filter)?)
    }

    /// Acts on users; their passwords wait for the same threads as those of logins.
    pub fn user_admin(&self, actor: Actor) -> UserAdmin<'_> {
        UserAdmin::new(&self.store, actor).with_hasher(&self.passwords)
    }

    /// Acts on keys.
    pub fn key_admin(&self, actor: Actor) -> KeyAdmin<'_> {
        KeyAdmin::new(&self.store, &self.vault, self.wheel.policy(), actor)
    }

    /// Reports as of `now`.
    pub fn reports(&self, now: NumericDate) -> Reports<'_> {
        Reports::new(&self.store, self.settings.access_ttl, now)
    }

    /// Clients that can get a token that lets administrate. Whoever has the command line can do without one, but a script that takes
    /// away its own ground has made a mistake.
    fn administrators(&self) -> Kept {
        let settings = self.settings.clone();
        Kept::new(move |client| {
            let ClientMetadata {
                scope,
                audiences,
                grant_types,
                ..
            } = &client.metadata;
            let issuer = settings.issuer.as_str();
            Right::Admin.is_given_by(scope)
                && (audiences.is_empty() || audiences.iter().any(|audience| audience.as_str() == issuer))
                && grant_types.iter().any(|grant| settings.serves(*grant))
        })
    }
}
