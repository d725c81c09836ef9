use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, Resource};

use super::{authorize, documents, health, response, token};
use crate::server::Endpoints;

const AUTHORIZATION: &str = "/oauth2/authorize";
const TOKEN: &str = "/oauth2/token";
const JWKS: &str = "/.well-known/jwks.json";
const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";

/// The paths that the metadata announces.
pub const ENDPOINTS: Endpoints = Endpoints {
    authorization: AUTHORIZATION,
    token: TOKEN,
    jwks: JWKS,
};

/// The public routes: at the root, and once more below the issuer's path when it has one, so that a proxy may strip the path or
/// pass it on. RFC 8414 §3.1 puts the path behind the well-known name, OpenID Connect Discovery in front of it.
pub(super) fn public(app: &mut ServiceConfig, issuer_path: &str) {
    below(app, "");
    if !issuer_path.is_empty() {
        below(app, issuer_path);
        for document in [AUTHORIZATION_SERVER, OPENID_CONFIGURATION] {
            app.service(document_at(&format!("{document}{issuer_path}")).route(web::get().to(documents::metadata)));
        }
    }
}

fn below(app: &mut ServiceConfig, prefix: &str) {
    let at = |path: &str| format!("{prefix}{path}");
    app.service(
        web::resource(at(TOKEN))
            .route(web::post().to(token::token))
            .route(web::method(actix_web::http::Method::OPTIONS).to(token::options))
            .default_service(web::to(token::method_not_allowed)),
    )
    .service(
        document_at(&at(JWKS))
            .route(web::get().to(documents::jwks))
            .route(web::head().to(documents::jwks)),
    )
    .service(metadata_at(&at(AUTHORIZATION_SERVER)))
    .service(metadata_at(&at(OPENID_CONFIGURATION)))
    .service(
        document_at(&at("/.well-known/keywheel/ca.pem"))
            .route(web::get().to(documents::ca_pem))
            .route(web::head().to(documents::ca_pem)),
    )
    .service(
        document_at(&at("/.well-known/keywheel/keys/{kid}.pem"))
            .route(web::get().to(documents::key_pem))
            .route(web::head().to(documents::key_pem)),
    )
    .service(
        web::resource(at(AUTHORIZATION))
            .route(web::get().to(authorize::authorize))
            .route(web::post().to(authorize::authorize))
            .default_service(web::to(|| async { response::method_not_allowed("GET, POST") })),
    )
    .service(document_at(&at("/livez")).route(web::get().to(health::livez)))
    .service(document_at(&at("/readyz")).route(web::get().to(health::readyz)));
}

fn metadata_at(path: &str) -> Resource {
    document_at(path)
        .route(web::get().to(documents::metadata))
        .route(web::head().to(documents::metadata))
}

/// A resource that is only read.
fn document_at(path: &str) -> Resource {
    web::resource(path.to_owned()).default_service(web::to(|_: HttpRequest| async {
        response::method_not_allowed("GET, HEAD")
    }))
}

/// The routes of the management listener.
pub(super) fn management(app: &mut ServiceConfig) {
    app.service(document_at("/livez").route(web::get().to(health::livez)))
        .service(document_at("/readyz").route(web::get().to(health::readyz)))
        .service(document_at("/metrics").route(web::get().to(health::metrics)));
}
