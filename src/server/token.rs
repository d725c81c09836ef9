use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use super::client_auth::{self, Authenticated, ClientCredentials};
use super::families::{self, Concluded};
use super::grants::{GRANTS, Grant, Limits};
use super::issuer::{self, AccessToken, TokenResponse};
use super::quotas::Spent;
use super::reusable_tokens::Asked;
use super::{Context, Decision, Failure, RegisteredClient, RequestId, Server, TokenError};
use crate::failpoint::failpoint;
use crate::oauth::{
    Audience, Audiences, Client, ClientId, ErrorCode, GrantType, NumericDate, OAuthError, Parameter, Parameters, Scope,
    Seconds,
};

/// A request to the token endpoint or one of its neighbours (RFC 6749 §3.2, RFC 7009 §2.1, RFC 7662 §2.1), without anything of
/// HTTP but its credentials.
#[derive(Debug, Default)]
pub struct TokenRequest {
    /// The parameters in the body.
    pub parameters: Parameters,
    /// The value of `Authorization`.
    pub credentials: ClientCredentials,
    /// Where the request comes from, as far as that is known.
    pub address: Option<IpAddr>,
    /// How it is called.
    pub request_id: RequestId,
    /// Who was authenticated when the request was first looked at; it may be looked at again with a longer reach.
    authenticated: OnceLock<Authenticated>,
}

impl TokenRequest {
    /// A request that nobody has looked at.
    pub fn new(
        parameters: Parameters,
        credentials: ClientCredentials,
        (address, request_id): (Option<IpAddr>, RequestId),
    ) -> Self {
        TokenRequest {
            parameters,
            credentials,
            address,
            request_id,
            authenticated: OnceLock::new(),
        }
    }

    /// The client, once it has proved who it is.
    pub fn client(&self) -> Option<&ClientId> {
        Some(&self.authenticated.get()?.client.client.client_id)
    }

    /// The `client_id` that it names, whether there is such a client or not.
    pub fn named(&self) -> Option<ClientId> {
        client_auth::named(&self.credentials, &self.parameters)
    }

    /// The secret with which its client proved who it is.
    pub(super) fn secret_id(&self) -> Option<&str> {
        self.authenticated.get()?.secret_id()
    }
}

impl Server {
    /// Answers a token request, step by step in the order that RFC 6749 §5.2 implies and that tells an attacker least.
    ///
    /// With [`Reach::Memory`](super::Reach::Memory) it never waits. What is out of reach is [`TokenError::Needs`], and nothing has
    /// happened yet.
    pub fn token(&self, request: &TokenRequest, cx: &mut Context<'_>) -> Result<Decision<TokenResponse>, TokenError> {
        let parameters = &request.parameters;
        let registered = self.authenticate(request, cx)?;
        let grant = self.find_grant(parameters)?;
        allowed_to(&registered.client, grant)?;
        if grant.grant_type() != GrantType::RefreshToken {
            // A refresh may only fetch what was given.
            let quota = self.quotas.look(&registered.client, cx.now);
            quota.map_err(TokenError::OverQuota)?;
        }
        if grant.reach() > cx.reach {
            return Err(TokenError::Needs(grant.reach()));
        }
        if grant.is_by_login() && self.watch.is_restored() {
            return Err(Failure::Unavailable("the database was restored and not finalized", None).into());
        }
        let mut authorization = grant.authorize(self, &registered, request, cx)?;
        let scope = granted_scope(&authorization.within, parameters)?;
        let audiences = self.granted_audiences(&authorization.within, parameters)?;
        authorization.continuation.narrow_to(&scope, &audiences);
        if authorization.continuation.is_written_down() && !self.store.takes_writes() {
            // Sooner than after a signature for nothing.
            return Err(Failure::Unavailable("the database takes no writes now", None).into());
        }
        let key = self.wheel.signer(registered.client.metadata.signing_alg, cx.now)?;
        let client = &registered.client;
        // Given back wherever this ends without a token.
        let spent = match self.quotas.spend(client, cx.now) {
            // To wait until there is something left would be too late.
            Err(_nothing_left) if families::was_given(self, &authorization.continuation, cx)? => None,
            spent => spent.map_err(TokenError::OverQuota)?,
        };
        let quota = spent.as_ref().map(Spent::left);
        // A user's token is that user's alone, and says nothing about how the client keeps its own.
        let for_itself = grant.grant_type() == GrantType::ClientCredentials;
        let asked = for_itself
            .then(|| Asked::by(&registered, request.secret_id(), key.kid(), (&scope, &audiences)))
            .flatten();
        if let Some((access_token, expires_in)) = asked.as_ref().and_then(|asked| self.given_before(asked, cx.now)) {
            self.metrics.reused();
            self.usage.reused(client, cx.now);
            if let Some(spent) = spent {
                spent.given();
            }
            let response = TokenResponse::new(access_token, expires_in, scope);
            return Ok(Decision::Answer(response.leaving(quota)));
        }
        // Signed before anything is written: a signature that fails must not cost a refresh token.
        let mut issued = issuer::issue(&self.settings, client, &authorization, &scope, &audiences, &key, cx)?;
        failpoint!("token.signed");
        let concluded = families::conclude(self, &registered, authorization.continuation, request, cx)?;
        self.metrics.signed();
        if for_itself {
            self.usage.signed(client, cx.now);
        }
        if let Some(asked) = asked {
            issued.access_token = issued.access_token.shared();
            self.reusable.keep(asked, &issued);
        }
        let response = TokenResponse::new(issued.access_token, issued.lifetime, scope).leaving(quota);
        let response = match concluded {
            Concluded::Nothing => response,
            Concluded::Given(refresh_token) => response.with(refresh_token),
            Concluded::Once(refresh_token, mut exchanging) => {
                exchanging.spent = spent;
                return Ok(Decision::Once(response.with(refresh_token), exchanging));
            }
        };
        if let Some(spent) = spent {
            spent.given();
        }
        Ok(Decision::Answer(response))
    }

    /// The token that was given to who asked for the same a moment ago, and how long it lives yet. Not one that was revoked, and
    /// none while this node may not know of that.
    fn given_before(&self, asked: &Asked<'_>, now: NumericDate) -> Option<(AccessToken, Seconds)> {
        // A token that has grown too old stays so when the clock is set back.
        let latest = self.latest.at(now);
        let token = self.reusable.find(asked, now, latest)?;
        let stands = self.revoked.knows(&token.jti, now) == Some(false);
        stands.then(|| (token.access_token.clone(), token.expires_at.since(latest)))
    }

    /// The client of a request, whatever the endpoint.
    pub(super) fn authenticate(
        &self,
        request: &TokenRequest,
        cx: &Context<'_>,
    ) -> Result<Arc<RegisteredClient>, TokenError> {
        self.latest.at(cx.now);
        if let Some(client) = self.still_authenticated(request, cx) {
            return Ok(client);
        }
        let hasher = self.vault.hasher();
        let uses = &self.secret_uses;
        let found = client_auth::authenticate(
            &request.credentials,
            &request.parameters,
            &self.directory,
            hasher,
            uses,
            cx,
        )
        .map_err(|error| self.slowed_down(error, request, cx))?;
        let client = Arc::clone(&found.client);
        let _ = request.authenticated.set(found);
        Ok(client)
    }

    /// The client that was authenticated before the request hopped to a thread that may wait, if nothing changed about it.
    fn still_authenticated(&self, request: &TokenRequest, cx: &Context<'_>) -> Option<Arc<RegisteredClient>> {
        let before = &request.authenticated.get()?.client;
        let now = self.directory.client(&before.client.client_id, cx).ok()??;
        Arc::ptr_eq(before, &now).then_some(now)
    }

    /// Who fails to authenticate again and again is told to wait; nobody else is.
    fn slowed_down(&self, error: TokenError, request: &TokenRequest, cx: &Context<'_>) -> TokenError {
        if !matches!(&error, TokenError::Refused(refusal) if refusal.code == ErrorCode::InvalidClient) {
            return error;
        }
        let named = client_auth::named(&request.credentials, &request.parameters);
        let is_known = |id: &ClientId| self.directory.client(id, cx).is_ok_and(|found| found.is_some());
        let counted = self.failures.count(named.as_ref(), is_known, request.address, cx.now);
        for which in counted.exhausted {
            self.metrics.exhausted(which);
        }
        counted.wait.map_or(error, TokenError::Throttled)
    }

    fn find_grant(&self, parameters: &Parameters) -> Result<&'static dyn Grant, OAuthError> {
        let name = parameters
            .get(Parameter::GrantType)
            .ok_or(OAuthError::invalid_request("grant_type is missing"))?;
        let served = |grant: &&&dyn Grant| self.settings.serves(grant.grant_type());
        let grant = GRANTS
            .iter()
            .filter(served)
            .find(|grant| grant.grant_type().as_str() == name);
        grant.copied().ok_or(OAuthError::new(
            ErrorCode::UnsupportedGrantType,
            "the server does not support this grant_type",
        ))
    }

    /// RFC 8707 §2: what is asked for must be within the grant; who asks for nothing gets all of it; and where nothing is
    /// registered, the token is for the issuer itself.
    fn granted_audiences(&self, within: &Limits, parameters: &Parameters) -> Result<Audiences, OAuthError> {
        let asked = asked_audiences(parameters)?;
        if asked.iter().any(|audience| !within.audiences.contains(audience)) {
            return Err(OAuthError::new(
                ErrorCode::InvalidTarget,
                "the resource or audience is not registered for this client",
            ));
        }
        if !asked.is_empty() {
            return Ok(asked.into_iter().collect());
        }
        if !within.audiences.is_empty() {
            return Ok(within.audiences.clone());
        }
        Ok(self.wheel.issuer_as_audience().clone())
    }
}

/// Most values of `resource` and `audience` in one request.
const MOST_AUDIENCES: usize = 8;

fn asked_audiences(parameters: &Parameters) -> Result<Vec<Audience>, OAuthError> {
    let mut asked = Vec::new();
    for resource in parameters.all(Parameter::Resource) {
        asked.push(Audience::parse_resource(resource).map_err(|_not_a_resource| {
            OAuthError::new(
                ErrorCode::InvalidTarget,
                "a resource must be an absolute URI without a fragment",
            )
        })?);
    }
    for audience in parameters.all(Parameter::Audience) {
        asked.push(Audience::parse(audience).map_err(|_not_an_audience| {
            OAuthError::new(
                ErrorCode::InvalidTarget,
                "an audience must be printable ASCII without spaces",
            )
        })?);
    }
    if asked.len() > MOST_AUDIENCES {
        return Err(OAuthError::new(
            ErrorCode::InvalidTarget,
            "too many resources or audiences: ask for at most 8",
        ));
    }
    Ok(asked)
}

fn allowed_to(client: &Client, grant: &dyn Grant) -> Result<(), OAuthError> {
    if client.metadata.grant_types.contains(&grant.grant_type()) {
        Ok(())
    } else {
        Err(OAuthError::new(
            ErrorCode::UnauthorizedClient,
            "the client is not registered for this grant_type",
        ))
    }
}

/// RFC 6749 §3.3: all of what is asked for or nothing; who asks for nothing gets what the grant holds.
fn granted_scope(within: &Limits, parameters: &Parameters) -> Result<Scope, OAuthError> {
    let Some(asked) = parameters.get(Parameter::Scope) else {
        return Ok(within.scope.clone());
    };
    let asked = Scope::parse(asked).map_err(|_not_a_scope| {
        OAuthError::new(
            ErrorCode::InvalidScope,
            "the scope must be words separated by single spaces, at most 64 of them",
        )
    })?;
    if asked.is_within(&within.scope) {
        Ok(asked)
    } else {
        Err(OAuthError::new(
            ErrorCode::InvalidScope,
            "the scope goes beyond what is registered for this client",
        ))
    }
}
