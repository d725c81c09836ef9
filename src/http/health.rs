use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde::Deserialize;
use serde_json::json;

use super::State;

/// The process is alive.
pub(super) async fn livez() -> HttpResponse {
    fresh(&mut HttpResponse::Ok()).json(json!({"status": "ok"}))
}

/// Tokens can be issued, and will be for a while: the database was reached lately, there is a key to sign with, and nobody has asked the
/// server to stop. Asking costs the database nothing.
///
/// With `?exclude=database`, in the manner of Kubernetes' own health endpoints, the database is left out of it: where the last node that
/// says no takes everything with it, one that has its keys and clients in memory is better than none.
pub(super) async fn readyz(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let Ok(asked) = serde_urlencoded::from_str::<Asked>(request.query_string()) else {
        return fresh(&mut HttpResponse::BadRequest())
            .json(json!({"status": "not asked", "reason": "exclude takes the value database, once"}));
    };
    let now = state.edge.now();
    let readiness = match asked.exclude {
        _ if state.is_draining() => Err("the server is about to stop"),
        Some(Part::Database) => state.server.soundness(now),
        None => state.server.readiness(now),
    };
    match readiness {
        Ok(()) => fresh(&mut HttpResponse::Ok()).json(json!({"status": "ready"})),
        Err(reason) => {
            fresh(&mut HttpResponse::ServiceUnavailable()).json(json!({"status": "not ready", "reason": reason}))
        }
    }
}

/// The query of `/readyz`. What else is in it is nobody's concern.
#[derive(Deserialize)]
struct Asked {
    exclude: Option<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Database,
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
