use std::pin::Pin;

use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HOST, UPGRADE};
use actix_web::{Error, HttpResponse, web};
use futures_util::future::{Either, Ready, ready};

use super::State;
use super::unread::Held;

/// What no endpoint answers, whatever its path. A plain function between two services: one that is a future would put two boxes
/// around every request. Those few with a chunked body get one.
pub(super) fn guard<S>(mut request: ServiceRequest, next: &S) -> Guarded<S::Future>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error>,
    S::Future: 'static,
{
    if let Some(status) = refused(&request) {
        let response = HttpResponse::build(status).force_close().finish();
        return Either::Left(ready(Ok(request.into_response(response))));
    }
    let held = Held::of(&mut request);
    let answer = next.call(request);
    Either::Right(match held {
        None => Either::Left(answer),
        Some(held) => Either::Right(Box::pin(async move { Ok(held.until(answer.await?)) })),
    })
}

/// Refused at once, or answered by what comes next.
type Guarded<F> = Either<Ready<Outcome>, Either<F, Pin<Box<dyn Future<Output = Outcome>>>>>;
type Outcome = Result<ServiceResponse, Error>;

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
