use crate::http::ENDPOINTS;
use crate::oauth::{
    Audiences, ClaimProfile, ClientAuthMethod, ClientId, ClientMetadata, GrantType, IssuerUrl, Scope, TokenType,
};
use crate::server::admin::{ClientAdmin, ClientError, NewClientRequest};
use crate::server::{Context, Vault};
use crate::storage::Store;

/// The client that `serve --dev` registers.
const DEMO: &str = "demo";

/// Registers the demo client, and returns how to use it: the secret appears here and never again. When the client exists already,
/// returns how to get a new secret.
pub(super) fn seed(store: &Store, vault: &Vault, issuer: &IssuerUrl, cx: &mut Context<'_>) -> anyhow::Result<String> {
    let metadata = ClientMetadata {
        name: "Demo".to_owned(),
        grant_types: vec![GrantType::ClientCredentials],
        auth_methods: ClientAuthMethod::ALL.to_vec(),
        scope: Scope::parse("demo:read demo:write")?,
        audiences: Audiences::default(),
        access_ttl: None,
        token_type: TokenType::default(),
        claim_profile: ClaimProfile::default(),
        introspect: false,
    };
    let request = NewClientRequest {
        client_id: Some(ClientId::parse(DEMO)?),
        metadata,
    };
    match ClientAdmin::new(store, "serve --dev").create(request, vault, cx) {
        Ok(created) => Ok(format!(
            "Registered a demo client. Its secret is shown this once:\n\n  client_id      {DEMO}\n  client_secret  {secret}\n\n{usage}",
            secret = created.secret.secret.expose(),
            usage = usage(issuer, created.secret.secret.expose())
        )),
        Err(ClientError::Exists(_)) => Ok(format!(
            "The demo client exists already. If its secret is lost, make a new one:\n\n  keywheel client secret add {DEMO}\n\n{usage}",
            usage = usage(issuer, "SECRET")
        )),
        Err(error) => Err(error.into()),
    }
}

fn usage(issuer: &IssuerUrl, secret: &str) -> String {
    let token = issuer.endpoint(ENDPOINTS.token);
    let jwks = issuer.endpoint(ENDPOINTS.jwks);
    format!(
        "Fetch a token:\n\n  curl -s -u '{DEMO}:{secret}' -d grant_type=client_credentials {token}\n\n\
         Look at the keys that verify it:\n\n  curl -s {jwks}\n"
    )
}
