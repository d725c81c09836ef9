use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder, web};
use serde_json::json;

use super::State;

/// The process is alive.
pub(super) async fn livez() -> HttpResponse {
    fresh(&mut HttpResponse::Ok()).json(json!({"status": "ok"}))
}

/// Tokens can be issued, and will be for a while: the database was reached lately, there is a key to sign with, and nobody has asked the
/// server to stop. Asking costs the database nothing.
pub(super) async fn readyz(state: web::Data<State>) -> HttpResponse {
    let readiness = if state.is_draining() {
        Err("the server is about to stop")
    } else {
        state.server.readiness(state.edge.now())
    };
    match readiness {
        Ok(()) => fresh(&mut HttpResponse::Ok()).json(json!({"status": "ready"})),
        Err(reason) => {
            fresh(&mut HttpResponse::ServiceUnavailable()).json(json!({"status": "not ready", "reason": reason}))
        }
    }
}

/// All metrics, in the OpenMetrics text format that Prometheus reads.
pub(super) async fn metrics(state: web::Data<State>) -> HttpResponse {
    fresh(&mut HttpResponse::Ok())
        .insert_header((
            CONTENT_TYPE,
            HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ))
        .body(state.server.render_metrics(state.load(), state.edge.now()))
}

fn fresh(response: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    response.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
}
