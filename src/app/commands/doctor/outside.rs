use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::inside::Published;
use super::{Finding, Process, told};
use crate::app::web_client;
use crate::oauth::IssuerUrl;

/// Looks at the server as clients and verifiers see it: at its issuer, or at another address by which it is reached.
pub(super) fn examine(
    process: &Process,
    url: Option<&str>,
    published: Option<&Published>,
    findings: &mut Vec<Finding>,
) {
    let Some(issuer) = &process.config.issuer else {
        let mend = "set KEYWHEEL_ISSUER to the URL under which clients reach the server";
        findings.push(Finding::failed("issuer", "none is configured", mend));
        return;
    };
    if !issuer.is_https() && !issuer.is_loopback() {
        let found = format!("{issuer} is not https: secrets and tokens travel in clear");
        findings.push(Finding::warning(
            "issuer",
            found,
            "put a proxy with TLS in front, or set tls.certificate and tls.private_key, and use the https URL",
        ));
    }
    let base = url.unwrap_or(issuer.as_str()).trim_end_matches('/');
    let visitor = Visitor(web_client::agent(PATIENCE));
    let metadata_url = format!("{base}/.well-known/openid-configuration");
    let metadata = match visitor.document(&metadata_url) {
        Ok((_, metadata)) => metadata,
        Err(reason) => {
            let mend = "see whether the server runs, whether the name and the certificate are right (a private authority's can be named in \
                        SSL_CERT_FILE), and whether a proxy passes every path on; or give the address by which it is reached from here \
                        with --url";
            findings.push(Finding::failed("issuer", format!("{metadata_url}: {reason}"), mend));
            return;
        }
    };
    findings.push(same_issuer(issuer, &metadata));
    findings.extend(key_set(process, &visitor, base, published));
}

fn same_issuer(issuer: &IssuerUrl, metadata: &Value) -> Finding {
    match metadata.get("issuer").and_then(Value::as_str) {
        Some(served) if served == issuer.as_str() => {
            Finding::ok("issuer", format!("{issuer} is served, and what is configured here"))
        }
        served => Finding::failed(
            "issuer",
            format!(
                "the server calls itself {}, here {issuer} is configured",
                served.unwrap_or("nothing")
            ),
            "give both the same KEYWHEEL_ISSUER, to the letter: verifiers compare it so",
        ),
    }
}

fn key_set(process: &Process, visitor: &Visitor, base: &str, published: Option<&Published>) -> Vec<Finding> {
    let url = format!("{base}/.well-known/jwks.json");
    let (response, set) = match visitor.document(&url) {
        Ok(found) => found,
        Err(reason) => {
            let mend = "have the proxy pass /.well-known/ on as it is";
            return vec![Finding::failed("key set", format!("{url}: {reason}"), mend)];
        }
    };
    let kids = set.get("keys").and_then(Value::as_array).into_iter().flatten();
    let served: BTreeSet<String> = kids.filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect();
    let mut findings = Vec::new();
    findings.push(match published {
        Some(published) if *published != served => Finding::failed(
            "key set",
            format!(
                "it has the keys {}, the database has {}",
                listed(&served),
                listed(published)
            ),
            "see whether something keeps an old copy of the set, or whether the server uses another database",
        ),
        _ => Finding::ok("key set", format!("{} keys are served", served.len())),
    });
    findings.push(cached(process, visitor, &url, &response));
    findings
}

fn listed(kids: &BTreeSet<String>) -> String {
    kids.iter().cloned().collect::<Vec<_>>().join(", ")
}

/// Whether whoever stands in between leaves alone how long the set may be kept.
fn cached(process: &Process, visitor: &Visitor, url: &str, response: &Response<()>) -> Finding {
    const CHECK: &str = "caching of the key set";
    let mend = "have the proxy pass Cache-Control and ETag of /.well-known/jwks.json on as they are";
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let control = header("cache-control").unwrap_or_default();
    let max_age = control
        .split(',')
        .find_map(|part| part.trim().strip_prefix("max-age=")?.parse::<i64>().ok());
    let longest = process.config.jwks_max_age;
    match max_age {
        None => {
            return Finding::warning(
                CHECK,
                "verifiers are not told how long to keep it: they guess, or ask for every token",
                mend,
            );
        }
        Some(max_age) if max_age > longest.get() => {
            let found = format!(
                "verifiers are told to keep it for {max_age}s, longer than signing.jwks_max_age ({longest}): keys may turn too early for them"
            );
            return Finding::failed(CHECK, found, mend);
        }
        Some(_) => {}
    }
    let Some(etag) = header("etag") else {
        return Finding::warning(CHECK, "it has no entity tag, so each fetch costs the whole set", mend);
    };
    match visitor.get(url, Some(etag)) {
        Ok(again) if again.status() == StatusCode::NOT_MODIFIED => {
            Finding::ok(CHECK, format!("{control}, and who has it already is told so"))
        }
        Ok(again) => {
            let found = format!("who has it already is answered {} and not 304", again.status().as_u16());
            Finding::warning(CHECK, found, mend)
        }
        Err(reason) => Finding::warning(CHECK, reason, mend),
    }
}

/// Fetches documents, each bounded in time and size.
struct Visitor(Agent);

const PATIENCE: Duration = Duration::from_secs(10);
const LARGEST: u64 = 256 * 1_024;

impl Visitor {
    fn get(&self, url: &str, etag: Option<&str>) -> Result<Response<Body>, String> {
        let request = self
            .0
            .get(url)
            .header("User-Agent", concat!("keywheel-doctor/", env!("CARGO_PKG_VERSION")));
        let request = match etag {
            Some(etag) => request.header("If-None-Match", etag),
            None => request,
        };
        request.call().map_err(told)
    }

    /// A JSON document, and what came with it.
    fn document(&self, url: &str) -> Result<(Response<()>, Value), String> {
        let response = self.get(url, None)?;
        if response.status() != StatusCode::OK {
            return Err(format!("it is answered {}", response.status()));
        }
        let (parts, mut body) = response.into_parts();
        let bytes = body.with_config().limit(LARGEST).read_to_vec().map_err(told)?;
        let document = serde_json::from_slice(&bytes).map_err(|error| format!("it is no JSON document ({error})"))?;
        Ok((Response::from_parts(parts, ()), document))
    }
}
