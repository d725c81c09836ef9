//! Sends finished traces to a collector, on a thread of its own. Whatever the collector does, no request waits for it: traces wait in a
//! bounded queue, and what does not fit is lost and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use serde_json::Value;
use tracing::{info, warn};
use ureq::Agent;

use super::clock::WallClock;
use super::config::TelemetrySettings;
use super::{otlp, web_client};
use crate::http::{FinishedTrace, Tracing};
use crate::server::Server;

/// The thread that sends traces.
#[derive(Debug)]
pub(super) struct Exporter {
    queue: SyncSender<Message>,
    stopping: Arc<AtomicBool>,
    ended: Receiver<()>,
}

enum Message {
    Trace(FinishedTrace),
    /// Look whether it is time to stop.
    Wake,
}

/// Traces that wait to be sent. With a few spans each they take two megabytes.
const QUEUE: usize = 2_048;
/// Most traces in one request to the collector.
const BATCH: usize = 512;
/// How long a trace waits for company.
const COMPANY: Duration = Duration::from_secs(1);
/// How long the collector may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the end of the process waits for the last traces.
const FAREWELL: Duration = Duration::from_secs(2);

impl Exporter {
    /// Starts the thread. Returns which requests are to be traced as well.
    pub(super) fn start(settings: TelemetrySettings, server: Arc<Server>) -> std::io::Result<(Self, Tracing)> {
        let (queue, incoming) = sync_channel(QUEUE);
        let (end, ended) = sync_channel(1);
        let stopping = Arc::new(AtomicBool::new(false));
        let tracing = {
            let queue = queue.clone();
            Tracing::new(settings.sample_ratio, move |trace| {
                queue.try_send(Message::Trace(trace)).is_ok()
            })
        };
        let mut sender = Sender {
            agent: web_client::agent(PATIENCE),
            settings,
            server,
            incoming,
            stopping: Arc::clone(&stopping),
            failing: false,
        };
        std::thread::Builder::new()
            .name("keywheel-traces".to_owned())
            .spawn(move || {
                while sender.send_some() {}
                // Nobody may be waiting any more.
                let _ = end.send(());
            })?;
        let exporter = Exporter { queue, stopping, ended };
        Ok((exporter, tracing))
    }

    /// Has the traces sent that wait, for two seconds at the most.
    pub(super) fn stop(self) {
        self.stopping.store(true, Ordering::Release);
        // A full queue wakes it as well.
        let _ = self.queue.try_send(Message::Wake);
        let _ = self.ended.recv_timeout(FAREWELL);
    }
}

struct Sender {
    agent: Agent,
    settings: TelemetrySettings,
    server: Arc<Server>,
    incoming: Receiver<Message>,
    stopping: Arc<AtomicBool>,
    /// Whether the last request to the collector failed.
    failing: bool,
}

/// Why the collector has not got something.
struct NotTaken {
    why: String,
    /// Worth trying again (OTLP specification, "Retryable Response Codes").
    passing: bool,
}

impl Sender {
    /// Waits for traces and sends them. Returns whether there is more to come.
    fn send_some(&mut self) -> bool {
        let (batch, more) = self.batch();
        if !batch.is_empty() {
            self.send(&batch);
        }
        more
    }

    fn batch(&self) -> (Vec<FinishedTrace>, bool) {
        let mut batch = Vec::new();
        let mut until: Option<Instant> = None;
        while batch.len() < BATCH {
            let stopping = self.stopping.load(Ordering::Acquire);
            let wait = match until {
                _ if stopping => Duration::ZERO,
                Some(until) => until.saturating_duration_since(Instant::now()),
                None => Duration::MAX,
            };
            match self.incoming.recv_timeout(wait) {
                Ok(Message::Trace(trace)) => {
                    until.get_or_insert_with(|| Instant::now() + COMPANY);
                    batch.push(trace);
                }
                Ok(Message::Wake) => {}
                Err(RecvTimeoutError::Timeout) => return (batch, !stopping),
                Err(RecvTimeoutError::Disconnected) => return (batch, false),
            }
        }
        (batch, true)
    }

    fn send(&mut self, batch: &[FinishedTrace]) {
        let spans: usize = batch.iter().map(|trace| trace.spans.len()).sum();
        let clock = WallClock::read();
        let body = otlp::body(&self.settings.service_name, batch, |instant| clock.nanos(instant));
        let outcome = match body {
            Ok(body) => self.post(&body).or_else(|not_taken| {
                let again = not_taken.passing && !self.stopping.load(Ordering::Acquire);
                if !again {
                    return Err(not_taken);
                }
                std::thread::sleep(COMPANY);
                self.post(&body)
            }),
            Err(error) => Err(NotTaken {
                why: error.to_string(),
                passing: false,
            }),
        };
        match outcome {
            Ok(rejected) => {
                let rejected = rejected.min(spans);
                self.server.metrics().spans_exported(spans - rejected);
                self.server.metrics().spans_dropped(rejected);
                if self.failing {
                    info!(event = "traces.recovered", "the collector takes traces again");
                }
                self.failing = false;
            }
            Err(NotTaken { why, .. }) => {
                self.server.metrics().spans_dropped(spans);
                // One line when it starts to fail, not one a second.
                if !self.failing {
                    warn!(
                        event = "traces.failed",
                        why, "traces are lost until the collector takes them"
                    );
                }
                self.failing = true;
            }
        }
    }

    /// Returns how many spans the collector did not want.
    fn post(&self, body: &[u8]) -> Result<usize, NotTaken> {
        let mut request = self
            .agent
            .post(self.settings.endpoint.as_str())
            .header("content-type", "application/json");
        for (name, value) in &self.settings.headers {
            request = request.header(name, value.expose_secret());
        }
        let mut response = request.send(body).map_err(|error| NotTaken {
            why: error.to_string(),
            passing: true,
        })?;
        let status = response.status();
        if !status.is_success() {
            return Err(NotTaken {
                why: format!("the collector answers {status}"),
                passing: [429, 502, 503, 504].contains(&status.as_u16()),
            });
        }
        // To the end, so that the connection can be used again.
        let answer = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec();
        Ok(answer.map_or(0, |answer| rejected(&answer)))
    }
}

/// Most bytes of an answer that are read.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// How many spans an answer says were not wanted (`ExportTracePartialSuccess`); none if it says nothing that is understood.
fn rejected(answer: &[u8]) -> usize {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let Some(number) = answer.pointer("/partialSuccess/rejectedSpans") else {
        return 0;
    };
    let number = number.as_u64().or_else(|| number.as_str()?.parse().ok());
    number.and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_collector_did_not_want_is_known() {
        for (answer, number) in [
            ("", 0),
            ("{}", 0),
            (r#"{"partialSuccess":{}}"#, 0),
            (r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"x"}}"#, 3),
            (r#"{"partialSuccess":{"rejectedSpans":3}}"#, 3),
            (r#"{"partialSuccess":{"rejectedSpans":"-3"}}"#, 0),
        ] {
            assert_eq!(rejected(answer.as_bytes()), number, "{answer}");
        }
    }
}
