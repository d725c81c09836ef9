//! Grants: one file and one row of [`GRANTS`] each. A grant only decides; everything that grants have in common belongs to the
//! token endpoint, so no grant can forget it.

mod client_credentials;

use self::client_credentials::ClientCredentialsGrant;
use super::{Context, Reach, RegisteredClient, TokenError};
use crate::oauth::{GrantType, Parameters};

/// Every grant that the server answers: dispatch and metadata both read this table.
pub static GRANTS: &[&dyn Grant] = &[&ClientCredentialsGrant];

/// A way to obtain a token (RFC 6749 §1.3).
pub trait Grant: Sync {
    /// Its registered name.
    fn grant_type(&self) -> GrantType;

    /// What it needs to decide. A grant that decides from memory is answered on the connection's own thread.
    fn reach(&self) -> Reach;

    /// Decides, for a client that is authenticated and registered for this grant.
    fn authorize(
        &self,
        client: &RegisteredClient,
        parameters: &Parameters,
        cx: &mut Context<'_>,
    ) -> Result<Authorization, TokenError>;
}

/// What a grant decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// Whom the token speaks of: the claim `sub`.
    pub subject: String,
}
