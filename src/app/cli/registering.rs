use clap::{Args, Subcommand};

use crate::oauth::{Audience, GrantType, Scope, Seconds};

#[derive(Debug, Subcommand)]
pub(in crate::app) enum RegistrationTokenCommand {
    /// Make a registration token and print it, once
    Create(CreateTokenArgs),
    /// List all registration tokens, without the tokens
    List,
    /// Refuse a registration token from now on; the clients that it registered stay
    Revoke {
        // One in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
}

/// What clients that register with the token have at most, and have when they ask for nothing.
#[derive(Debug, Args)]
pub(in crate::app) struct CreateTokenArgs {
    /// A name for people: whom it is given to
    #[arg(long)]
    pub(in crate::app) name: String,
    /// How many clients it may register
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(in crate::app) uses: u32,
    /// How long it may be used
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    pub(in crate::app) expires: Seconds,
    /// A grant that its clients may have (repeatable): client_credentials, password, refresh_token
    #[arg(long = "grant", value_name = "GRANT", required = true)]
    pub(in crate::app) grants: Vec<GrantType>,
    /// A scope that they may have (repeatable)
    #[arg(long, value_name = "SCOPE", value_parser = |text: &str| Scope::parse(text).map_err(|e| e.to_string()))]
    pub(in crate::app) scope: Vec<Scope>,
    /// An audience that they may have (repeatable) [default: the issuer]
    #[arg(long, value_name = "URL", value_parser = |text: &str| Audience::parse(text).map_err(|e| e.to_string()))]
    pub(in crate::app) audience: Vec<Audience>,
}
