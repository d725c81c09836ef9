use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A set of scope tokens, in the order in which they were written (RFC 6749 §3.3).
///
/// At most 64 tokens and 1 024 characters, so comparing two scopes is cheap; so is cloning one, which every token does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Scope(Option<Arc<str>>);

impl Scope {
    /// Longest scope in characters.
    pub const MAX_LENGTH: usize = 1_024;
    /// Most scope tokens in one scope.
    pub const MAX_TOKENS: usize = 64;

    /// No scope at all.
    pub const fn empty() -> Self {
        Scope(None)
    }

    /// Reads `scope-token *( SP scope-token )`, exactly: one space between tokens, none at the ends, and no character
    /// outside `%x21 / %x23-5B / %x5D-7E` (RFC 6749 appendix A.4). The empty text is the empty scope. A token that is
    /// repeated counts once.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        if text.is_empty() {
            return Ok(Scope::empty());
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(ScopeError::TooLong);
        }
        let mut tokens: Vec<&str> = Vec::with_capacity(8);
        for token in text.split(' ') {
            if token.is_empty() || !token.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
                return Err(ScopeError::Syntax);
            }
            if !tokens.contains(&token) {
                if tokens.len() >= Self::MAX_TOKENS {
                    return Err(ScopeError::TooLong);
                }
                tokens.push(token);
            }
        }
        Ok(Scope(Some(tokens.join(" ").into())))
    }

    /// Whether no token is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The tokens, in order.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|tokens| tokens.split(' '))
    }

    /// Tokens separated by one space, as on the wire.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether `token` is in the set; case matters (RFC 6749 §3.3).
    pub fn contains(&self, token: &str) -> bool {
        self.tokens().any(|own| own == token)
    }

    /// Whether every token of this scope is in `registered`.
    pub fn is_within(&self, registered: &Scope) -> bool {
        self == registered || self.tokens().all(|token| registered.contains(token))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Scope::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Why a text is not a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ScopeError {
    /// Two spaces, a space at an end, or a character that a scope token may not contain.
    #[error("a scope is printable ASCII words without quote and backslash, separated by single spaces")]
    Syntax,
    /// More than 1 024 characters or 64 tokens.
    #[error("a scope has at most 64 words and 1024 characters")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    // T-24
    #[test]
    fn a_scope_is_words_with_one_space_between_and_nothing_else() {
        for text in [
            " read",
            "read ",
            "read  write",
            "read\twrite",
            "re\"ad",
            "re\\ad",
            "réad",
            "read\0",
            "\u{7f}",
        ] {
            assert_eq!(Scope::parse(text), Err(ScopeError::Syntax), "{text:?}");
        }
        assert_eq!(Scope::parse("read write read").unwrap().to_string(), "read write");
    }

    // T-25
    #[test]
    fn a_huge_scope_is_refused() {
        assert_eq!(Scope::parse(&"a".repeat(1_025)), Err(ScopeError::TooLong));
        let many: Vec<String> = (0..65).map(|n| format!("s{n}")).collect();
        assert_eq!(Scope::parse(&many.join(" ")), Err(ScopeError::TooLong));
        assert!(Scope::parse(&many[..64].join(" ")).is_ok());
    }

    // T-28
    #[test]
    fn scope_tokens_differ_in_case() {
        let registered = Scope::parse("read write").unwrap();
        assert!(Scope::parse("write").unwrap().is_within(&registered));
        assert!(!Scope::parse("Read").unwrap().is_within(&registered));
        assert!(Scope::empty().is_within(&registered));
    }
}
