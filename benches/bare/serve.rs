use actix_web::{App, HttpResponse, HttpServer, web};

use super::Outcome;

/// actix-web with one handler, which always returns the same bytes.
pub(super) fn serve(address: &str, body: web::Bytes) -> Outcome<()> {
    let server = HttpServer::new(move || {
        let body = body.clone();
        App::new().default_service(web::to(move || {
            let body = body.clone();
            async move { HttpResponse::Ok().content_type("application/json").body(body) }
        }))
    });
    Ok(actix_web::rt::System::new().block_on(server.workers(1).bind(address)?.run())?)
}
