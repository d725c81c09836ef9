use super::{CLIENT_AUTH_METHODS, GRANTS, Settings, Turn};
use crate::oauth::{GrantType, NumericDate, ServerMetadata, SigningAlgorithm};

/// Discovery parsers refuse an empty list and a missing one alike, so the one response type that the announced authorization
/// endpoint knows how to refuse is named.
const AUTHORIZATION_RESPONSE_TYPES: [&str; 1] = ["code"];

/// Paths of what the metadata points at, each beginning with a slash. They come from the list of routes.
#[derive(Debug, Clone, Copy)]
pub struct Endpoints {
    /// The authorization endpoint.
    pub authorization: &'static str,
    /// The token endpoint.
    pub token: &'static str,
    /// The JWK set.
    pub jwks: &'static str,
    /// Introspection (RFC 7662).
    pub introspection: &'static str,
    /// Revocation (RFC 7009).
    pub revocation: &'static str,
    /// Registration (RFC 7591); the configuration endpoint of a client is one segment below it (RFC 7592).
    pub registration: &'static str,
}

/// The document for `issuer`, read off the dispatch tables and the published keys.
pub(super) fn describe(settings: &Settings, endpoints: Endpoints, turn: &Turn, now: NumericDate) -> ServerMetadata {
    let issuer = &settings.issuer;
    let grants = GRANTS
        .iter()
        .map(|grant| grant.grant_type())
        .filter(|grant| settings.serves(*grant));
    let methods: Vec<&str> = CLIENT_AUTH_METHODS
        .iter()
        .map(|method| method.method().as_str())
        .collect();
    ServerMetadata {
        issuer: issuer.as_str().to_owned(),
        authorization_endpoint: issuer.endpoint(endpoints.authorization),
        token_endpoint: issuer.endpoint(endpoints.token),
        jwks_uri: issuer.endpoint(endpoints.jwks),
        response_types_supported: AUTHORIZATION_RESPONSE_TYPES.to_vec(),
        grant_types_supported: grants.map(GrantType::as_str).collect(),
        token_endpoint_auth_methods_supported: methods.clone(),
        introspection_endpoint: issuer.endpoint(endpoints.introspection),
        introspection_endpoint_auth_methods_supported: methods.clone(),
        revocation_endpoint: issuer.endpoint(endpoints.revocation),
        revocation_endpoint_auth_methods_supported: methods,
        registration_endpoint: issuer.endpoint(endpoints.registration),
        subject_types_supported: vec!["public"],
        id_token_signing_alg_values_supported: turn.ring().algorithms(now).map(SigningAlgorithm::as_str).collect(),
    }
}
