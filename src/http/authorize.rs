use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, web};

use super::State;
use crate::oauth::ErrorCode;
use crate::server::{AskedGrant, Endpoint, Outcome};

/// The authorization endpoint (RFC 6749 §3.1). No grant uses it, and no client has a redirection URI, so every request ends on
/// this page and never in a redirect (RFC 6749 §4.1.2.1). It exists because strict discovery parsers demand that it be announced.
pub(super) async fn authorize(state: web::Data<State>) -> HttpResponse {
    state.server.metrics().answered(
        Endpoint::Authorization,
        AskedGrant::default(),
        Outcome::Error(ErrorCode::InvalidRequest),
    );
    HttpResponse::BadRequest()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((
            "content-security-policy",
            "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ))
        .insert_header(("x-frame-options", "DENY"))
        .insert_header(("referrer-policy", "no-referrer"))
        .insert_header(("cross-origin-opener-policy", "same-origin"))
        .insert_header(("x-content-type-options", "nosniff"))
        .body(PAGE)
}

const PAGE: &str = "<!doctype html>
<html lang=\"en\">
<title>Authorization request refused</title>
<h1>This authorization request cannot be answered</h1>
<p>Error: <code>invalid_request</code>. No client of this server is registered for signing people in through a browser.</p>
<p>If you came here from an application, tell the people who run it.</p>
</html>
";
