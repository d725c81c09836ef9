//! The statements of a refresh through keywheel's own storage: no HTTP, no signature, no decision.

use std::time::{Duration, Instant};

use keywheel::oauth::{
    ClaimProfile, ClientId, ClientMetadata, FamilyId, GrantType, NumericDate, Scope, SecretHash, SecretHasher,
    TokenType, UserId, Username,
};
use keywheel::storage::{
    AuditEvent, ClientCreation, DatabaseUrl, NewClient, NewUser, Rotation, RotationOutcome, Settings, Store,
    UserCreation,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::fill::{self, Crowd, Holders};
use super::{Outcome, answer_each};

/// Everything happens at one moment.
pub(super) const NOW: i64 = 1_800_000_000;
/// Nothing expires meanwhile.
pub(super) const END: i64 = NOW + 1_000_000;

/// Takes orders for the database of that URL, which is empty.
pub(super) fn obey(url: &str) -> Outcome<()> {
    let parsed = DatabaseUrl::parse(url)?;
    let store = Store::open(&Settings::new(parsed.clone()))?;
    store.migrate()?;
    let holders = register(&store)?;
    // How often the token of each family was exchanged.
    let mut families: Vec<u64> = Vec::new();
    answer_each(|order| match order {
        ["fill", living, exchanged, expired] => {
            let living = living.parse()?;
            let expired: u64 = expired.parse()?;
            let crowd = Crowd {
                families: living + expired,
                living,
                exchanged: exchanged.parse()?,
            };
            families = vec![crowd.exchanged; usize::try_from(living)?];
            fill::fill(url, &parsed, &holders, &crowd)?;
            Ok(json!({"families": living}))
        }
        ["sweep", seconds] => sweep(&store, seconds.parse()?),
        [work, threads, seconds] => {
            let work = Work::named(work)?;
            run(&store, work, &mut families, threads.parse()?, seconds.parse()?)
        }
        _ => Err("the order is unknown".into()),
    })
}

fn register(store: &Store) -> Outcome<Holders> {
    let client = NewClient {
        client_id: ClientId::parse("bench")?,
        metadata: ClientMetadata {
            name: "bench".to_owned(),
            grant_types: vec![GrantType::Password, GrantType::RefreshToken],
            auth_methods: Vec::new(),
            scope: Scope::parse("read write")?,
            audiences: [].into_iter().collect(),
            access_ttl: None,
            token_reuse_window: None,
            token_quota: None,
            refresh_ttl: None,
            refresh_absolute_ttl: None,
            refresh_retry_window: None,
            token_type: TokenType::default(),
            claim_profile: ClaimProfile::default(),
            signing_alg: None,
            introspect: false,
        },
        created_at: NumericDate::from_epoch(NOW),
    };
    let user = NewUser {
        user_id: UserId::parse("1")?,
        username: Username::parse("bench")?,
        password_hash: String::new(),
        enabled: true,
        created_at: NumericDate::from_epoch(NOW),
    };
    let event = event("bench", json!({}));
    let ClientCreation::Created(client) = store.create_client(&client, None, &event)? else {
        return Err("the database is not empty: there is a client".into());
    };
    let UserCreation::Created(user) = store.create_user(&user, &event)? else {
        return Err("the database is not empty: there is a user".into());
    };
    Ok(Holders { client, user })
}

/// What is done with one token after the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Find,
    Rotate,
    /// Both, as a refresh does.
    Refresh,
    /// The end of an access token.
    Bar,
    /// The lookup of a refresh token and the end of its family, which is not found again.
    Revoke,
}

impl Work {
    fn named(name: &str) -> Outcome<Self> {
        match name {
            "find" => Ok(Work::Find),
            "rotate" => Ok(Work::Rotate),
            "refresh" => Ok(Work::Refresh),
            "bar" => Ok(Work::Bar),
            "revoke" => Ok(Work::Revoke),
            _ => Err("the work is find, rotate, refresh, bar or revoke".into()),
        }
    }
}

/// Each thread has a share of the families for itself and takes one of them at random, again and again.
fn run(store: &Store, work: Work, families: &mut [u64], threads: usize, seconds: f64) -> Outcome<Value> {
    let share = families.len().div_ceil(threads.max(1)).max(1);
    let begun = Instant::now();
    let until = begun + Duration::from_secs_f64(seconds);
    let mut waits = Vec::new();
    std::thread::scope(|scope| {
        let shares = families.chunks_mut(share).zip((0..).step_by(share));
        let threads: Vec<_> = shares
            .map(|(families, first)| scope.spawn(move || one_thread(store, work, families, first, until)))
            .collect();
        for thread in threads {
            waits.append(&mut thread.join().map_err(|_panic| "a thread panicked")??);
        }
        Outcome::Ok(())
    })?;
    Ok(told(waits.len(), begun, waits))
}

/// What was done, and how long each piece of work took.
fn told(count: usize, begun: Instant, mut waits: Vec<Duration>) -> Value {
    let seconds = begun.elapsed().as_secs_f64();
    waits.sort_unstable();
    let at = |permille: usize| {
        waits
            .get(waits.len() * permille / 1_000)
            .map(|wait| wait.as_secs_f64() * 1e3)
    };
    json!({"count": count, "seconds": seconds, "p50_ms": at(500), "p99_ms": at(990)})
}

/// As a server sweeps, so many rows at a time, but without a pause; until nothing is left or the time is up.
fn sweep(store: &Store, seconds: f64) -> Outcome<Value> {
    const AT_ONCE: u32 = 1_000;
    let begun = Instant::now();
    let (mut rows, mut waits) = (0, Vec::new());
    while begun.elapsed().as_secs_f64() < seconds {
        let started = Instant::now();
        let swept = store.sweep(NumericDate::from_epoch(NOW), AT_ONCE)?;
        let swept = swept.ok_or("another one sweeps this database")?;
        if swept.is_empty() {
            break;
        }
        rows += swept.refresh_tokens + swept.families;
        waits.push(started.elapsed());
    }
    Ok(told(rows, begun, waits))
}

/// How long each piece of work took.
fn one_thread(store: &Store, work: Work, families: &mut [u64], first: u64, until: Instant) -> Outcome<Vec<Duration>> {
    let mut random = StdRng::seed_from_u64(first);
    let mut waits = Vec::new();
    while Instant::now() < until {
        let chosen = random.random_range(..families.len());
        let generation = families.get_mut(chosen).ok_or("there are no families: fill first")?;
        let family = family(first + u64::try_from(chosen)?);
        let presented = hash(&family, *generation);
        let at = NumericDate::from_epoch(NOW);
        let rotation = Rotation {
            hash: presented.clone(),
            successor_hash: hash(&family, *generation + 1),
            at,
            successor_expires_at: NumericDate::from_epoch(END),
        };
        let jti = format!("{:032x}", random.random::<u128>());
        let detail = json!({"family": family.as_str(), "generation": *generation, "address": "127.0.0.1"});
        let event = event("refresh", detail);
        let begun = Instant::now();
        let reads = matches!(work, Work::Find | Work::Refresh | Work::Revoke);
        if reads && store.refresh_token(&presented)?.is_none() {
            return Err("a token is not there".into());
        }
        match work {
            Work::Find => {}
            Work::Rotate | Work::Refresh => {
                if store.rotate(&rotation, &event)? != RotationOutcome::Rotated {
                    return Err("a token could not be exchanged".into());
                }
                *generation += 1;
            }
            Work::Bar => drop(store.revoke_access_token(&jti, NumericDate::from_epoch(END), &event)?),
            Work::Revoke => {
                // One that was revoked before costs less, and does not count.
                if !store.revoke_family(&family, at, "revoked", &event)? {
                    continue;
                }
            }
        }
        waits.push(begun.elapsed());
    }
    Ok(waits)
}

/// The family of that number.
pub(super) fn family(number: u64) -> FamilyId {
    FamilyId::generate(&mut StdRng::seed_from_u64(number))
}

/// The hash of a family's token.
pub(super) fn hash(family: &FamilyId, generation: u64) -> SecretHash {
    SecretHasher::new(&[0; 32]).hash(&format!("{family}.{generation}"))
}

fn event(name: &str, detail: Value) -> AuditEvent {
    AuditEvent {
        at: NumericDate::from_epoch(NOW),
        event: name.to_owned(),
        actor: "1".to_owned(),
        client_id: Some("bench".to_owned()),
        kid: None,
        detail,
    }
}
