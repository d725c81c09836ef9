use actix_web::Error;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use futures_util::TryFutureExt as _;
use futures_util::future::{Either, MapOk};

/// Tells everybody who came over TLS to come no other way, with every answer of the application (RFC 6797 §7.1): not with
/// those to what is no HTTP, nor with the refusal of a body that was only announced. In clear nothing is told (§7.2).
pub(super) fn strictly<S>(is_over_tls: bool, request: ServiceRequest, next: &S) -> Strictly<S::Future>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error>,
{
    let answer = next.call(request);
    if is_over_tls {
        Either::Right(answer.map_ok(telling))
    } else {
        Either::Left(answer)
    }
}

type Strictly<F> = Either<F, MapOk<F, fn(ServiceResponse) -> ServiceResponse>>;

fn telling(mut response: ServiceResponse) -> ServiceResponse {
    let policy = HeaderValue::from_static(POLICY);
    response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, policy);
    response
}

/// A year. Of hosts below this one keywheel knows nothing.
const POLICY: &str = "max-age=31536000";
