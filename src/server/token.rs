use super::client_auth::{self, ClientCredentials};
use super::grants::{GRANTS, Grant};
use super::issuer::{self, TokenResponse};
use super::{Context, RegisteredClient, Server, TokenError};
use crate::oauth::{Audience, Audiences, Client, ErrorCode, OAuthError, Parameter, Parameters, Scope};

/// A request to the token endpoint (RFC 6749 §3.2), without anything of HTTP but its credentials.
#[derive(Debug, Default)]
pub struct TokenRequest {
    /// The parameters in the body.
    pub parameters: Parameters,
    /// The value of `Authorization`.
    pub credentials: ClientCredentials,
}

impl Server {
    /// Answers a token request, step by step in the order that RFC 6749 §5.2 implies and that tells an attacker least.
    ///
    /// With [`Reach::Memory`](super::Reach::Memory) it never waits: what memory cannot answer is
    /// [`TokenError::NeedsStorage`], and nothing has happened yet.
    pub fn token(&self, request: &TokenRequest, cx: &mut Context<'_>) -> Result<TokenResponse, TokenError> {
        let parameters = &request.parameters;
        let registered = self.authenticate(request, cx)?;
        let grant = find_grant(parameters)?;
        allowed_to(&registered.client, grant)?;
        let scope = granted_scope(&registered.client, parameters)?;
        let audiences = self.granted_audiences(&registered.client, parameters)?;
        if grant.reach() > cx.reach {
            return Err(TokenError::NeedsStorage);
        }
        let authorization = grant.authorize(&registered, parameters, cx)?;
        let key = self.wheel.active(cx.now)?;
        let response = issuer::issue(
            &self.settings,
            &registered.client,
            &authorization,
            scope,
            &audiences,
            &key,
            cx,
        )?;
        self.metrics.signed();
        Ok(response)
    }

    fn authenticate(
        &self,
        request: &TokenRequest,
        cx: &Context<'_>,
    ) -> Result<std::sync::Arc<RegisteredClient>, TokenError> {
        let hasher = self.vault.hasher();
        client_auth::authenticate(&request.credentials, &request.parameters, &self.directory, hasher, cx)
    }

    /// RFC 8707 §2: what is asked for must be registered; who asks for nothing gets what is registered; and a client for which
    /// nothing is registered speaks to the issuer itself.
    fn granted_audiences(&self, client: &Client, parameters: &Parameters) -> Result<Audiences, OAuthError> {
        let registered = &client.metadata.audiences;
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
        if asked.iter().any(|audience| !registered.contains(audience)) {
            return Err(OAuthError::new(
                ErrorCode::InvalidTarget,
                "the resource or audience is not registered for this client",
            ));
        }
        if !asked.is_empty() {
            return Ok(asked.into_iter().collect());
        }
        if !registered.is_empty() {
            return Ok(registered.clone());
        }
        Ok(self.wheel.issuer_as_audience().clone())
    }
}

/// Most values of `resource` and `audience` in one request.
const MOST_AUDIENCES: usize = 8;

fn find_grant(parameters: &Parameters) -> Result<&'static dyn Grant, OAuthError> {
    let name = parameters
        .get(Parameter::GrantType)
        .ok_or(OAuthError::invalid_request("grant_type is missing"))?;
    let grant = GRANTS.iter().find(|grant| grant.grant_type().as_str() == name);
    grant.copied().ok_or(OAuthError::new(
        ErrorCode::UnsupportedGrantType,
        "the server does not support this grant_type",
    ))
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

/// RFC 6749 §3.3: all of what is asked for or nothing; who asks for nothing gets what is registered.
fn granted_scope(client: &Client, parameters: &Parameters) -> Result<Scope, OAuthError> {
    let registered = &client.metadata.scope;
    let Some(asked) = parameters.get(Parameter::Scope) else {
        return Ok(registered.clone());
    };
    let asked = Scope::parse(asked).map_err(|_not_a_scope| {
        OAuthError::new(
            ErrorCode::InvalidScope,
            "the scope must be words separated by single spaces, at most 64 of them",
        )
    })?;
    if asked.is_within(registered) {
        Ok(asked)
    } else {
        Err(OAuthError::new(
            ErrorCode::InvalidScope,
            "the scope goes beyond what is registered for this client",
        ))
    }
}
