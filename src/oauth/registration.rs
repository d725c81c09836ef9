//! The tokens of dynamic registration, and the rights that they carry (RFC 7591, RFC 7592).

use rand::CryptoRng;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use super::secret::{generated, last_four};
use super::{Audiences, ClientMetadata, GrantType, NumericDate, Scope, SecretHash};

/// Lets whoever presents it register clients (RFC 7591 §1.2): `kwi_`, 43 base64url characters, and a checksum of 6.
///
/// What is presented is never parsed: it is hashed and looked up. Printing shows `[REDACTED]`; memory is wiped.
#[derive(Debug)]
pub struct InitialAccessToken(SecretString);

impl InitialAccessToken {
    /// What every initial access token begins with. Never change it: scanners look for it.
    pub const PREFIX: &'static str = "kwi_";

    /// A new token.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        InitialAccessToken(generated(Self::PREFIX, rng))
    }

    /// The token itself, to be shown once to whoever asked for it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The last four characters, by which people tell tokens apart. They belong to the checksum.
    pub fn hint(&self) -> &str {
        last_four(self.expose())
    }
}

/// Lets a client look at its registration, change it and end it (RFC 7592 §1.2): `kwm_`, and the form of an
/// [`InitialAccessToken`].
#[derive(Debug, Clone)]
pub struct RegistrationAccessToken(SecretString);

impl RegistrationAccessToken {
    /// What every registration access token begins with. Never change it: scanners look for it.
    pub const PREFIX: &'static str = "kwm_";

    /// A new token.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        RegistrationAccessToken(generated(Self::PREFIX, rng))
    }

    /// The token that a client presented and that was found to be its own.
    pub fn presented(text: &str) -> Self {
        RegistrationAccessToken(SecretString::from(text))
    }

    /// The token itself, for the client alone.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// What is stored of an [`InitialAccessToken`].
#[derive(Debug, Clone)]
pub struct InitialAccessTokenRecord {
    /// Public identifier of the token.
    pub id: String,
    /// Keyed hash of the token.
    pub hash: SecretHash,
    /// The token's last four characters.
    pub hint: String,
    /// A name for people: whom it was given to.
    pub name: String,
    /// How many clients it may still register.
    pub uses_left: u32,
    /// What those clients may have registered.
    pub policy: RegistrationPolicy,
    /// When it was made.
    pub created_at: NumericDate,
    /// From when on it is refused.
    pub expires_at: NumericDate,
}

impl InitialAccessTokenRecord {
    /// Whether a client may be registered with it at `now`.
    pub fn is_live(&self, now: NumericDate) -> bool {
        self.uses_left > 0 && now < self.expires_at
    }
}

/// The rights that a token of registration carries: its clients never have more registered, however they are changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationPolicy {
    grant_types: Vec<GrantType>,
    scope: Scope,
    audiences: Audiences,
}

impl RegistrationPolicy {
    /// What scopes of keywheel itself begin with. They administer it, so nobody gets them by registering.
    pub const RESERVED_SCOPES: &'static str = "keywheel:";
    /// Most audiences of a policy, as of a client.
    const MAX_AUDIENCES: usize = 32;

    /// The right to register clients of these grants, scopes and audiences. With no audience, tokens are for the issuer.
    pub fn new(
        grant_types: Vec<GrantType>,
        scope: Scope,
        audiences: Audiences,
    ) -> Result<Self, RegistrationPolicyError> {
        if grant_types.is_empty() {
            return Err(RegistrationPolicyError::NoGrantType);
        }
        if scope.tokens().any(|token| token.starts_with(Self::RESERVED_SCOPES)) {
            return Err(RegistrationPolicyError::ReservedScope);
        }
        if audiences.len() > Self::MAX_AUDIENCES {
            return Err(RegistrationPolicyError::TooManyAudiences);
        }
        Ok(RegistrationPolicy {
            grant_types,
            scope,
            audiences,
        })
    }

    /// Grants that a client may have registered.
    pub fn grant_types(&self) -> &[GrantType] {
        &self.grant_types
    }

    /// Scope that a client may have registered, and has when it names none.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Audiences that a client may have registered, and has when it names none.
    pub fn audiences(&self) -> &Audiences {
        &self.audiences
    }

    /// Refuses metadata with more rights than these, and names the first member that has them.
    pub fn allows(&self, metadata: &ClientMetadata) -> Result<(), BeyondPolicy> {
        if !metadata
            .grant_types
            .iter()
            .all(|grant| self.grant_types.contains(grant))
        {
            return Err(BeyondPolicy::GrantTypes);
        }
        if !metadata.scope.is_within(&self.scope) {
            return Err(BeyondPolicy::Scope);
        }
        // A client without an audience has the issuer's, which is more than a list of others.
        let widened = metadata.audiences.is_empty() && !self.audiences.is_empty();
        if widened
            || !metadata
                .audiences
                .iter()
                .all(|audience| self.audiences.contains(audience))
        {
            return Err(BeyondPolicy::Audiences);
        }
        Ok(())
    }
}

/// Why rights cannot be given to a token of registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RegistrationPolicyError {
    /// No grant.
    #[error("a registration token allows at least one grant, such as --grant client_credentials")]
    NoGrantType,
    /// A scope of keywheel itself.
    #[error(
        "scopes that begin with \"keywheel:\" administer this server: register such a client yourself, with \"client create\""
    )]
    ReservedScope,
    /// More audiences than a client may have.
    #[error("a registration token allows at most 32 audiences")]
    TooManyAudiences,
}

/// The member of a client's metadata that goes beyond a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeyondPolicy {
    /// `grant_types`
    GrantTypes,
    /// `scope`
    Scope,
    /// `audience`
    Audiences,
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::oauth::{ClaimProfile, ClientAuthMethod, TokenType};

    fn policy(
        grants: &[GrantType],
        scope: &str,
        audiences: &str,
    ) -> Result<RegistrationPolicy, RegistrationPolicyError> {
        RegistrationPolicy::new(
            grants.to_vec(),
            Scope::parse(scope).unwrap(),
            Audiences::parse(audiences).unwrap(),
        )
    }

    fn metadata(grant: GrantType, scope: &str, audiences: &str) -> ClientMetadata {
        ClientMetadata {
            name: "Test".to_owned(),
            grant_types: vec![grant],
            auth_methods: ClientAuthMethod::ALL.to_vec(),
            scope: Scope::parse(scope).unwrap(),
            audiences: Audiences::parse(audiences).unwrap(),
            access_ttl: None,
            token_reuse_window: None,
            token_quota: None,
            refresh_ttl: None,
            refresh_absolute_ttl: None,
            refresh_retry_window: None,
            token_type: TokenType::AtJwt,
            claim_profile: ClaimProfile::Rfc9068,
            signing_alg: None,
            introspect: false,
        }
    }

    // Y-04, Y-05, Y-18
    #[test]
    fn a_policy_allows_parts_of_itself_and_nothing_beyond() {
        let own = GrantType::ClientCredentials;
        let policy = policy(&[own], "read write", "https://a https://b").unwrap();
        for (metadata, verdict) in [
            (metadata(own, "read write", "https://a https://b"), Ok(())),
            (metadata(own, "", "https://b"), Ok(())),
            (
                metadata(GrantType::Password, "", "https://a"),
                Err(BeyondPolicy::GrantTypes),
            ),
            (metadata(own, "read admin", "https://a"), Err(BeyondPolicy::Scope)),
            (metadata(own, "Read", "https://a"), Err(BeyondPolicy::Scope)),
            (
                metadata(own, "read", "https://a https://c"),
                Err(BeyondPolicy::Audiences),
            ),
            // The issuer's own audience is not in the list.
            (metadata(own, "read", ""), Err(BeyondPolicy::Audiences)),
        ] {
            assert_eq!(policy.allows(&metadata), verdict, "{metadata:?}");
        }
    }

    // Y-04
    #[test]
    fn no_policy_gives_a_scope_that_administers_the_server() {
        let grants = [GrantType::ClientCredentials];
        for scope in [
            "keywheel:admin",
            "read keywheel:read",
            "keywheel:self",
            "keywheel:made-up",
        ] {
            let refused = policy(&grants, scope, "");
            assert_eq!(refused, Err(RegistrationPolicyError::ReservedScope), "{scope}");
        }
        assert_eq!(policy(&[], "read", ""), Err(RegistrationPolicyError::NoGrantType));
    }

    // R-22, N-07
    #[test]
    fn each_kind_of_token_has_a_prefix_of_its_own_and_none_can_be_printed() {
        let mut rng = StdRng::seed_from_u64(1);
        let initial = InitialAccessToken::generate(&mut rng);
        let access = RegistrationAccessToken::generate(&mut rng);
        assert!(initial.expose().starts_with("kwi_") && initial.expose().ends_with(initial.hint()));
        assert!(access.expose().starts_with("kwm_"));
        assert_eq!((initial.expose().len(), access.expose().len()), (53, 53));
        let printed = format!("{initial:?} {access:?}");
        assert_eq!(printed.matches("REDACTED").count(), 2, "{printed}");
        assert!(!printed.contains("kwi_") && !printed.contains("kwm_"), "{printed}");
    }
}
