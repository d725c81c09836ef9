use std::sync::Arc;

use actix_web::guard::fn_guard;
use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, Resource, Responder, Route};

use super::admin::{self, Api};
use super::{State, authorize, documents, door, health, register, response, token};
use crate::server::{Endpoint, Endpoints};

const AUTHORIZATION: &str = "/oauth2/authorize";
const TOKEN: &str = "/oauth2/token";
const INTROSPECTION: &str = "/oauth2/introspect";
const REVOCATION: &str = "/oauth2/revoke";
const REGISTRATION: &str = "/oauth2/register";
const JWKS: &str = "/.well-known/jwks.json";
const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";

/// The paths that the metadata announces.
pub const ENDPOINTS: Endpoints = Endpoints {
    authorization: AUTHORIZATION,
    token: TOKEN,
    jwks: JWKS,
    introspection: INTROSPECTION,
    revocation: REVOCATION,
    registration: REGISTRATION,
};

/// The public routes: at the root, and once more below the issuer's path when it has one, so that a proxy may strip the path or
/// pass it on. RFC 8414 §3.1 puts the path behind the well-known name, OpenID Connect Discovery in front of it.
pub(super) fn public(app: &mut ServiceConfig, issuer_path: &str, api: Option<&Arc<Api>>) {
    // They are tried one after the other, so those come first that are asked for most.
    below(app, "");
    if !issuer_path.is_empty() {
        below(app, issuer_path);
        for name in [AUTHORIZATION_SERVER, OPENID_CONFIGURATION] {
            app.service(document(&format!("{name}{issuer_path}"), documents::metadata));
        }
    }
    if let Some(api) = api {
        administration(app, issuer_path, api);
    }
}

/// The routes of the administration's API, likewise.
pub(super) fn administration(app: &mut ServiceConfig, issuer_path: &str, api: &Arc<Api>) {
    admin::routes(app, "", api);
    if !issuer_path.is_empty() {
        admin::routes(app, issuer_path, api);
    }
}

fn below(app: &mut ServiceConfig, prefix: &str) {
    let at = |path: &str| format!("{prefix}{path}");
    app.service(document(&at(JWKS), documents::jwks))
        .service(posted(&at(TOKEN), Endpoint::Token, token::token))
        .service(posted(&at(INTROSPECTION), Endpoint::Introspection, token::introspect))
        .service(posted(&at(REVOCATION), Endpoint::Revocation, token::revoke))
        .service(document(&at(AUTHORIZATION_SERVER), documents::metadata))
        .service(document(&at(OPENID_CONFIGURATION), documents::metadata))
        .service(document(&at("/.well-known/keywheel/ca.pem"), documents::ca_pem))
        .service(document(
            &at("/.well-known/keywheel/keys/{kid}.pem"),
            documents::key_pem,
        ))
        .service(
            web::resource(at(AUTHORIZATION))
                .route(web::get().to(authorize::authorize))
                .route(web::post().to(authorize::authorize))
                .default_service(web::to(|| async { response::method_not_allowed("GET, POST") })),
        )
        .service(document(&at("/livez"), health::livez))
        .service(document(&at("/readyz"), health::readyz))
        .service(posted(&at(REGISTRATION), Endpoint::Registration, register::register))
        .service(
            answering(
                &at(&format!("{REGISTRATION}/{{client_id}}")),
                Endpoint::Registration,
                "GET, PUT, DELETE",
            )
            .route(web::get().to(register::read))
            .route(web::put().to(register::update))
            .route(web::delete().to(register::delete)),
        )
        .service(posted(
            &at(&format!("{REGISTRATION}/{{client_id}}/secrets")),
            Endpoint::Registration,
            register::add_secret,
        ))
        .service(
            answering(
                &at(&format!("{REGISTRATION}/{{client_id}}/secrets/{{secret_id}}")),
                Endpoint::Registration,
                "DELETE",
            )
            .route(web::delete().to(register::revoke_secret)),
        );
}

/// The routes of the management listener.
pub(super) fn management(app: &mut ServiceConfig) {
    app.service(document("/livez", health::livez))
        .service(document("/readyz", health::readyz))
        .service(document("/metrics", health::metrics));
}

/// Whether what is posted there is a form, and not a document.
pub(super) fn takes_forms(path: &str) -> bool {
    [TOKEN, INTROSPECTION, REVOCATION]
        .iter()
        .any(|form| path.ends_with(form))
}

/// GET and HEAD.
pub(super) fn read() -> Route {
    on(|method| matches!(*method, Method::GET | Method::HEAD))
}

/// POST.
fn post() -> Route {
    on(|method| *method == Method::POST)
}

/// Some methods. The guards that actix has for a method keep a list of methods with every request.
fn on(answered: fn(&Method) -> bool) -> Route {
    web::route().guard(fn_guard(move |request| answered(&request.head().method)))
}

/// An endpoint to which somebody posts who authenticates. That is tried first.
fn posted<H, A>(path: &str, endpoint: Endpoint, handler: H) -> Resource
where
    H: Handler<A>,
    H::Output: Responder + 'static,
    A: FromRequest + 'static,
{
    rest_of(web::resource(path).route(post().to(handler)), endpoint, "POST")
}

/// An endpoint that answers these methods, each with a route of its own to be added.
fn answering(path: &str, endpoint: Endpoint, methods: &'static str) -> Resource {
    rest_of(web::resource(path), endpoint, methods)
}

fn rest_of(resource: Resource, endpoint: Endpoint, methods: &'static str) -> Resource {
    let refused = move |state: web::Data<State>| async move { door::method_not_allowed(&state, endpoint, methods) };
    let options = on(|method| *method == Method::OPTIONS);
    resource
        .route(options.to(move || async move { door::options(methods) }))
        .default_service(web::to(refused))
}

/// Something that is only read.
fn document<H, A>(path: &str, handler: H) -> Resource
where
    H: Handler<A>,
    H::Output: Responder + 'static,
    A: FromRequest + 'static,
{
    web::resource(path)
        .route(read().to(handler))
        .default_service(web::to(|| async { response::method_not_allowed("GET, HEAD") }))
}
