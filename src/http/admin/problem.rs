use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, REFERRER_POLICY, RETRY_AFTER, WWW_AUTHENTICATE};
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::body::{NoJson, Unread};
use crate::http::response::oauth;
use crate::oauth::ErrorCode;
use crate::server::Failure;
use crate::server::admin::StorageError;
use crate::server::admin::{ClientError, KeyError, NotAdmitted, RegistrationTokenError, UserError};

/// Why a request was not granted, as problem details (RFC 9457).
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    details: Details,
    challenge: Option<String>,
    /// The connection cannot go on: what remains of the request was not read.
    close: bool,
    /// The very same request was answered a moment ago: asked once more, it is answered in the same way.
    again: bool,
    /// What failed, for the log alone.
    cause: Option<Box<str>>,
}

/// Problem details (RFC 9457 §3.1). `type` is absent, which means that the status says what kind of problem it is.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Details {
    /// What the status means.
    title: &'static str,
    /// The status.
    status: u16,
    /// How to mend it.
    detail: String,
    /// The member or parameter that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<String>,
}

impl Problem {
    /// A problem of that status; `detail` says how to mend it.
    pub(super) fn of(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem {
            status,
            details: Details {
                title: status.canonical_reason().unwrap_or("Problem"),
                status: status.as_u16(),
                detail: detail.into(),
                member: None,
            },
            challenge: None,
            close: false,
            again: false,
            cause: None,
        }
    }

    /// A member or parameter that is not what it has to be.
    pub(super) fn invalid(member: &str, detail: impl Into<String>) -> Self {
        let mut problem = Problem::of(StatusCode::BAD_REQUEST, detail);
        problem.details.member = Some(member.to_owned());
        problem
    }

    /// The document is not the one that is wanted.
    pub(super) fn malformed(error: &serde_json::Error) -> Self {
        Problem::of(
            StatusCode::BAD_REQUEST,
            format!(
                "the document is not one of this operation: {}",
                without_values(&error.to_string())
            ),
        )
    }

    /// Nor is the query.
    pub(super) fn malformed_query(error: &serde_urlencoded::de::Error) -> Self {
        Problem::of(
            StatusCode::BAD_REQUEST,
            format!(
                "the query is not one of this operation: {}",
                without_values(&error.to_string())
            ),
        )
    }

    /// There is no such thing.
    pub(super) fn absent(what: &str) -> Self {
        Problem::of(StatusCode::NOT_FOUND, format!("there is no such {what}"))
    }

    /// Somebody else changed it, or the sender does not say what they saw.
    pub(super) fn changed() -> Self {
        Problem::of(
            StatusCode::PRECONDITION_FAILED,
            "send If-Match with the ETag of what you change: fetch it, see whether it is still what you think it is, and try again",
        )
    }

    /// Nobody says who they are (RFC 6750 §3: no error code).
    pub(super) fn no_token() -> Self {
        Problem {
            challenge: Some(CHALLENGE.to_owned()),
            ..Problem::of(
                StatusCode::UNAUTHORIZED,
                "send an access token: Authorization: Bearer …",
            )
        }
    }

    /// RFC 6750 §3.1.
    pub(super) fn invalid_token() -> Self {
        Problem {
            challenge: Some(format!("{CHALLENGE}, error=\"invalid_token\"")),
            ..Problem::of(
                StatusCode::UNAUTHORIZED,
                "the access token is malformed, expired, revoked, or not meant for this server: fetch a new one for the issuer",
            )
        }
    }

    /// Who was not let in.
    pub(super) fn not_admitted(why: NotAdmitted) -> Self {
        match why {
            NotAdmitted::InvalidToken => Problem::invalid_token(),
            NotAdmitted::InsufficientScope(right) => {
                let scope = right.scope();
                Problem {
                    challenge: Some(format!("{CHALLENGE}, error=\"insufficient_scope\", scope=\"{scope}\"")),
                    ..Problem::of(
                        StatusCode::FORBIDDEN,
                        format!("this needs an access token with the scope {scope}"),
                    )
                }
            }
            NotAdmitted::Failed(failure) => Problem::failed(&failure),
        }
    }

    /// No document came.
    pub(super) fn no_json(why: NoJson) -> Self {
        match why {
            NoJson::Unread(unread) => Problem::unread(unread),
            NoJson::OtherType => Problem::of(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send a JSON document with Content-Type: application/json",
            ),
            NoJson::Malformed(why) => Problem::of(StatusCode::BAD_REQUEST, why),
        }
    }

    fn unread(unread: Unread) -> Self {
        let (status, detail) = unread.as_answer();
        Problem {
            close: true,
            ..Problem::of(status, detail)
        }
    }

    fn stored(error: StorageError) -> Self {
        match error {
            StorageError::Repeated => Problem {
                again: true,
                ..Problem::of(
                    StatusCode::CONFLICT,
                    "the same request is being answered: send it again",
                )
            },
            StorageError::LastOfItsKind => Problem::of(
                StatusCode::CONFLICT,
                "this is the last client that can administrate: register another one with the scope keywheel:admin first, or use the command \
                 line",
            ),
            other => Problem::failed(&other.into()),
        }
    }

    /// A fault of the server. Nothing of it is told.
    pub(super) fn failed(failure: &Failure) -> Self {
        let problem = match failure.code() {
            ErrorCode::TemporarilyUnavailable => Problem::overloaded(),
            _ => Problem::bug(),
        };
        problem.because(failure.with_causes())
    }

    fn because(self, cause: String) -> Self {
        Problem {
            cause: Some(cause.into()),
            ..self
        }
    }

    /// Something that cannot happen.
    pub(super) fn bug() -> Self {
        Problem::of(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server failed: look into its log",
        )
    }

    /// Worth trying again.
    pub(super) fn overloaded() -> Self {
        Problem::of(
            StatusCode::SERVICE_UNAVAILABLE,
            "the server cannot answer for the moment: try again",
        )
    }

    /// Whether the same request was answered a moment ago.
    pub(super) fn comes_again(&self) -> bool {
        self.again
    }

    /// The same for a request of which something was not read.
    pub(super) fn closing(self) -> Self {
        Problem { close: true, ..self }
    }

    /// What failed, if it was the server, for the log alone.
    pub(super) fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The response.
    pub(super) fn response(&self) -> HttpResponse {
        let mut response = oauth(self.status);
        response
            .insert_header((CONTENT_TYPE, HeaderValue::from_static("application/problem+json")))
            .insert_header((REFERRER_POLICY, HeaderValue::from_static("no-referrer")));
        if let Some(challenge) = &self.challenge {
            response.insert_header((WWW_AUTHENTICATE, challenge.as_str()));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((RETRY_AFTER, HeaderValue::from_static("2")));
        }
        if self.close {
            response.force_close();
        }
        response.body(serde_json::to_vec(&self.details).unwrap_or_default())
    }
}

/// What is said of a document, by serde or by us, without the values that it repeats: they may be secrets, and answers are logged by whoever asks. Names of members are
/// repeated if they look like such.
pub(super) fn without_values(said: &str) -> String {
    if said.starts_with("missing field") || said.starts_with("duplicate field") {
        return said.to_owned();
    }
    let (about, expected) = said.rfind(", expected").map_or((said, ""), |at| said.split_at(at));
    let is_quote = |c| c == '`' || c == '"';
    let Some((before, rest)) = about.split_once(is_quote) else {
        return said.to_owned();
    };
    let (value, after) = rest.rsplit_once(is_quote).unwrap_or((rest, ""));
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if before.starts_with("unknown field") && value.len() <= 40 && value.bytes().all(is_name) {
        return said.to_owned();
    }
    format!("{before}…{after}{expected}")
}

const CHALLENGE: &str = "Bearer realm=\"keywheel\"";

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Problem::failed(&failure)
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        let conflict = |detail: &str| Problem::of(StatusCode::CONFLICT, detail);
        match error {
            ClientError::Exists(_) => conflict("the client_id is taken: choose another, or leave it out"),
            ClientError::Unknown(_) => Problem::absent("client"),
            ClientError::UnknownSecret(..) => Problem::absent("secret"),
            ClientError::SecretInUse(_, used_at) => conflict(&format!(
                "the secret was used at {used_at}: whoever uses it would be refused. Give them another one first, or send force=true"
            )),
            ClientError::NeverAccepted(..) => Problem::invalid("expires_at", "the secret would end before it begins"),
            ClientError::Changed(_) => Problem::changed(),
            ClientError::MadeAndGone => Problem::of(StatusCode::CONFLICT, error.to_string()),
            ClientError::KeyReused => Problem::of(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
            ClientError::TooManySecrets(_) => {
                conflict("the client has as many secrets as a client may have: revoke one first")
            }
            ClientError::Metadata(broken) => Problem::invalid(broken.member.as_str(), broken.why),
            ClientError::Storage(error) => Problem::stored(error),
        }
    }
}

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Exists(_) => Problem::of(StatusCode::CONFLICT, "a user of that name exists: choose another"),
            UserError::Unknown(_) => Problem::absent("user"),
            UserError::Username(error) => Problem::invalid("username", error.to_string()),
            UserError::Id(error) => Problem::invalid("user_id", error.to_string()),
            UserError::Password => Problem::invalid("password", error.to_string()),
            UserError::MadeAndGone => Problem::of(StatusCode::CONFLICT, error.to_string()),
            UserError::KeyReused => Problem::of(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
            UserError::Overloaded(_) => Problem::overloaded(),
            UserError::Clash(_) | UserError::Hash(_) => Problem::bug(),
            UserError::Storage(error) => Problem::stored(error),
        }
    }
}

impl From<RegistrationTokenError> for Problem {
    fn from(error: RegistrationTokenError) -> Self {
        match error {
            RegistrationTokenError::Name => Problem::invalid("name", error.to_string()),
            RegistrationTokenError::Uses => Problem::invalid("uses", error.to_string()),
            RegistrationTokenError::Life => Problem::invalid("expires_in", error.to_string()),
            RegistrationTokenError::Unknown(_) => Problem::absent("registration token"),
            RegistrationTokenError::MadeAndGone => Problem::of(StatusCode::CONFLICT, error.to_string()),
            RegistrationTokenError::KeyReused => Problem::of(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
            RegistrationTokenError::Storage(error) => Problem::stored(error),
        }
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unknown(_) => Problem::absent("key"),
            KeyError::NoNextKey => Problem::of(
                StatusCode::CONFLICT,
                "no next key is published yet: try again in a second",
            ),
            KeyError::Unused(algorithm) => Problem::of(
                StatusCode::CONFLICT,
                format!("nobody uses {algorithm}: let a client have it, or the server"),
            ),
            KeyError::Changed => Problem::of(
                StatusCode::CONFLICT,
                "the keys changed meanwhile: look at them and try again",
            ),
            KeyError::BarredBefore(_, state) => {
                Problem::of(StatusCode::CONFLICT, format!("the key is {state} already"))
            }
            KeyError::Failed(failure) => Problem::failed(&failure),
            other => {
                let cause = other.to_string();
                Problem::bug().because(cause)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // N-05
    #[test]
    fn what_is_said_of_a_document_repeats_names_and_no_values() {
        for (said, told) in [
            (
                "missing field `name` at line 1 column 2",
                "missing field `name` at line 1 column 2",
            ),
            (
                "unknown field `nam`, expected `name` or `x` at line 1",
                "unknown field `nam`, expected `name` or `x` at line 1",
            ),
            (
                "unknown field `Hunter2`, expected `name`",
                "unknown field …, expected `name`",
            ),
            (
                "unknown field `Hunter2`, there are no fields",
                "unknown field …, there are no fields",
            ),
            (
                "unknown variant `hunter2`, expected one of `a`, `b`",
                "unknown variant …, expected one of `a`, `b`",
            ),
            (
                "invalid type: string \"a\\\"b, expected `c\", expected a boolean",
                "invalid type: string …, expected a boolean",
            ),
            (
                "invalid type: map, expected a string",
                "invalid type: map, expected a string",
            ),
            ("\"hunter2\" is not a duration", "… is not a duration"),
            ("EOF while parsing", "EOF while parsing"),
            ("unbalanced `hunter2", "unbalanced …"),
        ] {
            assert_eq!(without_values(said), told);
        }
    }
}
