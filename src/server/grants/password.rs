use tracing::warn;

use super::{Authorization, Beginning, Continuation, Grant, Limits};
use crate::oauth::{ErrorCode, FamilyId, GrantType, Lineage, OAuthError, Parameter, User, Username};
use crate::server::password::{Compared, PasswordHash, Verdict};
use crate::server::{Context, Reach, RegisteredClient, Server, TokenError, TokenRequest, audit};

/// A user's name and password, handed over by a client that the user trusts with them (RFC 6749 §4.3). OAuth 2.1 dropped it;
/// clients must be registered for it.
pub(super) struct PasswordGrant;

impl Grant for PasswordGrant {
    fn grant_type(&self) -> GrantType {
        GrantType::Password
    }

    fn reach(&self) -> Reach {
        Reach::Passwords
    }

    fn is_by_login(&self) -> bool {
        true
    }

    /// Unknown, disabled, wrong and empty are one answer, after the same work.
    fn authorize(
        &self,
        server: &Server,
        client: &RegisteredClient,
        request: &TokenRequest,
        cx: &mut Context<'_>,
    ) -> Result<Authorization, TokenError> {
        let (username, password) = presented(request)?;
        let attempt = server.throttle.admit(username.canonical(), request.address, cx.now);
        let attempt = attempt.map_err(|retry| TokenError::Throttled(retry.0))?;
        // That nobody could say whether it is right is no failure of whoever signs in.
        let unanswered = || server.throttle.withdrawn(&attempt);
        let known = server
            .store
            .user_by_name(&username)
            .inspect_err(|_unavailable| unanswered())?;
        let hash = known.as_ref().map(|(_, hash)| PasswordHash::parse(hash)).transpose();
        let hash = hash.unwrap_or_else(|error| {
            let request_id = &request.request_id;
            warn!(event = "password.unreadable", %error, %request_id, "a stored password hash cannot be read: set the password anew");
            None
        });
        let tag = server.vault.hasher().hash(username.canonical());
        let compared = hash.map_or_else(|| Compared::WithDecoy(server.decoys.of(&tag)), Compared::WithUser);
        let verdict = server
            .passwords
            .verify(compared, password)
            .inspect_err(|_overloaded| unanswered())?;
        match (known, verdict) {
            (Some((user, stored)), Verdict::Right { upgrade }) if user.enabled => {
                server.throttle.succeeded(attempt);
                if upgrade {
                    improve(server, (&user, &stored), password, request, cx);
                }
                Ok(authorized(server, client, user, cx))
            }
            (known, _) => {
                let user = known.map(|(user, _)| user);
                server
                    .store
                    .record(&audit::login_refused(&client.client, user.as_ref(), request, cx.now))?;
                Err(REFUSED.into())
            }
        }
    }
}

const REFUSED: OAuthError = OAuthError {
    code: ErrorCode::InvalidGrant,
    description: Some("the username or the password is wrong"),
    reason: "unknown user, disabled user or wrong password",
};

/// The name in its canonical form, and the password, which may be empty: that is only a wrong one.
fn presented(request: &TokenRequest) -> Result<(Username, &str), OAuthError> {
    let name = request
        .parameters
        .get(Parameter::Username)
        .ok_or(OAuthError::invalid_request("username is missing"))?;
    let username = Username::parse(name).map_err(|_not_a_name| {
        OAuthError::invalid_request("a username has 1 to 256 characters, none of them a control character")
    })?;
    let password = request.parameters.get(Parameter::Password).unwrap_or_default();
    if password.contains('\0') {
        return Err(OAuthError::invalid_request("a password cannot contain NUL"));
    }
    Ok((username, password))
}

fn authorized(server: &Server, client: &RegisteredClient, user: User, cx: &mut Context<'_>) -> Authorization {
    let within = Limits::of(&client.client);
    let subject = user.user_id.as_str().to_owned();
    let refreshes = client.client.metadata.grant_types.contains(&GrantType::RefreshToken);
    let (lineage, continuation) = if refreshes {
        let family = FamilyId::generate(cx.rng);
        let lineage = Lineage::Family(family.clone());
        let life = client.client.metadata.refresh_absolute_ttl;
        let expires_at = cx.now + life.unwrap_or(server.settings.refresh_absolute_ttl);
        let beginning = Beginning {
            family,
            user,
            expires_at,
            within: within.clone(),
        };
        (lineage, Continuation::Begin(Box::new(beginning)))
    } else {
        let lineage = Lineage::Standing {
            client: client.client.epoch,
            user: Some(user.epoch),
        };
        (lineage, Continuation::SignIn(Box::new(user)))
    };
    Authorization {
        subject,
        lineage,
        within,
        continuation,
    }
}

/// Replaces an imported or outdated hash by one of today. Whoever set another password meanwhile wins.
fn improve(
    server: &Server,
    (user, stored): (&User, &str),
    password: &str,
    request: &TokenRequest,
    cx: &mut Context<'_>,
) {
    let mut improved = || -> Result<bool, Box<dyn std::error::Error>> {
        let hash = server.passwords.hash(password, cx.rng)??;
        Ok(server
            .store
            .upgrade_password_hash(&user.user_id, stored, hash.as_str())?)
    };
    if let Err(error) = improved() {
        // The login stands; the next one tries again.
        let request_id = &request.request_id;
        warn!(event = "password.not_upgraded", %error, %request_id, "a password hash could not be improved");
    }
}
