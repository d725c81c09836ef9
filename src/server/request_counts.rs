use std::sync::OnceLock;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::oauth::{ErrorCode, GrantType};

/// How many requests were answered, by endpoint, grant and outcome.
///
/// A counter is looked for by its labels once. From then on it is found by numbers: hashing and comparing labels would be a fortieth
/// of what a key set costs.
#[derive(Debug)]
pub(super) struct RequestCounts {
    family: Family<RequestLabels, Counter>,
    found: Box<[OnceLock<Counter>]>,
}

/// What a client asked for, as a label. Names that the server does not know count together, so that nobody can grow the number of
/// labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AskedGrant(Asked);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Asked {
    #[default]
    Nothing,
    Other,
    Known(GrantType),
}

/// An endpoint, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is named like its endpoint")]
pub enum Endpoint {
    Token,
    Introspection,
    Revocation,
    Registration,
    Jwks,
    Metadata,
    Certificates,
    Authorization,
    Administration,
}

/// How a request ended, as a label: `ok`, an OAuth error code, or the HTTP status of a request that never got that far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered as asked.
    Ok,
    /// Answered with an OAuth error.
    Error(ErrorCode),
    /// Answered with an HTTP status of its own: 304, 404, 405, 408, 413, 415, 429; of the administration also 500 and 503.
    Status(u16),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    endpoint: Endpoint,
    grant_type: &'static str,
    outcome: Outcome,
}

impl RequestCounts {
    /// Nothing counted yet.
    pub(super) fn new() -> Self {
        RequestCounts {
            family: Family::default(),
            found: (0..Endpoint::NUMBER * GRANTS * OUTCOMES)
                .map(|_| OnceLock::new())
                .collect(),
        }
    }

    /// To be shown with other metrics.
    pub(super) fn family(&self) -> Family<RequestLabels, Counter> {
        self.family.clone()
    }

    /// Counts an answered request.
    pub(super) fn count(&self, endpoint: Endpoint, grant_type: AskedGrant, outcome: Outcome) {
        let find = || {
            let grant_type = grant_type.as_str();
            let labels = RequestLabels {
                endpoint,
                grant_type,
                outcome,
            };
            self.family.get_or_create_owned(&labels)
        };
        let place = outcome
            .place()
            .map(|place| (endpoint as usize * GRANTS + grant_type.place()) * OUTCOMES + place);
        match place.and_then(|place| self.found.get(place)) {
            Some(found) => found.get_or_init(find).inc(),
            None => find().inc(),
        };
    }
}

const GRANTS: usize = 2 + GrantType::ALL.len();
const OUTCOMES: usize = 2 + ErrorCode::ALL.len();

impl From<Option<&str>> for AskedGrant {
    fn from(grant_type: Option<&str>) -> Self {
        let known = |name| GrantType::ALL.into_iter().find(|known| known.as_str() == name);
        AskedGrant(grant_type.map_or(Asked::Nothing, |name| known(name).map_or(Asked::Other, Asked::Known)))
    }
}

impl AskedGrant {
    /// The label; empty where nothing is asked for.
    pub fn as_str(self) -> &'static str {
        match self.0 {
            Asked::Nothing => "",
            Asked::Other => "other",
            Asked::Known(grant_type) => grant_type.as_str(),
        }
    }

    fn place(self) -> usize {
        match self.0 {
            Asked::Nothing => 0,
            Asked::Other => 1,
            Asked::Known(grant_type) => 2 + grant_type as usize,
        }
    }
}

impl Endpoint {
    const NUMBER: usize = Endpoint::Administration as usize + 1;

    fn as_str(self) -> &'static str {
        match self {
            Endpoint::Token => "token",
            Endpoint::Introspection => "introspection",
            Endpoint::Revocation => "revocation",
            Endpoint::Registration => "registration",
            Endpoint::Jwks => "jwks",
            Endpoint::Metadata => "metadata",
            Endpoint::Certificates => "certificates",
            Endpoint::Authorization => "authorization",
            Endpoint::Administration => "administration",
        }
    }
}

impl EncodeLabelValue for Endpoint {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}

impl Outcome {
    /// Of the outcomes that are counted by number: of the statuses only that of what has not changed.
    fn place(self) -> Option<usize> {
        match self {
            Outcome::Ok => Some(0),
            Outcome::Status(304) => Some(1),
            Outcome::Error(code) => Some(2 + code as usize),
            Outcome::Status(_) => None,
        }
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Outcome::Ok => "ok".encode(encoder),
            Outcome::Error(code) => code.as_str().encode(encoder),
            Outcome::Status(status) => u64::from(*status).encode(encoder),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_grant_and_outcome_has_a_counter_of_its_own() {
        let counts = RequestCounts::new();
        let grants = [
            None,
            Some("other"),
            Some("password"),
            Some("client_credentials"),
            Some("refresh_token"),
        ];
        let outcomes = [
            Outcome::Ok,
            Outcome::Status(304),
            Outcome::Status(404),
            Outcome::Error(ErrorCode::InvalidRequest),
            Outcome::Error(ErrorCode::TemporarilyUnavailable),
        ];
        let endpoints = [Endpoint::Token, Endpoint::Jwks, Endpoint::Administration];
        let mut all = Vec::new();
        for endpoint in endpoints {
            for grant_type in grants {
                for outcome in outcomes {
                    all.push((endpoint, AskedGrant::from(grant_type), outcome));
                }
            }
        }
        for round in 1..3 {
            for (number, (endpoint, grant_type, outcome)) in all.iter().enumerate() {
                (0..=number).for_each(|_| counts.count(*endpoint, *grant_type, *outcome));
                let grant_type = grant_type.as_str();
                let labels = RequestLabels {
                    endpoint: *endpoint,
                    grant_type,
                    outcome: *outcome,
                };
                let counted = counts.family.get_or_create_owned(&labels).get();
                assert_eq!(counted, round * (number as u64 + 1), "{labels:?}");
            }
        }
    }
}
