use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Audiences, NumericDate, Scope};

/// The claims of an access token (RFC 9068 §2.2), with the additions of a claim profile.
///
/// Borrowed, because it lives only while one token is written.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct AccessTokenClaims<'a> {
    /// Issuer: the one issuer string of this server.
    pub iss: &'a str,
    /// Subject: the `client_id` when the client acts for itself, else the user's id.
    pub sub: &'a str,
    /// Audience: a string when there is one, an array when there are more.
    pub aud: &'a Audiences,
    /// Expiry.
    pub exp: NumericDate,
    /// Time of issue, never in the future.
    pub iat: NumericDate,
    /// Unique identifier of this token.
    pub jti: &'a str,
    /// The client that asked.
    pub client_id: &'a str,
    /// Granted scope; absent when nothing was granted.
    #[serde(skip_serializing_if = "Scope::is_empty")]
    pub scope: &'a Scope,
    /// What the client's profile adds.
    #[serde(flatten)]
    pub profile: ProfileClaims<'a>,
}

/// The claims of an access token as they are read back, once its signature was found to be ours.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each member is named like its claim, see AccessTokenClaims")]
pub struct IssuedClaims {
    pub sub: String,
    pub aud: Audiences,
    pub exp: NumericDate,
    pub iat: NumericDate,
    pub jti: String,
    pub client_id: String,
    #[serde(default)]
    pub scope: Scope,
}

/// Claims beyond RFC 9068 that a client's resource servers expect.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ProfileClaims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
}

/// Which further claims a client's tokens carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimProfile {
    /// The claims of RFC 9068 alone.
    #[default]
    Rfc9068,
    /// `token_type: "access"` and `user_id`, as Django REST framework's simplejwt expects by default.
    Simplejwt,
}

impl ClaimProfile {
    /// Every profile.
    pub const ALL: [ClaimProfile; 2] = [ClaimProfile::Rfc9068, ClaimProfile::Simplejwt];

    /// The name in the database and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            ClaimProfile::Rfc9068 => "rfc9068",
            ClaimProfile::Simplejwt => "simplejwt",
        }
    }

    /// The claims that this profile adds to a token about `sub`.
    pub const fn claims<'a>(self, sub: &'a str) -> ProfileClaims<'a> {
        match self {
            ClaimProfile::Rfc9068 => ProfileClaims {
                token_type: None,
                user_id: None,
            },
            ClaimProfile::Simplejwt => ProfileClaims {
                token_type: Some("access"),
                user_id: Some(sub),
            },
        }
    }
}

/// The `typ` header of a client's access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum TokenType {
    /// `at+jwt` (RFC 9068 §2.1).
    #[default]
    #[serde(rename = "at+jwt")]
    AtJwt,
    /// `JWT`, for verifiers that refuse `at+jwt` (Spring Security among them).
    #[serde(rename = "JWT")]
    Jwt,
}

impl TokenType {
    /// Every `typ`, in the order in which a signing key prepares its headers.
    pub const ALL: [TokenType; 2] = [TokenType::AtJwt, TokenType::Jwt];

    /// The header's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            TokenType::AtJwt => "at+jwt",
            TokenType::Jwt => "JWT",
        }
    }
}

/// A word that is none of the known ones; its message lists those.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{word}\" is unknown: choose one of {known}")]
pub struct UnknownWord {
    word: String,
    known: String,
}

impl UnknownWord {
    /// The member of `all` whose name is exactly `text`.
    pub(super) fn find<T: Copy, const N: usize>(
        all: [T; N],
        name: fn(T) -> &'static str,
        text: &str,
    ) -> Result<T, Self> {
        all.into_iter()
            .find(|candidate| name(*candidate) == text)
            .ok_or_else(|| UnknownWord {
                word: text.to_owned(),
                known: all.map(name).join(", "),
            })
    }
}

impl FromStr for ClaimProfile {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        UnknownWord::find(Self::ALL, Self::as_str, text)
    }
}

impl FromStr for TokenType {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        UnknownWord::find(Self::ALL, Self::as_str, text)
    }
}

impl fmt::Display for ClaimProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TokenType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims<'a>(aud: &'a Audiences, scope: &'a Scope, profile: ClaimProfile) -> serde_json::Value {
        let iat = NumericDate::from_epoch(1_000);
        let exp = NumericDate::from_epoch(1_600);
        let profile = profile.claims("billing");
        let claims = AccessTokenClaims {
            iss: "https://as",
            sub: "billing",
            aud,
            exp,
            iat,
            jti: "j",
            client_id: "billing",
            scope,
            profile,
        };
        serde_json::to_value(claims).unwrap()
    }

    // T-33
    #[test]
    fn the_claims_are_those_of_rfc_9068_and_times_are_whole_seconds() {
        let aud = Audiences::parse("https://api").unwrap();
        let scope = Scope::parse("read write").unwrap();
        assert_eq!(
            claims(&aud, &scope, ClaimProfile::Rfc9068),
            json!({"iss": "https://as", "sub": "billing", "aud": "https://api", "exp": 1600, "iat": 1000, "jti": "j",
                   "client_id": "billing", "scope": "read write"})
        );
    }

    #[test]
    fn the_simplejwt_profile_adds_token_type_and_user_id() {
        let aud = Audiences::parse("https://api https://other").unwrap();
        let claims = claims(&aud, &Scope::empty(), ClaimProfile::Simplejwt);
        assert_eq!(claims["token_type"], "access");
        assert_eq!(claims["user_id"], "billing");
        assert_eq!(claims["aud"], json!(["https://api", "https://other"]));
        assert!(claims.get("scope").is_none());
    }
}
