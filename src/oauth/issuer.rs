use std::fmt;

use thiserror::Error;
use url::{Host, Url};

use super::Audience;
use super::audience::is_well_written;

/// The issuer: one string, byte for byte the same in tokens, metadata and configuration (RFC 8414 §2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerUrl {
    text: String,
    url: Url,
}

impl IssuerUrl {
    /// Reads an `https` or `http` URL without query, fragment and user information. Whether `http` is acceptable is for the
    /// caller to decide: see [`is_https`](Self::is_https) and [`is_loopback`](Self::is_loopback).
    pub fn parse(text: &str) -> Result<Self, IssuerError> {
        let url = Url::parse(text).map_err(|_not_a_url| IssuerError::NotAUrl)?;
        if text.len() > Audience::MAX_LENGTH {
            return Err(IssuerError::TooLong);
        }
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
            return Err(IssuerError::NotAUrl);
        }
        let has_user = !url.username().is_empty() || url.password().is_some();
        if url.query().is_some() || url.fragment().is_some() || has_user {
            return Err(IssuerError::Parts);
        }
        // `Url` normalises; verifiers compare the text. Only a text that needs no normalising means one thing to both.
        let normal = url.as_str();
        if normal != text && normal.strip_suffix('/') != Some(text) {
            return Err(IssuerError::NotNormal(normal.trim_end_matches('/').to_owned()));
        }
        if !is_well_written(text) {
            return Err(IssuerError::NotAUri);
        }
        Ok(IssuerUrl {
            text: text.to_owned(),
            url,
        })
    }

    /// The issuer as it stands in `iss`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether tokens and keys travel encrypted.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether the issuer is this machine: a loopback address or `localhost`.
    pub fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        }
    }

    /// Whether the issuer ends in a slash, which many verifiers trip over.
    pub fn ends_in_slash(&self) -> bool {
        self.text.ends_with('/')
    }

    /// The path of the issuer without a slash at its end; empty for most.
    pub fn path(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// The URL of what is served at `path`, which begins with a slash.
    pub fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.text.trim_end_matches('/'))
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text cannot be the issuer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IssuerError {
    /// No http or https URL.
    #[error("the issuer must be a URL such as https://auth.example.com")]
    NotAUrl,
    /// Characters that a browser lets pass and RFC 3986 does not know.
    #[error("the issuer contains a character that no URI has, such as a bracket or a bar: percent-encode it")]
    NotAUri,
    /// It could not serve as an audience, which it does for clients without one.
    #[error("the issuer is longer than 512 characters")]
    TooLong,
    /// Something that an issuer may not contain (RFC 8414 §2).
    #[error("the issuer must not contain a query, a fragment or user information")]
    Parts,
    /// Two spellings of one URL would be two issuers to a verifier.
    #[error("write the issuer in its normal form: {0}")]
    NotNormal(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    // M-05: only one spelling of the issuer exists.
    #[test]
    fn an_issuer_in_another_spelling_is_refused_and_the_normal_form_named() {
        let refused = IssuerUrl::parse("https://Auth.Example:443/a/../b");
        assert_eq!(
            refused,
            Err(IssuerError::NotNormal("https://auth.example/b".to_owned()))
        );
        for text in [
            "https://a?x",
            "https://a#x",
            "https://u@a",
            "ftp://a",
            "https://a/[b]",
            "https://a/b|c",
            "auth.example",
            "",
        ] {
            assert!(IssuerUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints_stand_below_the_issuer() {
        let plain = IssuerUrl::parse("https://auth.example").unwrap();
        assert_eq!((plain.as_str(), plain.path()), ("https://auth.example", ""));
        assert_eq!(plain.endpoint("/oauth2/token"), "https://auth.example/oauth2/token");
        let nested = IssuerUrl::parse("https://example.com/auth").unwrap();
        assert_eq!(
            (nested.path(), nested.endpoint("/x")),
            ("/auth", "https://example.com/auth/x".to_owned())
        );
        assert!(IssuerUrl::parse("https://auth.example/").unwrap().ends_in_slash());
    }

    #[test]
    fn loopback_is_the_machine_itself() {
        for (text, loopback) in [
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://localhost", true),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(IssuerUrl::parse(text).unwrap().is_loopback(), loopback, "{text}");
        }
    }
}
