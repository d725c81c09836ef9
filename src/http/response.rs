use actix_web::http::StatusCode;
use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpResponse, HttpResponseBuilder, web};
use serde::Serialize;

use super::body::Unread;
use crate::oauth::{ErrorCode, OAuthError, Seconds};
use crate::server::{Outcome, QuotaLeft};

/// A request that is not granted, as HTTP tells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    status: StatusCode,
    error: OAuthError,
    /// The connection cannot go on: what remains of the request was not read.
    close: bool,
    extra: Option<Extra>,
}

/// The headers that only some refusals carry.
#[derive(Debug, Clone, Copy)]
enum Extra {
    Allow(&'static str),
    AcceptEncoding(&'static str),
    RetryAfter(Seconds),
    Quota(QuotaLeft),
    /// No token was sent, so that nothing is said of one (RFC 6750 §3.1).
    BareChallenge,
}

impl Refusal {
    /// A refusal with the status that belongs to its code.
    pub(super) fn of(error: OAuthError) -> Self {
        let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Refusal {
            status,
            error,
            close: false,
            extra: None,
        }
    }

    /// A fault of the server: the code, and nothing else.
    pub(super) fn failed(code: ErrorCode) -> Self {
        Refusal::of(OAuthError {
            code,
            description: None,
            reason: "failure",
        })
    }

    /// Too much is under way; `reason` says of what, for the log.
    pub(super) fn overloaded(reason: &'static str) -> Self {
        Refusal::of(OAuthError {
            code: ErrorCode::TemporarilyUnavailable,
            description: None,
            reason,
        })
    }

    /// The body was not read.
    pub(super) fn unread(unread: Unread) -> Self {
        let (status, description) = unread.as_answer();
        Refusal {
            status,
            error: OAuthError::invalid_request(description),
            close: true,
            extra: (unread == Unread::Encoded).then_some(Extra::AcceptEncoding("identity")),
        }
    }

    /// Too many attempts (RFC 6585 §4); `wait` says when the next one is taken.
    pub(super) fn too_many(wait: Seconds) -> Self {
        let error = OAuthError {
            code: ErrorCode::TemporarilyUnavailable,
            description: Some("too many attempts: wait for as long as Retry-After says"),
            reason: "throttled",
        };
        Refusal {
            status: StatusCode::TOO_MANY_REQUESTS,
            error,
            close: false,
            extra: Some(Extra::RetryAfter(wait)),
        }
    }

    /// The client was given all tokens of its quota (RFC 6585 §4).
    pub(super) fn over_quota(left: QuotaLeft) -> Self {
        let error = OAuthError {
            code: ErrorCode::TemporarilyUnavailable,
            description: Some("the client's quota of tokens is used up: wait for as long as Retry-After says"),
            reason: "over_quota",
        };
        Refusal {
            status: StatusCode::TOO_MANY_REQUESTS,
            error,
            close: false,
            extra: Some(Extra::Quota(left)),
        }
    }

    /// A bearer token is needed, and none was sent (RFC 6750 §3.1).
    pub(super) fn no_token(description: &'static str) -> Self {
        Refusal {
            extra: Some(Extra::BareChallenge),
            ..Refusal::of(OAuthError::new(ErrorCode::InvalidToken, description))
        }
    }

    /// What the path names is not there (RFC 9110 §15.5.5).
    pub(super) fn absent(description: &'static str) -> Self {
        Refusal {
            status: StatusCode::NOT_FOUND,
            ..Refusal::of(OAuthError::invalid_request(description))
        }
    }

    /// Another method is needed (RFC 9110 §15.5.6).
    pub(super) fn method(allowed: &'static str) -> Self {
        let error = OAuthError::invalid_request("the method is not allowed here");
        Refusal {
            status: StatusCode::METHOD_NOT_ALLOWED,
            error,
            close: false,
            extra: Some(Extra::Allow(allowed)),
        }
    }

    /// Why, for the log.
    pub(super) fn reason(&self) -> &'static str {
        self.error.reason
    }

    /// Whether it is worth trying again, for nothing was wrong with the request.
    pub(super) fn is_unavailable(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    /// How the request ended, for the metrics.
    pub(super) fn outcome(&self) -> Outcome {
        if self.status.as_u16() == self.error.code.status() {
            Outcome::Error(self.error.code)
        } else {
            Outcome::Status(self.status.as_u16())
        }
    }

    /// The response (RFC 6749 §5.2).
    pub(super) fn response(&self) -> HttpResponse {
        let mut response = oauth(self.status);
        match self.error.code {
            // RFC 9110 §15.5.2 demands the header with every 401.
            ErrorCode::InvalidClient => response.insert_header((WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE))),
            ErrorCode::InvalidToken => {
                let bare = matches!(self.extra, Some(Extra::BareChallenge));
                let challenge = if bare { BEARER } else { INVALID_BEARER };
                response.insert_header((WWW_AUTHENTICATE, HeaderValue::from_static(challenge)))
            }
            ErrorCode::ServerError | ErrorCode::TemporarilyUnavailable if self.extra.is_none() => {
                response.insert_header((RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS)))
            }
            _ => &mut response,
        };
        match self.extra {
            Some(Extra::Allow(methods)) => response.insert_header((ALLOW, HeaderValue::from_static(methods))),
            Some(Extra::AcceptEncoding(coding)) => response.insert_header(("accept-encoding", coding)),
            Some(Extra::RetryAfter(wait)) => response.insert_header((RETRY_AFTER, wait.get().max(1).to_string())),
            Some(Extra::Quota(left)) => {
                tell_quota(&mut response, left);
                response.insert_header((RETRY_AFTER, left.resets_in.get().max(1).to_string()))
            }
            Some(Extra::BareChallenge) | None => &mut response,
        };
        if self.close {
            response.force_close();
        }
        let body = ErrorBody {
            error: self.error.code.as_str(),
            error_description: self.error.description,
        };
        response.body(serde_json::to_vec(&body).unwrap_or_default())
    }
}

/// What is left of a client's quota, as draft-ietf-httpapi-ratelimit-headers has it: structured fields (RFC 9651), times in seconds.
pub(super) fn tell_quota(response: &mut HttpResponseBuilder, left: QuotaLeft) {
    let QuotaLeft {
        quota,
        tokens,
        resets_in,
    } = left;
    let policy = format!("\"default\";q={};w={}", quota.tokens(), quota.period().get());
    let state = format!("\"default\";r={tokens};t={}", resets_in.get());
    response
        .insert_header(("ratelimit-policy", policy))
        .insert_header(("ratelimit", state));
}

const CHALLENGE: &str = r#"Basic realm="keywheel", charset="UTF-8""#;
const BEARER: &str = r#"Bearer realm="keywheel""#;
const INVALID_BEARER: &str = r#"Bearer realm="keywheel", error="invalid_token""#;
/// Soon enough for a client to recover by itself, late enough not to be a flood.
const RETRY_AFTER_SECONDS: &str = "2";

#[derive(Serialize)]
struct ErrorBody {
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<&'static str>,
}

/// The headers of every answer of an OAuth endpoint (RFC 6749 §5.1): JSON that nobody keeps and nobody guesses at.
pub(super) fn oauth(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .insert_header((PRAGMA, HeaderValue::from_static("no-cache")))
        .insert_header((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
    response
}

/// 405 outside of the OAuth endpoints.
pub(super) fn method_not_allowed(allowed: &'static str) -> HttpResponse {
    HttpResponse::MethodNotAllowed()
        .insert_header((ALLOW, HeaderValue::from_static(allowed)))
        .finish()
}

/// 404, for everything that is not in the list of routes.
pub(super) async fn not_found() -> HttpResponse {
    HttpResponse::NotFound()
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")))
        .insert_header((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .body(web::Bytes::from_static(b"not found\n"))
}
