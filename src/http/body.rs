//! The body of a request: raw bytes, bounded in length and time, before anybody looks at them.

use std::time::Duration;

use actix_http::{HttpMessage as _, Request};
use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::web::Payload;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::crowd::Coming;

/// Time in which the whole body must have arrived; headers have a time of their own.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// Longest JSON document that is read, in bytes.
pub(super) const LONGEST_JSON: usize = 64 * 1024;

/// Why a body was not read. The connection cannot go on: the rest of it is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is compressed (RFC 9110 §15.5.16).
    Encoded,
    /// It is longer than is read (RFC 9110 §15.5.14).
    TooLarge,
    /// It did not arrive in time (RFC 9110 §15.5.9).
    TooSlow,
    /// It broke off.
    BrokenOff,
}

impl Unread {
    /// The status that says so, and how to mend it.
    pub(super) const fn as_answer(self) -> (StatusCode, &'static str) {
        match self {
            Unread::Encoded => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send the request body without Content-Encoding",
            ),
            Unread::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large"),
            Unread::TooSlow => (StatusCode::REQUEST_TIMEOUT, "the request body did not arrive in time"),
            Unread::BrokenOff => (StatusCode::BAD_REQUEST, "the request body could not be read"),
        }
    }
}

/// Reads at most `most` bytes. Who says that there are more is refused before any is read.
pub(super) async fn read(request: &HttpRequest, payload: Payload, most: usize) -> Result<Zeroizing<Vec<u8>>, Unread> {
    let headers = request.headers();
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Unread::Encoded);
    }
    let declared = declared_length(headers);
    if declared.is_some_and(|length| length > most) {
        return Err(Unread::TooLarge);
    }
    let reading = chunks(payload, declared.unwrap_or(512), most);
    timeout(BODY_DEADLINE, reading).await.unwrap_or(Err(Unread::TooSlow))
}

/// The length that a request declares for its body in bytes, if it does.
pub(super) fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The body that a request has coming.
pub(super) fn coming(request: &mut Request) -> Coming {
    if let actix_http::Payload::None = request.payload() {
        return Coming::Bytes(0);
    }
    match declared_length(request.headers()) {
        Some(length) => Coming::Bytes(length as u64),
        None => Coming::Unknown,
    }
}

async fn chunks(mut payload: Payload, expected: usize, most: usize) -> Result<Zeroizing<Vec<u8>>, Unread> {
    let mut body = Zeroizing::new(Vec::with_capacity(expected.min(most)));
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_broken_off| Unread::BrokenOff)?;
        if body.len() + chunk.len() > most {
            return Err(Unread::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Why there is no JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoJson {
    /// Nothing was read.
    Unread(Unread),
    /// It does not say that it is JSON. A form that a browser sends across origins cannot say so.
    OtherType,
    /// It is not the document that is wanted; this is why, in words, which may repeat a value.
    Malformed(String),
}

/// Reads a JSON document of at most 64 KiB as `T`.
pub(super) async fn json<T: DeserializeOwned>(request: &HttpRequest, payload: Payload) -> Result<T, NoJson> {
    let text = json_text(request, payload).await?;
    serde_json::from_slice(&text).map_err(|error| NoJson::Malformed(error.to_string()))
}

/// Reads what says that it is a JSON document, of at most 64 KiB.
pub(super) async fn json_text(request: &HttpRequest, payload: Payload) -> Result<Zeroizing<Vec<u8>>, NoJson> {
    // Read before the type is judged, so that the connection can go on after a refusal.
    let body = read(request, payload, LONGEST_JSON).await.map_err(NoJson::Unread)?;
    if !is(request.headers(), "application/json") {
        return Err(NoJson::OtherType);
    }
    // serde would take the members of a document from an array as well, by their order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(NoJson::Malformed("send an object, not an array".to_owned()));
    }
    Ok(body)
}

/// Whether there is one `Content-Type`, of that essence in any case (RFC 9110 §8.3.1), and with no other charset than UTF-8.
pub(super) fn is(headers: &HeaderMap, essence: &str) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE);
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    let is = parts.next().is_some_and(|first| first.eq_ignore_ascii_case(essence));
    is && parts
        .filter_map(|parameter| parameter.split_once('='))
        .all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset") || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}
