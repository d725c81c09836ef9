//! The wheel through whole periods of a moved clock, on both databases, on one node and on two. Rows Q of the catalogue.

use std::collections::BTreeMap;

use keywheel::keys::{RsaBits, Urgency};
use keywheel::oauth::{NumericDate, Seconds};
use keywheel::server::admin::{KeyAdmin, KeyError};
use serde_json::Value;

use crate::support::jwt::{part, verify_with};
use crate::support::server::{JWKS, Options, TestServer, metadata};
use crate::support::{on_both, on_sqlite};

const PERIOD: Seconds = Seconds::days(2);
const LEAD: Seconds = Seconds::hours(24);

pub(crate) fn options() -> Options {
    Options {
        period: PERIOD,
        slowest_verifier: LEAD,
        ..Options::default()
    }
}

fn kids(jwks: &Value) -> Vec<String> {
    jwks["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

// no verifier that honours what it was told ever meets a kid that it could not know, and no token outlives its key.
#[test]
fn for_six_periods_every_token_verifies_until_it_expires_and_every_key_was_published_before_it_signed() {
    on_both(|database| {
        let server = TestServer::with(database.url(), options());
        let client = server.client("billing", metadata());
        let mut first_seen: BTreeMap<String, NumericDate> = BTreeMap::new();
        let mut signed_with: Vec<String> = Vec::new();
        let mut live: Vec<(NumericDate, String)> = Vec::new();
        let step = Seconds::minutes(55);
        let end = server.now() + PERIOD * 6;
        let start = server.now();
        while server.now() < end {
            server.tick().unwrap();
            let now = server.now();
            let jwks = server.get(JWKS).json();
            for kid in kids(&jwks) {
                first_seen.entry(kid).or_insert(now);
            }
            assert!(kids(&jwks).len() >= 2, "a next key is always published");
            let token = server.granted(&client, &[]);
            let kid = part(&token, 0)["kid"].as_str().unwrap().to_owned();
            if signed_with.last() != Some(&kid) {
                assert!(!signed_with.contains(&kid), "a key that was superseded signed again");
                signed_with.push(kid.clone());
            }
            let seen = first_seen
                .get(&kid)
                .copied()
                .unwrap_or_else(|| panic!("{kid} signs and was never published"));
            assert!(
                now.since(seen) >= LEAD || seen == start,
                "{kid} was published only {} before it signed",
                now.since(seen)
            );
            live.push((now + Seconds::minutes(10), token));
            live.retain(|(expires_at, _)| now < *expires_at);
            for (_, token) in &live {
                verify_with(&jwks, token).unwrap();
            }
            // The last second of the youngest token's life, whatever turned in between.
            server.advance(Seconds::new(599));
            let jwks = server.get(JWKS).json();
            for (_, token) in &live {
                verify_with(&jwks, token).unwrap();
            }
            server.advance(Seconds::new(step.get() - 599));
        }
        assert_eq!(signed_with.len(), 6, "{signed_with:?}");
        let published = kids(&server.get(JWKS).json());
        assert!(
            published.len() <= 3 && !published.contains(&signed_with[0]),
            "retired keys leave the set"
        );
    });
}

#[test]
fn the_private_half_of_a_retired_key_is_destroyed() {
    on_both(|database| {
        let server = TestServer::with(database.url(), options());
        server.advance(PERIOD + Seconds::hours(2));
        server.tick().unwrap();
        let keys = server.store.signing_keys().unwrap();
        let private: Vec<bool> = keys.iter().map(|key| key.sealed_private_key.is_some()).collect();
        assert_eq!(private, [false, true, true], "retired, active, next");
    });
}

//
#[test]
fn two_nodes_on_one_database_make_one_next_key_and_agree() {
    on_both(|database| {
        let one = TestServer::with(database.url(), options());
        let two = TestServer::with(
            database.url(),
            Options {
                clock: one_clock(&one),
                ..options()
            },
        );
        assert_eq!(one.get(JWKS).body, two.get(JWKS).body);
        for _ in 0..4 {
            one.advance(PERIOD);
            two.advance(PERIOD);
            std::thread::scope(|scope| {
                for server in [&one, &two] {
                    scope.spawn(|| server.tick().unwrap());
                }
            });
            // The loser of the race reads the winner's key from the change feed at its next tick.
            one.tick().unwrap();
            two.tick().unwrap();
            let (first, second) = (one.get(JWKS), two.get(JWKS));
            assert_eq!(first.body, second.body);
            let slots: Vec<i64> = one.store.signing_keys().unwrap().iter().map(|key| key.slot).collect();
            let distinct: std::collections::BTreeSet<i64> = slots.iter().copied().collect();
            assert_eq!(slots.len(), distinct.len(), "one key for each slot: {slots:?}");
        }
        assert_eq!(one.store.signing_keys().unwrap().len(), 6);
        let client = one.client("billing", metadata());
        let token = one.granted(&client, &[]);
        verify_with(&two.get(JWKS).json(), &token).unwrap();
    });
}

/// Each node has a clock of its own; both begin at the same instant.
fn one_clock(server: &TestServer) -> std::sync::Arc<std::sync::atomic::AtomicI64> {
    std::sync::Arc::new(std::sync::atomic::AtomicI64::new(server.now().epoch()))
}

#[test]
fn a_restart_goes_on_with_the_same_keys() {
    on_both(|database| {
        let before = {
            let server = TestServer::with(database.url(), options());
            server.get(JWKS).body
        };
        let server = TestServer::with(database.url(), options());
        assert_eq!(server.get(JWKS).body, before);
    });
}

#[test]
fn a_long_sleep_ends_with_a_usable_key_and_a_full_lead_for_the_next() {
    on_both(|database| {
        let clock = {
            let server = TestServer::with(database.url(), options());
            server.advance(PERIOD * 10);
            one_clock(&server)
        };
        let server = TestServer::with(database.url(), Options { clock, ..options() });
        let client = server.client("billing", metadata());
        verify_with(&server.get(JWKS).json(), &server.granted(&client, &[])).unwrap();
        let keys = server.store.signing_keys().unwrap();
        let next = keys.last().unwrap();
        assert!(next.activates_at.since(server.now()) >= LEAD, "{next:?}");
    });
}

#[test]
fn a_rotation_on_demand_waits_for_the_lead_unless_told_otherwise() {
    on_both(|database| {
        let server = TestServer::with(database.url(), options());
        let policy = policy();
        let client = server.client("billing", metadata());
        let admin = KeyAdmin::new(&server.store, server.vault(), &policy, "test");
        let old = part(&server.granted(&client, &[]), 0)["kid"].clone();

        let planned = admin.rotate(None, Urgency::WhenSafe, server.now()).unwrap();
        assert!(planned.safe);
        server.tick().unwrap();
        assert_eq!(
            part(&server.granted(&client, &[]), 0)["kid"],
            old,
            "not before the lead is over"
        );
        server.advance(policy.lead());
        server.tick().unwrap();
        assert_eq!(part(&server.granted(&client, &[]), 0)["kid"], planned.kid.as_str());

        let at_once = admin.rotate(None, Urgency::Now, server.now()).unwrap();
        assert!(!at_once.safe, "the key was published a moment ago");
        server.tick().unwrap();
        let token = server.granted(&client, &[]);
        assert_eq!(part(&token, 0)["kid"], at_once.kid.as_str());
        verify_with(&server.get(JWKS).json(), &token).unwrap();
    });
}

#[test]
fn without_a_next_key_a_rotation_is_refused() {
    on_sqlite(|database| {
        let server = TestServer::with(database.url(), options());
        let policy = policy();
        let admin = KeyAdmin::new(&server.store, server.vault(), &policy, "test");
        server.advance(PERIOD);
        assert!(matches!(
            admin.rotate(None, Urgency::Now, server.now()),
            Err(KeyError::NoNextKey)
        ));
    });
}

#[test]
fn a_longer_token_life_keeps_keys_published_for_longer() {
    on_both(|database| {
        let server = TestServer::with(database.url(), options());
        let long = keywheel::oauth::ClientMetadata {
            access_ttl: Some(Seconds::hours(20)),
            ..metadata()
        };
        let client = server.client("batch", long);
        server.tick().unwrap();
        server.advance(Seconds::new(PERIOD.get() - 1));
        let token = server.granted(&client, &[]);
        // The client is changed back while its token lives on: the promise to its verifiers stays.
        let id = keywheel::oauth::ClientId::parse("batch").unwrap();
        let change = keywheel::server::admin::ClientChange {
            access_ttl: Some(None),
            ..Default::default()
        };
        server.admin().update(&id, change, server.now()).unwrap();
        for _ in 0..20 {
            server.tick().unwrap();
            verify_with(&server.get(JWKS).json(), &token).unwrap();
            server.advance(Seconds::minutes(59));
        }
        server.advance(Seconds::hours(2));
        server.tick().unwrap();
        assert!(
            verify_with(&server.get(JWKS).json(), &token).is_err(),
            "the key leaves once its last token has expired"
        );
    });
}

//
#[test]
fn the_wheel_turns_from_one_size_of_rsa_to_another_and_back_and_every_token_verifies_throughout() {
    on_sqlite(|database| {
        let mut clock = Options::default().clock;
        let mut live: Vec<String> = Vec::new();
        let mut sizes = Vec::new();
        // A key is made a turn before it signs, so a size shows a turn late. Keys of 4096 bits take long to make: one will do.
        for rsa_bits in [
            RsaBits::Bits2048,
            RsaBits::Bits4096,
            RsaBits::Bits3072,
            RsaBits::Bits2048,
            RsaBits::Bits2048,
        ] {
            let server = TestServer::with(
                database.url(),
                Options {
                    rsa_bits,
                    clock,
                    access_ttl: PERIOD * 2,
                    ..options()
                },
            );
            server.tick().unwrap();
            let name = format!("client-{}", sizes.len());
            let token = server.granted(&server.client(&name, metadata()), &[]);
            sizes.push(signature_bits(&token));
            live.push(token);
            let jwks = server.get(JWKS).json();
            // Tokens of two periods' life: those of the last two turns, of both sizes.
            for token in live.iter().rev().take(2) {
                verify_with(&jwks, token).unwrap();
            }
            server.advance(PERIOD);
            clock = one_clock(&server);
        }
        assert_eq!(sizes, [2048, 2048, 4096, 3072, 2048]);
    });
}

fn signature_bits(token: &str) -> usize {
    // Base64url without padding: four characters for three bytes.
    token.rsplit('.').next().unwrap().len() * 3 / 4 * 8
}

pub(crate) fn policy() -> keywheel::keys::RotationPolicy {
    keywheel::keys::RotationPolicy::new(keywheel::keys::RotationSettings {
        algorithm: keywheel::oauth::SigningAlgorithm::Rs256,
        rsa_bits: keywheel::keys::RsaBits::default(),
        period: PERIOD,
        jwks_max_age: Seconds::new(300),
        slowest_verifier: LEAD,
        longest_access_ttl: Seconds::minutes(10),
        wait_for_fetchers: Seconds::new(0),
    })
    .unwrap()
}
