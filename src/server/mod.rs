//! Floor 2: the protocol's rules.
//!
//! Plain synchronous Rust. It knows storage and keys, and neither HTTP nor the configuration file; the time and the source of
//! randomness come in with each call, in a [`Context`].

pub mod admin;
mod client_auth;
mod directory;
mod edge;
mod error;
mod grants;
mod issuer;
mod metadata;
mod metrics;
mod rotation;
mod token;
mod vault;

use std::sync::Arc;

pub use client_auth::{CLIENT_AUTH_METHODS, ClientCredentials};
pub use directory::{Directory, RegisteredClient};
pub use edge::{Context, Edge, Reach};
pub use error::{Failure, TokenError};
pub use grants::{Authorization, GRANTS, Grant};
pub use issuer::TokenResponse;
pub use metadata::Endpoints;
pub use metrics::{Endpoint, Metrics, Outcome};
pub use rotation::{Turn, Wheel, WheelSettings};
pub use token::TokenRequest;
pub use vault::{Vault, VaultError};

use crate::oauth::{IssuerUrl, NumericDate, Seconds, ServerMetadata};
use crate::storage::{ChangeKind, Store};

/// What the rules need to know of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The one issuer string.
    pub issuer: IssuerUrl,
    /// Life of an access token whose client has no life of its own.
    pub access_ttl: Seconds,
    /// How long a cached client may be served while the database is out of reach.
    pub max_staleness: Seconds,
    /// Most clients kept in memory.
    pub cached_clients: u64,
}

/// The token service: everything that answers a request, without the web.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    store: Store,
    vault: Arc<Vault>,
    directory: Directory,
    wheel: Wheel,
    metrics: Arc<Metrics>,
}

impl Server {
    /// Puts the parts together. `now` is the instant at which the store was known to be in reach.
    pub fn new(
        settings: Settings,
        store: Store,
        vault: Arc<Vault>,
        wheel: Wheel,
        now: NumericDate,
    ) -> Result<Self, Failure> {
        let metrics = Arc::new(Metrics::new());
        let directory = Directory::new(
            store.clone(),
            settings.cached_clients,
            settings.max_staleness,
            store.latest_change()?,
            now,
        );
        Ok(Server {
            settings,
            store,
            vault,
            directory,
            wheel,
            metrics,
        })
    }

    /// The issuer, as in every token.
    pub fn issuer(&self) -> &IssuerUrl {
        &self.settings.issuer
    }

    /// The turning keys.
    pub fn wheel(&self) -> &Wheel {
        &self.wheel
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What the server tells about itself, derived from what it dispatches on (RFC 8414).
    pub fn metadata(&self, endpoints: Endpoints) -> ServerMetadata {
        metadata::describe(&self.settings.issuer, endpoints)
    }

    /// Whether requests can be answered: the database was reached lately, and there is a key to sign with.
    pub fn readiness(&self, now: NumericDate) -> Result<(), &'static str> {
        if self.wheel.turn(now).ring().active(now).is_none() {
            return Err("no active signing key");
        }
        if self.directory.is_stale(now, READY_STALENESS) {
            return Err("the database is out of reach");
        }
        Ok(())
    }

    /// One tick of the wheel, meant for about once a second: learns what other nodes and the command line changed, turns the
    /// keys when that is due, and clears away the part of the change feed that every node has long seen.
    pub fn tick(&self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let changes = self.directory.poll(cx.now)?;
        let keys_changed = changes.iter().any(|change| change.kind == ChangeKind::SigningKey);
        self.wheel.tick(&self.store, keys_changed, cx)?;
        if cx.now.epoch() % FEED_RETENTION.get() == 0 {
            self.store.prune_changes(cx.now - FEED_RETENTION, 1_000)?;
        }
        Ok(())
    }

    /// All metrics in the Prometheus text format.
    pub fn render_metrics(&self, now: NumericDate) -> String {
        self.metrics
            .render(&self.wheel.turn(now), &self.directory, &self.store, now)
    }
}

/// A node whose last look at the database is older than this reports that it is not ready.
const READY_STALENESS: Seconds = Seconds::new(5);
/// How long a change stays in the feed. A node that was away for longer forgets its whole cache.
const FEED_RETENTION: Seconds = Seconds::new(600);
