use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use url::Url;

/// One audience: a resource server's identifier (RFC 7519 §4.1.3), usually its URL (RFC 8707 §2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Audience(String);

impl Audience {
    /// Longest audience in characters.
    pub const MAX_LENGTH: usize = 512;

    /// A value of the parameter `audience`: 1 to 512 printable ASCII characters without a space.
    pub fn parse(text: &str) -> Result<Self, AudienceError> {
        let printable = text.bytes().all(|b| b.is_ascii_graphic());
        if text.is_empty() || text.len() > Self::MAX_LENGTH || !printable {
            return Err(AudienceError::Syntax);
        }
        Ok(Audience(text.to_owned()))
    }

    /// A value of the parameter `resource`: an absolute URI without a fragment (RFC 8707 §2) and without user information.
    pub fn parse_resource(text: &str) -> Result<Self, AudienceError> {
        let audience = Audience::parse(text)?;
        let uri = Url::parse(text).map_err(|_not_a_uri| AudienceError::NotAbsolute)?;
        if uri.fragment().is_some() || !uri.username().is_empty() || uri.password().is_some() || !is_well_written(text)
        {
            return Err(AudienceError::NotAbsolute);
        }
        Ok(audience)
    }

    /// The identifier, exactly as it was registered; audiences are compared byte for byte.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether every character stands where RFC 3986 §3 allows it: `Url` mends what browsers mend, such as backslashes, and a text that
/// was mended names something else to whoever does not.
pub(super) fn is_well_written(uri: &str) -> bool {
    let (_scheme, rest) = uri.split_once(':').unwrap_or_default();
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
        None => ("", rest),
    };
    // The one place for brackets is around an address (§3.2.2).
    let bracketed = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (address, host_or_port) = bracketed.unwrap_or(("", authority));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
    let mut escapes = uri.split('%').skip(1);
    address
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte))
        // Nor is there a name of a user, though it be empty.
        && host_or_port.bytes().all(|byte| plain(byte) && byte != b'@')
        && path.bytes().all(plain)
        && escapes.all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|digit| digit.is_ascii_hexdigit()))
}

/// Why a text is not an audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AudienceError {
    /// Empty, too long, or with a space or an unprintable character.
    #[error("an audience is 1 to 512 printable ASCII characters without spaces")]
    Syntax,
    /// Not what RFC 8707 allows as a resource.
    #[error("a resource is an absolute URI without fragment and user information")]
    NotAbsolute,
}

/// Audiences in order, each once. In JSON a string when there is one and an array when there are more. Cloning costs next to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Audiences(Arc<[Audience]>);

impl Audiences {
    /// Reads audiences separated by spaces, as they stand in the database.
    pub fn parse(text: &str) -> Result<Self, AudienceError> {
        text.split(' ')
            .filter(|word| !word.is_empty())
            .map(Audience::parse)
            .collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The audiences, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Audience> {
        self.0.iter()
    }

    /// Whether `audience` is among them, byte for byte.
    pub fn contains(&self, audience: &Audience) -> bool {
        self.0.contains(audience)
    }
}

impl FromIterator<Audience> for Audiences {
    fn from_iter<I: IntoIterator<Item = Audience>>(audiences: I) -> Self {
        let mut distinct = Vec::new();
        for audience in audiences {
            if !distinct.contains(&audience) {
                distinct.push(audience);
            }
        }
        Audiences(distinct.into())
    }
}

impl fmt::Display for Audiences {
    /// Separated by one space, as in the database.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, audience) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(" ")?;
            }
            f.write_str(audience.as_str())?;
        }
        Ok(())
    }
}

impl Serialize for Audiences {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            [one] => serializer.serialize_str(one.as_str()),
            many => {
                let mut array = serializer.serialize_seq(Some(many.len()))?;
                for audience in many {
                    array.serialize_element(audience)?;
                }
                array.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Audiences {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMany {
            One(String),
            Many(Vec<String>),
        }
        let texts = match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        };
        texts
            .iter()
            .map(|text| Audience::parse(text))
            .collect::<Result<_, _>>()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // T-29
    #[test]
    fn a_resource_is_an_absolute_uri_without_fragment_and_user() {
        for text in [
            "not-a-uri",
            "https://a#f",
            "http://user@a",
            "https://@a",
            "http://u:p@a",
            "//a",
            "",
            "https://a b",
            // What browsers mend is no URI (RFC 3986).
            "https:\\\\a",
            "https://a/<b>",
            "https://a/[b]",
            "https://a/%zz",
            "https://a/%4",
            "https://a\"b",
            "https://0\\[1]:443",
        ] {
            assert!(Audience::parse_resource(text).is_err(), "{text}");
        }
        for text in [
            "https://api.example",
            "https://api.example/v1?x=1",
            "https://[2001:db8::1]:8443/a%20b",
            "urn:example:api",
        ] {
            assert!(Audience::parse_resource(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn one_audience_is_a_string_and_more_are_an_array() {
        let json = |text| serde_json::to_string(&Audiences::parse(text).unwrap()).unwrap();
        assert_eq!(json("https://a"), r#""https://a""#);
        assert_eq!(json("https://a b https://a"), r#"["https://a","b"]"#);
    }
}
