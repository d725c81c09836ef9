use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, AUTHORIZATION, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{error, info};
use zeroize::Zeroizing;

use super::blocking::NotDone;
use super::in_hand::Counted;
use super::line::{Full, Line};
use super::response::{Refusal, oauth, tell_quota};
use super::tag::Tag;
use super::{Panicked, State, form, peer};
use crate::failpoint::failpoint;
use crate::oauth::{ClientId, ErrorCode, OAuthError, Parameter};
use crate::server::{
    AskedGrant, ClientCredentials, Context, Decision, Endpoint, Exchanging, Failure, Introspection, Outcome, QuotaLeft,
    Reach, Server, TokenError, TokenRequest, TokenResponse,
};
use crate::timed::Timed;

/// What a rule answers: a JSON document, and of a token what it left of the client's quota.
pub(super) trait Answer: Serialize + Send + 'static {
    /// That, if there is a quota.
    fn quota_left(&self) -> Option<QuotaLeft> {
        None
    }
}

impl Answer for TokenResponse {
    fn quota_left(&self) -> Option<QuotaLeft> {
        self.quota_left()
    }
}

impl Answer for Introspection {}

/// A rule of the floor below: what decides a request.
pub(super) type Rule<T> = fn(&Server, &TokenRequest, &mut Context<'_>) -> Result<Decision<T>, TokenError>;

/// Answers a form request of an authenticated client: reads it, has it decided, counts it, and writes the JSON answer.
pub(super) async fn answer<T: Answer>(
    state: web::Data<State>,
    request: HttpRequest,
    payload: web::Payload,
    endpoint: Endpoint,
    rule: Rule<T>,
) -> HttpResponse {
    let mut asked = Asked::default();
    let tag = Tag::of(&state, &request);
    let (outcome, response) = match decided(&state, (&request, &tag), payload, endpoint, rule, &mut asked).await {
        Ok(answer) => match written(&answer) {
            Ok(body) => (Outcome::Ok, granted(answer.quota_left(), body)),
            Err(_) => refused(&tag, &Refusal::failed(ErrorCode::ServerError)),
        },
        Err(refusal) => refused(&tag, &refusal),
    };
    let Asked { grant_type, read_at } = asked;
    tag.tell(|told| (told.grant_type, told.outcome) = (grant_type, Some(outcome)));
    let metrics = state.server.metrics();
    metrics.answered(endpoint, grant_type, outcome);
    if let Some(read_at) = read_at {
        metrics.took(endpoint, read_at.elapsed());
    }
    failpoint!("answer.ready");
    response
}

/// What is counted of a request: for which grant it asks, and since when it is there. How long it took to send its body is the client's matter.
#[derive(Debug, Default)]
struct Asked {
    grant_type: AskedGrant,
    read_at: Option<Instant>,
}

fn granted(quota_left: Option<QuotaLeft>, body: Vec<u8>) -> HttpResponse {
    let mut response = oauth(StatusCode::OK);
    if let Some(left) = quota_left {
        tell_quota(&mut response, left);
    }
    response.body(body)
}

/// What is answered to who is refused.
pub(super) fn refused(tag: &Tag, refusal: &Refusal) -> (Outcome, HttpResponse) {
    let mut response = refusal.response();
    tag.name(response.headers_mut());
    (refusal.outcome(), response)
}

/// An answer in one piece of memory, which an access token of the usual size fits into.
fn written(answer: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(1_536);
    serde_json::to_writer(&mut body, answer)?;
    Ok(body)
}

/// Any other method: 405, and the parameters are not looked at.
pub(super) fn method_not_allowed(state: &State, endpoint: Endpoint, methods: &'static str) -> HttpResponse {
    let refusal = Refusal::method(methods);
    state
        .server
        .metrics()
        .answered(endpoint, AskedGrant::default(), refusal.outcome());
    refusal.response()
}

/// A preflight learns the methods, and no origin is allowed: browsers have no client credentials.
pub(super) fn options(methods: &'static str) -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((ALLOW, HeaderValue::from_static(methods)))
        .finish()
}

async fn decided<T: Send + 'static>(
    state: &web::Data<State>,
    (request, tag): (&HttpRequest, &Tag),
    payload: web::Payload,
    endpoint: Endpoint,
    rule: Rule<T>,
    asked: &mut Asked,
) -> Result<T, Refusal> {
    let refused = |client: Option<&ClientId>, address: Option<IpAddr>, refusal: &Refusal| {
        log_refusal(state, (request, tag), client, address, refusal);
    };
    let line = match endpoint {
        Endpoint::Token => Some(Line::of(request)?),
        _ => None,
    };
    if let Some(line) = line {
        let room = line.has_room().await.map_err(full);
        room.inspect_err(|refusal| refused(None, None, refusal))?;
    }
    let authorization = the_authorization(request);
    let address = peer::address(request, &state.trusted_proxies);
    let parameters = form::parameters(request, payload).await;
    let parameters = parameters.inspect_err(|refusal| refused(None, address.ok().flatten(), refusal))?;
    *asked = Asked {
        grant_type: parameters.get(Parameter::GrantType).into(),
        read_at: Some(Instant::now()),
    };
    let address = address.map_err(|_malformed| {
        Refusal::of(OAuthError::invalid_request(
            "X-Forwarded-For is not a list of addresses",
        ))
    });
    let address = address.inspect_err(|refusal| refused(None, None, refusal))?;
    let authorization = authorization.inspect_err(|refusal| refused(None, address, refusal))?;
    let credentials = ClientCredentials::new(authorization);
    let token_request = Arc::new(TokenRequest::new(parameters, credentials, (address, tag.id().clone())));
    door((state, tag), line, &token_request, rule)
        .await
        .inspect_err(|refusal| refused(token_request.named().as_ref(), address, refusal))
}

/// The door chooses the thread. What memory can decide is decided here: no I/O, and one signature at the most, for which the
/// request stands in line. What is left to be written then is written by others, without a thread that waits for it. Everything
/// else hops to a thread that may wait.
async fn door<T: Send + 'static>(
    (state, tag): (&web::Data<State>, &Tag),
    line: Option<&Line>,
    request: &Arc<TokenRequest>,
    rule: Rule<T>,
) -> Result<T, Refusal> {
    let turn = match line {
        Some(line) => Some(line.turn().await.map_err(full)?),
        None => None,
    };
    let decided = decide(state, tag, Reach::Memory, |cx| rule(&state.server, request, cx));
    drop(turn);
    tag.tell(|told| told.client = request.client().cloned());
    let reach = match decided {
        Ok(Decision::Answer(answer)) => return Ok(answer),
        Ok(Decision::Once(answer, exchanging)) => match exchanged(state, tag, *exchanging).await? {
            true => return Ok(answer),
            false => Reach::Storage,
        },
        Err(Decided::Refused(refusal)) => return Err(refusal),
        Err(Decided::Needs(reach)) => reach,
    };
    hop((state, tag), request, rule, reach).await
}

fn full(_: Full) -> Refusal {
    Refusal::overloaded("too many wait for a signature")
}

/// Whether a refresh token was exchanged. Who hangs up, or waits too long, before it is their turn has not used it.
async fn exchanged(state: &State, tag: &Tag, exchanging: Exchanging) -> Result<bool, Refusal> {
    let begun = tag.is_traced().then(Instant::now);
    let (done, outcome) = oneshot::channel();
    let asked_at = exchanging.asked_at();
    let _counted = Counted::among(&state.in_hand.exchanges);
    let waiting = state.server.exchange(exchanging, |outcome| drop(done.send(outcome)));
    let mut outcome = pin!(outcome);
    let outcome = match timeout(LONGEST_WAIT, outcome.as_mut()).await {
        Err(_elapsed) if waiting.give_up() => {
            state.server.held_up(asked_at, state.edge.now());
            return Err(Refusal::overloaded("too many wait for the database"));
        }
        Err(_elapsed) => outcome.await,
        Ok(outcome) => outcome,
    };
    if let Some(begun) = begun {
        let ended = Instant::now();
        let part = state.server.exchange_part();
        tag.tell(|told| told.parts.push(Timed { part, begun, ended }));
    }
    match outcome {
        Ok(Ok(exchanged)) => Ok(exchanged),
        Ok(Err(failure)) => {
            state.server.held_up(asked_at, state.edge.now());
            log(state, tag, &failure);
            Err(Refusal::failed(failure.code()))
        }
        Err(_panicked) => Err(Refusal::failed(ErrorCode::ServerError)),
    }
}

/// Longest wait for a turn.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Each kind of waiting has a pool of its own, so that logins hold up nobody who only needs the database.
async fn hop<T: Send + 'static>(
    (state, tag): (&web::Data<State>, &Tag),
    request: &Arc<TokenRequest>,
    rule: Rule<T>,
    mut reach: Reach,
) -> Result<T, Refusal> {
    let asked_at = state.edge.now();
    loop {
        let pool = if reach < Reach::Passwords {
            &state.blocking
        } else {
            &state.logins
        };
        let work = {
            let (state, tag, request) = (state.clone(), tag.clone(), Arc::clone(request));
            move || decide(&state, &tag, reach, |cx| rule(&state.server, &request, cx))
        };
        let done = pool.run(work).await;
        tag.tell(|told| told.client = request.client().cloned());
        match done {
            Ok(Ok(Decision::Answer(answer))) => return Ok(answer),
            Ok(Err(Decided::Refused(refusal))) => {
                // Not the longer line for passwords, which whoever guesses can fill.
                if refusal.is_unavailable() && reach < Reach::Passwords {
                    state.server.held_up(asked_at, state.edge.now());
                }
                return Err(refusal);
            }
            Ok(Err(Decided::Needs(farther))) if farther > reach => reach = farther,
            Ok(Ok(Decision::Once(..)) | Err(Decided::Needs(_))) | Err(NotDone::Panicked) => {
                return Err(Refusal::failed(ErrorCode::ServerError));
            }
            Err(NotDone::Overloaded) => return Err(Refusal::overloaded("too many wait for a thread")),
        }
    }
}

/// Why there is no answer yet, or none at all.
pub(super) enum Decided {
    Refused(Refusal),
    Needs(Reach),
}

/// Asks the rules.
pub(super) fn decide<T>(
    state: &State,
    tag: &Tag,
    reach: Reach,
    rules: impl FnOnce(&mut Context<'_>) -> Result<T, TokenError>,
) -> Result<T, Decided> {
    match state.attempt(tag, reach, rules) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(TokenError::Needs(reach))) => Err(Decided::Needs(reach)),
        Ok(Err(TokenError::Refused(error))) => Err(Decided::Refused(Refusal::of(error))),
        Ok(Err(TokenError::Throttled(wait))) => Err(Decided::Refused(Refusal::too_many(wait))),
        Ok(Err(TokenError::OverQuota(left))) => Err(Decided::Refused(Refusal::over_quota(left))),
        Ok(Err(TokenError::Failed(failure))) => {
            log(state, tag, &failure);
            Err(Decided::Refused(Refusal::failed(failure.code())))
        }
        Err(Panicked) => Err(Decided::Refused(Refusal::failed(ErrorCode::ServerError))),
    }
}

/// Tells the operator why a request was refused, unless there are too many of them.
pub(super) fn log_refusal(
    state: &State,
    (request, tag): (&HttpRequest, &Tag),
    client: Option<&ClientId>,
    address: Option<IpAddr>,
    refusal: &Refusal,
) {
    if let Some(suppressed) = state.refusals.admit(Instant::now()) {
        // What is nobody's name may be anything: people paste secrets into the wrong field.
        let client = client.filter(|client| state.server.remembers(client));
        let (client, request_id) = (client.map_or("-", ClientId::as_str), tag.id());
        // The pattern: what stands in its place may be anything.
        let path = request.match_pattern().unwrap_or_default();
        let reason = refusal.reason();
        info!(event = "token.refused", %request_id, path, client, ?address, reason, suppressed);
    }
}

fn log(state: &State, tag: &Tag, failure: &Failure) {
    let Some(suppressed) = state.failures.admit(Instant::now()) else {
        return;
    };
    let (request_id, cause) = (tag.id(), failure.with_causes());
    error!(event = "token.failed", %request_id, cause, suppressed);
}

/// The one `Authorization` header. Two of them are two identities (RFC 6749 §2.3), and so are two in one: base64 has no comma.
fn the_authorization(request: &HttpRequest) -> Result<Option<Zeroizing<String>>, Refusal> {
    let mut values = request.headers().get_all(AUTHORIZATION);
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or("unreadable");
    let is_basic = text
        .get(..6)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic "));
    if values.next().is_some() || (is_basic && text.contains(',')) {
        return Err(Refusal::of(OAuthError::invalid_request(
            "more than one client authentication method: use one",
        )));
    }
    Ok(Some(Zeroizing::new(text.to_owned())))
}
