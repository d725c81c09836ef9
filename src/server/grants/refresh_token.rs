use super::{Authorization, Continuation, Exchange, Grant, Limits};
use crate::oauth::{Audience, ErrorCode, GrantType, Lineage, OAuthError, Parameter};
use crate::server::families::{self, Standing};
use crate::server::{Context, Reach, RegisteredClient, Server, TokenError, TokenRequest};

/// A refresh token is exchanged for its successor and a new access token (RFC 6749 §6).
pub(super) struct RefreshTokenGrant;

impl Grant for RefreshTokenGrant {
    fn grant_type(&self) -> GrantType {
        GrantType::RefreshToken
    }

    fn reach(&self) -> Reach {
        // One that this node gave out. Others are looked up.
        Reach::Memory
    }

    fn is_by_login(&self) -> bool {
        true
    }

    fn authorize(
        &self,
        server: &Server,
        client: &RegisteredClient,
        request: &TokenRequest,
        cx: &mut Context<'_>,
    ) -> Result<Authorization, TokenError> {
        let presented = request.parameters.get(Parameter::RefreshToken);
        let presented = presented.ok_or(OAuthError::invalid_request("refresh_token is missing"))?;
        let hash = server.vault.refresh_hasher().hash(presented);
        let (record, standing) = families::find(server, &hash, client, request, cx)?;
        let metadata = &client.client.metadata;
        if !record.family.scope.is_within(&metadata.scope) {
            let description = "the scope of this grant is no longer registered for this client";
            return Err(OAuthError::new(ErrorCode::InvalidScope, description).into());
        }
        let registered = |audience: &Audience| metadata.audiences.contains(audience);
        // A family without any is for the issuer. Since then the client may have been given others in its place.
        let granted = match record.family.audiences.is_empty() {
            true if metadata.audiences.is_empty() => None,
            true => Some(server.wheel.issuer_as_audience()),
            false => Some(&record.family.audiences),
        };
        if !granted.is_none_or(|granted| granted.iter().all(registered)) {
            let description = "an audience of this grant is no longer registered for this client";
            return Err(OAuthError::new(ErrorCode::InvalidTarget, description).into());
        }
        let within = Limits {
            scope: record.family.scope.clone(),
            audiences: record.family.audiences.clone(),
        };
        let subject = match &record.family.user_id {
            Some(user) => user.as_str().to_owned(),
            None => client.client.client_id.as_str().to_owned(),
        };
        let lineage = Lineage::Family(record.family.id.clone());
        let continuation = match standing {
            Standing::Newest(known) => Continuation::Rotate(Box::new(Exchange { record, hash, known })),
            Standing::AnswerLost => Continuation::Repeat(record),
        };
        Ok(Authorization {
            subject,
            lineage,
            within,
            continuation,
        })
    }
}
