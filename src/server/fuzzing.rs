//! The readers of this floor: credentials, the metadata of clients that register themselves, cursors, and users with their hashes.
#![expect(clippy::expect_used, reason = "a broken promise is to be loud")]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::admin::user_import::{self, ImportError};
use super::admin::{Cursor, broken_rules};
use super::client_auth::{CLIENT_AUTH_METHODS, ClientCredentials, the_one_method};
use super::password::PasswordHash;
use super::registration::RequestedMetadata;
use crate::oauth::{
    Audiences, ClaimProfile, Client, ClientId, ClientMetadata, GrantType, NumericDate, OAuthError, Parameter,
    Parameters, RegistrationPolicy, Scope, Seconds, UserId, Username, form_decode,
};

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// The client's credentials: a line with the value of `Authorization` and, after it, a form. HTTP Basic is read as a slow reader of RFC
/// 7617 and RFC 4648 §4 reads it; and no request authenticates in two ways or for two clients (RFC 6749 §2.3).
pub fn basic(data: &[u8]) {
    let Some((header, form)) = text(data).map(|text| text.split_once('\n').unwrap_or((text, ""))) else {
        return;
    };
    let credentials = ClientCredentials::new(Some(Zeroizing::new(header.to_owned())));
    let [basic, ..] = CLIENT_AUTH_METHODS else { return };
    let read = basic.presented(&credentials, &Parameters::default()).ok().flatten();
    let readings = read.iter().flat_map(|presented| presented.readings());
    let readings: Vec<_> = readings
        .map(|(user, password)| (user.clone(), password.to_string()))
        .collect();
    assert_eq!(readings, slow_basic(header).unwrap_or_default(), "{header}");
    let Ok(parameters) = Parameters::parse(form.as_bytes()) else {
        return;
    };
    for (credentials, in_header) in [(credentials, true), (ClientCredentials::new(None), false)] {
        let Ok((_, presented)) = the_one_method(&credentials, &parameters) else {
            continue;
        };
        let in_body = parameters.get(Parameter::ClientId);
        assert!(in_body.is_none_or(|id| presented.readings().any(|(client_id, _)| client_id == id)));
        assert!(parameters.get(Parameter::ClientAssertion).is_none());
        assert_eq!(
            parameters.get(Parameter::ClientSecret).is_none(),
            in_header,
            "one of the two"
        );
    }
}

/// Pairs of user and password, the likelier one first.
fn slow_basic(header: &str) -> Option<Vec<(String, String)>> {
    let encoded = header
        .get(..6)
        .filter(|scheme| scheme.to_lowercase() == "basic ")
        .and(header.get(6..))?;
    let pair = String::from_utf8(slow_base64(encoded)?).ok()?;
    let colon = pair.find(':')?;
    let (user, password) = (pair.get(..colon)?.to_owned(), pair.get(colon + 1..)?.to_owned());
    if user.is_empty() || password.is_empty() {
        return None;
    }
    let is_encoded = pair.contains('%') || pair.contains('+');
    let decoded = form_decode(&user).zip(form_decode(&password)).filter(|_| is_encoded);
    let decoded = decoded.map(|(user, password)| (user.to_string(), password.to_string()));
    Some(decoded.into_iter().chain([(user, password)]).collect())
}

/// Standard base64 with its padding and nothing else, bit by bit.
fn slow_base64(encoded: &str) -> Option<Vec<u8>> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = encoded.trim_end_matches('=');
    let padding = encoded.len() - digits.len();
    if !encoded.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut bits = Vec::new();
    for digit in digits.chars() {
        let value = ALPHABET.find(digit)?;
        bits.extend((0..6).rev().map(|bit| value >> bit & 1));
    }
    let (whole, stray) = bits.split_at(bits.len() / 8 * 8);
    let bytes = whole
        .chunks(8)
        .map(|byte| byte.iter().fold(0, |value, bit| value << 1 | *bit));
    (stray.len() == padding * 2 && stray.iter().all(|bit| *bit == 0))
        .then(|| bytes.filter_map(|byte| u8::try_from(byte).ok()).collect())
}

/// What a client asks to have registered (RFC 7591 §2): whoever registers or updates itself has no more than its policy allows, breaks
/// no rule, and decides nothing that is an administrator's to decide.
pub fn registration(data: &[u8]) {
    let Ok(requested) = serde_json::from_slice::<RequestedMetadata>(data) else {
        return;
    };
    let policy = RegistrationPolicy::new(
        vec![GrantType::ClientCredentials, GrantType::RefreshToken],
        Scope::parse("read write").expect("a scope"),
        Audiences::parse("https://a https://b").expect("audiences"),
    );
    let policy = policy.expect("rights that may be given");
    let client_id = ClientId::parse("kwc_AAAAAAAAAAAAAAAA").expect("an identifier");
    let as_wished = requested.of_new_client(&client_id, &policy);
    if let Some(metadata) = lawful(as_wished.as_ref(), &policy) {
        assert!(!metadata.introspect && metadata.signing_alg.is_none() && metadata.access_ttl.is_none());
        assert!(metadata.token_quota.is_none() && metadata.token_reuse_window.is_none());
        assert_eq!(metadata.claim_profile, ClaimProfile::default());
        let chosen = ClientMetadata {
            introspect: true,
            access_ttl: Some(Seconds::minutes(1)),
            ..metadata.clone()
        };
        let client = Client {
            row: 1,
            client_id: client_id.clone(),
            metadata: chosen.clone(),
            enabled: true,
            epoch: 0,
            owner: None,
            created_at: NumericDate::from_epoch(0),
            updated_at: NumericDate::from_epoch(0),
        };
        // The same document once more changes nothing, and leaves alone what it does not speak of.
        assert_eq!(requested.of_registered_client(&client, &policy).ok(), Some(chosen));
    }
    let update = requested.is_an_update_of(&client_id, |secret| Ok(secret == "kws_present"));
    assert!(update.is_err() || text(data).is_none_or(|text| text.contains("client_id")));
}

fn lawful<'a>(
    judged: Result<&'a ClientMetadata, &OAuthError>,
    policy: &RegistrationPolicy,
) -> Option<&'a ClientMetadata> {
    match judged {
        Ok(metadata) => {
            assert_eq!(policy.allows(metadata), Ok(()));
            assert_eq!(broken_rules(metadata), []);
            Some(metadata)
        }
        Err(refusal) => {
            let description = refusal.description.unwrap_or_default();
            assert!(
                description
                    .bytes()
                    .all(|b| matches!(b, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)),
                "{description}"
            );
            None
        }
    }
}

/// A cursor: nobody makes one up, and one that is read again names the same place in its own list alone.
pub fn cursor(data: &[u8]) {
    static MAC: LazyLock<hmac::Key> = LazyLock::new(|| hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]));
    let Some(text) = text(data) else { return };
    if let Ok(cursor) = Cursor::open(text, &MAC, "clients") {
        assert_eq!(cursor.seal(&MAC, "clients"), text, "sealed by us, to the letter");
    }
    let cursor = Cursor::after(text.split('\n').map(str::to_owned).collect());
    let word = cursor.seal(&MAC, text);
    assert_eq!(Cursor::open(&word, &MAC, text), Ok(cursor));
    assert!(Cursor::open(&word, &MAC, &format!("{text}x")).is_err());
    assert!(
        word.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
        "it is sent in a URL"
    );
}

/// Users of another system: a file is taken whole or not at all, each user once, and no complaint repeats a hash.
pub fn user_import(data: &[u8]) {
    match user_import::read(data) {
        Ok(users) => {
            let mut names = BTreeSet::new();
            for user in users {
                let name = Username::parse(&user.username).expect("it was checked");
                assert!(names.insert(name.canonical().to_owned()), "twice: {name}");
                assert!(user.id.is_none_or(|id| UserId::parse(&id).is_ok()));
                assert!(PasswordHash::parse(user.password_hash.as_str()).is_ok());
                assert!(!format!("{:?}", user.password_hash).contains(user.password_hash.as_str()));
            }
        }
        Err(ImportError::Lines(complaints)) => {
            assert!((1..=20).contains(&complaints.len()));
            let hashes = text(data)
                .into_iter()
                .flat_map(|text| text.split([',', '"', '\n', '\r']));
            for hash in hashes.filter(|word| word.len() > 40 && PasswordHash::parse(word).is_ok()) {
                assert!(
                    complaints.iter().all(|complaint| !complaint.contains(hash)),
                    "{complaints:?}"
                );
            }
        }
        Err(ImportError::TooLarge | ImportError::Read(_)) => {}
    }
}

/// A stored password hash: what is accepted costs no more than a server can bear, is kept to the letter, and can be tried.
pub fn password_hash(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(hash) = PasswordHash::parse(text) else { return };
    assert_eq!(hash.as_str(), text);
    assert!(text.is_ascii() && !format!("{hash:?}").contains(text));
    let kind = hash.kind();
    let numbers: Vec<u32> = kind
        .split([' ', '=', ',', '$'])
        .filter_map(|word| word.parse().ok())
        .collect();
    let (most, cheap): (&[u32], &[u32]) = match kind.split(' ').next() {
        Some("argon2id" | "argon2i") => (&[256 * 1_024, 16, 16], &[64, 2, 4]),
        Some("pbkdf2_sha256") => (&[5_000_000], &[1_000]),
        _ => (&[15], &[4]),
    };
    let at_most =
        |bounds: &[u32]| numbers.len() == bounds.len() && numbers.iter().zip(bounds).all(|(cost, most)| cost <= most);
    assert!(at_most(most), "{kind}");
    let sign = match kind.split(' ').next() {
        Some("argon2id" | "argon2i") => "=+",
        Some("pbkdf2_sha256") => "pbkdf2_sha256$+",
        _ => "$+",
    };
    assert!(!text.contains(sign), "a number has no sign: {text}");
    if at_most(cheap) {
        let mut memory = Vec::new();
        assert_eq!(
            hash.verify("a password", &mut memory),
            hash.verify("a password", &mut memory)
        );
    }
}
