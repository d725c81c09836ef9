//! The metadata that a client asks to have registered, judged member by member (RFC 7591 §2).

use secrecy::{ExposeSecret, SecretString};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use url::Url;

use crate::oauth::{
    Audience, Audiences, BeyondPolicy, ClaimProfile, Client, ClientAuthMethod, ClientId, ClientMetadata, ErrorCode,
    GrantType, OAuthError, RegistrationPolicy, Scope, TokenType,
};
use crate::server::TokenError;
use crate::server::admin::broken_rules;

/// A client registration request, or a client update request (RFC 7591 §3.1, RFC 7592 §2.2). A member that is null counts as
/// absent (RFC 7592 §2.2), and one that is not here is ignored (RFC 7591 §2).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RequestedMetadata {
    client_name: Option<Value>,
    grant_types: Option<Value>,
    token_endpoint_auth_method: Option<Value>,
    scope: Option<Value>,
    /// keywheel's own.
    audience: Option<Value>,
    redirect_uris: Option<Value>,
    response_types: Option<Value>,
    client_uri: Option<Value>,
    logo_uri: Option<Value>,
    tos_uri: Option<Value>,
    policy_uri: Option<Value>,
    post_logout_redirect_uris: Option<Value>,
    jwks: Option<IgnoredAny>,
    jwks_uri: Option<IgnoredAny>,
    software_statement: Option<Value>,
    client_id: Option<Value>,
    #[serde(deserialize_with = "secret")]
    client_secret: Option<SecretString>,
    client_secret_expires_at: Option<IgnoredAny>,
    client_id_issued_at: Option<IgnoredAny>,
    registration_access_token: Option<IgnoredAny>,
    registration_client_uri: Option<IgnoredAny>,
    /// What else there is. It also makes the document an object: without it, an array of values in this order would do.
    #[serde(flatten)]
    _others: IgnoredAny,
}

/// Something that is no text is no secret, and equals none.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(match Option::<Value>::deserialize(deserializer)? {
        None => None,
        Some(Value::String(text)) => Some(SecretString::from(text)),
        Some(_) => Some(SecretString::from("")),
    })
}

impl RequestedMetadata {
    /// The metadata of a client that registers with these rights. What the request leaves out is the server's to choose.
    pub(in crate::server) fn of_new_client(
        &self,
        client_id: &ClientId,
        policy: &RegistrationPolicy,
    ) -> Result<ClientMetadata, OAuthError> {
        let chosen = ClientMetadata {
            name: String::new(),
            grant_types: Vec::new(),
            auth_methods: Vec::new(),
            scope: Scope::empty(),
            audiences: Audiences::default(),
            access_ttl: None,
            token_reuse_window: None,
            token_quota: None,
            refresh_ttl: None,
            refresh_absolute_ttl: None,
            refresh_retry_window: None,
            token_type: TokenType::default(),
            claim_profile: ClaimProfile::default(),
            // A key is published for every algorithm that some client has, so it is for administrators to choose.
            signing_alg: None,
            introspect: false,
        };
        self.replacing(chosen, client_id, policy)
    }

    /// The metadata of a client that replaces what it had registered. What only administrators choose stays.
    pub(in crate::server) fn of_registered_client(
        &self,
        client: &Client,
        policy: &RegistrationPolicy,
    ) -> Result<ClientMetadata, OAuthError> {
        self.replacing(client.metadata.clone(), &client.client_id, policy)
    }

    /// Whether the request may update `client_id` (RFC 7592 §2.2): it names the client, chooses no secret, and holds nothing that
    /// is the server's alone.
    pub(in crate::server) fn is_an_update_of(
        &self,
        client_id: &ClientId,
        is_live_secret: impl FnOnce(&str) -> Result<bool, TokenError>,
    ) -> Result<(), TokenError> {
        let refuse = |why| Err(OAuthError::invalid_client_metadata(why).into());
        if self.client_id.as_ref().and_then(Value::as_str) != Some(client_id.as_str()) {
            return refuse("client_id has to be that of the URL");
        }
        let servers_own = [
            &self.registration_access_token,
            &self.registration_client_uri,
            &self.client_secret_expires_at,
            &self.client_id_issued_at,
        ];
        if servers_own.into_iter().any(Option::is_some) {
            return refuse(
                "leave out registration_access_token, registration_client_uri, client_secret_expires_at and client_id_issued_at",
            );
        }
        if let Some(secret) = &self.client_secret
            && !is_live_secret(secret.expose_secret())?
        {
            return refuse("client_secret has to be the present one: POST to secrets below this URL makes another one");
        }
        Ok(())
    }

    /// Judges every member. The rules and the policy are held against the result.
    fn replacing(
        &self,
        before: ClientMetadata,
        client_id: &ClientId,
        policy: &RegistrationPolicy,
    ) -> Result<ClientMetadata, OAuthError> {
        self.refuse_software_statement()?;
        self.refuse_redirection()?;
        self.refuse_keys()?;
        self.check_uris()?;
        let metadata = ClientMetadata {
            // RFC 7591 §2: without a name, the client_id is shown.
            name: text(&self.client_name, "client_name has to be a string")?
                .unwrap_or(client_id.as_str())
                .to_owned(),
            grant_types: self.grant_types(policy)?,
            auth_methods: vec![self.auth_method()?],
            scope: match text(&self.scope, "scope has to be a string")? {
                Some(scope) => Scope::parse(scope).map_err(|_syntax| {
                    OAuthError::invalid_client_metadata("scope has to be at most 64 words with one space between them")
                })?,
                None => policy.scope().clone(),
            },
            audiences: match texts(&self.audience, "audience has to be an array of strings")? {
                Some(audiences) => audiences
                    .into_iter()
                    .map(Audience::parse)
                    .collect::<Result<_, _>>()
                    .map_err(|_syntax| {
                        OAuthError::invalid_client_metadata(
                            "audience has to hold 1 to 512 printable characters without spaces in each place",
                        )
                    })?,
                None => policy.audiences().clone(),
            },
            ..before
        };
        if let Some(broken) = broken_rules(&metadata).first() {
            return Err(OAuthError::invalid_client_metadata(broken.why));
        }
        policy.allows(&metadata).map_err(|beyond| {
            OAuthError::invalid_client_metadata(match beyond {
                BeyondPolicy::GrantTypes => "grant_types goes beyond what the initial access token allows",
                BeyondPolicy::Scope => "scope goes beyond what the initial access token allows",
                BeyondPolicy::Audiences => "audience goes beyond what the initial access token allows, or is empty",
            })
        })?;
        Ok(metadata)
    }

    /// The default of RFC 7591 §2, `authorization_code`, does not exist here.
    fn grant_types(&self, policy: &RegistrationPolicy) -> Result<Vec<GrantType>, OAuthError> {
        let Some(names) = texts(&self.grant_types, "grant_types has to be an array of strings")? else {
            return if policy.grant_types().contains(&GrantType::ClientCredentials) {
                Ok(vec![GrantType::ClientCredentials])
            } else {
                Err(OAuthError::invalid_client_metadata(
                    "name grant_types: the initial access token does not allow client_credentials, which is the default",
                ))
            };
        };
        let mut grants = Vec::new();
        for name in names {
            let grant = name.parse().map_err(|_unknown| {
                OAuthError::invalid_client_metadata("grant_types names a grant that this server does not have")
            })?;
            if !grants.contains(&grant) {
                grants.push(grant);
            }
        }
        Ok(grants)
    }

    fn auth_method(&self) -> Result<ClientAuthMethod, OAuthError> {
        let why = "token_endpoint_auth_method has to be client_secret_basic or client_secret_post";
        match text(&self.token_endpoint_auth_method, why)? {
            Some(name) => name
                .parse()
                .map_err(|_unknown| OAuthError::invalid_client_metadata(why)),
            None => Ok(ClientAuthMethod::ClientSecretBasic),
        }
    }

    /// Nobody's statements are trusted (RFC 7591 §2.3). What has not the form of a signed JWT is not even one.
    fn refuse_software_statement(&self) -> Result<(), OAuthError> {
        let Some(statement) = &self.software_statement else {
            return Ok(());
        };
        let is_signed = statement.as_str().is_some_and(|text| {
            let parts: Vec<&str> = text.split('.').collect();
            parts.len() == 3
                && parts.iter().all(|part| {
                    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
                })
        });
        Err(if is_signed {
            OAuthError::new(
                ErrorCode::UnapprovedSoftwareStatement,
                "this server trusts no software statements: leave software_statement out",
            )
        } else {
            OAuthError::new(
                ErrorCode::InvalidSoftwareStatement,
                "software_statement is not a signed JWT; this server trusts none: leave it out",
            )
        })
    }

    /// No grant of this server redirects anybody, so there is nothing to redirect to.
    fn refuse_redirection(&self) -> Result<(), OAuthError> {
        if !is_empty_array(&self.redirect_uris) {
            return Err(OAuthError::new(
                ErrorCode::InvalidRedirectUri,
                "this server redirects nobody: leave redirect_uris out, or send an empty array",
            ));
        }
        if !is_empty_array(&self.response_types) {
            return Err(OAuthError::invalid_client_metadata(
                "this server has no response types: leave response_types out, or send an empty array",
            ));
        }
        Ok(())
    }

    /// Keys would be of no use, and a client that registers some believes that they are. None is read, none is fetched.
    fn refuse_keys(&self) -> Result<(), OAuthError> {
        if self.jwks.is_some() && self.jwks_uri.is_some() {
            return Err(OAuthError::invalid_client_metadata(
                "jwks and jwks_uri exclude each other (RFC 7591 section 2), and this server uses neither",
            ));
        }
        if self.jwks.is_some() || self.jwks_uri.is_some() {
            return Err(OAuthError::invalid_client_metadata(
                "this server uses no keys of clients: leave jwks and jwks_uri out",
            ));
        }
        Ok(())
    }

    /// The pages of a client are not kept, and yet nobody is left to believe that an address for them is fine that no page should
    /// ever link to.
    fn check_uris(&self) -> Result<(), OAuthError> {
        let pages = [&self.client_uri, &self.logo_uri, &self.tos_uri, &self.policy_uri];
        let why = "client_uri, logo_uri, tos_uri and policy_uri have to be https URLs";
        for page in pages.into_iter().flatten() {
            if !page.as_str().is_some_and(is_https) {
                return Err(OAuthError::invalid_client_metadata(why));
            }
        }
        let why = "post_logout_redirect_uris has to be an array of https URLs";
        let uris = texts(&self.post_logout_redirect_uris, why)?.unwrap_or_default();
        if uris.into_iter().all(is_https) {
            Ok(())
        } else {
            Err(OAuthError::invalid_client_metadata(why))
        }
    }
}

/// An https URL as people write it: what a parser would mend or hide is refused.
fn is_https(text: &str) -> bool {
    let plain = text.len() <= LONGEST_URL
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        && text
            .get(..8)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
    plain && Url::parse(text).is_ok_and(|url| url.username().is_empty() && url.password().is_none())
}

/// Longest URL in characters.
const LONGEST_URL: usize = 2_048;

fn is_empty_array(value: &Option<Value>) -> bool {
    match value {
        None => true,
        Some(value) => value.as_array().is_some_and(Vec::is_empty),
    }
}

fn text<'a>(value: &'a Option<Value>, why: &'static str) -> Result<Option<&'a str>, OAuthError> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(OAuthError::invalid_client_metadata(why)),
    }
}

fn texts<'a>(value: &'a Option<Value>, why: &'static str) -> Result<Option<Vec<&'a str>>, OAuthError> {
    match value {
        None => Ok(None),
        Some(Value::Array(values)) => {
            let texts: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
            texts.map(Some).ok_or(OAuthError::invalid_client_metadata(why))
        }
        Some(_) => Err(OAuthError::invalid_client_metadata(why)),
    }
}
