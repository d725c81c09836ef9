//! The readers of this floor, held to what the RFCs say by slower readers of the same rules.
#![expect(clippy::expect_used, reason = "a broken promise is to be loud")]

use std::collections::BTreeSet;

use secrecy::SecretString;

use super::parameters::NAMES;
use super::{
    Audience, Audiences, ChosenSecret, ClaimProfile, ClientAuthMethod, ClientId, FamilyId, GrantType, IssuedClaims,
    IssuerUrl, Lineage, Owner, Parameters, Scope, Seconds, SigningAlgorithm, Thumbprint, TokenQuota, TokenType, UserId,
    Username, form_decode,
};

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// A form (RFC 6749 appendix B): what is read is what a slow reader reads, what it refuses is refused, and what was read can be
/// written and read again. Printing shows no value.
pub fn form(data: &[u8]) {
    let read = Parameters::parse(data);
    let slow = slow_form(data);
    assert_eq!(read.is_ok(), slow.is_some(), "{read:?} {slow:?}");
    if let Some(text) = text(data) {
        assert_eq!(form_decode(text).map(|text| text.to_string()), slow_decode(data));
    }
    let (Ok(read), Some(slow)) = (read, slow) else { return };
    let of = |parameters: &Parameters, parameter| parameters.all(parameter).map(str::to_owned).collect::<Vec<_>>();
    let mut written = String::new();
    for (name, parameter) in NAMES {
        let values: Vec<String> = slow
            .iter()
            .filter(|(own, _)| own == name)
            .map(|(_, value)| value.clone())
            .collect();
        assert_eq!(of(&read, parameter), values, "{name}");
        for value in values {
            let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            written += &format!("&{name}={encoded}");
        }
    }
    let again = Parameters::parse(written.trim_start_matches('&').as_bytes()).expect("it was read before");
    assert!(
        NAMES
            .iter()
            .all(|(_, parameter)| of(&read, *parameter) == of(&again, *parameter)),
        "{written}"
    );
    let printed = format!("{read:?}");
    assert!(
        printed
            .bytes()
            .all(|byte| byte.is_ascii_alphabetic() || b"[, ]".contains(&byte)),
        "{printed}"
    );
}

/// Names and values that are known and not empty, in order.
fn slow_form(data: &[u8]) -> Option<Vec<(String, String)>> {
    let pairs: Vec<&[u8]> = data.split(|byte| *byte == b'&').collect();
    if pairs.len() > Parameters::MAX_COUNT {
        return None;
    }
    let mut read = Vec::new();
    let mut seen = BTreeSet::new();
    for pair in pairs {
        let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(equals);
        if name.len() > Parameters::MAX_NAME {
            return None;
        }
        let (name, value) = (slow_decode(name)?, slow_decode(value.get(1..).unwrap_or_default())?);
        if value.len() > Parameters::MAX_VALUE {
            return None;
        }
        if !NAMES.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let repeats = ["resource", "audience"].contains(&name.as_str());
        if !seen.insert(name.clone()) && !repeats {
            return None;
        }
        if !value.is_empty() {
            read.push((name, value));
        }
    }
    Some(read)
}

fn slow_decode(mut encoded: &[u8]) -> Option<String> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut decoded = Vec::new();
    loop {
        encoded = match encoded {
            [] => return String::from_utf8(decoded).ok(),
            [b'%', high, low, rest @ ..] => {
                decoded.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                rest
            }
            [b'%', ..] => return None,
            [b'+', rest @ ..] => {
                decoded.push(b' ');
                rest
            }
            [byte, rest @ ..] => {
                decoded.push(*byte);
                rest
            }
        };
    }
}

/// A scope (RFC 6749 §3.3, appendix A.4): what is accepted is in the grammar and within the limits, and nothing else; written and
/// read again it is the same.
pub fn scope(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let read = Scope::parse(text);
    let is_token = |token: &str| {
        let fits = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
        !token.is_empty() && token.chars().all(fits)
    };
    let tokens: Vec<&str> = text.split(' ').collect();
    let distinct: BTreeSet<&str> = tokens.iter().copied().collect();
    let fits = text.len() <= Scope::MAX_LENGTH && distinct.len() <= Scope::MAX_TOKENS;
    assert_eq!(
        read.is_ok(),
        text.is_empty() || fits && tokens.iter().all(|token| is_token(token)),
        "{text:?}"
    );
    let Ok(scope) = read else { return };
    assert_eq!(Scope::parse(&scope.to_string()), Ok(scope.clone()));
    let json = serde_json::to_string(&scope).expect("a text");
    assert_eq!(serde_json::from_str::<Scope>(&json).ok(), Some(scope.clone()));
    assert_eq!(scope.is_empty(), text.is_empty());
    if !text.is_empty() {
        assert_eq!(scope.tokens().collect::<BTreeSet<_>>(), distinct);
        assert_eq!(scope.tokens().count(), distinct.len(), "each once");
    }
    let fewer: Vec<&str> = scope.tokens().skip(1).collect();
    let fewer = Scope::parse(&fewer.join(" ")).expect("a part of what was read");
    assert!(scope.is_within(&scope) && Scope::empty().is_within(&scope) && fewer.is_within(&scope));
    assert!(scope.is_empty() || !scope.is_within(&fewer));
}

/// Audiences (RFC 8707 §2): a resource is an absolute URI by RFC 3986 to the letter, without a fragment and a user; a list is read
/// back as it was written, in the database and in JSON.
pub fn audience(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let audience = Audience::parse(text);
    let printable = text.chars().all(|c| c.is_ascii_graphic());
    assert_eq!(
        audience.is_ok(),
        printable && (1..=Audience::MAX_LENGTH).contains(&text.len()),
        "{text:?}"
    );
    if let Ok(resource) = Audience::parse_resource(text) {
        assert_eq!(Ok(&resource), audience.as_ref());
        assert_eq!(resource.as_str(), text, "compared byte for byte, so kept byte for byte");
        assert!(is_absolute_uri(text), "{text}");
    }
    if let Ok(audiences) = Audiences::parse(text) {
        assert_eq!(Audiences::parse(&audiences.to_string()).as_ref(), Ok(&audiences));
        let distinct: BTreeSet<&Audience> = audiences.iter().collect();
        assert_eq!(distinct.len(), audiences.len(), "each once");
        let json = serde_json::to_string(&audiences).expect("texts");
        assert_eq!(serde_json::from_str::<Audiences>(&json).ok(), Some(audiences));
    }
    let _refused_or_read = serde_json::from_slice::<Audiences>(data);
}

/// `absolute-URI` of RFC 3986 §4.3 without user information, letter by letter.
fn is_absolute_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
        None => ("", rest),
    };
    let host = match authority.strip_prefix('[').and_then(|literal| literal.split_once(']')) {
        Some((literal, port)) if !literal.contains('[') => format!("{literal}{port}"),
        _ => authority.to_owned(),
    };
    let written = |text: &str, also: &str| {
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let fits = match c {
                '%' => {
                    rest.next().is_some_and(|c| c.is_ascii_hexdigit())
                        && rest.next().is_some_and(|c| c.is_ascii_hexdigit())
                }
                c => c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:".contains(c) || also.contains(c),
            };
            if !fits {
                return false;
            }
        }
        true
    };
    is_scheme && written(&host, "") && written(path, "@/?")
}

/// A span of time, or a quota that holds for one: digits and a unit, no more than 63 bits of seconds, and the same when it is written and read again.
pub fn duration(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let slow = || {
        let (unit, digits) = [(1, 's'), (60, 'm'), (3_600, 'h'), (86_400, 'd')]
            .into_iter()
            .find_map(|(unit, letter)| Some((unit, text.strip_suffix(letter)?)))?;
        if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
            return None;
        }
        // No number of 63 bits has more than 19 digits, and 127 bits hold what 20 of them and a unit come to.
        let count: i128 = match digits.trim_start_matches('0') {
            "" => 0,
            digits if digits.len() > 20 => return None,
            digits => digits.parse().ok()?,
        };
        i64::try_from(count * unit).ok()
    };
    let read = text.parse::<Seconds>().ok();
    assert_eq!(read.map(Seconds::get), slow(), "{text:?}");
    if let Some(span) = read {
        assert_eq!(span.to_string().parse(), Ok(span));
        assert!(span + span >= span && span * 2 >= span && span / 2 <= span);
    }
    if let Ok(quota) = text.parse::<TokenQuota>() {
        assert_eq!(quota.to_string().parse(), Ok(quota));
        assert!((1..=TokenQuota::MOST_TOKENS).contains(&quota.tokens()));
        assert!((Seconds::new(1)..=TokenQuota::LONGEST_PERIOD).contains(&quota.period()));
    }
}

/// Names: none that is a client's is a user's, each reads the same when it is written, and nothing that cannot be seen is in any.
pub fn identifiers(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let (client, user) = (ClientId::parse(text), UserId::parse(text));
    assert!(
        client.is_err() || user.is_err(),
        "{text}: a subject must be one of the two"
    );
    if let Ok(client) = client {
        assert_eq!(client.as_str(), text);
        assert_eq!(
            form_decode(text).as_deref().map(String::as_str),
            Some(text),
            "whether encoded or not"
        );
    }
    if let Ok(name) = Username::parse(text) {
        let again = Username::parse(name.canonical()).expect("the canonical form of a name is a name");
        assert_eq!(again.canonical(), name.canonical());
        assert_eq!(again, name);
        assert!(!name.as_str().chars().any(char::is_control) && name.as_str() == text);
    }
    if let Ok(issuer) = IssuerUrl::parse(text) {
        assert_eq!(IssuerUrl::parse(issuer.as_str()).as_ref(), Ok(&issuer));
        assert!(Audience::parse(text).is_ok(), "it serves as an audience: {text}");
        assert!(!text.contains(['?', '#', '\\']), "{text}");
        // No user and no password: an at sign stands in the path at most.
        assert!(
            !text.split('/').nth(2).is_some_and(|authority| authority.contains('@')),
            "{text}"
        );
        assert!(is_absolute_uri(text), "{text}");
        assert!(
            IssuerUrl::parse(&issuer.endpoint("/x")).is_ok() || text.len() > Audience::MAX_LENGTH - 2,
            "{text}"
        );
    }
    for written in [
        Owner::parse(text).map(|owner| owner.to_string()).ok(),
        FamilyId::parse(text).map(|id| id.to_string()).ok(),
    ] {
        assert!(written.is_none_or(|written| written == text && text.is_ascii()));
    }
    if let Ok(secret) = ChosenSecret::parse(SecretString::from(text)) {
        assert_eq!(secret.expose(), text);
        // What is shown does not depend on the secret, so it says nothing of it.
        let other = ChosenSecret::parse(SecretString::from("0123456789abcdef0123456789ABCDEF"));
        assert_eq!(
            Some(format!("{secret:?}")),
            other.ok().map(|other| format!("{other:?}"))
        );
    }
    match Lineage::of_jti(text) {
        Some(Lineage::Family(family)) => assert!(text.starts_with(&format!("{family}."))),
        Some(Lineage::Standing { .. }) => {
            let numbers = text.split('.').next().unwrap_or_default();
            assert!(
                numbers
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || b"+-".contains(&byte)),
                "{text}"
            );
        }
        None => {}
    }
    let _unless_none = Thumbprint::parse(text).map(|kid| assert_eq!(kid.as_str(), text));
    words(text);
}

/// Words of a list: whatever is one of them is written as it was read.
fn words(text: &str) {
    let read = [
        text.parse::<GrantType>().ok().map(|word| word.to_string()),
        text.parse::<ClientAuthMethod>().ok().map(|word| word.to_string()),
        text.parse::<SigningAlgorithm>().ok().map(|word| word.to_string()),
        text.parse::<TokenType>().ok().map(|word| word.to_string()),
        text.parse::<ClaimProfile>().ok().map(|word| word.to_string()),
    ];
    assert!(read.into_iter().flatten().all(|word| word == text));
}

/// The claims of a token, once its signature was found to be ours (RFC 9068 §2.2): any JSON is read or refused, and dates beyond all
/// calendars can be shown and reckoned with.
pub fn claims(data: &[u8]) {
    let Ok(claims) = serde_json::from_slice::<IssuedClaims>(data) else {
        return;
    };
    for date in [claims.exp, claims.iat] {
        assert!(!date.to_string().is_empty());
        let _year = date.utc();
        assert!(date + Seconds::days(1) >= date && date - Seconds::days(1) <= date);
    }
    assert!(claims.exp.since(claims.iat) >= Seconds::default());
    assert_eq!(Scope::parse(claims.scope.as_str()), Ok(claims.scope));
    assert_eq!(Audiences::parse(&claims.aud.to_string()), Ok(claims.aud));
    let _of_another = Lineage::of_jti(&claims.jti);
}
