use zeroize::Zeroizing;

use crate::http::ENDPOINTS;
use crate::oauth::{
    Audiences, ClaimProfile, ClientAuthMethod, ClientId, ClientMetadata, GrantType, IssuerUrl, Scope, TokenType,
    base64url,
};
use crate::server::admin::{ClientAdmin, ClientError, NewClientRequest, UserAdmin, UserError};
use crate::server::{Context, Vault};
use crate::storage::Store;

/// The client that `serve --dev` registers, and the user that it makes.
const DEMO: &str = "demo";
/// Who acts, for the audit trail.
const ACTOR: &str = "serve --dev";

/// Registers the demo client and makes the demo user, and returns how to use them: secret and password appear here and never
/// again. What exists already is left alone, and how to set it anew is told instead.
pub(super) fn seed(store: &Store, vault: &Vault, issuer: &IssuerUrl, cx: &mut Context<'_>) -> anyhow::Result<String> {
    let secret = client(store, vault, cx)?;
    let password = user(store, cx)?;
    let mut told = String::new();
    match (&secret, &password) {
        (None, None) => {
            told += "The demo client and the demo user exist already. To set their secrets anew:\n\n";
            told += &format!("  keywheel client secret add {DEMO}\n  keywheel user set-password {DEMO}\n\n");
        }
        _ => {
            let known = |made: &Option<Zeroizing<String>>| {
                made.as_ref().map_or("(set before)", |made| made.as_str()).to_owned()
            };
            told += "Made a demo client and a demo user. Their secrets are shown this once:\n\n";
            told += &format!("  client_id      {DEMO}\n  client_secret  {}\n", known(&secret));
            told += &format!("  username       {DEMO}\n  password       {}\n\n", known(&password));
        }
    }
    let shown = |made: &Option<Zeroizing<String>>, instead: &str| {
        made.as_ref().map_or(instead, |made| made.as_str()).to_owned()
    };
    Ok(told + &usage(issuer, &shown(&secret, "SECRET"), &shown(&password, "PASSWORD")))
}

/// The new client's secret; `None` when the client exists.
fn client(store: &Store, vault: &Vault, cx: &mut Context<'_>) -> anyhow::Result<Option<Zeroizing<String>>> {
    let metadata = ClientMetadata {
        name: "Demo".to_owned(),
        grant_types: GrantType::ALL.to_vec(),
        auth_methods: ClientAuthMethod::ALL.to_vec(),
        scope: Scope::parse("demo:read demo:write")?,
        audiences: Audiences::default(),
        access_ttl: None,
        token_reuse_window: None,
        token_quota: None,
        refresh_ttl: None,
        refresh_absolute_ttl: None,
        refresh_retry_window: None,
        token_type: TokenType::default(),
        claim_profile: ClaimProfile::default(),
        signing_alg: None,
        introspect: true,
    };
    let request = NewClientRequest {
        client_id: Some(ClientId::parse(DEMO)?),
        metadata,
    };
    match ClientAdmin::new(store, ACTOR).create(request, vault, cx) {
        Ok(created) => Ok(Some(Zeroizing::new(created.secret.secret.expose().to_owned()))),
        Err(ClientError::Exists(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The new user's password; `None` when the user exists.
fn user(store: &Store, cx: &mut Context<'_>) -> anyhow::Result<Option<Zeroizing<String>>> {
    let mut random = Zeroizing::new([0; 12]);
    cx.rng.fill_bytes(random.as_mut());
    let password = Zeroizing::new(base64url(random.as_ref()));
    match UserAdmin::new(store, ACTOR).create(DEMO, &password, cx) {
        Ok(_) => Ok(Some(password)),
        Err(UserError::Exists(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn usage(issuer: &IssuerUrl, secret: &str, password: &str) -> String {
    let at = |path: &str| issuer.endpoint(path);
    let curl = format!("curl -s -u '{DEMO}:{secret}'");
    let token = at(ENDPOINTS.token);
    format!(
        "A token for the client itself:\n\n  {curl} -d grant_type=client_credentials {token}\n\n\
         A token for the user, with a refresh token, and its exchange:\n\n  \
         {curl} -d grant_type=password -d username={DEMO} -d 'password={password}' {token}\n  \
         {curl} -d grant_type=refresh_token -d refresh_token=REFRESH_TOKEN {token}\n\n\
         What a token says and whether it lives, and its end:\n\n  \
         {curl} -d token=TOKEN {}\n  {curl} -d token=TOKEN {}\n\n\
         The keys that verify tokens:\n\n  curl -s {}\n",
        at(ENDPOINTS.introspection),
        at(ENDPOINTS.revocation),
        at(ENDPOINTS.jwks),
    )
}
