//! Dynamic registration (RFC 7591) and its management (RFC 7592): clients that register themselves, within the rights of the
//! token that they were given for it.

mod information;
mod metadata;

use std::net::IpAddr;

use serde_json::json;
use zeroize::Zeroizing;

pub use self::information::{AddedSecret, ClientInformation};
pub use self::metadata::RequestedMetadata;
use super::admin::{Actor, ClientAdmin, ClientError, facts, facts_of_change, new_secret};
use super::{Context, Failure, Server, TokenError};
use crate::oauth::{
    Client, ClientId, ClientSecretRecord, ErrorCode, InitialAccessTokenRecord, NumericDate, OAuthError,
    RegistrationAccessToken, Seconds,
};
use crate::storage::{NewClient, NewRegistration, Registration, RegistrationOutcome};

/// A request to the registration endpoint (RFC 7591 §3) or to a client's configuration endpoint (RFC 7592 §2), without its
/// document and without anything of HTTP.
#[derive(Debug)]
pub struct RegistrationRequest {
    /// The bearer token: an initial access token, or a registration access token.
    pub token: BearerToken,
    /// Path of the registration endpoint, by the list of routes.
    pub endpoint: &'static str,
    /// Where the request comes from, as far as that is known.
    pub address: Option<IpAddr>,
}

/// A bearer token as it was presented. Printing shows nothing of it; memory is wiped.
pub struct BearerToken(pub Zeroizing<String>);

impl std::fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BearerToken([REDACTED])")
    }
}

impl Server {
    /// Registers a client for whoever holds an initial access token (RFC 7591 §3). It has no more rights than the token carries.
    pub fn register(
        &self,
        request: &RegistrationRequest,
        requested: &RequestedMetadata,
        cx: &mut Context<'_>,
    ) -> Result<ClientInformation, TokenError> {
        let token = self.initial_access_token(request, cx)?;
        let client_id = ClientId::generate(cx.rng);
        let metadata = requested.of_new_client(&client_id, &token.policy)?;
        let secret = new_secret(self.vault.hasher(), (None, None), cx.now, cx.rng);
        let access_token = RegistrationAccessToken::generate(cx.rng);
        let actor = Actor::from_address(&format!("registration:{}", token.id), request.address);
        let event = actor.event_of("client.registered", &client_id, cx.now, facts(&metadata));
        let new = NewRegistration {
            client: NewClient {
                client_id,
                metadata,
                created_at: cx.now,
            },
            secret: secret.record.clone(),
            hash: self.vault.hasher().hash(access_token.expose()),
            token,
        };
        match self.store.register_client(&new, &event)? {
            RegistrationOutcome::Registered(client) => {
                Ok(self.information(client, access_token, request).with_secret(secret))
            }
            RegistrationOutcome::Spent => Err(spent().into()),
            RegistrationOutcome::TooOften => Err(TokenError::Throttled(until_the_next_hour(cx.now))),
            RegistrationOutcome::Exists => Err(Failure::Unavailable("the generated client_id is taken", None).into()),
        }
    }

    /// What is registered for the client, without its secrets (RFC 7592 §2.1).
    pub fn read_registration(
        &self,
        client_id: &str,
        request: &RegistrationRequest,
    ) -> Result<ClientInformation, TokenError> {
        let registration = self.registration(client_id, request)?;
        Ok(self.information(registration.client, presented(request), request))
    }

    /// Replaces what is registered for the client (RFC 7592 §2.2). The rights of its initial access token bound the result, however
    /// it was reached.
    pub fn update_registration(
        &self,
        client_id: &str,
        request: &RegistrationRequest,
        requested: &RequestedMetadata,
        cx: &Context<'_>,
    ) -> Result<ClientInformation, TokenError> {
        // Somebody who changes the client in between does so a few times at the most.
        for _ in 0..MOST_ATTEMPTS {
            if let Some(updated) = self.update_as_read(client_id, request, requested, cx)? {
                return Ok(updated);
            }
        }
        Err(Failure::Unavailable("the client changes all the time", None).into())
    }

    /// `None` when somebody else changed the client meanwhile.
    fn update_as_read(
        &self,
        client_id: &str,
        request: &RegistrationRequest,
        requested: &RequestedMetadata,
        cx: &Context<'_>,
    ) -> Result<Option<ClientInformation>, TokenError> {
        let Registration { client, policy, .. } = self.registration(client_id, request)?;
        requested.is_an_update_of(&client.client_id, |secret| self.is_live_secret(&client, secret, cx.now))?;
        let metadata = requested.of_registered_client(&client, &policy)?;
        let detail = facts_of_change(&client.metadata, &metadata);
        let event = itself(&client, request).event_of("client.updated", &client.client_id, cx.now, detail);
        let updated = self.store.update_registration(&client, &metadata, &event)?;
        let Some(updated) = updated else { return Ok(None) };
        self.directory.forget(updated.client_id.as_str());
        Ok(Some(self.information(updated, presented(request), request)))
    }

    /// Ends the registration: the client, its secrets, its tokens and its registration access token (RFC 7592 §2.3).
    pub fn delete_registration(
        &self,
        client_id: &str,
        request: &RegistrationRequest,
        cx: &Context<'_>,
    ) -> Result<(), TokenError> {
        let Registration { client, .. } = self.registration(client_id, request)?;
        let event = itself(&client, request).event_of("client.deleted", &client.client_id, cx.now, json!({}));
        let deleted = self.store.delete_client(&client.client_id, &event)?;
        self.directory.forget(client.client_id.as_str());
        if deleted {
            Ok(())
        } else {
            Err(not_this_clients().into())
        }
    }

    /// Makes a further secret for the client, so that it can change over to it; the others go on working. No RFC has this: an
    /// update by RFC 7592 must not choose a secret.
    pub fn add_secret_of_registration(
        &self,
        client_id: &str,
        request: &RegistrationRequest,
        cx: &mut Context<'_>,
    ) -> Result<AddedSecret, TokenError> {
        let Registration { client, .. } = self.registration(client_id, request)?;
        let added = ClientAdmin::new(&self.store, itself(&client, request))
            .add_secret(&client.client_id, (None, None), &self.vault, cx)
            .map_err(of_admin)?;
        self.directory.forget(client.client_id.as_str());
        Ok(AddedSecret::of(added))
    }

    /// Revokes one secret of the client, which knows best whether it still uses it; `None` when it has no such secret.
    pub fn revoke_secret_of_registration(
        &self,
        client_id: &str,
        secret_id: &str,
        request: &RegistrationRequest,
        cx: &Context<'_>,
    ) -> Result<Option<()>, TokenError> {
        let Registration { client, .. } = self.registration(client_id, request)?;
        let admin = ClientAdmin::new(&self.store, itself(&client, request));
        let revoked = admin.revoke_secret(&client.client_id, secret_id, true, cx.now);
        self.directory.forget(client.client_id.as_str());
        match revoked {
            Ok(()) => Ok(Some(())),
            Err(ClientError::UnknownSecret(..)) => Ok(None),
            Err(error) => Err(of_admin(error)),
        }
    }

    /// The initial access token that was presented, if a client may be registered with it now.
    fn initial_access_token(
        &self,
        request: &RegistrationRequest,
        cx: &Context<'_>,
    ) -> Result<InitialAccessTokenRecord, TokenError> {
        self.refuse_if_restored()?;
        let hash = self.vault.hasher().hash(&request.token.0);
        let token = self.store.initial_access_token(&hash)?;
        // A clock that is set back gives no token life again.
        let now = self.latest.at(cx.now);
        Ok(token.filter(|token| token.is_live(now)).ok_or_else(spent)?)
    }

    /// The registration of the client, if the token that was presented is its own. Of an unknown client and a foreign token the
    /// same is said; the token stays good for the client that it belongs to (RFC 7592 §2).
    fn registration(&self, client_id: &str, request: &RegistrationRequest) -> Result<Registration, TokenError> {
        self.refuse_if_restored()?;
        let hash = self.vault.hasher().hash(&request.token.0);
        let registration = match ClientId::parse(client_id) {
            Ok(client_id) => self.store.registration(&client_id, &hash)?,
            Err(_nobodys) => None,
        };
        let enabled = registration.filter(|registration| registration.client.enabled);
        Ok(enabled.ok_or_else(not_this_clients)?)
    }

    /// Nothing is changed in a database that was put back to an earlier state, until somebody has looked at it.
    fn refuse_if_restored(&self) -> Result<(), Failure> {
        if self.watch.is_restored() {
            return Err(Failure::Unavailable(
                "the database was restored and not finalized",
                None,
            ));
        }
        Ok(())
    }

    fn is_live_secret(&self, client: &Client, secret: &str, now: NumericDate) -> Result<bool, TokenError> {
        let hash = self.vault.hasher().hash(secret);
        let secrets = self.store.client_secrets(&client.client_id)?.unwrap_or_default();
        let same = |record: &ClientSecretRecord| record.is_live(now) && record.hash.matches(&hash);
        Ok(secrets.iter().any(same))
    }

    fn information(
        &self,
        client: Client,
        token: RegistrationAccessToken,
        request: &RegistrationRequest,
    ) -> ClientInformation {
        let endpoint = self.settings.issuer.endpoint(request.endpoint);
        ClientInformation::new(client, token, &endpoint)
    }
}

/// How often a change is tried that others get in the way of.
const MOST_ATTEMPTS: usize = 8;

fn presented(request: &RegistrationRequest) -> RegistrationAccessToken {
    RegistrationAccessToken::presented(&request.token.0)
}

/// Unknown, used up, expired and revoked read the same: who holds such a token needs another one.
fn spent() -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidToken,
        "the initial access token is unknown, used up, expired or revoked: ask the administrator for another one",
    )
}

fn not_this_clients() -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidToken,
        "there is no such client, or the registration access token is not its own",
    )
}

fn until_the_next_hour(now: NumericDate) -> Seconds {
    let hour = Seconds::hours(1).get();
    Seconds::new(hour - now.epoch().rem_euclid(hour))
}

/// Why an act of a client on itself failed.
fn of_admin(error: ClientError) -> TokenError {
    match error {
        ClientError::TooManySecrets(_) => {
            OAuthError::invalid_request("the client has as many secrets as a client may have: delete one first").into()
        }
        ClientError::Unknown(_) => not_this_clients().into(),
        ClientError::Storage(error) => error.into(),
        other => Failure::Broken("a client could not change its secrets", Box::new(other)).into(),
    }
}

/// The client, as who acts on itself.
fn itself(client: &Client, request: &RegistrationRequest) -> Actor {
    Actor::from_address(&format!("client:{}", client.client_id), request.address)
}
