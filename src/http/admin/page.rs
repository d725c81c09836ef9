//! The page on which people read the OpenAPI document: one file, no script, nothing loaded from elsewhere.

use std::fmt::Write;

use serde_json::Value;

use super::ROOT;

/// The page of a document.
pub(super) fn html(document: &Value) -> String {
    let mut page = String::from(HEAD);
    let text = |value: &Value| escaped(value.as_str().unwrap_or_default());
    let _ = write!(
        page,
        "<h1>{}</h1><p>{}</p><p>The same for programs: <a href=\"v1/openapi.json\">openapi.json</a> (OpenAPI 3.1).</p>",
        text(at(document, "/info/title")),
        text(at(document, "/info/description")),
    );
    for (path, methods) in at(document, "/paths").as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            page.push_str(&section(path, method, operation));
        }
    }
    page.push_str("<h2>Documents</h2>");
    for (name, schema) in at(document, "/components/schemas").as_object().into_iter().flatten() {
        let schema = serde_json::to_string_pretty(schema).unwrap_or_default();
        let _ = write!(
            page,
            "<details id=\"{0}\"><summary>{0}</summary><pre>{1}</pre></details>",
            escaped(name),
            escaped(&schema)
        );
    }
    page.push_str("</main></html>\n");
    page
}

fn section(path: &str, method: &str, operation: &Value) -> String {
    let text = |value: &Value| escaped(value.as_str().unwrap_or_default());
    let mut section = format!(
        "<section><h2><b>{}</b> <code>{ROOT}{}</code></h2><p>{}</p><p>Needs <code>{}</code>.</p>",
        escaped(&method.to_ascii_uppercase()),
        escaped(path),
        text(at(operation, "/summary")),
        text(at(operation, "/security/0/oauth2/0")),
    );
    let parameters = at(operation, "/parameters").as_array().into_iter().flatten();
    let rows: String = parameters
        .map(|parameter| {
            let (name, place, why) = (
                text(at(parameter, "/name")),
                text(at(parameter, "/in")),
                text(at(parameter, "/description")),
            );
            format!("<tr><td><code>{name}</code><td>{place}<td>{why}")
        })
        .collect();
    if !rows.is_empty() {
        let _ = write!(section, "<table>{rows}</table>");
    }
    let linked = |schema: &Value| {
        let name = schema["$ref"]
            .as_str()
            .and_then(|reference| reference.rsplit('/').next());
        name.map_or_else(
            || "a list".to_owned(),
            |name| format!("<a href=\"#{0}\">{0}</a>", escaped(name)),
        )
    };
    if operation.get("requestBody").is_some() {
        let schema = at(operation, "/requestBody/content/application~1json/schema");
        let _ = write!(section, "<p>Send {}.</p>", linked(schema));
    }
    section.push_str("<p>Answers ");
    let answers = operation["responses"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(status, answer)| {
            let content = answer["content"]
                .as_object()
                .and_then(|content| content.values().next());
            match content {
                Some(content) if status.starts_with('2') => {
                    format!("{} {}", escaped(status), linked(at(content, "/schema")))
                }
                _ => escaped(status),
            }
        });
    section.push_str(&answers.collect::<Vec<_>>().join(", "));
    section.push_str(".</p></section>");
    section
}

/// What a JSON Pointer (RFC 6901) leads to; null if nothing is there.
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
<title>keywheel administration</title><style>\
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:0}main{max-width:52rem;margin:auto;padding:1rem}\
h2{font-size:1.1rem;margin:2rem 0 .3rem}code,pre{font-family:ui-monospace,monospace;font-size:.9em}pre{overflow:auto}\
p{margin:.3rem 0}td{padding:.1rem .8rem .1rem 0;vertical-align:top}section{border-top:1px solid #8884}\
</style><main>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_every_operation_and_can_be_driven_by_none() {
        let document = serde_json::json!({
            "info": {"title": "<script>"},
            "paths": {"/a": {"get": {"summary": "b & \"c\"", "responses": {"200": {}, "401": {}}}}},
        });
        let page = html(&document);
        assert!(page.contains("<b>GET</b> <code>/admin/v1/a</code>"));
        assert!(page.contains("&lt;script&gt;") && page.contains("b &amp; &quot;c&quot;") && !page.contains("<script"));
    }
}
