use std::pin::Pin;

use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HOST, UPGRADE};
use actix_web::{Error, HttpResponse, web};
use futures_util::future::{Either, MapOk, Ready, TryFutureExt as _, ready};

use super::State;
use super::tag::{REQUEST_ID, Tag};
use super::trace::Trace;
use super::unread::Held;

/// What no endpoint answers, whatever its path. A plain function between two services: one that is a future would put two boxes
/// around every request. Those few with a chunked body, or with a trace, get one.
pub(super) fn guard<S>(mut request: ServiceRequest, next: &S) -> Guarded<S::Future>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error>,
    S::Future: 'static,
{
    let (refused, trace) = match state(&request) {
        Some(state) => (refused(state, &request), Trace::begin(state, &request)),
        None => (None, None),
    };
    if let Some(status) = refused {
        let response = HttpResponse::build(status).force_close().finish();
        let response = named(request.into_response(response));
        finish(trace.as_deref(), &response);
        return Either::Left(ready(Ok(response)));
    }
    let held = Held::of(&mut request);
    let answer = next.call(request);
    Either::Right(match (held, trace) {
        (None, None) => Either::Left(answer.map_ok(named as Naming)),
        (held, trace) => Either::Right(Box::pin(async move {
            let response = named(answer.await?);
            finish(trace.as_deref(), &response);
            Ok(match held {
                Some(held) => held.until(response),
                None => response,
            })
        })),
    })
}

fn state(request: &ServiceRequest) -> Option<&State> {
    request.app_data::<web::Data<State>>().map(|state| &***state)
}

/// Names a request that is refused or fails in its answer, where whoever answered has not.
fn named(mut response: ServiceResponse) -> ServiceResponse {
    if response.status().as_u16() < 400 || response.headers().contains_key(REQUEST_ID) {
        return response;
    }
    let request = response.request();
    let state = request.app_data::<web::Data<State>>();
    if let Some(tag) = state.map(|state| Tag::of(state, request)) {
        tag.name(response.headers_mut());
    }
    response
}

fn finish(trace: Option<&Trace>, response: &ServiceResponse) {
    if let Some(trace) = trace
        && let Some(state) = response.request().app_data::<web::Data<State>>()
    {
        trace.finish(state, response);
    }
}

/// Refused at once, or answered by what comes next.
type Guarded<F> = Either<Ready<Outcome>, Either<MapOk<F, Naming>, Pin<Box<dyn Future<Output = Outcome>>>>>;
type Naming = fn(ServiceResponse) -> ServiceResponse;
type Outcome = Result<ServiceResponse, Error>;

fn refused(state: &State, request: &ServiceRequest) -> Option<StatusCode> {
    // An upgrade makes the decoder read the rest of the connection as one body, past the declared length: behind a proxy that
    // reuses connections, somebody else's request would end up in it. h2c is harmless to ignore, but nobody needs it either.
    if request.headers().contains_key(UPGRADE) {
        return Some(StatusCode::BAD_REQUEST);
    }
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
