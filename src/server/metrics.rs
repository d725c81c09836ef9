use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::durations::Durations;
use super::process_metrics::{ProcessFigures, ProcessMetrics};
use super::request_counts::RequestCounts;
use super::{AskedGrant, Directory, Endpoint, Exhausted, Outcome, Turn};
use crate::oauth::{NumericDate, Seconds, base64url};
use crate::storage::{Store, Swept};

/// What is counted while requests are answered. Figures that others keep are read when the metrics are rendered.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: RequestCounts,
    durations: Durations,
    signatures: Counter,
    tokens_reused: Counter,
    exhausted: Family<BudgetLabels, Counter>,
    cache_lookups: Family<CacheLabels, Counter<u64, AtomicU64>>,
    cached_clients: Gauge,
    database_statements: Counter,
    database_connections: Family<ConnectionLabels, Gauge>,
    database_away: Gauge,
    database_leaves_writes: Gauge,
    database_restored: Gauge,
    log_lines_dropped: Counter,
    expired_rows: Gauge,
    last_sweep: Gauge,
    oldest_expired: Gauge,
    swept_rows: Counter,
    clock_ahead: Gauge,
    spans_exported: Counter,
    spans_dropped: Counter,
    secrets_expiring: Family<ExpiryLabels, Gauge>,
    key_age: Family<KeyLabels, Gauge>,
    key_activation: Family<KeyLabels, Gauge>,
    key_expiry: Family<KeyLabels, Gauge>,
    authority_expiry: Family<AuthorityLabels, Gauge>,
    tls_not_after: Family<CertificateLabels, Gauge>,
    connections: Gauge,
    waiting: Family<WaitLabels, Gauge>,
    process: ProcessMetrics,
}

/// How busy a node is at a moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load {
    /// Open connections of the public listener.
    pub connections: usize,
    /// Requests in the lines for a signature.
    pub signatures: usize,
    /// Refresh tokens that are on their way to be exchanged.
    pub exchanges: usize,
    /// Requests in line for a thread that may wait for the database.
    pub storage: usize,
    /// Requests in line for a thread that hashes passwords.
    pub passwords: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BudgetLabels {
    budget: &'static str,
}

impl From<Exhausted> for BudgetLabels {
    fn from(which: Exhausted) -> Self {
        BudgetLabels { budget: which.as_str() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WaitLabels {
    waits_for: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExpiryLabels {
    days: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyLabels {
    kid: String,
    alg: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AuthorityLabels {
    subject: String,
    certificate_sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabels {
    certificate_sha256: String,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut root = Registry::default();
        let process = ProcessMetrics::new(&mut root);
        let registry = root.sub_registry_with_prefix("keywheel");
        let requests = RequestCounts::new();
        registry.register("requests", "Requests by endpoint, grant and outcome", requests.family());
        let durations = Durations::new();
        registry.register_with_unit(
            "request_duration",
            "From when a request was read until its answer was made, by endpoint",
            Unit::Seconds,
            durations.family(),
        );
        let signatures = Counter::default();
        registry.register("signatures", "Access tokens signed", signatures.clone());
        let tokens_reused = Counter::default();
        registry.register(
            "tokens_reused",
            "Access tokens given again, for which nothing was signed",
            tokens_reused.clone(),
        );
        let exhausted = Family::<BudgetLabels, Counter>::default();
        for which in Exhausted::ALL {
            // There from the start: an alert sees the first one rise.
            let _ = exhausted.get_or_create(&which.into());
        }
        registry.register(
            "failure_budgets_exhausted",
            "How often a client or an address had failed to authenticate so often in a minute that it was told to wait",
            exhausted.clone(),
        );
        let cache_lookups = Family::default();
        registry.register(
            "client_cache_lookups",
            "Lookups of clients by where they were found",
            cache_lookups.clone(),
        );
        let cached_clients = Gauge::default();
        registry.register("client_cache_entries", "Clients kept in memory", cached_clients.clone());
        let database_statements = Counter::default();
        registry.register(
            "database_statements",
            "SQL statements sent",
            database_statements.clone(),
        );
        let database_connections = Family::default();
        registry.register(
            "database_connections",
            "Pooled connections by state",
            database_connections.clone(),
        );
        let database_away = Gauge::default();
        registry.register(
            "database_away",
            "1 while nobody is let through to the database, because it did not answer",
            database_away.clone(),
        );
        let database_leaves_writes = Gauge::default();
        registry.register(
            "database_leaves_writes",
            "1 while nobody writes to the database, because it leaves who does without an answer",
            database_leaves_writes.clone(),
        );
        let database_restored = Gauge::default();
        registry.register(
            "database_restored",
            "1 while the database is in an earlier state than it was, and nobody has said that it was meant",
            database_restored.clone(),
        );
        let log_lines_dropped = Counter::default();
        registry.register(
            "log_lines_dropped",
            "Lines left out of the log, because nobody read it or it could not be written",
            log_lines_dropped.clone(),
        );
        let expired_rows = Gauge::default();
        registry.register(
            "expired_rows",
            "Expired rows that wait to be deleted, counted up to a limit",
            expired_rows.clone(),
        );
        let oldest_expired = Gauge::default();
        registry.register_with_unit(
            "oldest_expired_row_age",
            "Time since the oldest expired row that waits to be deleted could have been",
            Unit::Seconds,
            oldest_expired.clone(),
        );
        let last_sweep = Gauge::default();
        registry.register_with_unit(
            "last_sweep_timestamp",
            "When this node looked last for expired rows to delete, which one node at a time does",
            Unit::Seconds,
            last_sweep.clone(),
        );
        let swept_rows = Counter::default();
        registry.register("swept_rows", "Expired rows deleted by this node", swept_rows.clone());
        let clock_ahead = Gauge::default();
        registry.register_with_unit(
            "clock_ahead_of_database",
            "How far this node's clock is ahead of the database's, and behind when negative",
            Unit::Seconds,
            clock_ahead.clone(),
        );
        let spans_exported = Counter::default();
        registry.register(
            "spans_exported",
            "Spans of traces that the collector took",
            spans_exported.clone(),
        );
        let spans_dropped = Counter::default();
        registry.register(
            "spans_dropped",
            "Spans of traces that were lost, because the collector did not take them in time",
            spans_dropped.clone(),
        );
        let secrets_expiring = Family::default();
        registry.register(
            "client_secrets_expiring",
            "Enabled clients whose last secret ends within so many days",
            secrets_expiring.clone(),
        );
        let key_age = Family::default();
        registry.register_with_unit(
            "signing_key_age",
            "Time since a published key was published",
            Unit::Seconds,
            key_age.clone(),
        );
        let key_activation = Family::default();
        registry.register_with_unit(
            "signing_key_activation_timestamp",
            "When a published key begins to sign, or began to",
            Unit::Seconds,
            key_activation.clone(),
        );
        let key_expiry = Family::default();
        registry.register_with_unit(
            "signing_key_certificate_expires_in",
            "Time until the certificate of a published key ends, negative once it has",
            Unit::Seconds,
            key_expiry.clone(),
        );
        let authority_expiry = Family::default();
        registry.register_with_unit(
            "certificate_authority_expires_in",
            "Time until the certificate of an authority ends on which published keys hang, negative once it has",
            Unit::Seconds,
            authority_expiry.clone(),
        );
        let tls_not_after = Family::default();
        registry.register_with_unit(
            "tls_certificate_not_after_timestamp",
            "When the certificate of the listeners ends",
            Unit::Seconds,
            tls_not_after.clone(),
        );
        let connections = Gauge::default();
        registry.register(
            "connections",
            "Open connections of the public listener, without those that are still in their TLS handshake",
            connections.clone(),
        );
        let waiting = Family::default();
        registry.register("waiting_requests", "Requests that wait for a signature, for an exchange to be written, or for a thread for the database or for passwords", waiting.clone());
        registry.register(
            "build",
            "The running program",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        Metrics {
            registry: root,
            requests,
            durations,
            signatures,
            tokens_reused,
            exhausted,
            cache_lookups,
            cached_clients,
            database_statements,
            database_connections,
            database_away,
            database_leaves_writes,
            database_restored,
            log_lines_dropped,
            expired_rows,
            oldest_expired,
            last_sweep,
            swept_rows,
            clock_ahead,
            spans_exported,
            spans_dropped,
            secrets_expiring,
            key_age,
            key_activation,
            key_expiry,
            authority_expiry,
            tls_not_after,
            connections,
            waiting,
            process,
        }
    }

    /// What the system says of the process now.
    pub fn process(&self, figures: &ProcessFigures) {
        self.process.set(figures);
    }

    /// Tells of the certificate that the listeners show now, and no longer of the one before.
    pub fn tls_certificate(&self, sha256: &str, not_after: NumericDate) {
        self.tls_not_after.clear();
        let labels = CertificateLabels {
            certificate_sha256: sha256.to_owned(),
        };
        self.tls_not_after.get_or_create(&labels).set(not_after.epoch());
    }

    /// Counts an answered request.
    pub fn answered(&self, endpoint: Endpoint, grant_type: AskedGrant, outcome: Outcome) {
        self.requests.count(endpoint, grant_type, outcome);
    }

    /// Measures how long a request took that was read.
    pub fn took(&self, endpoint: Endpoint, duration: Duration) {
        self.durations.took(endpoint, duration);
    }

    /// How many lines were left out of the log so far.
    pub fn lines_dropped(&self, total: u64) {
        self.log_lines_dropped
            .inner()
            .store(total, std::sync::atomic::Ordering::Relaxed);
    }

    /// Counts spans that the collector has.
    pub fn spans_exported(&self, number: usize) {
        self.spans_exported.inc_by(number as u64);
    }

    /// Counts spans that nobody has.
    pub fn spans_dropped(&self, number: usize) {
        self.spans_dropped.inc_by(number as u64);
    }

    pub(super) fn signed(&self) {
        self.signatures.inc();
    }

    pub(super) fn reused(&self) {
        self.tokens_reused.inc();
    }

    pub(super) fn exhausted(&self, which: Exhausted) {
        self.exhausted.get_or_create(&which.into()).inc();
    }

    pub(super) fn clock(&self, ahead: i64) {
        self.clock_ahead.set(ahead);
    }

    pub(super) fn secrets_expiring(&self, within: Seconds, number: i64) {
        let days = within.get() / Seconds::days(1).get();
        self.secrets_expiring.get_or_create(&ExpiryLabels { days }).set(number);
    }

    pub(super) fn restored(&self, restored: bool) {
        self.database_restored.set(i64::from(restored));
    }

    pub(super) fn swept(&self, swept: &Swept, now: NumericDate) {
        self.swept_rows
            .inc_by((swept.refresh_tokens + swept.families + swept.revoked_access_tokens) as u64);
        self.expired_rows.set(swept.backlog);
        self.last_sweep.set(now.epoch());
        self.oldest_expired
            .set(swept.oldest.map_or(0, |oldest| now.since(oldest).get()));
    }

    fn load(&self, load: Load) {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.connections.set(number(load.connections));
        for (waits_for, waiting) in [
            ("signature", load.signatures),
            ("exchange", load.exchanges),
            ("storage", load.storage),
            ("password", load.passwords),
        ] {
            self.waiting
                .get_or_create(&WaitLabels { waits_for })
                .set(number(waiting));
        }
    }

    pub(super) fn render(
        &self,
        turn: &Turn,
        (directory, store): (&Directory, &Store),
        load: Load,
        now: NumericDate,
    ) -> String {
        self.load(load);
        let (hits, misses, entries) = directory.figures();
        for (result, figure) in [("hit", hits), ("miss", misses)] {
            self.cache_lookups
                .get_or_create(&CacheLabels { result })
                .inner()
                .store(figure, std::sync::atomic::Ordering::Relaxed);
        }
        self.cached_clients.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.database_statements
            .inner()
            .store(store.statements(), std::sync::atomic::Ordering::Relaxed);
        self.database_away.set(i64::from(store.is_away()));
        self.database_leaves_writes.set(i64::from(store.leaves_writes()));
        let pool = store.pool();
        for (state, figure) in [("open", pool.connections), ("idle", pool.idle), ("max", pool.max)] {
            self.database_connections
                .get_or_create(&ConnectionLabels { state })
                .set(i64::from(figure));
        }
        self.key_age.clear();
        self.key_activation.clear();
        self.key_expiry.clear();
        self.authority_expiry.clear();
        let left = |end: NumericDate| end.epoch().saturating_sub(now.epoch());
        for authority in turn.authorities() {
            let labels = AuthorityLabels {
                subject: authority.subject().to_owned(),
                certificate_sha256: base64url(&authority.sha256()),
            };
            self.authority_expiry
                .get_or_create(&labels)
                .set(left(authority.not_after()));
        }
        for key in turn.ring().published(now) {
            let state = turn
                .ring()
                .state(key.kid(), now)
                .map_or("unknown", |state| state.as_str());
            let labels = KeyLabels {
                kid: key.kid().to_string(),
                alg: key.record().alg.as_str(),
                state,
            };
            self.key_age
                .get_or_create(&labels)
                .set(now.since(key.record().published_at).get());
            self.key_activation
                .get_or_create(&labels)
                .set(key.record().activates_at.epoch());
            self.key_expiry
                .get_or_create(&labels)
                .set(left(key.certificate().not_after()));
        }
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
