//! An administrator at the API.

use keywheel::oauth::{Audiences, ClientMetadata, Scope};
use serde_json::Value;

use super::http::{Request, Response};
use super::server::{Credentials, TestServer, metadata};

/// Somebody with a token.
#[derive(Clone)]
pub(crate) struct Bearer<'s> {
    server: &'s TestServer,
    pub(crate) client: Credentials,
    pub(crate) token: String,
}

impl<'s> Bearer<'s> {
    /// A client with that scope, whose tokens are for the issuer.
    pub(crate) fn with_scope(server: &'s TestServer, id: &str, scope: &str) -> Self {
        let client = server.client(
            id,
            ClientMetadata {
                scope: Scope::parse(scope).unwrap(),
                audiences: Audiences::default(),
                ..metadata()
            },
        );
        let token = server.granted(&client, &[]);
        Bearer { server, client, token }
    }

    /// An administrator.
    pub(crate) fn admin(server: &'s TestServer) -> Self {
        Bearer::with_scope(server, "root", "keywheel:admin")
    }

    /// The same with a token of now.
    pub(crate) fn again(&self) -> Self {
        Bearer {
            token: self.server.granted(&self.client, &[]),
            ..self.clone()
        }
    }

    /// A request in this bearer's name.
    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        Request::new(method, &format!("/admin/v1{path}")).header("Authorization", &format!("Bearer {}", self.token))
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.server.send(&self.request("GET", path))
    }

    pub(crate) fn delete(&self, path: &str) -> Response {
        self.server.send(&self.request("DELETE", path))
    }

    /// Posts nothing.
    pub(crate) fn act(&self, path: &str) -> Response {
        self.server.send(&self.request("POST", path))
    }

    pub(crate) fn post(&self, path: &str, document: &Value) -> Response {
        self.server.send(&with(self.request("POST", path), document))
    }

    pub(crate) fn put(&self, path: &str, document: &Value) -> Response {
        self.server.send(&with(self.request("PUT", path), document))
    }

    /// The same with a key by which it can be repeated.
    pub(crate) fn post_once(&self, path: &str, document: &Value, key: &str) -> Response {
        let request = with(self.request("POST", path), document).header("Idempotency-Key", key);
        self.server.send(&request)
    }

    pub(crate) fn patch(&self, path: &str, document: &Value, etag: &str) -> Response {
        let request = with(self.request("PATCH", path), document).header("If-Match", etag);
        self.server.send(&request)
    }
}

/// With a JSON document.
pub(crate) fn with(request: Request, document: &Value) -> Request {
    request
        .header("Content-Type", "application/json")
        .body(document.to_string().as_bytes())
}

/// What must have been done, as a document.
pub(crate) fn done(response: &Response, status: u16) -> Value {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert!(response.header("x-request-id").is_some_and(|id| id.len() == 16));
    if status == 204 {
        assert!(response.body.is_empty());
        return Value::Null;
    }
    assert_eq!(response.header("content-type"), Some("application/json"));
    response.json()
}

/// What must have been refused; what is said of it (RFC 9457).
pub(crate) fn refused(response: &Response, status: u16) -> String {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let problem = response.json();
    assert_eq!(problem["status"], status);
    assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()));
    let member = problem["member"].as_str().unwrap_or_default();
    format!("{member}: {}", problem["detail"].as_str().unwrap())
}
