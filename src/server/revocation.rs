use super::{Context, Reach, Server, TokenError, TokenRequest, audit};
use crate::failpoint::failpoint;
use crate::oauth::{ErrorCode, OAuthError, Parameter, RefreshToken};

impl Server {
    /// Answers a revocation request (RFC 7009 §2.1). A refresh token ends its whole family, with every access token of it; an
    /// access token ends alone. What the server does not know, or no longer knows, needs no revoking: that is no error.
    pub fn revoke(&self, request: &TokenRequest, cx: &mut Context<'_>) -> Result<(), TokenError> {
        let caller = self.authenticate(request, cx)?;
        let token = request
            .parameters
            .get(Parameter::Token)
            .ok_or(OAuthError::invalid_request("token is missing"))?;
        if cx.reach < Reach::Storage {
            return Err(TokenError::Needs(Reach::Storage));
        }
        if RefreshToken::is_shaped_like(token) {
            let record = self.store.refresh_token(&self.vault.refresh_hasher().hash(token))?;
            let Some(record) = record else { return Ok(()) };
            failpoint!("revocation.looked_up");
            if record.family.client_row != caller.client.row {
                return Err(FOREIGN.into());
            }
            let event = audit::family_revoked(&caller.client, &record.family.id, request, cx.now);
            self.store.revoke_family(&record.family.id, cx.now, "revoked", &event)?;
            return Ok(());
        }
        let turn = self.wheel.turn(cx.now);
        let Some(verified) = self.verified.verify(token, turn.ring(), cx.now) else {
            return Ok(());
        };
        let claims = &verified.claims;
        if claims.exp <= cx.now {
            return Ok(());
        }
        if claims.client_id != caller.client.client_id.as_str() {
            return Err(FOREIGN.into());
        }
        let event = audit::access_token_revoked(&caller.client, &claims.jti, request, cx.now);
        self.store.revoke_access_token(&claims.jti, claims.exp, &event)?;
        self.revoked.add(&claims.jti, claims.exp);
        Ok(())
    }
}

/// RFC 7009 §2.1: refused, and the client is told; the token lives on.
const FOREIGN: OAuthError = OAuthError {
    code: ErrorCode::InvalidGrant,
    description: Some("the token was not issued to this client"),
    reason: "a client tried to revoke the token of another",
};
