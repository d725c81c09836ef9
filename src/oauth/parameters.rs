use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

use super::OAuthError;

/// A parameter that this server, or a server like it, gives a meaning (RFC 6749, 7009, 7521, 7636, 7662, 8693, 8707).
///
/// All of them count when a repetition is looked for, also those of grants that do not exist here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is named like its parameter")]
pub enum Parameter {
    GrantType,
    Scope,
    ClientId,
    ClientSecret,
    ClientAssertion,
    ClientAssertionType,
    Resource,
    Audience,
    Username,
    Password,
    RefreshToken,
    Code,
    CodeVerifier,
    RedirectUri,
    DeviceCode,
    Token,
    TokenTypeHint,
}

use Parameter as P;

/// Every known name.
pub(super) const NAMES: [(&str, Parameter); 17] = [
    ("grant_type", P::GrantType),
    ("scope", P::Scope),
    ("client_id", P::ClientId),
    ("client_secret", P::ClientSecret),
    ("client_assertion", P::ClientAssertion),
    ("client_assertion_type", P::ClientAssertionType),
    ("resource", P::Resource),
    ("audience", P::Audience),
    ("username", P::Username),
    ("password", P::Password),
    ("refresh_token", P::RefreshToken),
    ("code", P::Code),
    ("code_verifier", P::CodeVerifier),
    ("redirect_uri", P::RedirectUri),
    ("device_code", P::DeviceCode),
    ("token", P::Token),
    ("token_type_hint", P::TokenTypeHint),
];

impl Parameter {
    fn named(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, parameter)| *parameter)
    }

    /// Its place in a set of parameters.
    const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// RFC 8707 §2 and RFC 8693 §2.1 allow these to be repeated; RFC 6749 §3.2 forbids it for all others.
    const fn may_repeat(self) -> bool {
        matches!(self, P::Resource | P::Audience)
    }

    /// Whether the value is a secret, or as good as one.
    const fn is_credential(self) -> bool {
        matches!(
            self,
            P::ClientSecret
                | P::ClientAssertion
                | P::Password
                | P::RefreshToken
                | P::Code
                | P::CodeVerifier
                | P::DeviceCode
                | P::Token
        )
    }
}

/// The parameters of a request in `application/x-www-form-urlencoded` (RFC 6749 appendix B), read strictly.
///
/// Unknown names are dropped (RFC 6749 §3.2), a parameter without a value counts as absent, and printing shows names alone.
#[derive(Default)]
pub struct Parameters(Vec<(Parameter, Zeroizing<String>)>);

impl Parameters {
    /// Most parameters in one request, known or not.
    pub const MAX_COUNT: usize = 100;
    /// Longest name in bytes, encoded.
    pub const MAX_NAME: usize = 256;
    /// Longest value in bytes, decoded.
    pub const MAX_VALUE: usize = 8_192;

    /// Reads the raw bytes of a body. Refused are: a known name that occurs twice, even with an empty value; a `%` that two
    /// hexadecimal digits do not follow; names and values that are not UTF-8 once decoded; and anything beyond the limits.
    /// `;` and `[]` have no special meaning.
    pub fn parse(form: &[u8]) -> Result<Self, OAuthError> {
        let mut seen: u32 = 0;
        let mut parameters = Vec::with_capacity(4);
        for (position, pair) in form.split(|b| *b == b'&').enumerate() {
            if position >= Self::MAX_COUNT {
                return Err(OAuthError::invalid_request("too many parameters: at most 100 are read"));
            }
            let mut halves = pair.splitn(2, |b| *b == b'=');
            let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
            if name.len() > Self::MAX_NAME {
                return Err(OAuthError::invalid_request("a parameter name is longer than 256 bytes"));
            }
            let (name, value) = (decode_name(name)?, decode(value)?);
            if value.len() > Self::MAX_VALUE {
                return Err(OAuthError::invalid_request(
                    "a parameter value is longer than 8192 bytes",
                ));
            }
            let Some(parameter) = Parameter::named(&name) else {
                continue;
            };
            if seen & parameter.bit() != 0 && !parameter.may_repeat() {
                return Err(OAuthError::invalid_request(
                    "a parameter is repeated: send each one once",
                ));
            }
            seen |= parameter.bit();
            if !value.is_empty() {
                parameters.push((parameter, value));
            }
        }
        Ok(Parameters(parameters))
    }

    /// The value of a parameter that occurs at most once.
    pub fn get(&self, parameter: Parameter) -> Option<&str> {
        self.all(parameter).next()
    }

    /// All values of a parameter, in order.
    pub fn all(&self, parameter: Parameter) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(own, _)| *own == parameter)
            .map(|(_, value)| value.as_str())
    }

    /// Whether any value is a credential.
    pub fn hold_a_credential(&self) -> bool {
        self.0.iter().any(|(parameter, _)| parameter.is_credential())
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(parameter, _)| parameter))
            .finish()
    }
}

/// Undoes form encoding: `+` is a space, `%XX` a byte, and the result is UTF-8.
pub(super) fn decode(encoded: &[u8]) -> Result<Zeroizing<String>, OAuthError> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(encoded.len()));
    let plain = encoded.iter().take_while(|byte| !is_encoded(byte)).count();
    let (plain, rest) = encoded.split_at(plain);
    decoded.extend_from_slice(plain);
    let mut bytes = rest.iter();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => match (
                bytes.next().copied().and_then(hex_digit),
                bytes.next().copied().and_then(hex_digit),
            ) {
                (Some(high), Some(low)) => (high << 4) | low,
                _ => {
                    return Err(OAuthError::invalid_request(
                        "a percent sign is not followed by two hexadecimal digits",
                    ));
                }
            },
            plain => *plain,
        });
    }
    match String::from_utf8(std::mem::take(&mut *decoded)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(NOT_UTF8)
        }
    }
}

/// The same of a name, which is hardly ever encoded and no secret.
fn decode_name(encoded: &[u8]) -> Result<Cow<'_, str>, OAuthError> {
    if encoded.iter().any(is_encoded) {
        return Ok(Cow::Owned(decode(encoded)?.as_str().to_owned()));
    }
    std::str::from_utf8(encoded)
        .map(Cow::Borrowed)
        .map_err(|_not_utf8| NOT_UTF8)
}

const NOT_UTF8: OAuthError = OAuthError::invalid_request("the parameters are not UTF-8 once decoded");

const fn is_encoded(byte: &u8) -> bool {
    matches!(byte, b'+' | b'%')
}

const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Undoes form encoding outside a form: the two halves of HTTP Basic credentials (RFC 6749 §2.3.1). `None` when `text` is not
/// form-encoded.
pub fn form_decode(text: &str) -> Option<Zeroizing<String>> {
    decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::oauth::ErrorCode;

    fn refused(form: &str) -> bool {
        matches!(
            Parameters::parse(form.as_bytes()),
            Err(OAuthError {
                code: ErrorCode::InvalidRequest,
                ..
            })
        )
    }

    // T-05, T-06
    #[test]
    fn a_known_parameter_occurs_once_even_when_one_of_the_two_is_empty() {
        for form in [
            "grant_type=a&grant_type=a",
            "scope=a&scope=",
            "client_id=&client_id=a",
            "code=1&x=1&code=2",
            "scop%65=a&scope=b",
        ] {
            assert!(refused(form), "{form}");
        }
    }

    // T-07, T-08
    #[test]
    fn resource_and_audience_repeat_and_unknown_names_are_dropped() {
        let parameters = Parameters::parse(b"resource=a&foo=1&resource=b&foo=2&audience=c").unwrap();
        assert_eq!(parameters.all(Parameter::Resource).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(parameters.get(Parameter::Audience), Some("c"));
    }

    // T-09, T-26
    #[test]
    fn a_parameter_without_a_value_is_absent() {
        let parameters = Parameters::parse(b"grant_type=&scope&client_id=a").unwrap();
        assert_eq!(parameters.get(Parameter::GrantType), None);
        assert_eq!(parameters.get(Parameter::Scope), None);
        assert_eq!(parameters.get(Parameter::ClientId), Some("a"));
        assert_eq!(Parameters::parse(b"").unwrap().get(Parameter::Scope), None);
    }

    // T-17, T-18
    #[test]
    fn broken_encodings_are_refused() {
        for form in [
            "scope=%zz",
            "scope=%4",
            "scope=%",
            "scope=%ff",
            "scope=%c0%af",
            "scope=%ed%a0%80",
            "%ff=1",
        ] {
            assert!(refused(form), "{form}");
        }
    }

    // T-12, T-21, T-22
    #[test]
    fn names_are_exact_and_only_ampersand_plus_and_percent_are_special() {
        let parameters = Parameters::parse(b"Grant_Type=a&grant_type[0]=b&scope=a+b%20c;client_id=x").unwrap();
        assert_eq!(parameters.get(Parameter::GrantType), None);
        assert_eq!(parameters.get(Parameter::Scope), Some("a b c;client_id=x"));
        assert_eq!(parameters.get(Parameter::ClientId), None);
    }

    // T-23
    #[test]
    fn limits_are_kept() {
        assert!(refused(&"a&".repeat(1_001)));
        assert!(refused(&format!("{}=1", "n".repeat(4_096))));
        assert!(refused(&format!("foo={}", "v".repeat(8_193))));
        assert!(!refused(&format!("scope={}", "v".repeat(8_192))));
    }

    #[test]
    fn printing_parameters_shows_no_value() {
        let parameters = Parameters::parse(b"client_secret=hunter2&scope=s3cret").unwrap();
        assert_eq!(format!("{parameters:?}"), "[ClientSecret, Scope]");
        assert!(parameters.hold_a_credential());
    }

    proptest! {
        #[test]
        fn any_bytes_are_either_read_or_refused(form in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Parameters::parse(&form);
        }

        #[test]
        fn what_a_client_encodes_is_what_is_read(value in "\\PC{1,60}") {
            let encoded: String = value.bytes().map(|b| format!("%{b:02x}")).collect();
            let parameters = Parameters::parse(format!("scope={encoded}").as_bytes()).unwrap();
            prop_assert_eq!(parameters.get(Parameter::Scope), Some(value.as_str()));
        }
    }
}
