use serde::Serialize;

use super::{Context, Reach, RegisteredClient, Server, TokenError, TokenRequest};
use crate::oauth::{
    Audiences, ClientId, ErrorCode, IssuedClaims, Lineage, NumericDate, OAuthError, Parameter, RefreshToken, Scope,
    UserId,
};
use crate::storage::RefreshTokenRecord;

/// What introspection tells (RFC 7662 §2.2): of a token that is not active, nothing but that.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Introspection {
    /// `{"active":false}`
    Inactive {
        /// Always false.
        active: bool,
    },
    /// Everything that the caller may know.
    Active(Box<ActiveToken>),
}

/// A token that is active, and what may be known about it.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "each member is defined in RFC 7662 §2.2")]
pub struct ActiveToken {
    pub active: bool,
    pub iss: String,
    pub sub: String,
    pub client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(skip_serializing_if = "Audiences::is_empty")]
    pub aud: Audiences,
    #[serde(skip_serializing_if = "Scope::is_empty")]
    pub scope: Scope,
    pub token_type: &'static str,
    pub exp: NumericDate,
    pub iat: NumericDate,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
}

/// What a presented string turned out to be.
struct Found {
    /// The caller's own token, dead or alive.
    own: bool,
    active: Option<ActiveToken>,
}

/// Whether what a token hangs on stands.
enum Standing {
    /// It was revoked, or something that it hangs on has ended.
    Ended,
    /// It stands, and the client acts for itself.
    Service,
    /// It stands, and this is the name of the user.
    User(String),
}

impl Found {
    const NOTHING: Found = Found {
        own: false,
        active: None,
    };
}

impl Server {
    /// Answers an introspection request. A client with the right asks about any token for its audiences (all, when none is
    /// registered for it); every other client about its own tokens.
    pub fn introspect(&self, request: &TokenRequest, cx: &mut Context<'_>) -> Result<Introspection, TokenError> {
        let caller = self.authenticate(request, cx)?;
        let token = request
            .parameters
            .get(Parameter::Token)
            .ok_or(OAuthError::invalid_request("token is missing"))?;
        let Found { own, active } = if RefreshToken::is_shaped_like(token) {
            self.find_refresh_token(token, &caller, cx)?
        } else {
            self.find_access_token(token, &caller, cx)?
        };
        match active {
            Some(active) => Ok(Introspection::Active(Box::new(active))),
            None if own || caller.client.metadata.introspect => Ok(Introspection::Inactive { active: false }),
            // Said of others' tokens and of no tokens alike, so nobody learns which of them a string is.
            None => Err(OAuthError::new(
                ErrorCode::InsufficientScope,
                "this client may ask about its own tokens only: register it with --introspect",
            )
            .into()),
        }
    }

    fn find_access_token(&self, token: &str, caller: &RegisteredClient, cx: &Context<'_>) -> Result<Found, TokenError> {
        let Some(verified) = self.verified.verify(token, self.wheel.turn(cx.now).ring(), cx.now) else {
            return Ok(Found::NOTHING);
        };
        let claims = &verified.claims;
        let own = claims.client_id == caller.client.client_id.as_str();
        let known = claims.exp > self.latest.at(cx.now) && may_know(caller, claims);
        let active = if known { self.active_token(claims, cx)? } else { None };
        Ok(Found { own, active })
    }

    /// The access token that somebody bears, if it is active: whose it is, and for whom, is for the caller to judge.
    pub(super) fn active_bearer(&self, token: &str, cx: &Context<'_>) -> Result<Option<ActiveToken>, TokenError> {
        let Some(verified) = self.verified.verify(token, self.wheel.turn(cx.now).ring(), cx.now) else {
            return Ok(None);
        };
        let claims = &verified.claims;
        if claims.exp <= self.latest.at(cx.now) {
            return Ok(None);
        }
        self.active_token(claims, cx)
    }

    fn active_token(&self, claims: &IssuedClaims, cx: &Context<'_>) -> Result<Option<ActiveToken>, TokenError> {
        let Ok(client_id) = ClientId::parse(&claims.client_id) else {
            return Ok(None);
        };
        let Some(client) = self.directory.client(&client_id, cx)? else {
            return Ok(None);
        };
        // Of a client that was deleted and registered anew the epoch is another, and its families are gone. Not by dates: who registered it
        // may have had another clock.
        if !client.client.enabled {
            return Ok(None);
        }
        let lineage = Lineage::of_jti(&claims.jti);
        if matches!(lineage, Some(Lineage::Standing { client: epoch, .. }) if epoch != client.client.epoch) {
            return Ok(None);
        }
        let username = match self.standing(claims, lineage, cx)? {
            Standing::Ended => return Ok(None),
            Standing::Service => None,
            Standing::User(username) => Some(username),
        };
        Ok(Some(ActiveToken {
            active: true,
            iss: self.settings.issuer.as_str().to_owned(),
            sub: claims.sub.clone(),
            client_id: claims.client_id.clone(),
            username,
            aud: claims.aud.clone(),
            scope: claims.scope.clone(),
            token_type: "Bearer",
            exp: claims.exp,
            iat: claims.iat,
            jti: Some(claims.jti.clone()),
        }))
    }

    /// Whether the token, its family and its user stand. Of a service's token memory knows it, of all others the database.
    fn standing(
        &self,
        claims: &IssuedClaims,
        lineage: Option<Lineage>,
        cx: &Context<'_>,
    ) -> Result<Standing, TokenError> {
        let family = match &lineage {
            Some(Lineage::Family(family)) => Some(family),
            _ => None,
        };
        let of_service = claims.sub == claims.client_id;
        if of_service && family.is_none() {
            match self.revoked.knows(&claims.jti, cx.now) {
                Some(true) => return Ok(Standing::Ended),
                Some(false) => return Ok(Standing::Service),
                None => {}
            }
        }
        if cx.reach < Reach::Storage {
            return Err(TokenError::Needs(Reach::Storage));
        }
        let user = match (of_service, UserId::parse(&claims.sub)) {
            (true, _) => None,
            (false, Ok(user)) => Some(user),
            (false, Err(_)) => return Ok(Standing::Ended),
        };
        let state = self.store.access_token_state(&claims.jti, family, user.as_ref())?;
        Ok(match (user, state.user) {
            _ if state.revoked || state.family_ended => Standing::Ended,
            (None, _) => Standing::Service,
            (Some(_), None) => Standing::Ended,
            (Some(_), Some(user)) => match lineage {
                Some(Lineage::Standing { user: Some(epoch), .. }) if epoch != user.epoch => Standing::Ended,
                _ => Standing::User(user.username),
            },
        })
    }

    /// A refresh token concerns its own client alone: to a resource server it is not active.
    fn find_refresh_token(
        &self,
        token: &str,
        caller: &RegisteredClient,
        cx: &Context<'_>,
    ) -> Result<Found, TokenError> {
        if cx.reach < Reach::Storage {
            return Err(TokenError::Needs(Reach::Storage));
        }
        let record = self.store.refresh_token(&self.vault.refresh_hasher().hash(token))?;
        let own = |record: &RefreshTokenRecord| record.family.client_row == caller.client.row;
        let Some(record) = record.filter(own) else {
            return Ok(Found::NOTHING);
        };
        let judged_at = self.latest.at(cx.now);
        let dead = record.family.end(judged_at).is_some() || record.expires_at <= judged_at;
        if dead || record.rotated_at.is_some() {
            return Ok(Found {
                own: true,
                active: None,
            });
        }
        let client_id = caller.client.client_id.as_str().to_owned();
        let (sub, username) = match &record.family.user_id {
            Some(user) => (user.as_str().to_owned(), self.living_user(user.as_str())?),
            None => (client_id.clone(), None),
        };
        let active = ActiveToken {
            active: true,
            iss: self.settings.issuer.as_str().to_owned(),
            sub,
            client_id,
            username,
            aud: record.family.audiences,
            scope: record.family.scope,
            token_type: "refresh_token",
            exp: record.expires_at,
            iat: record.issued_at,
            jti: None,
        };
        Ok(Found {
            own: true,
            active: Some(active),
        })
    }

    fn living_user(&self, sub: &str) -> Result<Option<String>, TokenError> {
        let Ok(id) = UserId::parse(sub) else { return Ok(None) };
        let user = self.store.user(&id)?;
        Ok(user.filter(|user| user.enabled).map(|user| user.username.to_string()))
    }
}

/// Whether the caller may know what the token says: it is its client, or has the right and is among those it is meant for.
fn may_know(caller: &RegisteredClient, claims: &IssuedClaims) -> bool {
    let (client, metadata) = (&caller.client, &caller.client.metadata);
    if claims.client_id == client.client_id.as_str() {
        return true;
    }
    let meant_for = |audiences: &Audiences| {
        audiences.is_empty()
            || claims
                .aud
                .iter()
                .any(|aud| audiences.contains(aud) || aud.as_str() == client.client_id.as_str())
    };
    metadata.introspect && meant_for(&metadata.audiences)
}
