use zeroize::Zeroizing;

use super::{ClientAuthentication, ClientCredentials, Presented};
use crate::oauth::{ClientAuthMethod, OAuthError, Parameter, Parameters};

/// `client_id` and `client_secret` in the request body (RFC 6749 §2.3.1).
pub(super) struct ClientSecretPost;

impl ClientAuthentication for ClientSecretPost {
    fn method(&self) -> ClientAuthMethod {
        ClientAuthMethod::ClientSecretPost
    }

    fn presented(&self, _: &ClientCredentials, parameters: &Parameters) -> Result<Option<Presented>, OAuthError> {
        let Some(secret) = parameters.get(Parameter::ClientSecret) else {
            return Ok(None);
        };
        // Without a client_id there is still a secret: it counts as a second method beside HTTP Basic.
        let client_id = parameters.get(Parameter::ClientId).unwrap_or_default();
        let pair = (client_id.to_owned(), Zeroizing::new(secret.to_owned()));
        Ok(Some(Presented::once(pair)))
    }
}
