use clap::{Args, Subcommand};

use super::ClientIdArg;
use crate::oauth::{
    Audience, ClaimProfile, ClientAuthMethod, GrantType, Scope, Seconds, SigningAlgorithm, TokenQuota, TokenType,
};

#[derive(Debug, Subcommand)]
pub(in crate::app) enum ClientCommand {
    /// Register a client and print its secret, once
    Create(CreateArgs),
    /// List all clients
    List,
    /// Show one client
    Show { id: ClientIdArg },
    /// Change a client; what is not named stays as it is
    Update(UpdateArgs),
    /// Refuse a client from now on
    Disable { id: ClientIdArg },
    /// Accept a disabled client again
    Enable { id: ClientIdArg },
    /// Remove a client and its secrets for good
    Delete { id: ClientIdArg },
    /// A client's secrets
    #[command(subcommand)]
    Secret(SecretCommand),
}

#[derive(Debug, Args)]
pub(in crate::app) struct CreateArgs {
    /// A name for people
    pub(in crate::app) name: String,
    /// The client_id [default: a generated one]
    #[arg(long)]
    pub(in crate::app) id: Option<ClientIdArg>,
    #[command(flatten)]
    pub(in crate::app) metadata: MetadataArgs,
}

#[derive(Debug, Args)]
pub(in crate::app) struct UpdateArgs {
    pub(in crate::app) id: ClientIdArg,
    /// A name for people
    #[arg(long)]
    pub(in crate::app) name: Option<String>,
    #[command(flatten)]
    pub(in crate::app) metadata: MetadataArgs,
    /// Return to the server's own life of access tokens
    #[arg(long, conflicts_with = "access_ttl")]
    pub(in crate::app) default_access_ttl: bool,
    /// Give every request a token of its own
    #[arg(long, conflicts_with = "token_reuse_window")]
    pub(in crate::app) no_token_reuse_window: bool,
    /// Give it as many tokens as it asks for
    #[arg(long, conflicts_with = "token_quota")]
    pub(in crate::app) no_token_quota: bool,
    /// Return to the server's own life of unused refresh tokens
    #[arg(long, conflicts_with = "refresh_ttl")]
    pub(in crate::app) default_refresh_ttl: bool,
    /// Return to the server's own life of logins
    #[arg(long, conflicts_with = "refresh_absolute_ttl")]
    pub(in crate::app) default_refresh_absolute_ttl: bool,
    /// Return to the usual retry window of 10s
    #[arg(long, conflicts_with = "refresh_retry_window")]
    pub(in crate::app) default_refresh_retry_window: bool,
    /// Return to the server's own signature algorithm
    #[arg(long, conflicts_with = "signing_alg")]
    pub(in crate::app) default_signing_alg: bool,
    /// Take away the right to introspect
    #[arg(long, conflicts_with = "introspect")]
    pub(in crate::app) no_introspect: bool,
    /// Register no scope
    #[arg(long, conflicts_with = "scope")]
    pub(in crate::app) no_scope: bool,
    /// Register no audience: tokens are for the issuer
    #[arg(long, conflicts_with = "audience")]
    pub(in crate::app) no_audience: bool,
}

/// Client metadata as arguments. Lists are repeated, or separated by spaces.
#[derive(Debug, Args)]
pub(in crate::app) struct MetadataArgs {
    /// A grant the client may use (repeatable): client_credentials, password, refresh_token
    #[arg(long = "grant", value_name = "GRANT")]
    pub(in crate::app) grants: Vec<GrantType>,
    /// A scope it may ask for (repeatable)
    #[arg(long, value_name = "SCOPE", value_parser = |text: &str| Scope::parse(text).map_err(|e| e.to_string()))]
    pub(in crate::app) scope: Vec<Scope>,
    /// An audience it may ask for (repeatable) [default: the issuer]
    #[arg(long, value_name = "URL", value_parser = |text: &str| Audience::parse(text).map_err(|e| e.to_string()))]
    pub(in crate::app) audience: Vec<Audience>,
    /// A way to authenticate (repeatable) [default: client_secret_basic and client_secret_post]
    #[arg(long = "auth-method", value_name = "METHOD")]
    pub(in crate::app) auth_methods: Vec<ClientAuthMethod>,
    /// Life of its access tokens, such as 5m [default: the server's]
    #[arg(long, value_name = "DURATION")]
    pub(in crate::app) access_ttl: Option<Seconds>,
    /// Give replicas that ask for the same one token for so long, such as 30s, at most 1h and half of its life [default: never]
    #[arg(long, value_name = "DURATION")]
    pub(in crate::app) token_reuse_window: Option<Seconds>,
    /// How many tokens each node gives it in which time, such as 1000/1m [default: as many as it asks for]
    #[arg(long, value_name = "TOKENS/DURATION")]
    pub(in crate::app) token_quota: Option<TokenQuota>,
    /// Life of its refresh tokens while they are not used, such as 14d [default: the server's]
    #[arg(long, value_name = "DURATION")]
    pub(in crate::app) refresh_ttl: Option<Seconds>,
    /// Life of a login however often it is refreshed, such as 90d [default: the server's]
    #[arg(long, value_name = "DURATION")]
    pub(in crate::app) refresh_absolute_ttl: Option<Seconds>,
    /// How long a lost refresh answer can be fetched again [default: 10s]; 0s for never
    #[arg(long, value_name = "DURATION")]
    pub(in crate::app) refresh_retry_window: Option<Seconds>,
    /// typ of its access tokens: at+jwt, or JWT for verifiers that refuse that (Spring Security)
    #[arg(long, value_name = "TYP")]
    pub(in crate::app) token_type: Option<TokenType>,
    /// Further claims: rfc9068, or simplejwt for Django REST framework
    #[arg(long, value_name = "PROFILE")]
    pub(in crate::app) claim_profile: Option<ClaimProfile>,
    /// What its access tokens are signed with: RS256, PS256 or ES256 [default: the server's]
    #[arg(long, value_name = "ALG")]
    pub(in crate::app) signing_alg: Option<SigningAlgorithm>,
    /// Let it ask about tokens of others
    #[arg(long)]
    pub(in crate::app) introspect: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::app) enum SecretCommand {
    /// Make a further secret and print it, once; the others go on working
    Add {
        id: ClientIdArg,
        /// Refuse it after this time, such as 90d
        #[arg(long, value_name = "DURATION")]
        expires: Option<Seconds>,
        /// Accept it only after this time, such as 2h
        #[arg(long, value_name = "DURATION")]
        not_before: Option<Seconds>,
    },
    /// List a client's secrets, without the secrets
    List { id: ClientIdArg },
    /// Refuse a secret from now on
    Revoke {
        id: ClientIdArg,
        // One in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        secret_id: String,
        /// Even if it was used in the last seven days
        #[arg(long)]
        force: bool,
    },
}
