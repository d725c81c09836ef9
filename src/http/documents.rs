use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, USER_AGENT,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use arc_swap::{ArcSwap, Guard};

use super::entity_tag::{Comparison, names};
use super::{ENDPOINTS, State, peer, response};
use crate::oauth::{Seconds, Thumbprint};
use crate::server::{AskedGrant, Endpoint, Outcome, Turn};

/// `GET /.well-known/jwks.json` (RFC 7517 §5): prepared bytes, whatever the query and the `Accept` header say. It answers while
/// the database is down.
pub(super) async fn jwks(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let now = state.edge.now();
    let turn = state.server.wheel().turn(now);
    let jwks = turn.jwks();
    let written = Written::of(&state.jwks, &turn, || Written {
        turn: Arc::downgrade(&turn),
        body: web::Bytes::from_owner(turn.jwks_body()),
        etag: HeaderValue::from_str(&jwks.etag).ok(),
    });
    let jitter = state.jitter.fetch_add(JITTER_STEP, Ordering::Relaxed);
    let max_age = jwks.max_age(now, state.server.wheel().jwks_max_age(), jitter);
    let seen = request.headers().get(IF_NONE_MATCH);
    let unchanged = seen.is_some_and(|seen| written.etag.as_ref().is_some_and(|etag| is_named(seen, etag)));
    let mut response = if unchanged {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    public(&state, &mut response, "application/json", max_age);
    if let Some(etag) = &written.etag {
        response.append_header((ETAG, etag.clone()));
    }
    let outcome = if unchanged { Outcome::Status(304) } else { Outcome::Ok };
    state
        .server
        .metrics()
        .answered(Endpoint::Jwks, AskedGrant::default(), outcome);
    let user_agent = request
        .headers()
        .get(USER_AGENT)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let address = peer::address(&request, &state.trusted_proxies).ok().flatten();
    state.server.fetched(&turn, user_agent, address, now);
    if unchanged {
        response.finish()
    } else {
        response.body(written.body.clone())
    }
}

/// From one answer to the next, so that 256 of them have every jitter once, and neighbours are far apart (256 divided by the golden
/// ratio). Nothing here needs to be unknown, and the set is served also while the system gives no random numbers.
const JITTER_STEP: u8 = 159;

/// Both metadata documents (RFC 8414 §3, OpenID Connect Discovery 1.0 §4): one document at two names.
pub(super) async fn metadata(state: web::Data<State>) -> HttpResponse {
    state
        .server
        .metrics()
        .answered(Endpoint::Metadata, AskedGrant::default(), Outcome::Ok);
    let now = state.edge.now();
    let turn = state.server.wheel().turn(now);
    let written = Written::of(&state.metadata, &turn, || Written {
        turn: Arc::downgrade(&turn),
        // Texts and lists of texts.
        body: serde_json::to_vec(&state.server.metadata(ENDPOINTS, now))
            .unwrap_or_default()
            .into(),
        etag: None,
    });
    public(&state, &mut HttpResponse::Ok(), "application/json", METADATA_MAX_AGE).body(written.body.clone())
}

/// A document as it is sent, which changes only with the position of the wheel.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Weak, so that a key which left the ring leaves the memory too.
    turn: Weak<Turn>,
    body: web::Bytes,
    etag: Option<HeaderValue>,
}

impl Written {
    /// What was written for this position; the first to ask for it writes it.
    fn of(last: &ArcSwap<Written>, turn: &Arc<Turn>, write: impl FnOnce() -> Written) -> Guard<Arc<Written>> {
        let written = last.load();
        if std::ptr::eq(written.turn.as_ptr(), Arc::as_ptr(turn)) {
            return written;
        }
        last.store(Arc::new(write()));
        last.load()
    }
}

/// The certificate of the authority that certifies every signing key: who pins it accepts every future key offline. After it those
/// of other authorities of which a key is still published.
pub(super) async fn ca_pem(state: web::Data<State>) -> HttpResponse {
    state
        .server
        .metrics()
        .answered(Endpoint::Certificates, AskedGrant::default(), Outcome::Ok);
    let turn = state.server.wheel().turn(state.edge.now());
    public(&state, &mut HttpResponse::Ok(), PEM, METADATA_MAX_AGE).body(turn.authorities_pem())
}

/// One published public key in PEM, for verifiers that know no JWK set.
pub(super) async fn key_pem(state: web::Data<State>, kid: web::Path<String>) -> HttpResponse {
    let now = state.edge.now();
    let turn = state.server.wheel().turn(now);
    let published = Thumbprint::parse(&kid).and_then(|kid| turn.ring().published(now).find(|key| *key.kid() == kid));
    let outcome = if published.is_some() {
        Outcome::Ok
    } else {
        Outcome::Status(404)
    };
    state
        .server
        .metrics()
        .answered(Endpoint::Certificates, AskedGrant::default(), outcome);
    match published {
        Some(key) => public(
            &state,
            &mut HttpResponse::Ok(),
            PEM,
            state.server.wheel().jwks_max_age(),
        )
        .body(key.public_key().pem()),
        None => response::not_found().await,
    }
}

const PEM: &str = "application/x-pem-file";
/// The metadata changes with a restart, and when an algorithm comes into use: a lead before it signs, which is longer.
const METADATA_MAX_AGE: Seconds = Seconds::minutes(5);

/// Anybody may read it, from any origin, and keep it for a while.
fn public<'a>(
    state: &State,
    response: &'a mut HttpResponseBuilder,
    content_type: &'static str,
    max_age: Seconds,
) -> &'a mut HttpResponseBuilder {
    response
        .append_header((CONTENT_TYPE, HeaderValue::from_static(content_type)))
        .append_header((CACHE_CONTROL, state.cache_controls.public(max_age)))
        .append_header((ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")))
        .append_header((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
}

/// Whether `If-None-Match` names the tag (RFC 9110 §13.1.2).
fn is_named(header: &HeaderValue, etag: &HeaderValue) -> bool {
    if header == etag {
        return true;
    }
    let (Ok(condition), Ok(etag)) = (header.to_str(), etag.to_str()) else {
        return false;
    };
    names(condition, etag, Comparison::Weak)
}
