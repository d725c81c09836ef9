//! The OpenAPI 3.1 document, made of the table that requests are dispatched on and of the types that are read and written.

use actix_web::http::StatusCode;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::ROOT;
use super::operation::Operation;
use super::problem::Details;
use crate::server::admin::Right;

/// The document of these operations, for the server under `issuer`.
pub(super) fn document(operations: &[Operation], issuer: &str) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Details>();
    let mut paths = Map::new();
    for operation in operations {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        let method = operation.method.as_str().to_ascii_lowercase();
        put(path, &method, described(operation, &mut generator, problem.as_value()));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "keywheel administration",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Clients, their secrets, users, signing keys, logins and the audit trail. Send an access token of this server, fetched \
                            for the issuer with the scope that the operation names; keywheel:admin contains keywheel:read.",
        },
        "servers": [{"url": format!("{}{ROOT}", issuer.trim_end_matches('/'))}],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "oauth2": {
                    "type": "oauth2",
                    "flows": {
                        "clientCredentials": {
                            "tokenUrl": format!("{}/oauth2/token", issuer.trim_end_matches('/')),
                            "scopes": {
                                Right::Read.scope(): "to look",
                                Right::Admin.scope(): "to look and to change",
                                Right::Own.scope(): "to look after one's own secrets",
                            },
                        },
                    },
                },
            },
        },
    })
}

fn described(operation: &Operation, generator: &mut SchemaGenerator, problem: &Value) -> Value {
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "security": [{"oauth2": [operation.right.scope()]}],
        "parameters": parameters(operation, generator),
        "responses": responses(operation, generator, problem),
    });
    if let Some(body) = operation.body {
        let schema = body(generator);
        let body = json!({"required": true, "content": {"application/json": {"schema": schema}}});
        put(&mut described, "requestBody", body);
    }
    described
}

fn parameters(operation: &Operation, generator: &mut SchemaGenerator) -> Vec<Value> {
    let mut parameters: Vec<Value> = parts(operation.path)
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}))
        .collect();
    let query = (operation.query)(generator);
    if let Some(members) = query.get("properties").and_then(Value::as_object) {
        for (name, schema) in members {
            let mut schema = not_null(schema.clone());
            let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            parameters.push(json!({
                "name": name, "in": "query", "required": false, "schema": schema, "description": description.unwrap_or_default(),
            }));
        }
    }
    if operation.conditional {
        let why = "The ETag of what is meant: nothing is done if it is not as it was seen. An update needs one.";
        parameters.push(json!({
            "name": "If-Match", "in": "header", "required": false, "schema": {"type": "string"}, "description": why,
        }));
    }
    if operation.repeatable {
        let why = "Sent again with the same key, the request makes nothing again and is answered as before.";
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "schema": {"type": "string", "minLength": 8, "maxLength": 255, "pattern": "^[!-~]+$"}, "description": why,
        }));
    }
    parameters
}

/// Adds a member to an object.
fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// The names in a template.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// What is absent from a query is not null.
fn not_null(mut schema: Value) -> Value {
    if let Some(kinds) = schema.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_slice() {
            let kind = kind.clone();
            put(&mut schema, "type", kind);
        }
    }
    schema
}

fn responses(operation: &Operation, generator: &mut SchemaGenerator, problem: &Value) -> Value {
    let mut responses = Map::new();
    let success = operation.success;
    let mut done = json!({"description": success.canonical_reason().unwrap_or_default()});
    if let Some(answer) = operation.answer {
        let schema = answer(generator);
        put(&mut done, "content", json!({"application/json": {"schema": schema}}));
    }
    responses.insert(success.as_str().to_owned(), done);
    for status in refusals(operation) {
        let refused = json!({
            "description": status.canonical_reason().unwrap_or_default(),
            "content": {"application/problem+json": {"schema": problem}},
        });
        responses.insert(status.as_str().to_owned(), refused);
    }
    responses.into()
}

/// Statuses with which the operation may be refused.
fn refusals(operation: &Operation) -> Vec<StatusCode> {
    let mut refusals = vec![
        StatusCode::BAD_REQUEST,
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    let mut may = |kind: bool, statuses: &[StatusCode]| {
        if kind {
            refusals.extend_from_slice(statuses);
        }
    };
    may(parts(operation.path).next().is_some(), &[StatusCode::NOT_FOUND]);
    may(operation.conflicts, &[StatusCode::CONFLICT]);
    may(operation.conditional, &[StatusCode::PRECONDITION_FAILED]);
    may(operation.repeatable, &[StatusCode::UNPROCESSABLE_ENTITY]);
    may(
        operation.body.is_some(),
        &[
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ],
    );
    refusals
}
