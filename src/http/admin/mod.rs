//! The administration's API under `/admin/v1`: JSON documents, bearer tokens, problem details.
//!
//! One table of operations (`operations`) is what requests are dispatched on and what the OpenAPI document is made of. An operation is
//! a function from a [`call::Call`] to a [`call::Reply`]; what all have in common (who may, the query, the body, the answer) is done
//! here.

mod call;
mod clients;
mod families;
mod keys;
mod members;
mod openapi;
mod operation;
mod page;
mod problem;
mod registration;
mod reports;
mod secrets;
mod trail;
mod users;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH};
use actix_web::http::{Method, StatusCode};
use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse, Route, web};
use tracing::info;
use zeroize::Zeroizing;

use self::call::{Call, Sent};
use self::operation::{Answer, Operation};
use self::problem::Problem;
use super::blocking::NotDone;
use super::routes::read;
use super::{Panicked, State, bearer, body, peer};
use crate::oauth::base64url;
use crate::server::admin::Admitted;
use crate::server::{Context, Endpoint, Outcome, Reach};

/// Where the API is.
const ROOT: &str = "/admin/v1";

/// The table of operations and what is made of it once.
pub(super) struct Api {
    operations: Vec<Operation>,
    openapi: web::Bytes,
    page: web::Bytes,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Api({} operations)", self.operations.len())
    }
}

impl Api {
    /// The whole API of the server under `issuer`.
    pub(super) fn new(issuer: &str) -> Result<Arc<Self>, serde_json::Error> {
        let operations: Vec<Operation> = [
            clients::operations(),
            secrets::operations(),
            registration::operations(),
            users::operations(),
            keys::operations(),
            families::operations(),
            trail::operations(),
            reports::operations(),
        ]
        .into_iter()
        .flatten()
        .collect();
        let openapi = openapi::document(&operations, issuer);
        Ok(Arc::new(Api {
            page: page::html(&openapi).into(),
            openapi: serde_json::to_vec_pretty(&openapi)?.into(),
            operations,
        }))
    }
}

/// The routes of the API: those of the table, the document, and the page.
pub(super) fn routes(app: &mut ServiceConfig, prefix: &str, api: &Arc<Api>) {
    let mut paths: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, operation) in api.operations.iter().enumerate() {
        paths.entry(operation.path).or_default().push(number);
    }
    for (path, numbers) in paths {
        let mut resource = web::resource(format!("{prefix}{ROOT}{path}"));
        let mut allowed = Vec::new();
        for number in numbers {
            let Some(operation) = api.operations.get(number) else {
                continue;
            };
            allowed.push(operation.method.as_str());
            if operation.method == Method::GET {
                allowed.push("HEAD");
            }
            let api = Arc::clone(api);
            let handler = move |state: web::Data<State>, request: HttpRequest, payload: web::Payload| {
                handle(Arc::clone(&api), number, state, request, payload)
            };
            resource = resource.route(route(&operation.method).to(handler));
        }
        let allowed = allowed.join(", ");
        app.service(resource.default_service(web::to(move || not_allowed(allowed.clone()))));
    }
    let (document, page) = (Arc::clone(api), Arc::clone(api));
    let document = move || written("application/json", document.openapi.clone());
    let page = move || written("text/html; charset=utf-8", page.page.clone());
    for (path, route) in [
        (format!("{prefix}{ROOT}/openapi.json"), route(&Method::GET).to(document)),
        (format!("{prefix}{ROOT}"), route(&Method::GET).to(page)),
    ] {
        app.service(
            web::resource(path)
                .route(route)
                .default_service(web::to(|| not_allowed("GET, HEAD".to_owned()))),
        );
    }
}

/// `HEAD` is `GET` without the content (RFC 9110 §9.3.2).
fn route(method: &Method) -> Route {
    match *method {
        Method::GET => read(),
        _ => web::method(method.clone()),
    }
}

/// Something that anybody may read.
async fn written(content_type: &'static str, bytes: web::Bytes) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, HeaderValue::from_static(content_type)))
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-cache")))
        .insert_header(("content-security-policy", HeaderValue::from_static(POLICY)))
        .insert_header(("x-content-type-options", HeaderValue::from_static("nosniff")))
        .body(bytes)
}

/// The page has a style of its own and loads nothing.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

async fn not_allowed(allowed: String) -> HttpResponse {
    let mut response = Problem::of(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed here").response("");
    if let Ok(allowed) = HeaderValue::try_from(allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

async fn handle(
    api: Arc<Api>,
    number: usize,
    state: web::Data<State>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let mut id = [0; 12];
    let request_id = match state.edge.rng() {
        Ok(mut rng) => {
            rand::Rng::fill_bytes(&mut rng, &mut id);
            base64url(&id)
        }
        Err(failure) => return Problem::failed(&failure).response(""),
    };
    let answered = answer(&api, number, &state, &request, payload, &request_id).await;
    let (outcome, response) = match answered {
        Ok(answer) => (Outcome::Ok, answer.response(&request_id)),
        Err(problem) => {
            let status = problem.status().as_u16();
            if let Some(suppressed) = state.refusals.admit(Instant::now()) {
                let path = request.match_pattern().unwrap_or_default();
                info!(event = "administration.refused", path, status, request_id, suppressed);
            }
            (Outcome::Status(status), problem.response(&request_id))
        }
    };
    state.server.metrics().answered(Endpoint::Administration, None, outcome);
    response
}

async fn answer(
    api: &Arc<Api>,
    number: usize,
    state: &web::Data<State>,
    request: &HttpRequest,
    payload: web::Payload,
    request_id: &str,
) -> Result<Answer, Problem> {
    let operation = api.operations.get(number).ok_or(Problem::bug())?;
    let admitted = admitted(state, operation, request, request_id).await;
    // Who may not come in is not listened to, so what they send is not read.
    let admitted = admitted.map_err(|problem| match operation.body {
        Some(_) => problem.closing(),
        None => problem,
    })?;
    let sent = Sent {
        path: request
            .match_info()
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        query: request.query_string().to_owned(),
        body: if operation.body.is_some() {
            body::json_text(request, payload).await.map_err(Problem::no_json)?
        } else {
            Zeroizing::new(Vec::new())
        },
        if_match: one(request.headers(), &IF_MATCH)?,
        idempotency_key: one(request.headers(), &HeaderName::from_static("idempotency-key"))?,
    };
    let (api, reach) = (Arc::clone(api), operation.reach);
    blocking(state, reach, move |state, cx| {
        let operation = api.operations.get(number).ok_or(Problem::bug())?;
        operation.run(&mut Call {
            server: &state.server,
            admitted,
            sent,
            cx,
        })
    })
    .await
}

/// Who sends the request, if they may.
async fn admitted(
    state: &web::Data<State>,
    operation: &Operation,
    request: &HttpRequest,
    request_id: &str,
) -> Result<Admitted, Problem> {
    let address = peer::address(request, &state.trusted_proxies)
        .map_err(|_malformed| Problem::of(StatusCode::BAD_REQUEST, "X-Forwarded-For is not a list of addresses"))?;
    let token = match bearer::Bearer::of(request) {
        bearer::Bearer::Token(token) => token,
        bearer::Bearer::Absent => return Err(Problem::no_token()),
        bearer::Bearer::Malformed => return Err(Problem::invalid_token()),
        bearer::Bearer::Several => {
            return Err(Problem::of(
                StatusCode::BAD_REQUEST,
                "more than one Authorization header: send one",
            ));
        }
    };
    let (right, id) = (operation.right, request_id.to_owned());
    blocking(state, Reach::Storage, move |state, cx| {
        let admitted = state.server.admit(&token, right, (address, &id), cx);
        admitted.map_err(Problem::not_admitted)
    })
    .await
}

/// A header that may come once.
fn one(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    let unreadable = || {
        Problem::of(
            StatusCode::BAD_REQUEST,
            format!("{name} is sent once, in printable ASCII"),
        )
    };
    if values.next().is_some() {
        return Err(unreadable());
    }
    value
        .to_str()
        .map(|value| Some(value.to_owned()))
        .map_err(|_not_ascii| unreadable())
}

/// Runs work on a thread that may wait.
async fn blocking<T: Send + 'static>(
    state: &web::Data<State>,
    reach: Reach,
    work: impl FnOnce(&State, &mut Context<'_>) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let pool = if reach < Reach::Passwords {
        &state.blocking
    } else {
        &state.logins
    };
    let shared = state.clone();
    let done = pool.run(move || shared.attempt(reach, |cx| work(&shared, cx)));
    match done.await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(Panicked)) | Err(NotDone::Panicked) => Err(Problem::bug()),
        Err(NotDone::Overloaded) => Err(Problem::overloaded()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_name_and_a_place_of_its_own() {
        let api = Api::new("https://auth.example").unwrap();
        let places: std::collections::BTreeSet<_> = api
            .operations
            .iter()
            .map(|operation| (operation.path, operation.method.as_str()))
            .collect();
        let names: std::collections::BTreeSet<_> = api.operations.iter().map(|operation| operation.id).collect();
        assert_eq!(
            (places.len(), names.len()),
            (api.operations.len(), api.operations.len())
        );
        assert!(
            api.operations
                .iter()
                .all(|operation| operation.method == actix_web::http::Method::GET
                    || operation.right != crate::server::admin::Right::Read)
        );
    }
}
