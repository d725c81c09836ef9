use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use ipnet::IpNet;

use super::tag::REQUEST_ID;

/// The address that a request comes from: the socket's, or, when a trusted proxy sits there, the right-most address in
/// `X-Forwarded-For` that is not a trusted proxy's. Nobody else's word counts.
///
/// `Err` when a trusted proxy sends something that is not a list of addresses: then nothing can be said about the client, and
/// the request is refused instead of being taken for the proxy's own.
pub(super) fn address(request: &HttpRequest, trusted: &[IpNet]) -> Result<Option<IpAddr>, Malformed> {
    let Some(socket) = request.peer_addr().map(|address| address.ip().to_canonical()) else {
        return Ok(None);
    };
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(&socket) {
        return Ok(Some(socket));
    }
    let mut forwarded = Vec::new();
    for value in request.headers().get_all(FORWARDED_FOR) {
        for address in value.to_str().map_err(|_not_ascii| Malformed)?.split(',') {
            forwarded.push(
                address
                    .trim()
                    .parse::<IpAddr>()
                    .map_err(|_not_an_address| Malformed)?
                    .to_canonical(),
            );
        }
    }
    if forwarded.len() > MOST_HOPS {
        return Err(Malformed);
    }
    Ok(Some(
        forwarded
            .iter()
            .rev()
            .find(|address| !is_trusted(address))
            .or(forwarded.first())
            .copied()
            .unwrap_or(socket),
    ))
}

/// Whether a trusted proxy sent the request.
pub(super) fn is_trusted(request: &HttpRequest, trusted: &[IpNet]) -> bool {
    if trusted.is_empty() {
        return false;
    }
    let Some(socket) = request.peer_addr().map(|address| address.ip().to_canonical()) else {
        return false;
    };
    trusted.iter().any(|network| network.contains(&socket))
}

/// The name that a trusted proxy gave the request, by which its log and the audit trail can be laid side by side. Nobody else's counts,
/// and neither does one that is not a plain word of at most 64 characters.
pub(super) fn request_id(request: &HttpRequest, trusted: &[IpNet]) -> Option<String> {
    if !is_trusted(request, trusted) {
        return None;
    }
    let mut values = request.headers().get_all(REQUEST_ID);
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let is_word = |word: &&str| {
        (1..=64).contains(&word.len())
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte))
    };
    value.to_str().ok().filter(is_word).map(str::to_owned)
}

/// `X-Forwarded-For` is not a list of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// More proxies in a row than anybody has.
const MOST_HOPS: usize = 32;

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn seen(socket: &str, forwarded: &[&str]) -> Result<String, Malformed> {
        let mut request = TestRequest::default().peer_addr(socket.parse().unwrap());
        for value in forwarded {
            request = request.append_header(("x-forwarded-for", *value));
        }
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        address(&request.to_http_request(), &trusted).map(|address| address.unwrap().to_string())
    }

    #[test]
    fn only_a_trusted_proxy_names_a_request_and_only_by_one_plain_word() {
        let named = |socket: &str, ids: &[&str]| {
            let mut request = TestRequest::default().peer_addr(socket.parse().unwrap());
            for id in ids {
                request = request.append_header(("x-request-id", *id));
            }
            request_id(&request.to_http_request(), &["10.0.0.0/8".parse().unwrap()])
        };
        assert_eq!(named("10.0.0.1:1", &["a-1.B/2=="]), Some("a-1.B/2==".to_owned()));
        assert_eq!(named("192.0.2.1:1", &["a"]), None);
        for bad in [&["a", "a"][..], &[""], &["a b"], &["a\"b"], &[&"a".repeat(65)], &[]] {
            assert_eq!(named("10.0.0.1:1", bad), None, "{bad:?}");
        }
    }

    // H-26, H-27
    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_up_to_the_first_stranger() {
        assert_eq!(seen("192.0.2.1:1", &["1.1.1.1"]), Ok("192.0.2.1".into()));
        assert_eq!(seen("10.0.0.1:1", &[]), Ok("10.0.0.1".into()));
        assert_eq!(seen("10.0.0.1:1", &["6.6.6.6, 1.1.1.1"]), Ok("1.1.1.1".into()));
        assert_eq!(
            seen("10.0.0.1:1", &["6.6.6.6", "1.1.1.1, 10.0.0.2"]),
            Ok("1.1.1.1".into())
        );
        assert_eq!(seen("10.0.0.1:1", &["10.0.0.3, 10.0.0.2"]), Ok("10.0.0.3".into()));
        assert_eq!(seen("10.0.0.1:1", &["::ffff:1.1.1.1"]), Ok("1.1.1.1".into()));
    }

    // H-27
    #[test]
    fn an_unreadable_list_from_a_trusted_proxy_is_refused() {
        for value in [
            "a",
            "1.1.1.1, ",
            "fe80::1%eth0",
            "1.1.1.1:80",
            &vec!["1.1.1.1"; 400].join(","),
        ] {
            assert_eq!(seen("10.0.0.1:1", &[value]), Err(Malformed), "{value}");
        }
    }
}
