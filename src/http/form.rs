use actix_web::HttpRequest;
use actix_web::web::Payload;

use super::body;
use super::response::Refusal;
use crate::oauth::{ErrorCode, OAuthError, Parameters};

/// Longest body of a token request in bytes.
pub(super) const LONGEST: usize = 16 * 1024;

/// Reads the parameters of a form request: the raw bytes, bounded in length and time, decoded by our own strict parser.
pub(super) async fn parameters(request: &HttpRequest, payload: Payload) -> Result<Parameters, Refusal> {
    // The body is read before the content type is judged, so that the connection can go on after a refusal.
    let body = body::read(request, payload, LONGEST).await.map_err(Refusal::unread)?;
    // RFC 6749 appendix B.
    if !body::is(request.headers(), "application/x-www-form-urlencoded") {
        let description = "send the parameters as application/x-www-form-urlencoded in UTF-8";
        return Err(Refusal::of(OAuthError::invalid_request(description)));
    }
    no_credentials_in(request.query_string())?;
    Parameters::parse(&body).map_err(Refusal::of)
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
    use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

    use super::*;

    fn accepted(values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
        }
        body::is(&headers, "application/x-www-form-urlencoded")
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
