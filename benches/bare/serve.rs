use actix_web::{App, HttpResponse, HttpServer, web};

use super::Outcome;

/// actix-web with one handler, which always returns the same bytes, or always that nothing has changed.
pub(super) fn serve(address: &str, body: Option<web::Bytes>) -> Outcome<()> {
    let server = HttpServer::new(move || match body.clone() {
        Some(body) => App::new().default_service(web::to(move || {
            let body = body.clone();
            async move { HttpResponse::Ok().content_type("application/json").body(body) }
        })),
        None => App::new().default_service(web::to(|| async { HttpResponse::NotModified().finish() })),
    });
    Ok(actix_web::rt::System::new().block_on(server.workers(1).bind(address)?.run())?)
}
