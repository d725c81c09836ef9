use actix_http::body::BoxBody;
use actix_http::{HttpMessage, Request, Response};

use super::body::{self, Unread};
use super::response::Refusal;
use super::{form, routes};

/// Answers `Expect: 100-continue` (RFC 9110 §10.1.1): a body that will not be read is refused before it is sent.
pub(super) async fn answer(request: Request) -> Result<Request, Response<BoxBody>> {
    let most = match routes::takes_forms(request.path()) {
        true => form::LONGEST,
        false => body::LONGEST_JSON,
    };
    if body::declared_length(request.headers()).is_some_and(|length| length > most) {
        return Err(Refusal::unread(Unread::TooLarge).response().into());
    }
    Ok(request)
}
