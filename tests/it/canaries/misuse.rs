//! Requests with a secret in every place where it does not belong.

use serde_json::json;

use crate::support::http::Request;
use crate::support::server::{Credentials, JWKS, TOKEN};

const INTROSPECT: &str = "/oauth2/introspect";
const REVOKE: &str = "/oauth2/revoke";
const REGISTER: &str = "/oauth2/register";

/// Everything that can be done wrongly with a secret, by a client that is known and by one with this token of an administrator. Nothing of it
/// makes anything of that name.
pub(super) fn of(secret: &str, client: &Credentials, admin: &str) -> Vec<Request> {
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut all = Vec::new();
    for path in [TOKEN, INTROSPECT, REVOKE] {
        all.extend(forms(path, secret, &encoded, client));
    }
    all.extend(logins(secret, client));
    all.extend(registrations(secret, &encoded));
    for bearer in [admin, secret] {
        all.extend(administration(secret, &encoded, bearer));
    }
    for path in [
        "/",
        "/livez?",
        "/.well-known/jwks.json?x=",
        "/.well-known/keywheel/keys/",
        "/oauth2/authorize?code=",
    ] {
        all.push(Request::get(&format!("{path}{encoded}")));
        all.push(Request::new("POST", &format!("{path}{encoded}.pem")).body(secret.as_bytes()));
    }
    all.push(Request::get(JWKS).header("If-None-Match", secret));
    all
}

fn forms(path: &str, secret: &str, encoded: &str, client: &Credentials) -> Vec<Request> {
    let right = || Request::form(path, &[("grant_type", "client_credentials")]);
    let known = |request: Request| request.basic(&client.id, &client.secret);
    let mut all = Vec::new();
    for name in [
        "client_id",
        "client_secret",
        "username",
        "password",
        "refresh_token",
        "token",
        "scope",
        "resource",
        "audience",
        "code",
        "client_assertion",
        "password2",
        secret,
    ] {
        let parameters = [("grant_type", "client_credentials"), (name, secret)];
        all.push(Request::form(path, &parameters));
        // A token that is revoked is used up, and others are still to be looked for.
        if path != REVOKE || name != "token" {
            all.push(known(Request::form(path, &parameters)));
        }
    }
    let misplaced = [
        Request::form(path, &[("grant_type", secret)]),
        known(Request::form(path, &[("grant_type", secret)])),
        known(Request::form(
            &format!("{path}?client_secret={encoded}"),
            &[("grant_type", "client_credentials")],
        )),
        known(Request::form(
            &format!("{path}?x={encoded}"),
            &[("grant_type", "client_credentials")],
        )),
        Request::get(&format!("{path}?client_secret={encoded}")),
        Request::new("PUT", path).body(secret.as_bytes()),
        Request::get(&format!("{path}/{encoded}")),
        right().basic(secret, secret),
        right().basic(&client.id, secret),
        right().basic(secret, "x"),
        right().header("Authorization", secret),
        right().header("Authorization", &format!("Bearer {secret}")),
        right().header("Authorization", &format!("Basic {secret}")),
        known(right()).header("Authorization", &format!("Bearer {secret}")),
        Request::raw_form(path, secret),
        Request::raw_form(path, &format!("client_secret={secret}&x=%zz")),
        Request::raw_form(path, &format!("client_secret={secret}&client_secret={secret}")),
        Request::new("POST", path)
            .header("Content-Type", "application/json")
            .body(json!({"client_secret": secret}).to_string().as_bytes()),
        Request::new("POST", path)
            .header("Content-Type", secret)
            .body(secret.as_bytes()),
        right().header("Content-Encoding", secret),
        right().header("Upgrade", secret),
    ];
    all.extend(misplaced);
    for header in [
        "User-Agent",
        "X-Request-Id",
        "traceparent",
        "tracestate",
        "baggage",
        "Cookie",
        "Referer",
        "Origin",
        "X-Forwarded-For",
        "Idempotency-Key",
        "Accept",
        "Via",
    ] {
        all.push(right().basic(&client.id, "wrong").header(header, secret));
        all.push(known(right()).header(header, secret));
    }
    all
}

fn logins(secret: &str, client: &Credentials) -> Vec<Request> {
    let login = |username: &str, password: &str| {
        let form = [
            ("grant_type", "password"),
            ("username", username),
            ("password", password),
        ];
        Request::form(TOKEN, &form).basic(&client.id, &client.secret)
    };
    let refresh = |token: &str| {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        Request::form(TOKEN, &form).basic(&client.id, &client.secret)
    };
    vec![
        login(secret, "x"),
        login("nobody", secret),
        login(secret, secret),
        login("", secret),
        login("a\u{0}b", secret),
        // Not as it is: of a refresh token that would be right.
        refresh(&format!("{secret}x")),
        refresh(&format!("kwr_{secret}")),
    ]
}

fn registrations(secret: &str, encoded: &str) -> Vec<Request> {
    let bearer = |request: Request| request.header("Authorization", &format!("Bearer {secret}"));
    let json = |request: Request, text: &str| request.header("Content-Type", "application/json").body(text.as_bytes());
    let at = format!("{REGISTER}/{encoded}");
    let wrong = json!({"grant_types": secret, "scope": [secret], secret: secret}).to_string();
    vec![
        json(bearer(Request::new("POST", REGISTER)), &wrong),
        json(Request::new("POST", REGISTER), &wrong),
        json(
            bearer(Request::new("POST", REGISTER)),
            &format!("{{\"client_name\": \"{secret}"),
        ),
        bearer(Request::get(&at)),
        Request::get(&format!("{at}?registration_access_token={encoded}")),
        bearer(Request::new("DELETE", &at)),
        json(bearer(Request::new("PUT", &at)), &wrong),
        bearer(Request::new("POST", &format!("{at}/secrets"))),
        bearer(Request::new("DELETE", &format!("{at}/secrets/{encoded}"))),
        bearer(Request::new("PATCH", &at)),
    ]
}

fn administration(secret: &str, encoded: &str, bearer: &str) -> Vec<Request> {
    let request = |method: &str, path: &str| {
        Request::new(method, &format!("/admin/v1{path}")).header("Authorization", &format!("Bearer {bearer}"))
    };
    let json = |request: Request, document: &serde_json::Value| {
        request
            .header("Content-Type", "application/json")
            .body(document.to_string().as_bytes())
    };
    let mut all = Vec::new();
    for path in [
        "/clients",
        "/users",
        "/families",
        "/audit",
        "/registration-tokens",
        "/keys",
        "/reports/secrets",
    ] {
        all.push(request("GET", &format!("{path}?cursor={encoded}")));
        all.push(request("GET", &format!("{path}?limit={encoded}")));
        all.push(request("GET", &format!("{path}?{encoded}={encoded}")));
        all.push(request("GET", &format!("{path}/{encoded}")));
        all.push(request("DELETE", &format!("{path}/{encoded}")).header("If-Match", secret));
        all.push(request("POST", &format!("{path}/{encoded}/{encoded}")));
        all.push(json(
            request("PATCH", &format!("{path}/{encoded}")),
            &json!({secret: secret}),
        ));
    }
    for action in ["taint", "revoke", "disable", "enable", "secrets"] {
        all.push(request("POST", &format!("/clients/{encoded}/{action}")));
        all.push(request("POST", &format!("/keys/{encoded}/{action}")));
        all.push(request("POST", &format!("/users/{encoded}/{action}")));
    }
    for (path, document) in [
        ("/users", json!({"username": [secret], "password": secret})),
        ("/users", json!({"username": "", "password": secret})),
        ("/users", json!({"username": "x", "password": {"is": secret}})),
        ("/users", json!({secret: "x"})),
        ("/users", json!(secret)),
        ("/users", json!([secret])),
        ("/clients", json!({"client_name": [secret]})),
        ("/clients", json!({"client_name": "x", "grant_types": [secret]})),
        (
            "/clients",
            json!({"client_name": "x", "grant_types": ["client_credentials"], "access_ttl": secret}),
        ),
        ("/clients", json!({"client_name": "x", "client_secret": secret})),
        ("/registration-tokens", json!({"name": "x", "uses": secret})),
        ("/keys/rotate", json!({"now": secret})),
    ] {
        all.push(json(request("POST", path), &document));
        let key = &secret[..secret.len().min(200)];
        all.push(json(request("POST", path), &document).header("Idempotency-Key", key));
    }
    all.push(json(
        request("PUT", "/users/usr_nobody/password"),
        &json!({"password": secret}),
    ));
    all.push(
        request("POST", "/users")
            .header("Content-Type", "application/json")
            .body(format!("{{\"username\": \"x\", \"password\": \"{secret}").as_bytes()),
    );
    all.push(
        request("POST", "/users")
            .header("Content-Type", "text/plain")
            .body(secret.as_bytes()),
    );
    all
}
