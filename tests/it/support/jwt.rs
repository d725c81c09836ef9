//! A verifier of our own: reads the JWK set over HTTP and checks the signature with the jsonwebtoken crate.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use super::server::{JWKS, TestServer};

/// A token whose signature was checked.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) header: Value,
    pub(crate) claims: Value,
}

/// Verifies a token with what the server publishes now.
pub(crate) fn verify(server: &TestServer, token: &str) -> Verified {
    verify_with(&server.get(JWKS).json(), token).unwrap()
}

/// Verifies a token with a JWK set: the key of its `kid` must be there, and the signature must be its own. Times are the
/// caller's to judge: the clock of a test is not the clock of the machine.
pub(crate) fn verify_with(jwks: &Value, token: &str) -> Result<Verified, String> {
    let header: Value = part(token, 0);
    let kid = header["kid"].as_str().ok_or("no kid")?;
    let keys = jwks["keys"].as_array().ok_or("no keys")?;
    let key = keys
        .iter()
        .find(|key| key["kid"] == kid)
        .ok_or(format!("{kid} is not published"))?;
    // RFC 8725 §3.1: the algorithm is the key's, whatever the token says.
    let algorithm: Algorithm = key["alg"].as_str().and_then(|alg| alg.parse().ok()).ok_or("no alg")?;
    let key: Jwk = serde_json::from_value(key.clone()).map_err(|error| error.to_string())?;
    let key = DecodingKey::from_jwk(&key).map_err(|error| error.to_string())?;
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let claims = jsonwebtoken::decode::<Value>(token, &key, &validation)
        .map_err(|error| error.to_string())?
        .claims;
    Ok(Verified { header, claims })
}

/// A part of a token, decoded and not verified.
pub(crate) fn part(token: &str, index: usize) -> Value {
    let encoded = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap()
}
