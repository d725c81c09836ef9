use serde::Serialize;

/// What the server tells about itself (RFC 8414 §2, OpenID Connect Discovery 1.0 §3). One document serves both well-known
/// locations. A member that has nothing to say is left out, never null or empty.
#[derive(Debug, Clone, Serialize)]
pub struct ServerMetadata {
    /// The issuer, exactly as in tokens.
    pub issuer: String,
    /// Demanded by strict discovery parsers; answers with an error page as long as no grant uses it.
    pub authorization_endpoint: String,
    /// Where tokens are issued.
    pub token_endpoint: String,
    /// Where the public keys are.
    pub jwks_uri: String,
    /// Required by RFC 8414 even where no grant uses the authorization endpoint.
    pub response_types_supported: Vec<&'static str>,
    /// From the table of grants.
    pub grant_types_supported: Vec<&'static str>,
    /// From the table of client-authentication methods.
    pub token_endpoint_auth_methods_supported: Vec<&'static str>,
    /// Where tokens are looked into (RFC 7662).
    pub introspection_endpoint: String,
    /// As at the token endpoint.
    pub introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    /// Where tokens are revoked (RFC 7009).
    pub revocation_endpoint: String,
    /// As at the token endpoint.
    pub revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    /// Where clients register, given an initial access token (RFC 7591).
    pub registration_endpoint: String,
    /// Required by OpenID Connect Discovery; every client sees the same `sub`.
    pub subject_types_supported: Vec<&'static str>,
    /// Algorithms of every token that the server signs; some resource servers take it as their allow-list.
    pub id_token_signing_alg_values_supported: Vec<&'static str>,
}
