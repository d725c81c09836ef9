//! Grants: one file and one row of [`GRANTS`] each. A grant only decides; everything that grants have in common belongs to the
//! token endpoint, so no grant can forget it.

mod client_credentials;
mod password;
mod refresh_token;

use std::sync::Arc;

use self::client_credentials::ClientCredentialsGrant;
use self::password::PasswordGrant;
use self::refresh_token::RefreshTokenGrant;
use super::{Context, Reach, RegisteredClient, Server, TokenError, TokenRequest};
use crate::oauth::{Audiences, Client, FamilyId, GrantType, Lineage, NumericDate, Scope, SecretHash, User};
use crate::storage::RefreshTokenRecord;

/// Every grant that the server knows: dispatch and metadata both read this table.
pub static GRANTS: &[&dyn Grant] = &[&ClientCredentialsGrant, &PasswordGrant, &RefreshTokenGrant];

/// A way to obtain a token (RFC 6749 §1.3).
pub trait Grant: Sync {
    /// Its registered name.
    fn grant_type(&self) -> GrantType;

    /// What it needs at the least to decide. A grant that decides from memory is answered on the connection's own thread.
    fn reach(&self) -> Reach;

    /// Whether it decides by what is stored of somebody's login.
    fn is_by_login(&self) -> bool;

    /// Decides, for a client that is authenticated and registered for this grant.
    fn authorize(
        &self,
        server: &Server,
        client: &RegisteredClient,
        request: &TokenRequest,
        cx: &mut Context<'_>,
    ) -> Result<Authorization, TokenError>;
}

/// What a grant decided.
#[derive(Debug)]
pub struct Authorization {
    /// Whom the token speaks of: the claim `sub`.
    pub subject: String,
    /// What it hangs on.
    pub lineage: Lineage,
    /// What may be asked for, and is granted to who asks for nothing.
    pub within: Limits,
    /// What follows the signature.
    pub continuation: Continuation,
}

/// The bounds of what a request may ask for.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Scope.
    pub scope: Scope,
    /// Audiences; empty means the issuer.
    pub audiences: Audiences,
}

impl Limits {
    /// What is registered for the client.
    pub(super) fn of(client: &Client) -> Self {
        Limits {
            scope: client.metadata.scope.clone(),
            audiences: client.metadata.audiences.clone(),
        }
    }
}

/// What is to be done once the access token is signed.
#[derive(Debug)]
pub enum Continuation {
    /// Nothing.
    None,
    /// This user's login is written down, and gets no refresh token.
    SignIn(Box<User>),
    /// A family begins, for a user.
    Begin(Box<Beginning>),
    /// The presented token is exchanged for its successor.
    Rotate(Box<Exchange>),
    /// The presented token was exchanged a moment ago, and its successor is unused: the answer got lost, it is given again.
    Repeat(Arc<RefreshTokenRecord>),
}

/// A refresh token about to be exchanged.
#[derive(Debug)]
pub struct Exchange {
    /// What is known of it.
    pub record: Arc<RefreshTokenRecord>,
    /// Its hash.
    pub hash: SecretHash,
    /// Where it is known from.
    pub known: Known,
}

/// Where a refresh token is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It was just read.
    LookedUp,
    /// This node gave it out. It may have been exchanged, or its family ended, on another one.
    Remembered,
}

/// A family of refresh tokens about to begin.
#[derive(Debug)]
pub struct Beginning {
    /// The family's identifier.
    pub family: FamilyId,
    /// Who signed in.
    pub user: User,
    /// When the family ends, however often it is refreshed.
    pub expires_at: NumericDate,
    /// What every token of the family may ask for: at first the bounds of the request, then what it was granted.
    pub within: Limits,
}

impl Continuation {
    /// Whether something is to be written before it is answered.
    pub(super) fn is_written_down(&self) -> bool {
        match self {
            Continuation::SignIn(_) | Continuation::Begin(_) | Continuation::Rotate(_) => true,
            Continuation::None | Continuation::Repeat(_) => false,
        }
    }

    /// RFC 6749 §6, RFC 8707 §2.2: a family that begins holds what this request was granted, and a refresh never more. Where no
    /// audience is registered the token is for the issuer, and that is not a matter of the family.
    pub(super) fn narrow_to(&mut self, scope: &Scope, audiences: &Audiences) {
        if let Continuation::Begin(beginning) = self {
            beginning.within.scope.clone_from(scope);
            if !beginning.within.audiences.is_empty() {
                beginning.within.audiences.clone_from(audiences);
            }
        }
    }

    /// When the family ends; an access token does not outlive it.
    pub(super) fn family_end(&self) -> Option<NumericDate> {
        match self {
            Continuation::None | Continuation::SignIn(_) => None,
            Continuation::Begin(beginning) => Some(beginning.expires_at),
            Continuation::Rotate(exchange) => Some(exchange.record.family.expires_at),
            Continuation::Repeat(record) => Some(record.family.expires_at),
        }
    }
}
