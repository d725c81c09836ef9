use super::{Authorization, Continuation, Grant, Limits};
use crate::oauth::{GrantType, Lineage};
use crate::server::{Context, Reach, RegisteredClient, Server, TokenError, TokenRequest};

/// The client acts for itself (RFC 6749 §4.4): authenticating was all there was to prove.
pub(super) struct ClientCredentialsGrant;

impl Grant for ClientCredentialsGrant {
    fn grant_type(&self) -> GrantType {
        GrantType::ClientCredentials
    }

    fn reach(&self) -> Reach {
        Reach::Memory
    }

    fn is_by_login(&self) -> bool {
        false
    }

    /// The subject is the client (RFC 9068 §2.2), and there is no refresh token (RFC 6749 §4.4.3). Parameters of other grants
    /// have no meaning here (RFC 6749 §3.2).
    fn authorize(
        &self,
        _: &Server,
        client: &RegisteredClient,
        _: &TokenRequest,
        _: &mut Context<'_>,
    ) -> Result<Authorization, TokenError> {
        Ok(Authorization {
            subject: client.client.client_id.as_str().to_owned(),
            lineage: Lineage::Standing {
                client: client.client.epoch,
                user: None,
            },
            within: Limits::of(&client.client),
            continuation: Continuation::None,
        })
    }
}
