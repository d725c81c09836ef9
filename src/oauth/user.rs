use std::fmt;

use rand::CryptoRng;
use serde::Serialize;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

use super::{NumericDate, base64url};

/// A user: the resource owner (RFC 6749 §1.1). The password's hash is stored beside it and never part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Never reused: whoever takes a deleted user's name gets another row.
    pub row: i64,
    /// The public identifier, `sub` of the user's tokens.
    pub user_id: UserId,
    /// The name by which the user signs in.
    pub username: Username,
    /// A disabled user is answered like an unknown one.
    pub enabled: bool,
    /// Rises whenever all token families of the user end: they are disabled, or their password changes.
    pub epoch: i64,
    /// When the user was created or imported.
    pub created_at: NumericDate,
    /// When the user was last changed.
    pub updated_at: NumericDate,
}

/// A user's identifier: `usr_` and 16 base64url characters, or 1 to 20 digits for a user of another system.
///
/// [`ClientId`](super::ClientId) refuses both forms, so that a user's `sub` is never a client's (RFC 9068 §5, RFC 9700 §4.15).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UserId(String);

impl UserId {
    const PREFIX: &'static str = "usr_";

    /// Checks `text` against the rules of this type.
    pub fn parse(text: &str) -> Result<Self, UserIdError> {
        let well_formed = match text.strip_prefix(Self::PREFIX) {
            Some(random) => {
                random.len() == 16 && random.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            }
            None => (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()),
        };
        if well_formed {
            Ok(UserId(text.to_owned()))
        } else {
            Err(UserIdError)
        }
    }

    /// A new identifier of 96 random bits.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut random = [0; 12];
        rng.fill_bytes(&mut random);
        UserId(format!("{}{}", Self::PREFIX, base64url(&random)))
    }

    /// The identifier as it stands in `sub`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot be a user's identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a user's id is \"usr_\" with 16 base64url characters, or 1 to 20 digits for an imported user")]
pub struct UserIdError;

/// The name by which a user signs in, as it was written and in the one form in which names are compared.
///
/// The canonical form is NFKC, lower case, NFKC again, with the two small sigmas made one: whatever the case, width or
/// composition in which a person writes their name, it is one user. Two names are equal when their canonical forms are.
#[derive(Debug, Clone, Eq)]
pub struct Username {
    written: String,
    canonical: String,
}

impl Username {
    /// Longest name, in characters, as written and in canonical form.
    pub const MAX_LENGTH: usize = 256;

    /// Checks `text`: 1 to 256 characters, none of them a control or an invisible character, no white space at the ends.
    pub fn parse(text: &str) -> Result<Self, UsernameError> {
        // Counted before anything is normalised, which costs time and may make more of it.
        length(text)?;
        let canonical: String = text.nfkc().collect();
        let canonical = canonical.to_lowercase().replace('ς', "σ");
        let canonical: String = canonical.nfkc().collect();
        length(&canonical)?;
        for form in [text, canonical.as_str()] {
            if form.chars().any(|c| c.is_control() || is_invisible(c)) {
                return Err(UsernameError::Character);
            }
            if form.trim() != form {
                return Err(UsernameError::WhiteSpace);
            }
        }
        Ok(Username {
            written: text.to_owned(),
            canonical,
        })
    }

    /// The name as it was written when the user was created.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The form in which names are compared.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

impl PartialEq for Username {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

fn length(text: &str) -> Result<(), UsernameError> {
    // A character has at most four bytes, so a huge text is not counted to its end.
    if text.is_empty() || text.len() > 4 * Username::MAX_LENGTH || text.chars().count() > Username::MAX_LENGTH {
        return Err(UsernameError::Length);
    }
    Ok(())
}

/// Characters that leave two different names looking alike, or that turn the rest of a log line around.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// Why a text cannot be a username.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UsernameError {
    /// Empty, or more than 256 characters.
    #[error("a username has 1 to 256 characters")]
    Length,
    /// A control character, or one that cannot be seen.
    #[error("a username has no control characters and no invisible ones")]
    Character,
    /// White space at an end.
    #[error("a username does not begin or end with white space")]
    WhiteSpace,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::oauth::ClientId;

    // T-34
    #[test]
    fn a_users_identifier_is_never_a_clients() {
        let generated = UserId::generate(&mut StdRng::seed_from_u64(1)).to_string();
        for text in [generated.as_str(), "0", "42", "12345678901234567890"] {
            assert_eq!(UserId::parse(text).unwrap().as_str(), text);
            assert!(ClientId::parse(text).is_err(), "{text}");
        }
        for text in [
            "",
            "usr_",
            "usr_abc",
            "-1",
            "1.0",
            "123456789012345678901",
            "kwc_AAAAAAAAAAAAAAAA",
            "usr_AAAAAAAA+AAAAAAA",
            "１",
        ] {
            assert_eq!(UserId::parse(text), Err(UserIdError), "{text}");
        }
    }

    // P-05
    #[test]
    fn a_person_has_one_name_in_whatever_case_width_or_composition() {
        for (one, other) in [
            ("Alice", "aLICE"),
            ("Ａｌｉｃｅ", "alice"),
            ("Ame\u{301}lie", "Am\u{e9}lie"),
            ("ﬁona", "FIONA"),
            ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
            ("\u{212b}sa", "\u{e5}SA"),
        ] {
            assert_eq!(
                Username::parse(one).unwrap(),
                Username::parse(other).unwrap(),
                "{one} {other}"
            );
        }
        assert_eq!(Username::parse("Ａlice").unwrap().as_str(), "Ａlice");
        assert_ne!(Username::parse("alice").unwrap(), Username::parse("al1ce").unwrap());
        // Metacharacters of SQL and LDAP are characters like any other.
        assert!(Username::parse("o'hara*)(uid=*; --%_").is_ok());
    }

    // P-05
    #[test]
    fn a_name_that_is_too_long_or_cannot_be_seen_is_refused() {
        let parse = |text: &str| Username::parse(text).map(drop);
        assert_eq!(parse(""), Err(UsernameError::Length));
        assert_eq!(parse(&"é".repeat(256)), Ok(()));
        assert_eq!(parse(&"é".repeat(257)), Err(UsernameError::Length));
        assert_eq!(parse(&"x".repeat(1 << 20)), Err(UsernameError::Length));
        // One character that NFKC makes eighteen of.
        assert_eq!(parse(&"\u{fdfa}".repeat(100)), Err(UsernameError::Length));
        for text in [
            "a\0",
            "a\nb",
            "a\u{85}",
            "a\u{200b}b",
            "a\u{202e}b",
            "a\u{2028}b",
            "\u{feff}a",
        ] {
            assert_eq!(parse(text), Err(UsernameError::Character), "{text:?}");
        }
        for text in [" a", "a ", "\u{3000}a", "a\u{a0}"] {
            assert_eq!(parse(text), Err(UsernameError::WhiteSpace), "{text:?}");
        }
        assert_eq!(parse("a b"), Ok(()));
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_its_own_canonical_form(text in "\\PC{1,20}") {
            if let Ok(name) = Username::parse(&text) {
                let again = Username::parse(name.canonical()).unwrap();
                prop_assert_eq!(again.canonical(), name.canonical());
            }
        }
    }
}
