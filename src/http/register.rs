//! The registration endpoint (RFC 7591) and the configuration endpoint of each client (RFC 7592): JSON in, JSON out, and a bearer
//! token that says who may.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, REFERRER_POLICY};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::bearer::Bearer;
use super::blocking::NotDone;
use super::body::{self, NoJson};
use super::door::{self, Decided};
use super::response::{Refusal, oauth};
use super::routes::ENDPOINTS;
use super::tag::Tag;
use super::{State, peer};
use crate::oauth::{ClientId, ErrorCode, OAuthError};
use crate::server::{
    AskedGrant, BearerToken, Context, Endpoint, Outcome, Reach, RegistrationRequest, RequestedMetadata, Server,
    TokenError,
};

/// `POST /oauth2/register` (RFC 7591 §3).
pub(super) async fn register(state: web::Data<State>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let tag = Tag::of(&state, &request);
    let outcome = async {
        let (asked, requested) = asked_with_document(&state, &request, payload).await?;
        let rule = move |server: &Server, cx: &mut Context<'_>| server.register(&asked, &requested, cx);
        document(StatusCode::CREATED, &decided((&state, &tag), rule).await?)
    };
    answer(&state, (&request, &tag), outcome.await)
}

/// `GET /oauth2/register/{client_id}` (RFC 7592 §2.1).
pub(super) async fn read(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let tag = Tag::of(&state, &request);
    let outcome = async {
        let (asked, client_id) = (asked(&state, &request)?, segment(&request, "client_id"));
        let rule = move |server: &Server, _: &mut Context<'_>| server.read_registration(&client_id, &asked);
        document(StatusCode::OK, &decided((&state, &tag), rule).await?)
    };
    answer(&state, (&request, &tag), outcome.await)
}

/// `PUT /oauth2/register/{client_id}` (RFC 7592 §2.2).
pub(super) async fn update(state: web::Data<State>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let tag = Tag::of(&state, &request);
    let outcome = async {
        let client_id = segment(&request, "client_id");
        let (asked, requested) = asked_with_document(&state, &request, payload).await?;
        let rule =
            move |server: &Server, cx: &mut Context<'_>| server.update_registration(&client_id, &asked, &requested, cx);
        document(StatusCode::OK, &decided((&state, &tag), rule).await?)
    };
    answer(&state, (&request, &tag), outcome.await)
}

/// `DELETE /oauth2/register/{client_id}` (RFC 7592 §2.3).
pub(super) async fn delete(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let tag = Tag::of(&state, &request);
    let outcome = async {
        let (asked, client_id) = (asked(&state, &request)?, segment(&request, "client_id"));
        let rule = move |server: &Server, cx: &mut Context<'_>| server.delete_registration(&client_id, &asked, cx);
        decided((&state, &tag), rule).await?;
        Ok(no_content())
    };
    answer(&state, (&request, &tag), outcome.await)
}

/// `POST /oauth2/register/{client_id}/secrets`: a further secret. No RFC has it.
pub(super) async fn add_secret(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let tag = Tag::of(&state, &request);
    let outcome = async {
        let (asked, client_id) = (asked(&state, &request)?, segment(&request, "client_id"));
        let rule =
            move |server: &Server, cx: &mut Context<'_>| server.add_secret_of_registration(&client_id, &asked, cx);
        document(StatusCode::CREATED, &decided((&state, &tag), rule).await?)
    };
    answer(&state, (&request, &tag), outcome.await)
}

/// `DELETE /oauth2/register/{client_id}/secrets/{secret_id}`: the end of one secret. No RFC has it.
pub(super) async fn revoke_secret(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let tag = Tag::of(&state, &request);
    let outcome = async {
        let (asked, client_id) = (asked(&state, &request)?, segment(&request, "client_id"));
        let secret_id = segment(&request, "secret_id");
        let rule = move |server: &Server, cx: &mut Context<'_>| {
            server.revoke_secret_of_registration(&client_id, &secret_id, &asked, cx)
        };
        match decided((&state, &tag), rule).await? {
            Some(()) => Ok(no_content()),
            None => Err(Refusal::absent("the client has no secret with this identifier")),
        }
    };
    answer(&state, (&request, &tag), outcome.await)
}

/// Who asks and for what. The body is read first, so that the connection can go on after a refusal, and judged last.
async fn asked_with_document(
    state: &State,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<(RegistrationRequest, RequestedMetadata), Refusal> {
    let requested = body::json(request, payload).await;
    if let Err(NoJson::Unread(unread)) = requested {
        return Err(Refusal::unread(unread));
    }
    let asked = asked(state, request)?;
    let requested = requested.map_err(|error| {
        Refusal::of(OAuthError::invalid_client_metadata(match error {
            NoJson::OtherType => "send the metadata as application/json in UTF-8",
            // What the parser says may quote a value.
            NoJson::Malformed(_) | NoJson::Unread(_) => {
                "the request body has to be one JSON object with each of its members once"
            }
        }))
    })?;
    Ok((asked, requested))
}

fn asked(state: &State, request: &HttpRequest) -> Result<RegistrationRequest, Refusal> {
    let invalid = |code, description| Err(Refusal::of(OAuthError::new(code, description)));
    let token = match Bearer::of(request) {
        Bearer::Token(token) => BearerToken(token),
        Bearer::Absent => return Err(Refusal::no_token("send the token as Authorization: Bearer")),
        Bearer::Malformed => return invalid(ErrorCode::InvalidToken, "Authorization has to be Bearer and one token"),
        Bearer::Several => return invalid(ErrorCode::InvalidRequest, "send one Authorization header"),
    };
    let address = peer::address(request, &state.trusted_proxies).map_err(|_malformed| {
        Refusal::of(OAuthError::invalid_request(
            "X-Forwarded-For is not a list of addresses",
        ))
    })?;
    Ok(RegistrationRequest {
        token,
        endpoint: ENDPOINTS.registration,
        address,
    })
}

/// A segment of the path by its name in the list of routes.
fn segment(request: &HttpRequest, name: &str) -> String {
    request.match_info().get(name).unwrap_or_default().to_owned()
}

/// Asks the rules on a thread that may wait: all of them need the database.
async fn decided<T: Send + 'static>(
    (state, tag): (&web::Data<State>, &Tag),
    rule: impl FnOnce(&Server, &mut Context<'_>) -> Result<T, TokenError> + Send + 'static,
) -> Result<T, Refusal> {
    let work = {
        let (state, tag) = (state.clone(), tag.clone());
        move || door::decide(&state, &tag, Reach::Storage, |cx| rule(&state.server, cx))
    };
    match state.blocking.run(work).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Decided::Refused(refusal))) => Err(refusal),
        Ok(Err(Decided::Needs(_))) | Err(NotDone::Panicked) => Err(Refusal::failed(ErrorCode::ServerError)),
        Err(NotDone::Overloaded) => Err(Refusal::overloaded("too many wait for a thread")),
    }
}

/// Done, and nothing to be said.
fn no_content() -> HttpResponse {
    let mut response = oauth(StatusCode::NO_CONTENT).finish();
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

fn document(status: StatusCode, body: &impl Serialize) -> Result<HttpResponse, Refusal> {
    let body = serde_json::to_vec(body).map_err(|_unwritable| Refusal::failed(ErrorCode::ServerError))?;
    Ok(oauth(status).body(body))
}

/// Counts the answer. Its URL may tell a client's identifier, so no link leads away with it.
fn answer(state: &State, (request, tag): (&HttpRequest, &Tag), outcome: Result<HttpResponse, Refusal>) -> HttpResponse {
    let (counted, mut response) = match outcome {
        Ok(response) => (Outcome::Ok, response),
        Err(refusal) => {
            let client = ClientId::parse(&segment(request, "client_id")).ok();
            let address = peer::address(request, &state.trusted_proxies).ok().flatten();
            door::log_refusal(state, (request, tag), client.as_ref(), address, &refusal);
            door::refused(tag, &refusal)
        }
    };
    tag.tell(|told| told.outcome = Some(counted));
    state
        .server
        .metrics()
        .answered(Endpoint::Registration, AskedGrant::default(), counted);
    let policy = HeaderValue::from_static("no-referrer");
    response.headers_mut().insert(REFERRER_POLICY, policy);
    response
}
