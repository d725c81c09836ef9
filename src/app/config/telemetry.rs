use secrecy::SecretString;
use ureq::http::{HeaderName, HeaderValue};
use url::Url;

use super::ConfigError;
use super::reader::Reader;

/// Where traces go, and of how many requests.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// Where the collector takes traces.
    pub endpoint: Url,
    /// Headers that it wants with them, which may hold a password.
    pub headers: Vec<(String, SecretString)>,
    /// From 0.0 for none to 1.0 for all.
    pub sample_ratio: f64,
    /// What the collector calls this server.
    pub service_name: String,
}

impl TelemetrySettings {
    /// `None` without an endpoint: then there are no traces.
    pub(super) fn read(read: &Reader<'_>) -> Result<Option<Self>, ConfigError> {
        let headers = read.with("telemetry.otlp_headers", headers)?.unwrap_or_default();
        let sample_ratio = read.required(
            "telemetry.sample_ratio",
            read.with("telemetry.sample_ratio", sample_ratio)?,
        )?;
        let service_name = read.parsed("telemetry.service_name")?;
        let endpoint = read.with("telemetry.otlp_endpoint", endpoint)?;
        Ok(endpoint.map(|endpoint| TelemetrySettings {
            endpoint,
            headers,
            sample_ratio,
            service_name,
        }))
    }
}

/// The base URL of OTLP over HTTP, below which traces have a path of their own. No message repeats it: it may hold a password.
fn endpoint(text: &str) -> Result<Url, &'static str> {
    const WRITE: &str = "write the base URL of a collector of OTLP over HTTP, such as http://localhost:4318";
    let mut url = Url::parse(text).map_err(|_no_url| WRITE)?;
    if !["http", "https"].contains(&url.scheme()) || url.host().is_none() {
        return Err(WRITE);
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err("credentials do not belong in the URL, which is shown: write them in telemetry.otlp_headers");
    }
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with(TRACES) {
        url.set_path(&format!("{path}{TRACES}"));
    }
    Ok(url)
}

/// Where below its base a collector takes traces (OTLP specification, "OTLP/HTTP Request").
const TRACES: &str = "/v1/traces";

/// `name=value` pairs with commas in between, values percent-encoded, as the variable of OpenTelemetry has them.
fn headers(text: &str) -> Result<Vec<(String, SecretString)>, &'static str> {
    const WRITE: &str = "write name=value, with commas between several, and commas in values as %2C";
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or(WRITE)?;
            let value = decoded(value.trim()).ok_or(WRITE)?;
            let name = name.trim().to_owned();
            if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(&value).is_err() {
                return Err(WRITE);
            }
            Ok((name, SecretString::from(value)))
        })
        .collect()
}

/// Percent-decoded; a plus sign stays one.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

fn sample_ratio(text: &str) -> Result<f64, &'static str> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or("write a number from 0 for none to 1 for all, such as 0.01")
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn traces_have_their_own_path_below_the_base() {
        for (base, full) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("https://otlp.example/", "https://otlp.example/v1/traces"),
            ("https://otlp.example/otlp/", "https://otlp.example/otlp/v1/traces"),
            ("https://otlp.example/v1/traces", "https://otlp.example/v1/traces"),
        ] {
            assert_eq!(endpoint(base).unwrap().as_str(), full);
        }
        for refused in [
            "localhost:4318",
            "grpc://localhost:4317",
            "http://",
            "http://u:p@localhost:4318",
            "http://localhost:4318?key=1",
        ] {
            let why = endpoint(refused).unwrap_err();
            assert!(!why.contains("u:p") && !why.contains("key"), "{why}");
        }
    }

    // D-22
    #[test]
    fn headers_are_pairs_and_their_values_may_be_encoded() {
        let read = headers("authorization=Basic%20dTpw==, x-a = b%2Cc+d ,").unwrap();
        let read: Vec<_> = read
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose_secret()))
            .collect();
        assert_eq!(read, [("authorization", "Basic dTpw=="), ("x-a", "b,c+d")]);
        for refused in ["a", "=b", "a b=c", "a=%4", "a=%zz", "a=%0d%0a", "a=%ff"] {
            assert!(headers(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_ratio_is_a_part_of_one() {
        assert_eq!(
            ["0", "0.01", "1"].map(|text| sample_ratio(text).unwrap()),
            [0.0, 0.01, 1.0]
        );
        for refused in ["", "-0.1", "1.1", "NaN", "inf", "1 %"] {
            assert!(sample_ratio(refused).is_err(), "{refused}");
        }
    }
}
