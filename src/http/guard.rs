use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HOST, UPGRADE};
use actix_web::{Error, HttpResponse, web};
use futures_util::future::{Either, Ready, ready};

use super::State;

/// What no endpoint answers, whatever its path. A plain function between two services: one that is a future would put two boxes
/// around every request.
pub(super) fn guard<S>(request: ServiceRequest, next: &S) -> Either<Ready<Result<ServiceResponse, Error>>, S::Future>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error>,
{
    match refused(&request) {
        Some(status) => {
            let response = HttpResponse::build(status).force_close().finish();
            Either::Left(ready(Ok(request.into_response(response))))
        }
        None => Either::Right(next.call(request)),
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
