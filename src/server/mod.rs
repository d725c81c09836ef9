//! Floor 2: the protocol's rules.
//!
//! Plain synchronous Rust. It knows storage and keys, and neither HTTP nor the configuration file; the time and the source of
//! randomness come in with each call, in a [`Context`].

mod address_block;
pub mod admin;
mod audit;
mod audit_chain;
mod audit_verify;
mod authority;
mod client_auth;
mod clock_skew;
mod demand;
mod directory;
mod durations;
mod edge;
mod error;
mod expiry;
mod families;
mod fetchers;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod grants;
mod interval;
mod introspection;
mod issuer;
mod latest;
mod metadata;
mod metrics;
pub mod password;
mod process_metrics;
mod quotas;
mod registration;
mod request_counts;
mod request_id;
mod restore;
mod reusable_tokens;
mod revocation;
mod revoked_tokens;
mod rotation;
mod secret_uses;
mod standstill;
mod successors;
mod token;
mod unwritten;
mod usage;
mod vault;
mod verified_tokens;
mod window;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use audit_verify::{BrokenTrail, SealName, VerifiedTrail, verify_trail};
pub use client_auth::{CLIENT_AUTH_METHODS, ClientCredentials};
pub use directory::{Directory, RegisteredClient};
pub use edge::{Context, Decision, Edge, Reach};
pub use error::{Failure, TokenError};
pub use families::Exchanging;
pub use grants::{Authorization, Beginning, Continuation, Exchange, GRANTS, Grant, Known, Limits};
pub use introspection::{ActiveToken, Introspection};
pub use issuer::TokenResponse;
pub use metadata::Endpoints;
pub use metrics::{Load, Metrics};
pub use process_metrics::ProcessFigures;
pub use quotas::QuotaLeft;
pub use registration::{AddedSecret, BearerToken, ClientInformation, RegistrationRequest, RequestedMetadata};
pub use request_counts::{AskedGrant, Endpoint, Outcome};
pub use request_id::RequestId;
pub use restore::{BarredKey, Remembered, Restored};
pub use rotation::{Turn, Wheel, WheelSettings};
pub use token::TokenRequest;
pub use vault::{Vault, VaultError};

use self::address_block::AddressBlock;
use self::audit_chain::Sealer;
use self::client_auth::{Exhausted, Failures};
use self::clock_skew::ClockSkew;
use self::expiry::Expiries;
use self::fetchers::Fetchers;
use self::interval::Interval;
use self::latest::Latest;
use self::password::{Decoys, PasswordHash, PasswordHasher, Throttle};
use self::quotas::Quotas;
use self::restore::Watch;
use self::reusable_tokens::ReusableTokens;
use self::revoked_tokens::RevokedTokens;
use self::rotation::load_ring;
use self::secret_uses::SecretUses;
use self::standstill::Standstill;
use self::successors::Successors;
use self::unwritten::Unwritten;
use self::usage::Usage;
use self::verified_tokens::VerifiedTokens;
use crate::oauth::{ClientId, GrantType, IssuerUrl, NumericDate, Seconds, ServerMetadata, base64url};
use crate::storage::Store;
pub use crate::storage::Waiting;

/// What the rules need to know of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The one issuer string.
    pub issuer: IssuerUrl,
    /// Life of an access token whose client has no life of its own.
    pub access_ttl: Seconds,
    /// Life of a refresh token that is not used, for clients without one of their own.
    pub refresh_ttl: Seconds,
    /// Life of a family of refresh tokens however much it is used, for clients without one of their own.
    pub refresh_absolute_ttl: Seconds,
    /// Whether users' passwords are taken at the token endpoint at all.
    pub password_grant: bool,
    /// Passwords that are checked at once.
    pub password_threads: usize,
    /// How long audit events are kept.
    pub audit_retention: Seconds,
    /// How far this node's clock may be from the database's; `None` for however far.
    pub clock_tolerance: Option<Seconds>,
    /// How long a cached client may be served while the database is out of reach.
    pub max_staleness: Seconds,
    /// Most clients kept in memory.
    pub cached_clients: u64,
}

impl Settings {
    /// Whether the server answers this grant.
    pub(super) fn serves(&self, grant: GrantType) -> bool {
        grant != GrantType::Password || self.password_grant
    }
}

/// The token service: everything that answers a request, without the web.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    store: Store,
    vault: Arc<Vault>,
    directory: Directory,
    wheel: Wheel,
    passwords: PasswordHasher,
    decoys: Decoys,
    failures: Failures,
    quotas: Quotas,
    throttle: Throttle,
    revoked: RevokedTokens,
    reusable: ReusableTokens,
    verified: VerifiedTokens,
    successors: Successors,
    secret_uses: SecretUses,
    usage: Usage,
    latest: Latest,
    standstill: Standstill,
    unwritten: Unwritten,
    /// When anybody was served last before this process.
    served_at: Option<NumericDate>,
    watch: Watch,
    expiries: Expiries,
    sealer: Sealer,
    fetchers: Fetchers,
    clock_skew: ClockSkew,
    metrics: Metrics,
    pruning: Interval,
    tending: Interval,
    sweeping: Interval,
    watching: Interval,
}

impl Server {
    /// Opens the keys and puts the parts together. The database was in reach at the instant of `cx`. `before` is what the
    /// process before this one remembered: a database that was put back to an earlier state is refused.
    pub fn open(
        settings: Settings,
        wheel: WheelSettings,
        store: Store,
        vault: Arc<Vault>,
        before: Option<&Remembered>,
        cx: &mut Context<'_>,
    ) -> Result<Self, Failure> {
        let clock_skew = ClockSkew::new(settings.clock_tolerance);
        clock_skew.look(&store, cx.now)?;
        if clock_skew.is_off() {
            // Before the wheel may turn by it.
            let reason =
                "this machine's clock is off from the database's by more than keys allow for: set it, and start again";
            return Err(Failure::Unavailable(reason, None));
        }
        // Before anything is loaded: what changes from here on is seen at the first tick.
        let last_change = store.latest_change()?;
        request_id::seed(cx.rng);
        let mut uid = [0; 16];
        cx.rng.fill_bytes(&mut uid);
        store.identify(&base64url(&uid))?;
        // Before the wheel may make a key.
        let served_at = standstill::last_served(&store, cx.now)?;
        let watch = Watch::begin(&store, before, &load_ring(&store, &vault)?)?;
        let wheel = Wheel::open(&store, Arc::clone(&vault), wheel, cx)?;
        let passwords = PasswordHasher::start(settings.password_threads)
            .map_err(|error| Failure::Broken("passwords cannot be checked", Box::new(error)))?;
        let decoys = PasswordHash::nobodys()
            .map(Decoys::new)
            .map_err(|error| Failure::Broken("passwords cannot be checked", Box::new(error)))?;
        let directory = Directory::new(
            store.clone(),
            settings.cached_clients,
            settings.max_staleness,
            last_change,
            cx.now,
        );
        let revoked = RevokedTokens::default();
        revoked.poll(&store, cx.now)?;
        let server = Server {
            settings,
            store,
            vault,
            directory,
            wheel,
            passwords,
            decoys,
            failures: Failures::new(cx.rng.next_u64(), cx.now),
            quotas: Quotas::default(),
            throttle: Throttle::default(),
            revoked,
            reusable: ReusableTokens::default(),
            verified: VerifiedTokens::default(),
            successors: Successors::default(),
            secret_uses: SecretUses::new(cx.now),
            usage: Usage::new(cx.now),
            latest: Latest::new(cx.now),
            standstill: Standstill::default(),
            unwritten: Unwritten::default(),
            served_at,
            watch,
            expiries: Expiries::default(),
            sealer: Sealer::default(),
            fetchers: Fetchers::default(),
            clock_skew,
            watching: Interval::after(cx.now, WATCH_EVERY),
            metrics: Metrics::new(),
            tending: Interval::after(cx.now, TEND_EVERY),
            pruning: Interval::after(cx.now, TEND_EVERY),
            sweeping: Interval::after(cx.now, SWEEP_EVERY),
        };
        server.follow_users()?;
        Ok(server)
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
    pub fn metadata(&self, endpoints: Endpoints, now: NumericDate) -> ServerMetadata {
        metadata::describe(&self.settings, endpoints, &self.wheel.turn(now), now)
    }

    /// Whether there is a client with this identifier, as far as this node knows from memory.
    pub fn remembers(&self, client: &ClientId) -> bool {
        self.directory.remembers(client)
    }

    /// Counts a fetch of the JWK set as it is in `turn`.
    pub fn fetched(&self, turn: &Turn, user_agent: &[u8], address: Option<IpAddr>, now: NumericDate) {
        self.fetchers.count(user_agent, address, turn.newest_key_at(), now);
    }

    /// Whether requests can be answered: this node is [sound](Self::soundness), and the database was reached lately and is not an older one.
    pub fn readiness(&self, now: NumericDate) -> Result<(), &'static str> {
        self.soundness(now)?;
        if self.watch.is_restored() {
            return Err("the database was restored: run keywheel restore finalize");
        }
        if self.clock_skew.is_off() {
            return Err("this node's clock is off from the database's");
        }
        if self.directory.is_stale(now, READY_STALENESS) {
            return Err("the database is out of reach");
        }
        Ok(())
    }

    /// Whether this node can do what it does without the database: there is a key to sign with. What is wrong with the database, its
    /// clock among it, is wrong with that of all nodes, and no reason to leave this one out.
    pub fn soundness(&self, now: NumericDate) -> Result<(), &'static str> {
        let signer = self.wheel.turn(now).signer(None, now).map(drop);
        signer.ok_or("no active signing key")
    }

    /// One tick, meant for about once a second: [learns](Self::follow) what other nodes and the command line changed, and
    /// [turns](Self::turn) the keys when that is due.
    pub fn tick(&self, cx: &mut Context<'_>) -> Result<(), Failure> {
        match self.follow(cx.now)? {
            Following::Fit => self.turn(cx),
            Following::Unfit => Ok(()),
        }
    }

    /// Learns what other nodes and the command line changed, and says whether this node may change anything itself.
    pub fn follow(&self, now: NumericDate) -> Result<Following, Failure> {
        self.latest.at(now);
        self.store.look_for_waiting_commits()?;
        self.watch(now)?;
        if self.directory.poll(now)? {
            self.wheel.distrust();
        }
        self.revoked.poll(&self.store, now)?;
        if self.clock_skew.is_off() {
            // By a wrong clock nothing is made, destroyed or deleted.
            self.wheel.follow(&self.store, now)?;
            return Ok(Following::Unfit);
        }
        Ok(Following::Fit)
    }

    /// Turns the keys when that is due, and clears away what nobody needs any more. The instant of `cx` is to be read after
    /// [`follow`](Self::follow): what a key's turn is planned by must not be as old as a slow database makes it.
    pub fn turn(&self, cx: &mut Context<'_>) -> Result<(), Failure> {
        // Keys that cannot turn are no reason to let anything else lie.
        let turned = self.wheel.tick(&self.store, cx);
        self.expiries
            .tell(&self.wheel.turn(cx.now), self.wheel.policy(), cx.now);
        let tended = self.tend(cx.now);
        let pruned = self.prune(cx.now);
        self.write_down(cx.now);
        let swept = self.sweep(cx.now);
        turned.and(tended).and(pruned).and(swept)
    }

    /// Deletes old audit events, as many as a tick can bear; once a minute, and in each tick while there are more.
    fn prune(&self, now: NumericDate) -> Result<(), Failure> {
        if self.pruning.is_due(now) {
            let before = now - self.settings.audit_retention;
            let more = audit_chain::prune(&self.store, &self.vault, before, MOST_AUDIT_EVENTS);
            if !matches!(more, Ok(true)) {
                self.pruning.done(now);
            }
            more?;
        }
        Ok(())
    }

    /// Clears away what nobody needs any more, once a minute.
    fn tend(&self, now: NumericDate) -> Result<(), Failure> {
        if self.tending.is_due(now) {
            self.store.prune_changes(now - FEED_RETENTION, 1_000)?;
            self.store
                .forget_fetchers(now - self.wheel.policy().fetchers_memory())?;
            self.store.forget_usage(now - USAGE_RETENTION)?;
            self.store.forget_creations(now - admin::REPEATED_FOR, 1_000)?;
            self.quotas.forget_old(now);
            self.follow_users()?;
            for within in EXPIRY_METRICS {
                let expiring = self.store.secrets_expiring(now, now + within)?;
                self.metrics.secrets_expiring(within, expiring);
            }
            self.tending.done(now);
        }
        Ok(())
    }

    /// Says that the process begins to serve. Who says [after each tick](Self::ticked) how late it is then has it noticed when nobody could
    /// be answered, which does not count as time to fetch a lost answer.
    pub fn begun(&self, now: NumericDate) {
        self.standstill.begun(self.served_at, now);
    }

    /// Says that a tick is over that began at `begun`, whatever came of it.
    pub fn ticked(&self, begun: NumericDate, now: NumericDate) {
        if !self.directory.is_stale(begun, Seconds::new(0)) && !self.store.leaves_writes() {
            self.standstill.followed(now);
        }
    }

    /// Says that the process is awake. Who says so more than once a second has it noticed when it stood still: requests that came meanwhile
    /// may be as old.
    pub fn awake(&self, now: NumericDate) {
        self.standstill.awake(now);
    }

    /// Says that the database did not write in time what it was asked for.
    pub fn held_up(&self, begun: NumericDate, ended: NumericDate) {
        self.standstill.held_up(begun, ended);
    }

    /// Writes down what only this process knows, before it ends.
    pub fn farewell(&self) -> Result<(), Failure> {
        let uses = self.secret_uses.flush_all(&self.store);
        let failures = self.failures.flush_all(&self.store);
        uses.and(failures).and(self.usage.flush_all(&self.store))
    }

    /// Looks whether the database was put back to an earlier state, and now and then what time it is there.
    fn watch(&self, now: NumericDate) -> Result<(), Failure> {
        if self.watching.is_due(now) {
            if self.clock_skew.look(&self.store, now)? {
                self.latest.confirmed(now);
            }
            self.metrics.clock(self.clock_skew.ahead());
            self.watching.done(now);
        }
        // What is lost before it was seen is not missed: so it is looked for in each tick.
        if let Some(finalized) = self.watch.look(&self.store, self.wheel.turn(now).ring())? {
            self.directory.begin_anew(finalized.change);
            self.revoked.begin_anew();
            self.wheel.distrust();
        }
        Ok(())
    }

    /// What is to be kept outside of the database, for the next process.
    pub fn remembered(&self) -> Remembered {
        self.watch.remembered()
    }

    /// Has unknown users take as long as those that there are.
    fn follow_users(&self) -> Result<(), Failure> {
        let sample = self.store.sample_password_hashes(DECOYS)?;
        self.decoys
            .follow(sample.iter().filter_map(|hash| PasswordHash::parse(hash).ok()));
        Ok(())
    }

    /// Clears away what has expired, in small batches: now and then, and in each tick some of them while there is more.
    fn sweep(&self, now: NumericDate) -> Result<(), Failure> {
        let begun = Instant::now();
        while self.sweeping.is_due(now) {
            match self.store.sweep(now, SWEEP_BATCH)? {
                Some(swept) => {
                    self.metrics.swept(&swept, now);
                    if swept.backlog == 0 {
                        self.sweeping.done(now);
                    } else if swept.is_empty() {
                        // Others hold what is left.
                        break;
                    }
                }
                // Another node is at it.
                None => self.sweeping.done(now),
            }
            if begun.elapsed() > MOST_SWEEPING {
                break;
            }
        }
        Ok(())
    }

    /// All metrics in the Prometheus text format.
    pub fn render_metrics(&self, load: Load, now: NumericDate) -> String {
        let kept = (&self.directory, &self.store);
        self.metrics.restored(self.watch.is_restored());
        self.metrics.render(&self.wheel.turn(now), kept, load, now)
    }
}

/// A node whose last look at the database is older than this reports that it is not ready.
const READY_STALENESS: Seconds = Seconds::new(5);

/// Whether a node that follows the others may change anything itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Following {
    /// It may.
    Fit,
    /// Its clock is off.
    Unfit,
}

/// How long a change stays in the feed. A node that was away for longer forgets its whole cache.
const FEED_RETENTION: Seconds = Seconds::new(600);
/// Time between two looks for expired rows, once there are none left.
const SWEEP_EVERY: Seconds = Seconds::minutes(1);
/// Most audit events deleted in a tick: a busy node writes some thousands a second.
const MOST_AUDIT_EVENTS: usize = 10_000;
/// Most rows of a table in one transaction, so that none holds up a request.
const SWEEP_BATCH: u32 = 1_000;
/// Of a tick, for as many of them as fit: each exchange of a refresh token leaves a row that expires, and a busy node has thousands a second.
const MOST_SWEEPING: Duration = Duration::from_millis(200);
/// Time between two looks at the end of the feed, at old audit events and at the kinds of users' hashes.
const TEND_EVERY: Seconds = Seconds::minutes(1);
/// Time between two looks at the database's clock.
const WATCH_EVERY: Seconds = Seconds::new(10);
/// How long it is known how many tokens each client was given.
const USAGE_RETENTION: Seconds = Seconds::days(92);
/// Client secrets that end within these times are counted.
const EXPIRY_METRICS: [Seconds; 3] = [Seconds::days(1), Seconds::days(7), Seconds::days(14)];
/// Users whose hashes are looked at.
const DECOYS: u32 = 100;
