use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use moka::sync::Cache;

use super::{Context, Failure, Reach, TokenError};
use crate::oauth::{Client, ClientId, ClientSecretRecord, NumericDate, Seconds};
use crate::storage::{ChangeKind, Store};

/// A client and its secrets, as one request sees them.
#[derive(Debug)]
pub struct RegisteredClient {
    /// The client.
    pub client: Client,
    /// Its secrets, live or not.
    pub secrets: Vec<ClientSecretRecord>,
}

/// Clients in memory: bounded, filled on demand, kept true by the change feed.
///
/// While the feed is read, an entry is at most one poll behind. Once it has not been read for `max_staleness`, entries count no
/// longer, so a client that was disabled elsewhere cannot live on behind a broken connection.
pub struct Directory {
    store: Store,
    known: Cache<ClientId, Arc<RegisteredClient>>,
    /// Identifiers that nobody registered: they cost a lookup once, and an unknown client is answered as fast as a wrong secret.
    unknown: Cache<ClientId, ()>,
    /// Grows with every invalidation; a record that was read before one is not kept after it.
    generation: AtomicU64,
    last_change: AtomicI64,
    synced_at: AtomicI64,
    max_staleness: Seconds,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Directory {
    /// An empty directory of at most `capacity` clients that follows the feed from `last_change` on.
    pub fn new(store: Store, capacity: u64, max_staleness: Seconds, last_change: i64, now: NumericDate) -> Self {
        Directory {
            store,
            known: Cache::new(capacity),
            unknown: Cache::new(capacity.min(MOST_UNKNOWN)),
            generation: AtomicU64::new(0),
            last_change: AtomicI64::new(last_change),
            synced_at: AtomicI64::new(now.epoch()),
            max_staleness,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// The client registered under `id`. From memory when it is there and fresh, else from the database, when the context may
    /// reach that far.
    pub fn client(&self, id: &ClientId, cx: &Context<'_>) -> Result<Option<Arc<RegisteredClient>>, TokenError> {
        if !self.is_stale(cx.now, self.max_staleness) {
            if let Some(client) = self.known.get(id) {
                self.hits.fetch_add(1, Ordering::Relaxed);
                return Ok(Some(client));
            }
            if self.unknown.contains_key(id) {
                self.hits.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
        }
        match cx.reach {
            Reach::Memory => Err(TokenError::Needs(Reach::Storage)),
            Reach::Storage | Reach::Passwords => Ok(self.load(id)?),
        }
    }

    /// Whether this client is in memory.
    pub(super) fn remembers(&self, id: &ClientId) -> bool {
        self.known.contains_key(id)
    }

    fn load(&self, id: &ClientId) -> Result<Option<Arc<RegisteredClient>>, Failure> {
        self.misses.fetch_add(1, Ordering::Relaxed);
        let generation = self.generation.load(Ordering::Acquire);
        let record = self
            .store
            .client(id)?
            .map(|(client, secrets)| Arc::new(RegisteredClient { client, secrets }));
        match &record {
            Some(record) => self.known.insert(id.clone(), Arc::clone(record)),
            None => self.unknown.insert(id.clone(), ()),
        }
        // An invalidation that ran between the read and the insertion found nothing to remove: remove it now.
        if self.generation.load(Ordering::Acquire) != generation {
            self.known.invalidate(id);
            self.unknown.invalidate(id);
        }
        Ok(record)
    }

    /// Reads the change feed and forgets what changed. Returns whether signing keys changed, or may have.
    pub fn poll(&self, now: NumericDate) -> Result<bool, Failure> {
        let away = now.since(NumericDate::from_epoch(self.synced_at.load(Ordering::Acquire)));
        let last = self.last_change.load(Ordering::Acquire);
        let changes = self.store.changes_after(last, MOST_CHANGES)?;
        let is = |wanted: ChangeKind| changes.iter().any(|change| change.kind == wanted);
        let lost_track = away > FORGET_AFTER || is(ChangeKind::Unknown);
        if lost_track || changes.len() >= MOST_CHANGES as usize {
            self.forget_all();
        } else {
            let clients = changes.iter().filter(|change| change.kind == ChangeKind::Client);
            clients.for_each(|change| self.forget(&change.subject));
        }
        if let Some(newest) = changes.last() {
            self.last_change.store(newest.id, Ordering::Release);
        }
        self.synced_at.store(now.epoch(), Ordering::Release);
        Ok(lost_track || is(ChangeKind::SigningKey))
    }

    /// Forgets everything and follows the feed from `last_change` on, which may be lower than before.
    pub(super) fn begin_anew(&self, last_change: i64) {
        self.last_change.store(last_change, Ordering::Release);
        self.forget_all();
    }

    /// Forgets a client that this node changed itself, before the feed tells of it.
    pub(super) fn forget(&self, subject: &str) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        if let Ok(id) = ClientId::parse(subject) {
            self.known.invalidate(&id);
            self.unknown.invalidate(&id);
        }
    }

    fn forget_all(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.known.invalidate_all();
        self.unknown.invalidate_all();
    }

    /// Whether the feed was last read more than `limit` before `now`.
    pub fn is_stale(&self, now: NumericDate, limit: Seconds) -> bool {
        now.since(NumericDate::from_epoch(self.synced_at.load(Ordering::Acquire))) > limit
    }

    /// Lookups answered from memory, lookups that asked the database, and clients in memory.
    pub fn figures(&self) -> (u64, u64, u64) {
        (
            self.hits.load(Ordering::Relaxed),
            self.misses.load(Ordering::Relaxed),
            self.known.entry_count(),
        )
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("clients", &self.known.entry_count())
            .finish_non_exhaustive()
    }
}

/// Most identifiers remembered as unknown: an attacker who tries names cannot push out known clients.
const MOST_UNKNOWN: u64 = 10_000;
/// Most changes read at once; when there are more, forgetting everything is cheaper than following them.
const MOST_CHANGES: u32 = 1_000;
/// The feed keeps changes for ten minutes. Whoever was away for half of that starts afresh.
const FORGET_AFTER: Seconds = Seconds::new(300);
