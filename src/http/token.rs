use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::{State, door};
use crate::server::{Context, Decision, Endpoint, Introspection, Server, TokenError, TokenRequest};

/// `POST /oauth2/token` (RFC 6749 §3.2).
pub(super) async fn token(state: web::Data<State>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    door::answer(state, request, payload, Endpoint::Token, Server::token).await
}

/// `POST /oauth2/introspect` (RFC 7662 §2).
pub(super) async fn introspect(state: web::Data<State>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    door::answer(state, request, payload, Endpoint::Introspection, introspected).await
}

/// `POST /oauth2/revoke` (RFC 7009 §2).
pub(super) async fn revoke(state: web::Data<State>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    door::answer(state, request, payload, Endpoint::Revocation, revoked).await
}

/// RFC 7009 §2.2 wants an empty answer; several clients parse every answer of these endpoints as JSON, so it is an empty object.
#[derive(Serialize)]
struct Nothing {}

impl door::Answer for Nothing {}

type Decided<T> = Result<Decision<T>, TokenError>;

fn introspected(server: &Server, request: &TokenRequest, cx: &mut Context<'_>) -> Decided<Introspection> {
    server.introspect(request, cx).map(Decision::Answer)
}

fn revoked(server: &Server, request: &TokenRequest, cx: &mut Context<'_>) -> Decided<Nothing> {
    server.revoke(request, cx).map(|()| Decision::Answer(Nothing {}))
}
