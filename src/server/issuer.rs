use serde::Serialize;

use super::{Authorization, Context, Failure, Settings, TokenError};
use crate::keys::SigningKey;
use crate::oauth::{AccessTokenClaims, Audiences, Client, RefreshToken, Scope};

/// A successful answer of the token endpoint (RFC 6749 §5.1). There are no null members.
#[derive(Serialize)]
pub struct TokenResponse {
    access_token: String,
    token_type: &'static str,
    /// Seconds, as an integer: many clients parse nothing else.
    expires_in: i64,
    #[serde(skip_serializing_if = "Scope::is_empty")]
    scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed")]
    refresh_token: Option<RefreshToken>,
}

impl TokenResponse {
    /// The same with a refresh token.
    pub(super) fn with(self, refresh_token: RefreshToken) -> Self {
        TokenResponse {
            refresh_token: Some(refresh_token),
            ..self
        }
    }
}

/// The one place where a refresh token is written out: the answer to who may have it.
fn exposed<S: serde::Serializer>(token: &Option<RefreshToken>, serializer: S) -> Result<S::Ok, S::Error> {
    match token {
        Some(token) => serializer.serialize_str(token.expose()),
        None => serializer.serialize_none(),
    }
}

impl std::fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenResponse")
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// The one mint of every grant: writes the claims of RFC 9068 and signs them.
pub(super) fn issue(
    settings: &Settings,
    client: &Client,
    authorization: &Authorization,
    scope: Scope,
    audiences: &Audiences,
    key: &SigningKey,
    cx: &mut Context<'_>,
) -> Result<TokenResponse, TokenError> {
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
        scope: &scope,
        profile: client.metadata.claim_profile.claims(&authorization.subject),
    };
    let mut payload = Vec::with_capacity(512);
    serde_json::to_writer(&mut payload, &claims)
        .map_err(|error| Failure::Broken("the claims could not be written", Box::new(error)))?;
    let access_token = key.sign_jwt(client.metadata.token_type, &payload)?;
    Ok(TokenResponse {
        access_token,
        token_type: "Bearer",
        expires_in: lifetime.get(),
        scope,
        refresh_token: None,
    })
}
