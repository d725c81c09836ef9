//! Client authentication (RFC 6749 §2.3): one file and one row of [`CLIENT_AUTH_METHODS`] per method.

mod budget;
mod client_secret_basic;
mod client_secret_post;
mod failures;

use std::sync::Arc;

use zeroize::Zeroizing;

use self::client_secret_basic::ClientSecretBasic;
use self::client_secret_post::ClientSecretPost;
pub(super) use self::failures::{Exhausted, Failures};
use super::{Context, Directory, RegisteredClient, SecretUses, TokenError};
use crate::oauth::{
    ClientAuthMethod, ClientId, ClientSecretRecord, OAuthError, Parameter, Parameters, SecretHash, SecretHasher,
};

/// Every method that the server knows: dispatch and metadata both read this table.
pub static CLIENT_AUTH_METHODS: &[&dyn ClientAuthentication] = &[&ClientSecretBasic, &ClientSecretPost];

/// A way for a client to prove who it is.
pub trait ClientAuthentication: Sync {
    /// Its registered name.
    fn method(&self) -> ClientAuthMethod;

    /// The credentials of this kind that the request carries; `None` when it carries none of this kind.
    fn presented(
        &self,
        credentials: &ClientCredentials,
        parameters: &Parameters,
    ) -> Result<Option<Presented>, OAuthError>;
}

/// What a request carries beside its parameters: the value of `Authorization`.
#[derive(Debug, Default)]
pub struct ClientCredentials {
    authorization: Option<Zeroizing<String>>,
}

impl ClientCredentials {
    /// Takes the header's value, if there is one. It is never printed.
    pub fn new(authorization: Option<Zeroizing<String>>) -> Self {
        ClientCredentials { authorization }
    }
}

/// A client that proved who it is.
#[derive(Debug)]
pub(super) struct Authenticated {
    /// The client.
    pub(super) client: Arc<RegisteredClient>,
    /// The place of the secret with which it did, among the client's.
    secret: usize,
}

impl Authenticated {
    /// The identifier of the secret with which it did.
    pub(super) fn secret_id(&self) -> Option<&str> {
        self.client.secrets.get(self.secret).map(|secret| secret.id.as_str())
    }
}

/// A pair of identifier and secret, in one or two readings: HTTP Basic credentials may be form-encoded or not, and a client
/// that sends `%41` may mean either.
pub struct Presented {
    first: Pair,
    second: Option<Pair>,
}

pub(super) type Pair = (String, Zeroizing<String>);

impl Presented {
    /// In one reading.
    fn once(pair: Pair) -> Self {
        Presented {
            first: pair,
            second: None,
        }
    }

    pub(super) fn readings(&self) -> impl Iterator<Item = &Pair> {
        std::iter::once(&self.first).chain(&self.second)
    }
}

/// Authenticates the client of a request: exactly one method, a known and enabled client, registered for that method, with a
/// live secret that matches. Whatever fails, the client sees the same `invalid_client` (RFC 6749 §5.2).
pub(super) fn authenticate(
    credentials: &ClientCredentials,
    parameters: &Parameters,
    directory: &Directory,
    hasher: &SecretHasher,
    uses: &SecretUses,
    cx: &Context<'_>,
) -> Result<Authenticated, TokenError> {
    let (method, presented) = the_one_method(credentials, parameters)?;
    let mut refusal = OAuthError::invalid_client("unknown client");
    for (client_id, secret) in presented.readings() {
        let Ok(client_id) = ClientId::parse(client_id) else {
            continue;
        };
        let registered = directory.client(&client_id, cx)?;
        match verify(registered.as_deref(), method, &hasher.hash(secret), cx) {
            Ok((place, secret)) => {
                uses.note(&secret.id, cx.now);
                let client = registered.ok_or(refusal)?;
                return Ok(Authenticated { client, secret: place });
            }
            Err(reason) => refusal = OAuthError::invalid_client(reason),
        }
    }
    Err(refusal.into())
}

/// The `client_id` that a request names, whether there is such a client or not.
pub(super) fn named(credentials: &ClientCredentials, parameters: &Parameters) -> Option<ClientId> {
    let (_, presented) = the_one_method(credentials, parameters).ok()?;
    ClientId::parse(&presented.first.0).ok()
}

/// RFC 6749 §2.3: a client uses one method per request, and says the same `client_id` wherever it says one.
pub(super) fn the_one_method(
    credentials: &ClientCredentials,
    parameters: &Parameters,
) -> Result<(ClientAuthMethod, Presented), OAuthError> {
    let mut found: Option<(ClientAuthMethod, Presented)> = None;
    for method in CLIENT_AUTH_METHODS {
        if let Some(presented) = method.presented(credentials, parameters)? {
            if found.is_some() {
                return Err(OAuthError::invalid_request(
                    "more than one client authentication method: use one",
                ));
            }
            found = Some((method.method(), presented));
        }
    }
    let asserted = parameters.get(Parameter::ClientAssertion).is_some();
    let (method, presented) = match found {
        Some(_) if asserted => {
            return Err(OAuthError::invalid_request(
                "more than one client authentication method: use one",
            ));
        }
        Some(found) => found,
        None if asserted => return Err(OAuthError::invalid_client("client assertions are not supported")),
        None => return Err(OAuthError::invalid_client("no client authentication")),
    };
    if let Some(in_body) = parameters.get(Parameter::ClientId)
        && !presented.readings().any(|(client_id, _)| client_id == in_body)
    {
        return Err(OAuthError::invalid_request(
            "client_id differs from the authenticated client",
        ));
    }
    Ok((method, presented))
}

/// Compares with every live secret, and with a hash that matches nothing when there is none, so that an unknown client takes as
/// long as a wrong secret. Returns the one that matched, with its place.
fn verify<'a>(
    registered: Option<&'a RegisteredClient>,
    method: ClientAuthMethod,
    presented: &SecretHash,
    cx: &Context<'_>,
) -> Result<(usize, &'a ClientSecretRecord), &'static str> {
    let Some(RegisteredClient { client, secrets }) = registered else {
        let _ = presented.matches(&SecretHash::nobodys());
        return Err("unknown client");
    };
    let mut matched = None;
    for secret in secrets.iter().enumerate() {
        if secret.1.hash.matches(presented) && secret.1.is_live(cx.now) {
            matched = Some(secret);
        }
    }
    if !client.enabled {
        return Err("disabled client");
    }
    let matched = matched.ok_or("wrong or expired client secret")?;
    if !client.metadata.auth_methods.contains(&method) {
        return Err("client authentication method not registered for the client");
    }
    Ok(matched)
}
