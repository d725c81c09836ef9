//! The trace of a request: a span of the server, and one for each part of the work that says how long it took (`timed`).
//!
//! Who is traced is decided once, when the request comes in: by the trusted proxy in front, if it says something of a trace, else by
//! chance. Nothing of a request is in its trace but what keywheel made or recognised itself: no path, no query, no header, no name that nobody
//! registered.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::{HttpMessage, HttpRequest};

use super::span::{Attribute, FinishedTrace, Span, SpanKind};
use super::trace_context::TraceContext;
use super::{State, peer};
use crate::oauth::ClientId;
use crate::server::{AskedGrant, Outcome, RequestId};
use crate::timed::{Part, Timed};

/// Which requests are traced, and where their traces go.
#[derive(Clone)]
pub struct Tracing {
    /// Of the numbers below 2^63.
    below: u64,
    take: Arc<dyn Fn(FinishedTrace) -> bool + Send + Sync>,
}

impl Tracing {
    /// Traces this part of the requests of which no trusted proxy has decided, from 0.0 for none to 1.0 for all. `take` gets the finished
    /// traces and says whether it took one; it must not wait.
    pub fn new(sample_ratio: f64, take: impl Fn(FinishedTrace) -> bool + Send + Sync + 'static) -> Self {
        let all = (1_u64 << 63) as f64;
        Tracing {
            below: (sample_ratio * all) as u64,
            take: Arc::new(take),
        }
    }

    /// By the trace's identifier, as other programs decide: the same trace is kept or left by all that keep the same part.
    fn samples(&self, trace_id: [u8; 16]) -> bool {
        let low = u128::from_be_bytes(trace_id) & u128::from(u64::MAX);
        low >> 1 < u128::from(self.below)
    }
}

impl fmt::Debug for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tracing(below {})", self.below)
    }
}

/// A request that is traced, on whatever thread it is.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) id: RequestId,
    trace_id: [u8; 16],
    span_id: [u8; 8],
    parent: Option<[u8; 8]>,
    address: Option<IpAddr>,
    begun: Instant,
    told: Mutex<Told>,
}

/// What becomes known of a request while it is answered.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The pattern of its path, where the list of routes has only a part of it.
    pub(super) route: Option<String>,
    /// Who proved to be its client.
    pub(super) client: Option<ClientId>,
    /// What it asks for.
    pub(super) grant_type: AskedGrant,
    /// How it ended.
    pub(super) outcome: Option<Outcome>,
    /// What was done for it.
    pub(super) parts: Vec<Timed>,
}

impl Trace {
    /// Begins the trace of a request, if it is to have one. The request knows it from then on.
    pub(super) fn begin(state: &State, request: &ServiceRequest) -> Option<Arc<Self>> {
        let tracing = state.tracing.as_ref()?;
        let request = request.request();
        let trusted = peer::is_trusted(request, &state.trusted_proxies);
        // A stranger who could decide would fill the collector, or hide.
        let parent = trusted.then(|| TraceContext::of(request)).flatten();
        let id = RequestId::next(peer::request_id(request, &state.trusted_proxies));
        let (own_trace, span_id) = identifiers(&id);
        let trace_id = parent.map_or(own_trace, |parent| parent.trace_id);
        if !parent.map_or_else(|| tracing.samples(trace_id), |parent| parent.sampled) {
            return None;
        }
        let trace = Arc::new(Trace {
            id,
            trace_id,
            span_id,
            parent: parent.map(|parent| parent.parent),
            address: peer::address(request, &state.trusted_proxies).ok().flatten(),
            begun: Instant::now(),
            told: Mutex::default(),
        });
        request.extensions_mut().insert(Arc::clone(&trace));
        Some(trace)
    }

    /// The trace of a request that has one.
    pub(super) fn of(state: &State, request: &HttpRequest) -> Option<Arc<Self>> {
        state.tracing.as_ref()?;
        request.extensions().get::<Arc<Trace>>().cloned()
    }

    /// To be told something.
    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the trace over, now that the answer is known.
    pub(super) fn finish(&self, state: &State, response: &ServiceResponse) {
        let ended = Instant::now();
        let Some(tracing) = &state.tracing else { return };
        let told = std::mem::take(&mut *self.told());
        let scheme = if state.server.issuer().is_https() {
            "https"
        } else {
            "http"
        };
        let mut spans = Vec::with_capacity(1 + told.parts.len());
        spans.push(self.server_span(&told, response, scheme, ended));
        spans.extend(
            (1..)
                .zip(&told.parts)
                .map(|(number, timed)| self.part_span(number, timed)),
        );
        let number = spans.len();
        let finished = FinishedTrace {
            trace_id: self.trace_id,
            spans,
        };
        if !(tracing.take)(finished) {
            state.server.metrics().spans_dropped(number);
        }
    }

    fn server_span(&self, told: &Told, response: &ServiceResponse, scheme: &'static str, ended: Instant) -> Span {
        let method = known(response.request().method());
        let route = told.route.clone().or_else(|| response.request().match_pattern());
        let status = response.status();
        let name = match &route {
            Some(route) => format!("{method} {route}"),
            None => method.to_owned(),
        };
        let mut attributes: Vec<(&'static str, Attribute)> = vec![
            ("http.request.method", method.into()),
            ("url.scheme", scheme.into()),
            ("http.response.status_code", status.as_u16().into()),
            ("keywheel.request_id", self.id.to_string().into()),
        ];
        attributes.extend(route.map(|route| ("http.route", route.into())));
        attributes.extend(
            self.address
                .map(|address| ("client.address", address.to_string().into())),
        );
        let client = told.client.as_ref();
        attributes.extend(client.map(|client| ("keywheel.client_id", client.to_string().into())));
        if !told.grant_type.as_str().is_empty() {
            attributes.push(("keywheel.grant_type", told.grant_type.as_str().into()));
        }
        let error = match told.outcome {
            Some(Outcome::Error(code)) => Some(code.as_str()),
            _ => None,
        };
        attributes.extend(error.map(|error| ("keywheel.error", error.into())));
        if status.is_server_error() {
            let kind = error.map_or_else(|| status.as_u16().to_string().into(), Attribute::from);
            attributes.push(("error.type", kind));
        }
        Span {
            id: self.span_id,
            parent: self.parent,
            name: name.into(),
            kind: SpanKind::Server,
            begun: self.begun,
            ended,
            attributes,
            failed: status.is_server_error(),
        }
    }

    fn part_span(&self, number: u64, timed: &Timed) -> Span {
        let (name, kind, attributes): (_, _, Vec<(&'static str, Attribute)>) = match timed.part {
            Part::Signature(algorithm) => (
                "sign",
                SpanKind::Internal,
                vec![("keywheel.signing_alg", algorithm.into())],
            ),
            Part::PasswordHash => ("hash password", SpanKind::Internal, Vec::new()),
            Part::Database { system, operation } => (
                operation,
                SpanKind::Client,
                vec![
                    ("db.system.name", system.into()),
                    ("db.operation.name", operation.into()),
                ],
            ),
        };
        Span {
            id: u64::from_be_bytes(self.span_id).wrapping_add(number).to_be_bytes(),
            parent: Some(self.span_id),
            name: name.into(),
            kind,
            begun: timed.begun,
            ended: timed.ended,
            attributes,
            failed: false,
        }
    }
}

/// Identifiers of a trace and of its first span.
fn identifiers(id: &RequestId) -> ([u8; 16], [u8; 8]) {
    let bytes = id.bytes("trace");
    let (trace, rest) = bytes.split_first_chunk().unwrap_or((&[1; 16], &[]));
    (*trace, *rest.first_chunk().unwrap_or(&[1; 8]))
}

/// A method that there is; anybody can think of others.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 10] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "QUERY",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("_OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_requests_is_traced_and_none_or_all_if_so_asked() {
        let traced = |ratio| {
            let tracing = Tracing::new(ratio, |_| true);
            (0..10_000)
                .filter(|_| tracing.samples(identifiers(&RequestId::next(None)).0))
                .count()
        };
        assert_eq!((traced(0.0), traced(1.0)), (0, 10_000));
        assert!((800..1_200).contains(&traced(0.1)));
    }

    #[test]
    fn a_method_that_somebody_made_up_is_not_told() {
        assert_eq!(known(&Method::POST), "POST");
        assert_eq!(known(&Method::from_bytes(b"hunter2").unwrap()), "_OTHER");
    }
}
