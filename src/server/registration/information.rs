//! What a client is told of its registration.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::oauth::{
    Audience, Client, ClientAuthMethod, ClientId, ClientSecret, GrantType, NumericDate, RegistrationAccessToken, Scope,
};
use crate::server::admin::CreatedSecret;

/// The client information response (RFC 7591 §3.2.1, RFC 7592 §3): everything that is registered, defaults included. There are
/// no null members.
#[derive(Serialize)]
pub struct ClientInformation {
    client_id: ClientId,
    /// Once, when the client is registered: nobody can read it afterwards.
    #[serde(flatten)]
    secret: Option<AddedSecret>,
    client_id_issued_at: NumericDate,
    #[serde(serialize_with = "exposed_token")]
    registration_access_token: RegistrationAccessToken,
    registration_client_uri: String,
    client_name: String,
    /// There is no authorization endpoint that would redirect.
    redirect_uris: [&'static str; 0],
    response_types: [&'static str; 0],
    grant_types: Vec<GrantType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_endpoint_auth_method: Option<ClientAuthMethod>,
    #[serde(skip_serializing_if = "Scope::is_empty")]
    scope: Scope,
    /// A member of keywheel's own: always an array.
    audience: Vec<Audience>,
}

impl ClientInformation {
    /// Of a client whose configuration endpoint is one segment below `endpoint`.
    pub(super) fn new(client: Client, token: RegistrationAccessToken, endpoint: &str) -> Self {
        let metadata = client.metadata;
        ClientInformation {
            registration_client_uri: format!("{endpoint}/{}", client.client_id),
            client_id: client.client_id,
            secret: None,
            client_id_issued_at: client.created_at,
            registration_access_token: token,
            client_name: metadata.name,
            redirect_uris: [],
            response_types: [],
            grant_types: metadata.grant_types,
            token_endpoint_auth_method: metadata.auth_methods.first().copied(),
            scope: metadata.scope,
            audience: metadata.audiences.iter().cloned().collect(),
        }
    }

    pub(super) fn with_secret(mut self, secret: CreatedSecret) -> Self {
        self.secret = Some(AddedSecret::of(secret));
        self
    }
}

impl fmt::Debug for ClientInformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientInformation")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// A client secret just made, with the member names of RFC 7591 §3.2.1 where it has them.
#[derive(Debug, Serialize)]
pub struct AddedSecret {
    #[serde(serialize_with = "exposed_secret")]
    client_secret: ClientSecret,
    /// Public identifier of the secret, to delete it by; keywheel's own.
    client_secret_id: String,
    /// Zero for never.
    client_secret_expires_at: i64,
}

impl AddedSecret {
    pub(super) fn of(created: CreatedSecret) -> Self {
        AddedSecret {
            client_secret: created.secret,
            client_secret_id: created.record.id,
            client_secret_expires_at: created.record.expires_at.map_or(0, NumericDate::epoch),
        }
    }
}

/// The one place where a registered client's secret is written out: the answer to itself.
fn exposed_secret<S: Serializer>(secret: &ClientSecret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// The one place where a registration access token is written out: RFC 7592 §3 wants it in every answer.
fn exposed_token<S: Serializer>(token: &RegistrationAccessToken, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose())
}
