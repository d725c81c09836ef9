use std::pin::Pin;
use std::time::Instant;

use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::header::{ALLOW, HOST, HeaderValue, UPGRADE};
use actix_web::http::uri::Authority;
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::{Error, HttpResponse, web};
use futures_util::future::{Either, MapOk, Ready, TryFutureExt as _, ready};
use tracing::info;

use super::State;
use super::tag::{REQUEST_ID, Tag};
use super::trace::Trace;
use super::unread::{Held, kept};

/// What no endpoint answers, whatever its path, and the last answer on a connection before the server stops. A plain function between
/// two services: one that is a future would put two boxes around every request. Those few with a chunked body, or with a trace, get one.
pub(super) fn guard<S>(mut request: ServiceRequest, next: &S) -> Guarded<S::Future>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error>,
    S::Future: 'static,
{
    let (refused, trace, is_last) = match state(&request) {
        Some(state) => (
            refused(state, &request),
            Trace::begin(state, &request),
            state.is_draining(),
        ),
        None => (None, None, false),
    };
    let held = Held::of(&mut request);
    if let Some(refused) = refused {
        if let Refused::OtherHost = refused {
            tell_host(&request);
        }
        let response = named(request.into_response(refused.response()));
        finish(trace.as_deref(), &response);
        return Either::Left(ready(Ok(kept(held, response))));
    }
    let answer = next.call(request);
    let naming: Naming = if is_last { last } else { named };
    Either::Right(match (held, trace) {
        (None, None) => Either::Left(answer.map_ok(naming)),
        (held, trace) => Either::Right(Box::pin(async move {
            let response = naming(answer.await?);
            finish(trace.as_deref(), &response);
            Ok(kept(held, response))
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

/// The same, and the client is told to connect anew for its next request.
fn last(mut response: ServiceResponse) -> ServiceResponse {
    response
        .response_mut()
        .head_mut()
        .set_connection_type(ConnectionType::Close);
    named(response)
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

/// What is wrong with a request, whatever it asks for. The connection is closed.
#[derive(Debug, Clone, Copy)]
enum Refused {
    Upgrade,
    Tunnel,
    LongTarget,
    /// No host, as RFC 9112 §3.2 has it.
    NoHost,
    /// A host that is not answered for.
    OtherHost,
}

impl Refused {
    fn response(self) -> HttpResponse {
        let mut response = HttpResponse::build(match self {
            Refused::Upgrade | Refused::NoHost => StatusCode::BAD_REQUEST,
            Refused::Tunnel => StatusCode::METHOD_NOT_ALLOWED,
            Refused::LongTarget => StatusCode::URI_TOO_LONG,
            Refused::OtherHost => StatusCode::MISDIRECTED_REQUEST,
        });
        if let Refused::Tunnel = self {
            response.insert_header((ALLOW, HeaderValue::from_static("GET, HEAD, POST")));
        }
        response.force_close().finish()
    }
}

fn refused(state: &State, request: &ServiceRequest) -> Option<Refused> {
    // An upgrade makes the decoder read the rest of the connection as one body, past the declared length: behind a proxy that
    // reuses connections, somebody else's request would end up in it. h2c is harmless to ignore, but nobody needs it either.
    if request.headers().contains_key(UPGRADE) {
        return Some(Refused::Upgrade);
    }
    // So does this.
    if *request.method() == Method::CONNECT {
        return Some(Refused::Tunnel);
    }
    let uri = request.uri();
    if uri
        .path_and_query()
        .is_some_and(|target| target.as_str().len() > LONGEST_TARGET)
    {
        return Some(Refused::LongTarget);
    }
    let host = request.headers().get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
    let differs = |authority: &Authority| !authority.as_str().as_bytes().eq_ignore_ascii_case(host);
    // A list of hosts, or another one in the target, is for each reader of the request another host.
    if !is_host(host) || uri.authority().is_some_and(differs) {
        return Some(Refused::NoHost);
    }
    let answered = |allowed: &String| allowed.as_bytes().eq_ignore_ascii_case(host);
    if !state.allowed_hosts.is_empty() && !state.allowed_hosts.iter().any(answered) {
        return Some(Refused::OtherHost);
    }
    None
}

/// Where `allowed_hosts` is wrong this is all there is to see of it: the health of the server is good.
fn tell_host(request: &ServiceRequest) {
    if let Some(state) = state(request)
        && let Some(suppressed) = state.refusals.admit(Instant::now())
    {
        let tag = Tag::of(state, request.request());
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host: String = host.unwrap_or_default().chars().take(LONGEST_HOST).collect();
        info!(event = "host.refused", request_id = %tag.id(), host, suppressed, "allowed_hosts does not name it");
    }
}

/// Of a host, what is told in a line of the log: no name is longer (RFC 1035 §2.3.4).
const LONGEST_HOST: usize = 255;
/// Longest path with its query in bytes.
const LONGEST_TARGET: usize = 8 * 1024;

/// Whether these are the characters of a name or an address, with or without a port (RFC 3986 §3.2.2). Of the marks that the grammar
/// allows beside them no name has any.
fn is_host(host: &[u8]) -> bool {
    let mark = |byte: &u8| matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']' | b'%');
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || mark(byte))
}
