use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::{Authorization, Context, Failure, QuotaLeft, Settings, TokenError};
use crate::keys::SigningKey;
use crate::oauth::{AccessTokenClaims, Audiences, Client, NumericDate, RefreshToken, Scope, Seconds};

/// A successful answer of the token endpoint (RFC 6749 §5.1). There are no null members.
#[derive(Serialize)]
pub struct TokenResponse {
    #[serde(serialize_with = "granted")]
    access_token: AccessToken,
    token_type: &'static str,
    /// Seconds, as an integer: many clients parse nothing else.
    expires_in: Seconds,
    #[serde(skip_serializing_if = "Scope::is_empty")]
    scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed")]
    refresh_token: Option<RefreshToken>,
    #[serde(skip)]
    quota_left: Option<QuotaLeft>,
}

impl TokenResponse {
    /// An access token of this scope that lives for so long from now on.
    pub(super) fn new(access_token: AccessToken, expires_in: Seconds, scope: Scope) -> Self {
        TokenResponse {
            access_token,
            token_type: "Bearer",
            expires_in,
            scope,
            refresh_token: None,
            quota_left: None,
        }
    }

    /// What this token left of the client's quota, if it has one.
    pub fn quota_left(&self) -> Option<QuotaLeft> {
        self.quota_left
    }

    /// The same of a client of whose quota so much is left.
    pub(super) fn leaving(self, quota_left: Option<QuotaLeft>) -> Self {
        TokenResponse { quota_left, ..self }
    }

    /// The same with a refresh token.
    pub(super) fn with(self, refresh_token: RefreshToken) -> Self {
        TokenResponse {
            refresh_token: Some(refresh_token),
            ..self
        }
    }
}

/// The one place where an access token is written out: the answer to who may have it.
fn granted<S: serde::Serializer>(token: &AccessToken, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match &token.0 {
        Text::Own(token) => token,
        Text::Shared(token) => token,
    })
}

/// The one place where a refresh token is written out: the answer to who may have it.
fn exposed<S: serde::Serializer>(token: &Option<RefreshToken>, serializer: S) -> Result<S::Ok, S::Error> {
    match token {
        Some(token) => serializer.serialize_str(token.expose()),
        None => serializer.serialize_none(),
    }
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// A signed access token. Whoever holds it may use it, so it is never printed.
#[derive(Clone)]
pub(super) struct AccessToken(Text);

#[derive(Clone)]
enum Text {
    Own(String),
    Shared(Arc<str>),
}

impl AccessToken {
    /// The token as it is written on the wire.
    pub(super) fn new(token: String) -> Self {
        AccessToken(Text::Own(token))
    }

    /// The same for many: from now on a clone copies nothing.
    pub(super) fn shared(self) -> Self {
        match self.0 {
            Text::Own(token) => AccessToken(Text::Shared(token.into())),
            Text::Shared(_) => self,
        }
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken([redacted])")
    }
}

/// An access token just signed.
#[derive(Debug)]
pub(super) struct Issued {
    /// The token.
    pub(super) access_token: AccessToken,
    /// Its identifier (RFC 7519 §4.1.7).
    pub(super) jti: String,
    /// When.
    pub(super) issued_at: NumericDate,
    /// How long it lives.
    pub(super) lifetime: Seconds,
}

/// The one mint of every grant: writes the claims of RFC 9068 and signs them.
pub(super) fn issue(
    settings: &Settings,
    client: &Client,
    authorization: &Authorization,
    scope: &Scope,
    audiences: &Audiences,
    key: &SigningKey,
    cx: &mut Context<'_>,
) -> Result<Issued, TokenError> {
    let lifetime = client.metadata.access_ttl.unwrap_or(settings.access_ttl);
    let lifetime = match authorization.continuation.family_end() {
        Some(end) => lifetime.min(end.since(cx.now)),
        None => lifetime,
    };
    let jti = authorization.lineage.jti(cx.rng);
    let claims = AccessTokenClaims {
        iss: settings.issuer.as_str(),
        sub: &authorization.subject,
        aud: audiences,
        exp: cx.now + lifetime,
        iat: cx.now,
        jti: &jti,
        client_id: client.client_id.as_str(),
        scope,
        profile: client.metadata.claim_profile.claims(&authorization.subject),
    };
    let mut payload = Vec::with_capacity(512);
    serde_json::to_writer(&mut payload, &claims)
        .map_err(|error| Failure::Broken("the claims could not be written", Box::new(error)))?;
    let access_token = key.sign_jwt(client.metadata.token_type, &payload)?;
    Ok(Issued {
        access_token: AccessToken::new(access_token),
        jti,
        issued_at: cx.now,
        lifetime,
    })
}
