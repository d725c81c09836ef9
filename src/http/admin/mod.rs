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
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH, PRAGMA,
};
use actix_web::http::{Method, StatusCode};
use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse, web};
use tracing::{error, info};
use zeroize::Zeroizing;

use self::call::{Call, Sent};
use self::operation::{Answer, Operation};
use self::problem::Problem;
use super::blocking::NotDone;
use super::routes::read;
use super::tag::Tag;
use super::{Panicked, State, bearer, body, peer};
use crate::oauth::IssuerUrl;
use crate::server::admin::Admitted;
use crate::server::{AskedGrant, Context, Endpoint, Outcome, Reach};

/// Where the API is.
const ROOT: &str = "/admin/v1";

/// The table of operations and what is made of it once.
pub(super) struct Api {
    operations: Vec<Operation>,
    issuer: IssuerUrl,
    /// Made when somebody first wants to read of it: most processes are never asked.
    written: OnceLock<Written>,
}

/// What tells of the API.
struct Written {
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
    pub(super) fn new(issuer: &IssuerUrl) -> Arc<Self> {
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
        Arc::new(Api {
            operations,
            issuer: issuer.clone(),
            written: OnceLock::new(),
        })
    }

    fn written(&self) -> &Written {
        self.written.get_or_init(|| {
            let openapi = openapi::document(&self.operations, self.issuer.as_str());
            Written {
                page: page::html(&openapi).into(),
                openapi: format!("{openapi:#}").into(),
            }
        })
    }
}

/// The routes of the API: everything below its root, and the page at it. Which operation is meant is found in the table: routes of
/// actix's own would be one pattern each, for each thread.
pub(super) fn routes(app: &mut ServiceConfig, prefix: &str, api: &Arc<Api>) {
    let (below, page) = (Arc::clone(api), Arc::clone(api));
    let below = move |state: web::Data<State>, request: HttpRequest, payload: web::Payload| {
        handle(Arc::clone(&below), state, request, payload)
    };
    let page = move || written("text/html; charset=utf-8", page.written().page.clone());
    app.service(
        web::resource(format!("{prefix}{ROOT}"))
            .route(read().to(page))
            .default_service(web::to(|| async { not_allowed("GET, HEAD") })),
    )
    .service(web::resource(format!("{prefix}{ROOT}{{path:/.*}}")).default_service(web::to(below)));
}

/// The values of a path's places, if the path is of this form.
fn places(form: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    let (mut wanted, mut given) = (form.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(values),
            (Some(wanted), Some(given)) => match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) if !given.is_empty() => drop(values.insert(name.to_owned(), given.to_owned())),
                None if wanted == given => {}
                _ => return None,
            },
            _ => return None,
        }
    }
}

/// Something that anybody may read.
async fn written(content_type: &'static str, bytes: web::Bytes) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, HeaderValue::from_static(content_type)))
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .insert_header((PRAGMA, HeaderValue::from_static("no-cache")))
        .insert_header(("content-security-policy", HeaderValue::from_static(POLICY)))
        .insert_header(("x-content-type-options", HeaderValue::from_static("nosniff")))
        .body(bytes)
}

/// The page has a style of its own and loads nothing.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

fn not_allowed(allowed: &str) -> HttpResponse {
    let mut response = Problem::of(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed here").response();
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

async fn handle(api: Arc<Api>, state: web::Data<State>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let path = request.match_info().get("path").unwrap_or_default().to_owned();
    if path == "/openapi.json" {
        return match *request.method() {
            Method::GET | Method::HEAD => written("application/json", api.written().openapi.clone()).await,
            _ => not_allowed("GET, HEAD"),
        };
    }
    match api.find(&path, request.method()) {
        Found::Operation(number, places) => operate(&api, (number, places), &state, &request, payload).await,
        Found::Path(allowed) => not_allowed(&allowed),
        Found::Nothing => Problem::absent("path").response(),
    }
}

/// Has an operation done, counts it, and writes the answer.
async fn operate(
    api: &Arc<Api>,
    (number, places): (usize, BTreeMap<String, String>),
    state: &web::Data<State>,
    request: &HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let tag = Tag::of(state, request);
    let operation = api.operations.get(number);
    tag.tell(|told| told.route = operation.map(|operation| format!("{ROOT}{}", operation.path)));
    let answered = answer(api, (number, places), (state, &tag), request, payload).await;
    let (outcome, mut response) = match answered {
        Ok(answer) => (Outcome::Ok, answer.response()),
        Err(problem) => {
            log(state, &tag, operation.map_or("", |operation| operation.id), &problem);
            (Outcome::Status(problem.status().as_u16()), problem.response())
        }
    };
    tag.name(response.headers_mut());
    tag.tell(|told| told.outcome = Some(outcome));
    state
        .server
        .metrics()
        .answered(Endpoint::Administration, AskedGrant::default(), outcome);
    response
}

/// Tells the operator why a request was refused or failed, unless there are too many of them.
fn log(state: &State, tag: &Tag, operation: &str, problem: &Problem) {
    let (now, status, request_id) = (Instant::now(), problem.status().as_u16(), tag.id());
    if let Some(cause) = problem.cause()
        && let Some(suppressed) = state.failures.admit(now)
    {
        error!(event = "administration.failed", %request_id, operation, cause, suppressed);
    }
    if let Some(suppressed) = state.refusals.admit(now) {
        info!(event = "administration.refused", %request_id, operation, status, suppressed);
    }
}

/// What is at a path.
enum Found {
    /// An operation, by its place in the table, with the values of the path's places.
    Operation(usize, BTreeMap<String, String>),
    /// Only operations of other methods.
    Path(String),
    Nothing,
}

impl Api {
    fn find(&self, path: &str, method: &Method) -> Found {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let mut allowed = Vec::new();
        for (number, operation) in self.operations.iter().enumerate() {
            let Some(places) = places(operation.path, path) else {
                continue;
            };
            if operation.method == *method {
                return Found::Operation(number, places);
            }
            allowed.push(operation.method.as_str());
        }
        if allowed.is_empty() {
            return Found::Nothing;
        }
        if allowed.contains(&"GET") {
            allowed.push("HEAD");
        }
        allowed.sort_unstable();
        Found::Path(allowed.join(", "))
    }
}

async fn answer(
    api: &Arc<Api>,
    (number, places): (usize, BTreeMap<String, String>),
    (state, tag): (&web::Data<State>, &Tag),
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<Answer, Problem> {
    let operation = api.operations.get(number).ok_or(Problem::bug())?;
    let admitted = admitted((state, tag), operation, request).await;
    // Who may not come in is not listened to, so what they send is not read.
    let admitted = admitted.map_err(|problem| match operation.body {
        Some(_) => problem.closing(),
        None => problem,
    })?;
    let sent = Sent {
        path: places,
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
    blocking((state, tag), reach, move |state, cx| {
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
    (state, tag): (&web::Data<State>, &Tag),
    operation: &Operation,
    request: &HttpRequest,
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
    let (right, id) = (operation.right, tag.id().to_string());
    let admitted = blocking((state, tag), Reach::Storage, move |state, cx| {
        let admitted = state.server.admit(&token, right, (address, &id), cx);
        admitted.map_err(Problem::not_admitted)
    })
    .await?;
    tag.tell(|told| told.client = Some(admitted.client_id.clone()));
    Ok(admitted)
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
    (state, tag): (&web::Data<State>, &Tag),
    reach: Reach,
    work: impl FnOnce(&State, &mut Context<'_>) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let pool = if reach < Reach::Passwords {
        &state.blocking
    } else {
        &state.logins
    };
    let (shared, tag) = (state.clone(), tag.clone());
    let done = pool.run(move || shared.attempt(&tag, reach, |cx| work(&shared, cx)));
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
    fn a_path_is_of_a_form_when_every_part_is() {
        let places = |form, path| places(form, path).map(|values| values.into_values().collect::<Vec<_>>());
        assert_eq!(places("/clients", "/clients"), Some(vec![]));
        assert_eq!(
            places("/a/{b}/c/{d}", "/a/1/c/2"),
            Some(vec!["1".to_owned(), "2".to_owned()])
        );
        for path in [
            "",
            "/",
            "/a",
            "/a/1",
            "/a/1/c",
            "/a/1/c/",
            "/a//c/2",
            "/a/1/x/2",
            "/a/1/c/2/",
            "/a/1/c/2/e",
            "a/1/c/2",
        ] {
            assert_eq!(places("/a/{b}/c/{d}", path), None, "{path}");
        }
    }

    #[test]
    fn every_operation_has_a_name_and_a_place_of_its_own() {
        let api = Api::new(&IssuerUrl::parse("https://auth.example").unwrap());
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
