//! The readers of this floor: headers that carry meaning.
#![expect(clippy::expect_used, reason = "a broken promise is to be loud")]

use std::net::IpAddr;

use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use actix_web::test::TestRequest;
use ipnet::IpNet;

use super::bearer::Bearer;
use super::entity_tag::{Comparison, names};
use super::{body, peer};

/// A condition with an entity tag (RFC 9110 §13.1): it names what a slow reader finds in it, and every tag in it, strongly or weakly.
pub fn entity_tags(data: &[u8]) {
    let Some(condition) = HeaderValue::from_bytes(data)
        .ok()
        .and_then(|value| value.to_str().map(str::to_owned).ok())
    else {
        return;
    };
    const ETAG: &str = "\"own\"";
    let slow = slow_tags(&condition);
    for comparison in [Comparison::Strong, Comparison::Weak] {
        let names_it = |(weak, tag): &(bool, String)| tag == ETAG && (comparison == Comparison::Weak || !weak);
        let any = condition.trim_matches([' ', '\t']) == "*";
        let expected = any || slow.iter().flatten().any(names_it);
        assert_eq!(names(&condition, ETAG, comparison), expected, "{condition}");
    }
    for (weak, tag) in slow.iter().flatten() {
        assert!(names(&condition, tag, Comparison::Weak));
        let strongly = slow.iter().flatten().any(|(weak, other)| !weak && other == tag);
        assert_eq!(names(&condition, tag, Comparison::Strong), strongly || !weak);
    }
}

/// Every tag, whether it is weak, and its text with the quotes; `None` when the list is none.
fn slow_tags(condition: &str) -> Option<Vec<(bool, String)>> {
    let mut elements = vec![String::new()];
    let mut quoted = false;
    for c in condition.chars() {
        quoted ^= c == '"';
        match elements.last_mut() {
            Some(element) if quoted || c != ',' => element.push(c),
            _ => elements.push(String::new()),
        }
    }
    let elements = elements
        .iter()
        .map(|element| element.trim_matches([' ', '\t']))
        .filter(|element| !element.is_empty());
    let read = elements.map(|element| {
        let weak = element.starts_with("W/");
        let tag = if weak { element.get(2..)? } else { element };
        let inner = tag.strip_prefix('"')?.strip_suffix('"')?;
        let fits = |c: char| c == '!' || ('#'..='~').contains(&c);
        inner.chars().all(fits).then(|| (weak, tag.to_owned()))
    });
    read.collect()
}

/// Headers, a line each: `Authorization`, `X-Forwarded-For` and `Content-Type`. A bearer token is by RFC 6750 §2.1; of forwarded
/// addresses the first one counts, from the right, that no trusted proxy has; and a form says that it is one.
pub fn headers(data: &[u8]) {
    let trusted: [IpNet; 1] = ["10.0.0.0/8".parse().expect("a network")];
    let mut lines = data.splitn(3, |byte| *byte == b'\n').map(HeaderValue::from_bytes);
    let mut next = || lines.next().and_then(Result::ok);
    let (authorization, forwarded, content_type) = (next(), next(), next());
    let mut request = TestRequest::default().peer_addr(([10, 0, 0, 1], 1).into());
    for (name, value) in [
        (AUTHORIZATION.as_str(), &authorization),
        ("x-forwarded-for", &forwarded),
        (CONTENT_TYPE.as_str(), &content_type),
    ] {
        if let Some(value) = value {
            request = request.append_header((name, value.clone()));
        }
    }
    let request = request.to_http_request();
    let authorization = authorization.as_ref().map(|value| value.to_str().unwrap_or_default());
    match (Bearer::of(&request), authorization) {
        (Bearer::Absent, value) => assert_eq!(value, None),
        (Bearer::Token(token), value) => assert_eq!(slow_bearer(value.unwrap_or_default()), Some(token.as_str())),
        (Bearer::Malformed, value) => assert_eq!(slow_bearer(value.unwrap_or_default()), None),
        (Bearer::Several, _) => unreachable!("one was sent"),
    }
    let listed: Option<Vec<IpAddr>> = forwarded
        .as_ref()
        .map(|value| {
            let words = value.to_str().unwrap_or("not ASCII").split(',');
            words
                .map(|word| word.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical()))
                .collect()
        })
        .unwrap_or(Some(Vec::new()));
    let is_proxy = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    match (peer::address(&request, &trusted), listed) {
        (Ok(Some(address)), Some(listed)) => {
            let stranger = listed.iter().rposition(|address| !is_proxy(address));
            let expected = stranger
                .or((!listed.is_empty()).then_some(0))
                .and_then(|place| listed.get(place));
            assert_eq!(expected.copied().unwrap_or(IpAddr::from([10, 0, 0, 1])), address);
        }
        (Err(_malformed), listed) => assert!(listed.is_none_or(|listed| listed.len() > 32)),
        (Ok(read), listed) => unreachable!("{read:?} {listed:?}"),
    }
    let content_type = content_type.as_ref().and_then(|value| value.to_str().ok());
    let is_json = content_type.is_some_and(slow_is_json);
    assert_eq!(
        body::is(request.headers(), "application/json"),
        is_json,
        "{content_type:?}"
    );
}

/// The essence in any case, and no charset but UTF-8.
fn slow_is_json(content_type: &str) -> bool {
    let content_type = content_type.to_lowercase();
    let mut parts = content_type.split(';').map(str::trim);
    let is_essence = parts.next() == Some("application/json");
    let mut charsets = parts.filter_map(|part| {
        let equals = part.find('=')?;
        let (name, value) = part.split_at_checked(equals)?;
        let value = value.get(1..)?.trim().trim_matches('"');
        (name.trim() == "charset").then(|| value.to_owned())
    });
    is_essence && charsets.all(|charset| charset == "utf-8")
}

/// The scheme in any case, one space, and `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn slow_bearer(value: &str) -> Option<&str> {
    let scheme = value.get(..7)?;
    let token = value.get(7..)?;
    let mut rest = token.chars().peekable();
    let mut length = 0;
    while rest
        .next_if(|c| c.is_ascii_alphanumeric() || "-._~+/".contains(*c))
        .is_some()
    {
        length += 1;
    }
    let is_word = length > 0 && rest.all(|c| c == '=');
    (scheme.eq_ignore_ascii_case("bearer ") && is_word).then_some(token)
}
