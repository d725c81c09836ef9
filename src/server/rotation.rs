mod renewal;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};
use serde_json::json;
use tracing::{error, info};

pub(super) use self::renewal::renewal_detail;
use super::authority::{Authority, trust_anchors};
use super::demand;
use super::{Context, Failure, Vault};
use crate::failpoint::failpoint;
use crate::keys::{
    DataKey, Demand, Jwks, KeyRecord, KeyRing, Leaf, PrivateKey, RotationPolicy, SigningKey, Slot, Step, TrustAnchor,
    TrustAnchors,
};
use crate::oauth::{Audience, Audiences, IssuerUrl, NumericDate, Seconds, SigningAlgorithm, Thumbprint};
use crate::storage::{AuditEvent, Insertion, Store, StoredKey};

/// What the wheel needs to know of the configuration.
#[derive(Debug, Clone)]
pub struct WheelSettings {
    /// Stands in every certificate.
    pub issuer: IssuerUrl,
    /// When keys turn.
    pub policy: RotationPolicy,
    /// Life of an access token whose client has no life of its own: keys stay published at least this long.
    pub access_ttl: Seconds,
    /// Longest `max-age` of the JWK set.
    pub jwks_max_age: Seconds,
}

/// The turning keys of this node: the ring in force, and how it follows the rows in the database.
///
/// The state of a key is a function of its row and the time, so nodes agree without talking to each other: whatever one of them
/// writes, all of them read within a second.
#[derive(Debug)]
pub struct Wheel {
    settings: WheelSettings,
    vault: Arc<Vault>,
    /// Who certifies new keys.
    authority: ArcSwap<Authority>,
    turn: ArcSwap<Turn>,
    issuer_as_audience: Audiences,
    /// Whether rows have changed since they were read.
    stale: AtomicBool,
}

/// One position of the wheel: the keys, and the JWK set as bytes.
#[derive(Debug)]
pub struct Turn {
    ring: Arc<KeyRing>,
    demand: Arc<Demand>,
    /// With what clients without a wish of their own are signed for: the first algorithm that has a key.
    order: [SigningAlgorithm; SigningAlgorithm::ALL.len()],
    anchors: Arc<TrustAnchors>,
    in_force: Vec<TrustAnchor>,
    jwks: Jwks,
    body: Arc<[u8]>,
    newest_key_at: NumericDate,
}

impl Turn {
    fn new(
        (ring, demand): (Arc<KeyRing>, Arc<Demand>),
        own: SigningAlgorithm,
        anchors: Arc<TrustAnchors>,
        now: NumericDate,
    ) -> Self {
        let jwks = ring.jwks(now);
        let in_force = anchors.in_force(&ring, now).into_iter().cloned().collect();
        let newest_key_at = ring.published(now).map(|key| key.record().published_at).max();
        Turn {
            newest_key_at: newest_key_at.unwrap_or(now),
            body: jwks.body.as_slice().into(),
            ring,
            order: demand.order(own),
            demand,
            anchors,
            in_force,
            jwks,
        }
    }

    /// The keys.
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// Which algorithms are wanted.
    pub(super) fn demand(&self) -> &Demand {
        &self.demand
    }

    /// The key that signs at `now` for a client that wants `algorithm`; `None` for what the server is set to. While an algorithm has no
    /// key that every verifier knows, one of another algorithm signs in its place.
    pub fn signer(&self, algorithm: Option<SigningAlgorithm>, now: NumericDate) -> Option<&Arc<SigningKey>> {
        self.ring.signer(algorithm.into_iter().chain(self.order), now)
    }

    /// The JWK set: its tag, and how long it may be kept.
    pub fn jwks(&self) -> &Jwks {
        &self.jwks
    }

    /// The JWK set as bytes, ready to be sent without a copy.
    pub fn jwks_body(&self) -> Arc<[u8]> {
        Arc::clone(&self.body)
    }

    /// When the newest key of the set was published: whoever gets the set knows all that were published until then.
    pub fn newest_key_at(&self) -> NumericDate {
        self.newest_key_at
    }

    /// The present authority, and after it every other on which it or a published key hangs.
    pub fn authorities(&self) -> &[TrustAnchor] {
        &self.in_force
    }

    /// Their certificates in PEM.
    pub fn authorities_pem(&self) -> String {
        self.in_force.iter().map(TrustAnchor::pem).collect()
    }
}

impl Wheel {
    /// Loads the keys, makes what is missing (the certificate authority, the first key, the next key), and proves that every
    /// key that may sign does: no port is open yet.
    pub fn open(
        store: &Store,
        vault: Arc<Vault>,
        settings: WheelSettings,
        cx: &mut Context<'_>,
    ) -> Result<Self, Failure> {
        store.raise_token_life(settings.access_ttl, cx.now)?;
        let authority = Authority::open(store, &vault, &settings.issuer, cx)?;
        let ring = Arc::new(load_ring(store, &vault)?);
        let own = settings.policy.settings().algorithm;
        let demand = Arc::new(demand::follow(store, own, cx.now)?);
        let issuer_as_audience = Audience::parse(settings.issuer.as_str())
            .into_iter()
            .collect::<Audiences>();
        let turn = Turn::new((ring, demand), own, Arc::clone(&authority.anchors), cx.now);
        let wheel = Wheel {
            settings,
            vault,
            authority: ArcSwap::from_pointee(authority),
            turn: ArcSwap::from_pointee(turn),
            issuer_as_audience,
            stale: AtomicBool::new(false),
        };
        if let Err(failure) = wheel.turn_as_due(store, cx) {
            // As on a node that runs: keys that cannot turn sign on, and the next tick tries again.
            wheel.signer(None, cx.now).map_err(|_no_key| failure)?;
            error!(
                event = "keys.not_turned",
                "keys cannot turn, and those that there are sign on: see what each tick says"
            );
        }
        Ok(wheel)
    }

    /// The wheel's position at `now`. Never waits and never fails: it is what was last read from the database, advanced by time.
    pub fn turn(&self, now: NumericDate) -> Guard<Arc<Turn>> {
        let turn = self.turn.load();
        if turn.jwks.changes_at.is_some_and(|instant| instant <= now) {
            let seen = (Arc::clone(&turn.ring), Arc::clone(&turn.demand));
            let anchors = Arc::clone(&turn.anchors);
            // Unless somebody read newer keys meanwhile: then theirs stays.
            let advanced = Arc::new(Turn::new(seen, self.own(), anchors, now));
            self.turn.compare_and_swap(&turn, advanced);
            return self.turn.load();
        }
        turn
    }

    /// The key that signs at `now`, as [`Turn::signer`] says.
    pub fn signer(&self, algorithm: Option<SigningAlgorithm>, now: NumericDate) -> Result<Arc<SigningKey>, Failure> {
        let turn = self.turn.load();
        turn.signer(algorithm, now)
            .cloned()
            .ok_or(Failure::Unavailable("no active signing key", None))
    }

    /// When keys turn.
    pub(super) fn policy(&self) -> &RotationPolicy {
        &self.settings.policy
    }

    /// Longest `max-age` of the JWK set.
    pub fn jwks_max_age(&self) -> Seconds {
        self.settings.jwks_max_age
    }

    /// The audience of clients for which none is registered.
    pub(super) fn issuer_as_audience(&self) -> &Audiences {
        &self.issuer_as_audience
    }

    /// Marks the keys as changed: the next tick reads them, and if it cannot, the one after that.
    pub(super) fn distrust(&self) {
        self.stale.store(true, Ordering::Release);
    }

    /// Follows what other nodes changed and takes the steps that are due.
    pub(super) fn tick(&self, store: &Store, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.follow(store, cx.now)?;
        self.follow_demand(store, cx.now)?;
        self.turn_as_due(store, cx)?;
        self.wait_for_fetchers(store, cx.now)
    }

    /// Follows what other nodes changed, and takes no step.
    pub(super) fn follow(&self, store: &Store, now: NumericDate) -> Result<(), Failure> {
        if self.stale.load(Ordering::Acquire) {
            self.reload(store, now)?;
            self.stale.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// Learns which algorithms clients want, and lets the other nodes know what this one is set to.
    fn follow_demand(&self, store: &Store, now: NumericDate) -> Result<(), Failure> {
        let demand = demand::follow(store, self.own(), now)?;
        let before = self.turn.load();
        if *before.demand != demand {
            let seen = (Arc::clone(&before.ring), Arc::new(demand));
            let turn = Turn::new(seen, self.own(), Arc::clone(&before.anchors), now);
            self.turn.store(Arc::new(turn));
        }
        Ok(())
    }

    fn own(&self) -> SigningAlgorithm {
        self.settings.policy.settings().algorithm
    }

    fn reload(&self, store: &Store, now: NumericDate) -> Result<(), Failure> {
        let before = self.turn.load();
        let ring = load_ring_after(store, &self.vault, before.ring())?;
        let authority = Authority::follow(self.authority.load_full(), store, &self.vault)?;
        let seen = (Arc::new(ring), Arc::clone(&before.demand));
        let turn = Turn::new(seen, self.own(), Arc::clone(&authority.anchors), now);
        self.authority.store(authority);
        self.turn.store(Arc::new(turn));
        Ok(())
    }

    /// Takes steps until none is due: the first key makes a next key due.
    fn turn_as_due(&self, store: &Store, cx: &mut Context<'_>) -> Result<(), Failure> {
        for _ in 0..MOST_STEPS_AT_ONCE {
            let turn = self.turn.load();
            let mut steps = self.settings.policy.due(turn.ring(), turn.demand(), cx.now);
            // An authority that ends soon cannot help; who looks at the log was told.
            steps.retain(|step| !matches!(step, Step::Renew(kid) if self.renewal(kid, cx.now).is_none()));
            if steps.is_empty() {
                return Ok(());
            }
            for step in steps {
                match step {
                    Step::Create(slot) => self.create(store, &slot, cx)?,
                    Step::Withdraw(kid) => withdraw(store, &kid, cx.now)?,
                    Step::Destroy(kid) => destroy(store, &kid, cx.now)?,
                    Step::Renew(kid) => self.renew(store, &kid, cx)?,
                    Step::Postpone { kid, from, to } => postpone(store, &kid, from, to, cx.now)?,
                    Step::Raise(life) => drop(store.raise_token_life(life, cx.now)?),
                }
            }
            self.reload(store, cx.now)?;
        }
        Ok(())
    }

    /// Puts planned turns off a little while somebody who fetches the JWK set has not got the next key.
    fn wait_for_fetchers(&self, store: &Store, now: NumericDate) -> Result<(), Failure> {
        let turn = self.turn.load();
        for (next, step) in self.settings.policy.waits(turn.ring(), now) {
            if let Step::Postpone { kid, from, to } = step {
                self.wait_for_fetchers_of(next, (kid, from, to), store, now)?;
            }
        }
        Ok(())
    }

    fn wait_for_fetchers_of(
        &self,
        next: &KeyRecord,
        (kid, from, to): (Thumbprint, NumericDate, NumericDate),
        store: &Store,
        now: NumericDate,
    ) -> Result<(), Failure> {
        let fetchers = store.fetchers()?;
        let awaited = fetchers
            .iter()
            .filter(|fetcher| fetcher.lacks(next.published_at))
            .count();
        if awaited == 0 {
            return Ok(());
        }
        let event = AuditEvent {
            detail: json!({"planned": from, "activates_at": to, "awaited_fetchers": awaited}),
            ..by_the_wheel("key.postponed", &kid, now)
        };
        if store.set_activation(&kid, from, to, &event)? {
            info!(%kid, activates_at = %to, awaited, "put a turn off: not all who fetch the JWK set have the next key");
            self.reload(store, now)?;
        }
        Ok(())
    }

    /// Makes the key outside of any transaction (it takes long), then inserts it. When another node was first, its key counts
    /// and this one is forgotten.
    fn create(&self, store: &Store, slot: &Slot, cx: &mut Context<'_>) -> Result<(), Failure> {
        let broken =
            |error: Box<dyn std::error::Error + Send + Sync>| Failure::Broken("a signing key could not be made", error);
        let policy = &self.settings.policy;
        let (_, ends) = self.authority.load().validity();
        if ends <= slot.published_at {
            // Sooner than after a key was made for nothing.
            let why = format!(
                "the certificate authority has ended at {ends}: import another with \"keywheel keys import ca\""
            );
            return Err(broken(why.into()));
        }
        let private_key = PrivateKey::generate(slot.algorithm, policy.settings().rsa_bits)
            .map_err(|error| broken(Box::new(error)))?;
        failpoint!("key.made");
        let kid = private_key.public_key().thumbprint();
        let leaf = Leaf {
            kid: &kid,
            public_key: private_key.public_key(),
            issuer: &self.settings.issuer,
            not_before: slot.published_at,
            not_after: policy.certificate_not_after(slot),
        };
        let certificate = self
            .authority
            .load()
            .certifying
            .certify(&leaf, cx.rng)
            .map_err(|error| broken(Box::new(error)))?;
        let sealed = self
            .vault
            .data_key()
            .seal(kid.as_str(), private_key.pkcs8(), cx.rng)
            .map_err(|error| broken(Box::new(error)))?;
        let stored = StoredKey {
            kid: kid.clone(),
            alg: slot.algorithm.as_str().to_owned(),
            slot: slot.slot,
            published_at: slot.published_at,
            activates_at: slot.activates_at,
            certificate: certificate.der().to_vec(),
            sealed_private_key: Some(sealed),
            longest_token_life: self.settings.access_ttl,
            withdrawn_at: None,
            tainted_at: None,
            revoked_at: None,
        };
        let event = by_the_wheel("key.published", &kid, cx.now);
        failpoint!("key.sealed");
        let inserted = store.create_signing_key(&stored, &event)?;
        failpoint!("key.published");
        match inserted {
            Insertion::Inserted => {
                info!(%kid, alg = %slot.algorithm, activates_at = %slot.activates_at, "published a new signing key");
            }
            Insertion::Exists => info!(slot = slot.slot, "another node published this key first"),
        }
        Ok(())
    }
}

/// The first key and the next key, with what their creation makes due, and as much again for lost races. The algorithms turn beside
/// each other.
const MOST_STEPS_AT_ONCE: usize = 4;

fn withdraw(store: &Store, kid: &Thumbprint, now: NumericDate) -> Result<(), Failure> {
    failpoint!("key.withdrawing");
    if store.withdraw_signing_key(kid, &by_the_wheel("key.withdrawn", kid, now))? {
        info!(%kid, "a signing key signs no more: nobody wants its algorithm");
    }
    failpoint!("key.withdrawn");
    Ok(())
}

fn destroy(store: &Store, kid: &Thumbprint, now: NumericDate) -> Result<(), Failure> {
    failpoint!("key.destroying");
    store.destroy_private_keys(std::slice::from_ref(kid), &by_the_wheel("key.destroyed", kid, now))?;
    failpoint!("key.destroyed");
    info!(%kid, "destroyed the private half of a retired signing key");
    Ok(())
}

/// When somebody else has moved it meanwhile, that counts, and is judged at the next look.
fn postpone(
    store: &Store,
    kid: &Thumbprint,
    from: NumericDate,
    to: NumericDate,
    now: NumericDate,
) -> Result<(), Failure> {
    let event = AuditEvent {
        detail: json!({"planned": from, "activates_at": to}),
        ..by_the_wheel("key.postponed", kid, now)
    };
    if store.set_activation(kid, from, to, &event)? {
        info!(%kid, activates_at = %to, "postponed a signing key that verifiers could not know in time");
    }
    Ok(())
}

/// What the wheel does by itself, for the audit trail.
fn by_the_wheel(event: &str, kid: &Thumbprint, at: NumericDate) -> AuditEvent {
    AuditEvent {
        at,
        event: event.to_owned(),
        actor: "wheel".to_owned(),
        client_id: None,
        kid: Some(kid.to_string()),
        detail: serde_json::Value::Object(serde_json::Map::new()),
    }
}

/// Opens every row. Each key that has its private half signs and verifies a probe on the way.
pub(super) fn load_ring(store: &Store, vault: &Vault) -> Result<KeyRing, Failure> {
    load_ring_after(store, vault, &KeyRing::default())
}

/// The same, knowing a ring of before: a key that was barred stays so, also when an older state of the database says otherwise.
fn load_ring_after(store: &Store, vault: &Vault, before: &KeyRing) -> Result<KeyRing, Failure> {
    let anchors = trust_anchors(store)?;
    let mut keys = Vec::new();
    for mut stored in store.signing_keys()? {
        if let Some(known) = before.key(&stored.kid) {
            stored.tainted_at = stored.tainted_at.or(known.record().tainted_at);
            stored.revoked_at = stored.revoked_at.or(known.record().revoked_at);
        }
        let key = open_key(stored, vault.data_key())?;
        if let Some(anchors) = &anchors {
            key.certified_by(anchors)
                .map_err(|error| Failure::Broken("a signing key cannot be used", Box::new(error)))?;
        }
        keys.push(Arc::new(key));
    }
    Ok(KeyRing::new(keys))
}

fn open_key(stored: StoredKey, data_key: &DataKey) -> Result<SigningKey, Failure> {
    let broken =
        |error: Box<dyn std::error::Error + Send + Sync>| Failure::Broken("a signing key cannot be used", error);
    let pkcs8 = match &stored.sealed_private_key {
        Some(sealed) => Some(
            data_key
                .open(stored.kid.as_str(), sealed)
                .map_err(|error| broken(Box::new(error)))?,
        ),
        None => None,
    };
    let record = KeyRecord {
        kid: stored.kid,
        alg: stored.alg.parse().map_err(|error| broken(Box::new(error)))?,
        slot: stored.slot,
        published_at: stored.published_at,
        activates_at: stored.activates_at,
        certificate: stored.certificate,
        longest_token_life: stored.longest_token_life,
        withdrawn_at: stored.withdrawn_at,
        tainted_at: stored.tainted_at,
        revoked_at: stored.revoked_at,
    };
    SigningKey::open(record, pkcs8.as_ref().map(|pkcs8| pkcs8.as_slice())).map_err(|error| broken(Box::new(error)))
}
