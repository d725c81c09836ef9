//! Traces as the OpenTelemetry protocol writes them: OTLP/JSON, the `ExportTraceServiceRequest` of opentelemetry-proto 1.x in the JSON
//! mapping of protobuf, with identifiers in hexadecimal and 64-bit numbers as text.

use std::time::Instant;

use serde::Serialize;

use crate::http::{Attribute, FinishedTrace, Span, SpanKind};

/// The body of a request to a collector. `nanos` tells when an instant was, in nanoseconds since 1970.
pub(super) fn body(
    service_name: &str,
    traces: &[FinishedTrace],
    nanos: impl Fn(Instant) -> u64,
) -> serde_json::Result<Vec<u8>> {
    let mut spans = Vec::new();
    for trace in traces {
        let trace_id = hex(&trace.trace_id);
        spans.extend(
            trace
                .spans
                .iter()
                .map(|span| Written::of(span, trace_id.clone(), &nanos)),
        );
    }
    let export = Export {
        resource_spans: [ResourceSpans {
            resource: Resource {
                attributes: [
                    KeyValue::text("service.name", service_name),
                    KeyValue::text("service.version", VERSION),
                ],
            },
            scope_spans: [ScopeSpans {
                scope: Scope {
                    name: "keywheel",
                    version: VERSION,
                },
                spans,
            }],
        }],
    };
    serde_json::to_vec(&export)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Export<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Resource<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: [KeyValue<'a>; 2],
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: Vec<Written<'a>>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: &'a str,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<KeyValue<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

impl<'a> Written<'a> {
    fn of(span: &'a Span, trace_id: String, nanos: impl Fn(Instant) -> u64) -> Self {
        Written {
            trace_id,
            span_id: hex(&span.id),
            parent_span_id: span.parent.map(|parent| hex(&parent)),
            name: &span.name,
            kind: match span.kind {
                SpanKind::Internal => 1,
                SpanKind::Server => 2,
                SpanKind::Client => 3,
            },
            start_time_unix_nano: nanos(span.begun).to_string(),
            end_time_unix_nano: nanos(span.ended).to_string(),
            attributes: span.attributes.iter().map(KeyValue::of).collect(),
            status: span.failed.then_some(Status { code: 2 }),
        }
    }
}

/// 2 is an error; everything else is left unset.
#[derive(Serialize)]
struct Status {
    code: u8,
}

#[derive(Serialize)]
struct KeyValue<'a> {
    key: &'static str,
    value: Value<'a>,
}

#[derive(Serialize)]
enum Value<'a> {
    #[serde(rename = "stringValue")]
    Text(&'a str),
    #[serde(rename = "intValue")]
    Number(String),
}

impl<'a> KeyValue<'a> {
    fn text(key: &'static str, text: &'a str) -> Self {
        KeyValue {
            key,
            value: Value::Text(text),
        }
    }

    fn of((key, value): &'a (&'static str, Attribute)) -> Self {
        match value {
            Attribute::Text(text) => KeyValue::text(key, text),
            Attribute::Number(number) => KeyValue {
                key,
                value: Value::Number(number.to_string()),
            },
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_trace_is_written_as_the_protocol_has_it() {
        let now = Instant::now();
        let span = |id, parent, failed| Span {
            id: [id; 8],
            parent,
            name: "POST /oauth2/token".into(),
            kind: SpanKind::Server,
            begun: now,
            ended: now,
            attributes: vec![
                ("http.response.status_code", 503_u16.into()),
                ("http.route", "/\"\n".into()),
            ],
            failed,
        };
        let trace = FinishedTrace {
            trace_id: [0xab; 16],
            spans: vec![span(1, None, true), span(2, Some([1; 8]), false)],
        };
        let body = body("tokens", &[trace], |_| u64::MAX).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let of = &body["resourceSpans"][0];
        let service = json!({"key": "service.name", "value": {"stringValue": "tokens"}});
        assert_eq!(of["resource"]["attributes"][0], service);
        let of = &of["scopeSpans"][0];
        assert_eq!(of["scope"]["name"], "keywheel");
        let attributes = json!([
            {"key": "http.response.status_code", "value": {"intValue": "503"}},
            {"key": "http.route", "value": {"stringValue": "/\"\n"}},
        ]);
        let first = json!({
            "traceId": "ab".repeat(16),
            "spanId": "01".repeat(8),
            "name": "POST /oauth2/token",
            "kind": 2,
            "startTimeUnixNano": "18446744073709551615",
            "endTimeUnixNano": "18446744073709551615",
            "attributes": attributes,
            "status": {"code": 2},
        });
        assert_eq!(of["spans"][0], first);
        assert_eq!(of["spans"][1]["parentSpanId"], "01".repeat(8));
        assert!(of["spans"][1].get("status").is_none());
    }
}
