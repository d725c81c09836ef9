use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HOST, UPGRADE};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};

use super::State;

/// What no endpoint answers, whatever its path.
pub(super) async fn guard<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    match refused(&request) {
        Some(status) => {
            let response = HttpResponse::build(status).force_close().finish();
            Ok(request.into_response(response).map_into_right_body())
        }
        None => Ok(next.call(request).await?.map_into_left_body()),
    }
}

fn refused(request: &ServiceRequest) -> Option<StatusCode> {
    // An upgrade makes the decoder read the rest of the connection as one body, past the declared length: behind a proxy that
    // reuses connections, somebody else's request would end up in it. h2c is harmless to ignore, but nobody needs it either.
    if request.headers().contains_key(UPGRADE) {
        return Some(StatusCode::BAD_REQUEST);
    }
    let state = request.app_data::<web::Data<State>>()?;
    if !state.allowed_hosts.is_empty() {
        let host = request
            .headers()
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        if !state
            .allowed_hosts
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(host))
        {
            return Some(StatusCode::MISDIRECTED_REQUEST);
        }
    }
    None
}
