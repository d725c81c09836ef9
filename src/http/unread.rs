//! What becomes of a chunked body that nobody reads. actix reads on and throws away, for as long as the sender likes, so that the
//! connection can be used again. Here it is closed after the answer, as it is with a body of known length.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header::TRANSFER_ENCODING;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage};
use futures_util::Stream;

use super::crowd::Progress;

/// Holds the chunked bodies of requests until they are answered.
pub(super) fn hold<S>(
    mut request: ServiceRequest,
    next: &S,
) -> impl Future<Output = Result<ServiceResponse, Error>> + use<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error>,
{
    let held = Held::of(&mut request);
    let answer = next.call(request);
    async move { Ok(kept(held, answer.await?)) }
}

/// The answer, with what is held for it.
pub(super) fn kept(held: Option<Held>, response: ServiceResponse) -> ServiceResponse {
    match held {
        Some(held) => held.until(response),
        None => response,
    }
}

/// The body of a request, in two hands: that of the handler, who may let go of it, and that of the answer. actix closes the connection
/// where somebody still has hold of a body that is not at its end.
#[derive(Clone)]
pub(super) struct Held {
    body: Rc<RefCell<Payload>>,
    progress: Option<Rc<Progress>>,
}

impl Held {
    /// Takes hold of a chunked body; `None` for every other request.
    pub(super) fn of(request: &mut ServiceRequest) -> Option<Self> {
        if !request.headers().contains_key(TRANSFER_ENCODING) {
            return None;
        }
        let held = Held {
            body: Rc::new(RefCell::new(request.take_payload())),
            progress: request.conn_data::<Rc<Progress>>().cloned(),
        };
        request.set_payload(Payload::Stream {
            payload: Box::pin(held.clone()),
        });
        Some(held)
    }

    /// Keeps hold until the answer is out.
    fn until(self, response: ServiceResponse) -> ServiceResponse {
        response.map_body(|_, body| BoxBody::new(Holding { body, _held: self }))
    }
}

impl Stream for Held {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = Pin::new(&mut *self.body.borrow_mut()).poll_next(cx);
        if let Some(progress) = &self.progress {
            progress.owes_body(chunk.is_pending());
        }
        chunk
    }
}

struct Holding {
    body: BoxBody,
    _held: Held,
}

impl MessageBody for Holding {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(cx)
    }
}
