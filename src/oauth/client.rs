use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::{
    Audiences, ClaimProfile, ClientId, GrantType, NumericDate, Owner, Scope, Seconds, SecretHash, SigningAlgorithm,
    TokenQuota, TokenType, UnknownWord,
};

/// A registered client (RFC 6749 §2, metadata by RFC 7591 §2). Its secrets are records of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Never reused: whoever registers a deleted `client_id` again gets another row.
    pub row: i64,
    /// The public identifier.
    pub client_id: ClientId,
    /// What an administrator registered.
    pub metadata: ClientMetadata,
    /// A disabled client is answered like an unknown one.
    pub enabled: bool,
    /// Rises whenever all token families of the client end.
    pub epoch: i64,
    /// Whose file declares it; `None` for a client that was made by hand.
    pub owner: Option<Owner>,
    /// When it was registered.
    pub created_at: NumericDate,
    /// When it was last changed.
    pub updated_at: NumericDate,
}

/// What is registered for a client and may be changed later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientMetadata {
    /// A name for people; at most 128 characters, none of them a control character.
    pub name: String,
    /// Grants that the client may use.
    pub grant_types: Vec<GrantType>,
    /// Ways in which it may authenticate.
    pub auth_methods: Vec<ClientAuthMethod>,
    /// Scope that it may ask for, and gets when it asks for none.
    pub scope: Scope,
    /// Audiences that it may ask for, and gets when it asks for none; empty means the issuer.
    pub audiences: Audiences,
    /// Life of its access tokens when it differs from the server's.
    pub access_ttl: Option<Seconds>,
    /// How long a token of the client's own is given again to who asks for the same, of those who authenticate with the same
    /// secret, but never past half of its life; `None` for never.
    pub token_reuse_window: Option<Seconds>,
    /// How many tokens it is given in which time, by each node; `None` for as many as it asks for.
    pub token_quota: Option<TokenQuota>,
    /// Life of a refresh token that is not used, when it differs from the server's.
    pub refresh_ttl: Option<Seconds>,
    /// Life of a token family however often it is refreshed, when it differs from the server's.
    pub refresh_absolute_ttl: Option<Seconds>,
    /// How long a refresh token that was used is answered with the same successor again, when it differs from the server's;
    /// zero for never.
    pub refresh_retry_window: Option<Seconds>,
    /// `typ` of its access tokens.
    pub token_type: TokenType,
    /// Further claims of its access tokens.
    pub claim_profile: ClaimProfile,
    /// With what its access tokens are signed, when it differs from the server's.
    pub signing_alg: Option<SigningAlgorithm>,
    /// Whether it may ask about tokens of others (RFC 7662).
    pub introspect: bool,
}

/// One of a client's secrets, without the secret.
#[derive(Debug, Clone)]
pub struct ClientSecretRecord {
    /// Public identifier of the secret.
    pub id: String,
    /// Keyed hash of the secret.
    pub hash: SecretHash,
    /// Four characters by which people tell secrets apart: the last of a generated secret, or of the hash of another one.
    pub hint: String,
    /// When it was made.
    pub created_at: NumericDate,
    /// From when on it is refused; `None` for never.
    pub expires_at: Option<NumericDate>,
    /// From when on it is accepted; `None` for since it was made.
    pub not_before: Option<NumericDate>,
    /// When it was last used, a few minutes ago at most when it was later; `None` for never.
    pub last_used_at: Option<NumericDate>,
}

impl ClientSecretRecord {
    /// Whether the secret is accepted at `now`.
    pub fn is_live(&self, now: NumericDate) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
            && self.not_before.is_none_or(|not_before| not_before <= now)
    }
}

/// How a client proves who it is, by the names of RFC 7591 §2 (`token_endpoint_auth_method`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMethod {
    /// HTTP Basic (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// `client_id` and `client_secret` in the body (RFC 6749 §2.3.1).
    ClientSecretPost,
}

impl ClientAuthMethod {
    /// Every method, the preferred one first.
    pub const ALL: [ClientAuthMethod; 2] = [ClientAuthMethod::ClientSecretBasic, ClientAuthMethod::ClientSecretPost];

    /// The registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            ClientAuthMethod::ClientSecretBasic => "client_secret_basic",
            ClientAuthMethod::ClientSecretPost => "client_secret_post",
        }
    }
}

impl fmt::Display for ClientAuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ClientAuthMethod {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        UnknownWord::find(Self::ALL, Self::as_str, text)
    }
}
