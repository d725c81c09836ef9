use std::fmt;
use std::sync::Arc;

use moka::sync::Cache;

use super::RegisteredClient;
use super::issuer::{AccessToken, Issued};
use crate::oauth::{Audiences, NumericDate, Scope, Seconds, Thumbprint};

/// Access tokens of clients whose replicas may share one: who asks for the same as another did a moment ago gets the same token, and
/// nothing is signed.
///
/// A token is found only as long as it could be signed now as it is: for the client as it is registered, by the key that signs.
/// Whether it was revoked is for others to know.
pub(super) struct ReusableTokens(Cache<Wanted, Arc<ReusableToken>>);

/// Most tokens remembered, of one to two kilobytes each. Those that are asked for often stay.
const MOST: u64 = 10_000;

/// What distinguishes the requests of one client, as far as it makes another token.
///
/// The secret is one of them: it may be taken from one replica and not from another, and then its tokens go with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wanted {
    client: i64,
    secret: String,
    scope: Scope,
    audiences: Audiences,
}

/// What is asked for, by a client that lets tokens be given again.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    client: &'a Arc<RegisteredClient>,
    window: Seconds,
    /// The key that signs.
    kid: &'a Thumbprint,
    wanted: Wanted,
}

impl<'a> Asked<'a> {
    /// What the client asks for, having proved who it is with the secret. `None` for a client whose every request gets a token of
    /// its own.
    pub(super) fn by(
        client: &'a Arc<RegisteredClient>,
        secret: Option<&str>,
        kid: &'a Thumbprint,
        (scope, audiences): (&Scope, &Audiences),
    ) -> Option<Self> {
        let window = client.client.metadata.token_reuse_window?;
        let wanted = Wanted {
            client: client.client.row,
            secret: secret?.to_owned(),
            scope: scope.clone(),
            audiences: audiences.clone(),
        };
        Some(Asked {
            client,
            window,
            kid,
            wanted,
        })
    }
}

/// A token that was given, with what has to be true for it to be given again.
#[derive(Debug)]
pub(super) struct ReusableToken {
    /// Another record of the same client may allow less, and was read after something changed.
    client: Arc<RegisteredClient>,
    kid: Thumbprint,
    /// By which it would be revoked.
    pub(super) jti: String,
    issued_at: NumericDate,
    /// When it ends.
    pub(super) expires_at: NumericDate,
    /// The token itself.
    pub(super) access_token: AccessToken,
}

impl ReusableToken {
    /// Whether it is young enough: within the window, and with half of its life before it at the least. The clock shows `now` and has
    /// shown `latest`, which is later if it was set back.
    fn is_young(&self, window: Seconds, now: NumericDate, latest: NumericDate) -> bool {
        let half = self.expires_at.since(self.issued_at) / 2;
        self.issued_at <= now && latest.since(self.issued_at) < window.min(half)
    }
}

impl Default for ReusableTokens {
    fn default() -> Self {
        ReusableTokens(Cache::new(MOST))
    }
}

impl ReusableTokens {
    /// The token that was given for the same, if it may be given again.
    pub(super) fn find(&self, asked: &Asked<'_>, now: NumericDate, latest: NumericDate) -> Option<Arc<ReusableToken>> {
        let token = self.0.get(&asked.wanted)?;
        let could_be_signed = Arc::ptr_eq(&token.client, asked.client) && token.kid == *asked.kid;
        (could_be_signed && token.is_young(asked.window, now, latest)).then_some(token)
    }

    /// Remembers what was just signed for it. Of several that were signed at once the last is given from then on.
    pub(super) fn keep(&self, asked: Asked<'_>, issued: &Issued) {
        let token = ReusableToken {
            client: Arc::clone(asked.client),
            kid: asked.kid.clone(),
            jti: issued.jti.clone(),
            issued_at: issued.issued_at,
            expires_at: issued.issued_at + issued.lifetime,
            access_token: issued.access_token.clone(),
        };
        self.0.insert(asked.wanted, Arc::new(token));
    }
}

impl fmt::Debug for ReusableTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReusableTokens({})", self.0.entry_count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{ClaimProfile, Client, ClientAuthMethod, ClientId, ClientMetadata, GrantType, TokenType};

    fn at(seconds: i64) -> NumericDate {
        NumericDate::from_epoch(1_900_000_000 + seconds)
    }

    fn client(window: Option<i64>) -> Arc<RegisteredClient> {
        let metadata = ClientMetadata {
            name: "Test".to_owned(),
            grant_types: vec![GrantType::ClientCredentials],
            auth_methods: ClientAuthMethod::ALL.to_vec(),
            scope: Scope::empty(),
            audiences: Audiences::default(),
            access_ttl: None,
            token_reuse_window: window.map(Seconds::new),
            token_quota: None,
            refresh_ttl: None,
            refresh_absolute_ttl: None,
            refresh_retry_window: None,
            token_type: TokenType::default(),
            claim_profile: ClaimProfile::default(),
            signing_alg: None,
            introspect: false,
        };
        let client = Client {
            row: 1,
            client_id: ClientId::parse("billing").unwrap(),
            metadata,
            enabled: true,
            epoch: 0,
            owner: None,
            created_at: at(0),
            updated_at: at(0),
        };
        let secrets = Vec::new();
        Arc::new(RegisteredClient { client, secrets })
    }

    fn issued(jti: &str, life: i64) -> Issued {
        Issued {
            access_token: AccessToken::new("head.body.signature".to_owned()),
            jti: jti.to_owned(),
            issued_at: at(0),
            lifetime: Seconds::new(life),
        }
    }

    fn kid(letter: &str) -> Thumbprint {
        Thumbprint::parse(&letter.repeat(43)).unwrap()
    }

    fn asked<'a>(
        client: &'a Arc<RegisteredClient>,
        secret: &str,
        kid: &'a Thumbprint,
        scope: &str,
        audiences: &str,
    ) -> Asked<'a> {
        let (scope, audiences) = (Scope::parse(scope).unwrap(), Audiences::parse(audiences).unwrap());
        Asked::by(client, Some(secret), kid, (&scope, &audiences)).unwrap()
    }

    #[test]
    fn a_token_is_given_again_within_the_window_and_the_first_half_of_its_life() {
        let (client, kid) = (client(Some(1)), kid("a"));
        let tokens = ReusableTokens::default();
        for (window, life, now, latest, young) in [
            (30, 600, 0, 0, true),
            (30, 600, 29, 29, true),
            (30, 600, 30, 30, false),
            (3_600, 600, 299, 299, true),
            (3_600, 600, 300, 300, false),
            // Of an odd life it is the smaller half.
            (30, 11, 4, 4, true),
            (30, 11, 5, 5, false),
            (30, 1, 0, 0, false),
            // The clock was set back: what was too old stays so, and what would be from the future is nobody's.
            (30, 600, 10, 29, true),
            (30, 600, 10, 31, false),
            (30, 600, -1, -1, false),
            (30, 600, -1, 5, false),
        ] {
            tokens.keep(asked(&client, "s", &kid, "read", ""), &issued("1", life));
            let mut asked = asked(&client, "s", &kid, "read", "");
            asked.window = Seconds::new(window);
            let found = tokens.find(&asked, at(now), at(latest)).is_some();
            assert_eq!(found, young, "{window} {life} {now} {latest}");
        }
    }

    #[test]
    fn a_token_is_given_again_for_the_same_and_for_nothing_else() {
        let (first, other) = (client(Some(30)), client(Some(30)));
        let (signing, before) = (kid("a"), kid("b"));
        let tokens = ReusableTokens::default();
        tokens.keep(asked(&first, "s", &signing, "read write", "a b"), &issued("1", 600));
        for (asked, same) in [
            (asked(&first, "s", &signing, "read write", "a b"), true),
            (asked(&first, "t", &signing, "read write", "a b"), false),
            (asked(&first, "s", &signing, "read", "a b"), false),
            (asked(&first, "s", &signing, "read write", "a"), false),
            (asked(&first, "s", &signing, "read write", ""), false),
            (asked(&first, "s", &before, "read write", "a b"), false),
            // The same client, read anew.
            (asked(&other, "s", &signing, "read write", "a b"), false),
        ] {
            let found = tokens.find(&asked, at(1), at(1));
            assert_eq!(found.is_some(), same, "{asked:?}");
        }
        // What was signed last is given from then on.
        tokens.keep(asked(&first, "s", &signing, "read write", "a b"), &issued("2", 600));
        let found = tokens.find(&asked(&first, "s", &signing, "read write", "a b"), at(1), at(1));
        assert_eq!(found.unwrap().jti, "2");
    }

    #[test]
    fn without_a_window_or_a_secret_nothing_is_shared() {
        let (without, with, kid) = (client(None), client(Some(30)), kid("a"));
        let whatever = (&Scope::empty(), &Audiences::default());
        assert!(Asked::by(&without, Some("s"), &kid, whatever).is_none());
        assert!(Asked::by(&with, None, &kid, whatever).is_none());
    }

    #[test]
    fn memory_stays_bounded_and_what_is_often_asked_for_stays_in_it() {
        let (client, kid) = (client(Some(30)), kid("a"));
        let tokens = ReusableTokens::default();
        let often = || asked(&client, "s", &kid, "often", "");
        tokens.keep(often(), &issued("often", 600));
        for number in 0..3 * MOST {
            assert!(tokens.find(&often(), at(1), at(1)).is_some(), "{number}");
            let once = asked(&client, "s", &kid, &number.to_string(), "");
            assert!(tokens.find(&once, at(1), at(1)).is_none());
            tokens.keep(once, &issued("once", 600));
        }
        tokens.0.run_pending_tasks();
        assert!(tokens.0.entry_count() <= MOST, "{tokens:?}");
    }

    #[test]
    fn nothing_that_holds_a_token_prints_it() {
        let (client, kid) = (client(Some(30)), kid("a"));
        let tokens = ReusableTokens::default();
        let (asked, issued) = (asked(&client, "s", &kid, "read", ""), issued("1", 600));
        let printed = format!("{issued:?}");
        tokens.keep(asked, &issued);
        let found = tokens.find(&self::asked(&client, "s", &kid, "read", ""), at(1), at(1));
        for printed in [printed, format!("{tokens:?}"), format!("{found:?}")] {
            assert!(!printed.contains("signature"), "{printed}");
        }
    }
}
