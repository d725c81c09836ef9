use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::trace::{Told, Trace};
use super::{State, peer};
use crate::server::RequestId;
use crate::timed::watched;

/// What goes with a request to whatever thread answers it: how it is called, and its trace if it has one.
#[derive(Debug, Clone)]
pub(super) struct Tag {
    id: RequestId,
    trace: Option<Arc<Trace>>,
}

impl Tag {
    /// To be made once for a request that is not traced: a second time it would be called otherwise.
    pub(super) fn of(state: &State, request: &HttpRequest) -> Self {
        let trace = Trace::of(state, request);
        let id = match &trace {
            Some(trace) => trace.id.clone(),
            None => RequestId::next(peer::request_id(request, &state.trusted_proxies)),
        };
        Tag { id, trace }
    }

    /// How the request is called.
    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    /// Names the request in its answer, so that whoever is refused can say which it was.
    pub(super) fn name(&self, answer: &mut HeaderMap) {
        if let Ok(name) = HeaderValue::from_str(&self.id.to_string()) {
            answer.insert(REQUEST_ID, name);
        }
    }

    /// Tells the trace something, if there is one.
    pub(super) fn tell(&self, tell: impl FnOnce(&mut Told)) {
        if let Some(trace) = &self.trace {
            tell(&mut trace.told());
        }
    }

    /// Does work for the request, which must not panic; its parts become spans of the trace, if there is one.
    pub(super) fn watched<T>(&self, work: impl FnOnce() -> T) -> T {
        let Some(trace) = &self.trace else { return work() };
        let (done, parts) = watched(work);
        trace.told().parts.extend(parts);
        done
    }

    /// Whether somebody wants to know how long things take.
    pub(super) fn is_traced(&self) -> bool {
        self.trace.is_some()
    }
}

/// How the request is called, by the proxy in front or by us.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
