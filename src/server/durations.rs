use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::Endpoint;

/// How long requests took, by endpoint: from when one was read until its answer was made.
#[derive(Debug)]
pub(super) struct Durations {
    family: Family<DurationLabels, Histogram, fn() -> Histogram>,
    /// By the endpoint's number, found once: to look for one by its label takes longer than to count.
    found: Vec<Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DurationLabels {
    endpoint: Endpoint,
}

/// In seconds. A signature is well below the first, a password within the fifth; whoever waits for longer than the last is refused.
const BOUNDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Those whose requests are measured. Documents lie ready.
const MEASURED: [Endpoint; 3] = [Endpoint::Token, Endpoint::Introspection, Endpoint::Revocation];

impl Durations {
    /// Nothing was measured yet.
    pub(super) fn new() -> Self {
        let family = Family::new_with_constructor((|| Histogram::new(BOUNDS)) as fn() -> Histogram);
        let found = MEASURED.map(|endpoint| family.get_or_create_owned(&DurationLabels { endpoint }));
        Durations {
            family,
            found: found.into(),
        }
    }

    /// To be shown with other metrics.
    pub(super) fn family(&self) -> Family<DurationLabels, Histogram, fn() -> Histogram> {
        self.family.clone()
    }

    /// Measures a request.
    pub(super) fn took(&self, endpoint: Endpoint, duration: Duration) {
        if let Some(place) = MEASURED.iter().position(|measured| *measured == endpoint)
            && let Some(histogram) = self.found.get(place)
        {
            histogram.observe(duration.as_secs_f64());
        }
    }
}
