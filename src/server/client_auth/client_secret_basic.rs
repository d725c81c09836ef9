use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::{ClientAuthentication, ClientCredentials, Presented};
use crate::oauth::{ClientAuthMethod, OAuthError, Parameters, form_decode};

/// HTTP Basic (RFC 7617) with form-encoded halves (RFC 6749 §2.3.1).
///
/// About half of all clients do not encode the halves, so the raw pair is tried when the decoded one does not match. For the
/// identifiers and secrets that keywheel generates both readings are one.
pub(super) struct ClientSecretBasic;

impl ClientAuthentication for ClientSecretBasic {
    fn method(&self) -> ClientAuthMethod {
        ClientAuthMethod::ClientSecretBasic
    }

    fn presented(&self, credentials: &ClientCredentials, _: &Parameters) -> Result<Option<Presented>, OAuthError> {
        let Some(header) = credentials.authorization.as_deref() else {
            return Ok(None);
        };
        let malformed = || OAuthError::invalid_client("malformed or foreign Authorization header");
        // RFC 9110 §11.4: the scheme in any case, then exactly one space.
        let (scheme, encoded) = header.split_once(' ').ok_or_else(malformed)?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(malformed());
        }
        // The standard engine is strict: its alphabet, its padding, no stray bits.
        let decoded = BASE64_STANDARD
            .decode(encoded)
            .map(Zeroizing::new)
            .map_err(|_bad_base64| malformed())?;
        let pair = std::str::from_utf8(&decoded).map_err(|_not_utf8| malformed())?;
        let (user, password) = pair.split_once(':').ok_or_else(malformed)?;
        if user.is_empty() || password.is_empty() {
            return Err(malformed());
        }
        let raw = (user.to_owned(), Zeroizing::new(password.to_owned()));
        if !pair.contains(['%', '+']) {
            return Ok(Some(Presented::once(raw)));
        }
        let (Some(user), Some(password)) = (form_decode(user), form_decode(password)) else {
            return Ok(Some(Presented::once(raw)));
        };
        Ok(Some(Presented {
            first: (user.as_str().to_owned(), password),
            second: Some(raw),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Result<Vec<(String, String)>, OAuthError> {
        let credentials = ClientCredentials::new(Some(Zeroizing::new(header.to_owned())));
        let presented = ClientSecretBasic.presented(&credentials, &Parameters::default())?;
        Ok(presented
            .iter()
            .flat_map(Presented::readings)
            .map(|(user, password)| (user.clone(), password.as_str().to_owned()))
            .collect())
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }

    // C-11, C-13
    #[test]
    fn both_halves_are_form_decoded_once_and_the_raw_pair_is_the_second_reading() {
        let encoded = basic("a%3Ab%2Bc%2F%C3%A9:p%253A%26%3D%2B+%25");
        let readings = read(&encoded).unwrap();
        assert_eq!(readings[0], ("a:b+c/é".to_owned(), "p%3A&=+ %".to_owned()));
        assert_eq!(readings[1].0, "a%3Ab%2Bc%2F%C3%A9");
        assert_eq!(
            read(&basic("plain:secret")).unwrap(),
            [("plain".to_owned(), "secret".to_owned())]
        );
        assert_eq!(
            read(&basic("plain:100%")).unwrap(),
            [("plain".to_owned(), "100%".to_owned())]
        );
    }

    // C-14
    #[test]
    fn the_scheme_is_case_insensitive_and_followed_by_exactly_one_space() {
        let pair = BASE64_STANDARD.encode("id:secret");
        for scheme in ["basic ", "BASIC ", "bAsIc "] {
            assert!(read(&format!("{scheme}{pair}")).is_ok(), "{scheme}");
        }
        for header in [
            format!("Basic  {pair}"),
            format!("Basic\t{pair}"),
            format!("Basic{pair}"),
            "Basic".to_owned(),
            String::new(),
        ] {
            assert!(read(&header).is_err(), "{header}");
        }
    }

    // C-15, C-16, C-18, C-19
    #[test]
    fn loosely_encoded_and_incomplete_credentials_are_refused() {
        for header in [
            "Basic aWQ6c2VjcmV",
            "Basic aWQ6_-==",
            "Basic aWQ6 c2VjcmV0",
            "Basic aWQ6c2VjcmV1=",
            "Basic aWQ6c2VjcmX=",
            "Basic !",
        ] {
            assert!(read(header).is_err(), "{header}");
        }
        for pair in ["no-colon", ":secret", "id:", ":"] {
            assert!(read(&basic(pair)).is_err(), "{pair}");
        }
        for header in ["Bearer", "Bearer abc", "Digest username=x", "Negotiate YII="] {
            assert!(read(header).is_err(), "{header}");
        }
    }
}
