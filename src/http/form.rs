use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::web::Payload;
use futures_util::StreamExt;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::response::Refusal;
use crate::oauth::{ErrorCode, OAuthError, Parameters};

/// Longest body of a token request in bytes.
const MAX_BODY: usize = 16 * 1024;
/// Time in which the whole body must have arrived; headers have a time of their own.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// Reads the parameters of a form request: the raw bytes, bounded in length and time, decoded by our own strict parser.
pub(super) async fn parameters(request: &HttpRequest, payload: Payload) -> Result<Parameters, Refusal> {
    let headers = request.headers();
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Refusal::encoded());
    }
    if declared_length(headers).is_some_and(|length| length > MAX_BODY) {
        return Err(Refusal::too_large());
    }
    // The body is read before the content type is judged, so that the connection can go on after a refusal.
    let body = match timeout(BODY_DEADLINE, read(payload, declared_length(headers))).await {
        Ok(body) => body?,
        Err(_) => return Err(Refusal::too_slow()),
    };
    if !is_form(headers) {
        let description = "send the parameters as application/x-www-form-urlencoded in UTF-8";
        return Err(Refusal::of(OAuthError::invalid_request(description)));
    }
    no_credentials_in(request.query_string())?;
    Parameters::parse(&body).map_err(Refusal::of)
}

fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(mut payload: Payload, declared: Option<usize>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let mut body = Zeroizing::new(Vec::with_capacity(declared.unwrap_or(512).min(MAX_BODY)));
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_broken_off| Refusal::broken_off())?;
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Refusal::too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// One `Content-Type`, of the form type in any case (RFC 9110 §8.3.1), with no other charset than UTF-8 (RFC 6749 appendix B).
fn is_form(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE);
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    let is_form = parts
        .next()
        .is_some_and(|essence| essence.eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    is_form
        && parts
            .filter_map(|parameter| parameter.split_once('='))
            .all(|(name, value)| {
                !name.trim().eq_ignore_ascii_case("charset")
                    || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            })
}

/// RFC 6749 §2.3.1: credentials must not be in the request URI, where logs and histories keep them.
fn no_credentials_in(query: &str) -> Result<(), Refusal> {
    if query.is_empty() {
        return Ok(());
    }
    let parameters = Parameters::parse(query.as_bytes()).map_err(Refusal::of)?;
    if parameters.hold_a_credential() {
        return Err(Refusal::of(OAuthError {
            code: ErrorCode::InvalidRequest,
            description: Some("credentials must not be in the URL: send them in the body or the Authorization header"),
            reason: "credential_in_url",
        }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn accepted(values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
        }
        is_form(&headers)
    }

    // T-01 to T-04
    #[test]
    fn a_form_is_urlencoded_utf_8_and_says_so_once() {
        for value in [
            "application/x-www-form-urlencoded",
            "APPLICATION/X-WWW-FORM-URLENCODED",
            "application/x-www-form-urlencoded; charset=utf-8",
            "application/x-www-form-urlencoded;charset=\"UTF-8\"",
        ] {
            assert!(accepted(&[value]), "{value}");
        }
        for value in [
            "application/json",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencodedX",
            "application/x-www-form-urlencoded; charset=utf-16",
            "application/x-www-form-urlencoded; charset=iso-8859-1",
            "text/plain",
            "",
        ] {
            assert!(!accepted(&[value]), "{value}");
        }
        assert!(!accepted(&[]));
        assert!(!accepted(&[
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded"
        ]));
    }
}
