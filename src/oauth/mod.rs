//! Floor 0: the words of the RFCs as types.
//!
//! Everything here is a value: no I/O, no clock, no source of randomness, no web framework, no database. The floors above
//! speak to each other in these types.

mod audience;
mod chosen_secret;
mod claims;
mod client;
mod client_id;
mod duration;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod grant_type;
mod issuer;
mod jwk;
mod lineage;
mod metadata;
mod numeric_date;
mod owner;
mod parameters;
mod refresh_token;
mod registration;
mod scope;
mod secret;
mod signing_algorithm;
mod token_quota;
mod user;

pub use audience::{Audience, AudienceError, Audiences};
pub use chosen_secret::{ChosenSecret, ChosenSecretError};
pub use claims::{AccessTokenClaims, ClaimProfile, IssuedClaims, TokenType, UnknownWord};
pub use client::{Client, ClientAuthMethod, ClientMetadata, ClientSecretRecord};
pub use client_id::{ClientId, ClientIdError};
pub use duration::{ParseSecondsError, Seconds};
pub use error::{ErrorCode, OAuthError};
pub use grant_type::GrantType;
pub use issuer::{IssuerError, IssuerUrl};
pub use jwk::{Jwk, Thumbprint, base64url, certificate_sha256};
pub use lineage::Lineage;
pub use metadata::ServerMetadata;
pub use numeric_date::NumericDate;
pub use owner::{Owner, OwnerError};
pub use parameters::{Parameter, Parameters, form_decode};
pub use refresh_token::{FamilyId, FamilyIdError, RefreshKey, RefreshToken};
pub use registration::{
    BeyondPolicy, InitialAccessToken, InitialAccessTokenRecord, RegistrationAccessToken, RegistrationPolicy,
    RegistrationPolicyError,
};
pub use scope::{Scope, ScopeError};
pub use secret::{ClientSecret, SecretHash, SecretHasher};
pub use signing_algorithm::{KeyType, SigningAlgorithm};
pub use token_quota::{TokenQuota, TokenQuotaError};
pub use user::{User, UserId, UserIdError, Username, UsernameError};
