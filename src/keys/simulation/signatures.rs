//! Eight turns of the wheel by a moved clock, watched by verifiers that cache as real ones do.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::testing::{self, TOKEN_LIFE, at, private_key, record};
use super::super::{Demand, KeyRecord, KeyRing, KeyState, RotationPolicy, RotationSettings, SigningKey, Step};
use crate::oauth::{NumericDate, Seconds, SigningAlgorithm, TokenType};

const RS256: SigningAlgorithm = SigningAlgorithm::Rs256;
const PERIOD: i64 = 30 * HOUR;
const HOUR: i64 = 3_600;
const STEP: i64 = HOUR / 2;

fn policy() -> RotationPolicy {
    RotationPolicy::new(RotationSettings {
        period: Seconds::new(PERIOD),
        slowest_verifier: Seconds::new(6 * HOUR),
        longest_access_ttl: TOKEN_LIFE,
        ..super::super::policy::default_settings()
    })
    .unwrap()
}

/// The rows of a database and the node that reads them. Record `i` is of private key `i`.
#[derive(Default)]
struct Node {
    records: Vec<(KeyRecord, bool)>,
    ring: KeyRing,
}

impl Node {
    fn turn(&mut self, now: NumericDate) {
        for step in policy().due(&self.ring, &Demand::default(), now) {
            match step {
                Step::Create(slot) => {
                    let index = self.records.len();
                    assert_eq!(slot.slot, index as i64 + 1);
                    let (published, activates) = (slot.published_at.epoch(), slot.activates_at.epoch());
                    self.records
                        .push((record(index, slot.slot, published, activates), true));
                }
                Step::Destroy(kid) => {
                    let (_, private) = self.records.iter_mut().find(|(record, _)| record.kid == kid).unwrap();
                    *private = false;
                }
                Step::Postpone { .. } | Step::Raise(_) | Step::Renew(_) | Step::Withdraw(_) => {
                    panic!("{step:?}: the settings never change, and every certificate lasts for 61 days")
                }
            }
            self.load();
        }
        assert_eq!(
            policy().due(&self.ring, &Demand::default(), now),
            [],
            "one round does all that is due"
        );
    }

    fn load(&mut self) {
        self.ring = KeyRing::new(self.records.iter().enumerate().map(|(index, (record, private))| {
            let pkcs8 = private.then(|| private_key(index).pkcs8());
            Arc::new(SigningKey::open(record.clone(), pkcs8).unwrap())
        }));
    }

    fn sign(&self, now: NumericDate) -> Token {
        let key = self.ring.active(RS256, now).unwrap();
        let claims = json!({"iat": now, "exp": now + TOKEN_LIFE}).to_string();
        Token {
            kid: key.kid().to_string(),
            text: key.sign_jwt(TokenType::AtJwt, claims.as_bytes()).unwrap(),
            expires: now + TOKEN_LIFE,
        }
    }
}

struct Token {
    kid: String,
    text: String,
    expires: NumericDate,
}

/// A resource server that fetches the JWKS every `lifetime` and never in between, unknown `kid` or not.
struct Verifier {
    lifetime: Seconds,
    fetched: Option<NumericDate>,
    keys: HashMap<String, String>,
}

impl Verifier {
    fn new(lifetime: Seconds) -> Self {
        Verifier {
            lifetime,
            fetched: None,
            keys: HashMap::new(),
        }
    }

    fn verify(&mut self, node: &Node, now: NumericDate, token: &Token) {
        if self.fetched.is_none_or(|fetched| now.since(fetched) >= self.lifetime) {
            let set: Value = serde_json::from_slice(&node.ring.jwks(now).body).unwrap();
            let keys = set["keys"].as_array().unwrap();
            self.keys = keys
                .iter()
                .map(|key| (key["kid"].as_str().unwrap().to_owned(), key.to_string()))
                .collect();
            assert_eq!(self.keys.len(), keys.len(), "no kid twice");
            self.fetched = Some(now);
        }
        let jwk = self.keys.get(&token.kid);
        let jwk = jwk.unwrap_or_else(|| panic!("at {now} a verifier of {} does not know {}", self.lifetime, token.kid));
        testing::verify(&token.text, jwk).unwrap();
    }
}

/// Runs the wheel from the first second on and checks its promises at every step, and a second before each turn.
fn run(until: i64) -> Node {
    let mut node = Node::default();
    let mut verifiers = [0, 300, 6 * HOUR].map(|lifetime| Verifier::new(Seconds::new(lifetime)));
    let steps = (0..until).step_by(STEP as usize);
    for now in steps.flat_map(|step| [step - 1, step]).skip(1).map(at) {
        node.turn(now);
        let token = node.sign(now);
        for verifier in &mut verifiers {
            verifier.verify(&node, now, &token);
        }
        // A verifier that starts in the token's last second, and is as lenient as any.
        let last = token.expires + Seconds::new(300);
        Verifier::new(Seconds::new(0)).verify(&node, last, &token);
        check_states(&node, now);
    }
    node
}

fn check_states(node: &Node, now: NumericDate) {
    let states: Vec<_> = node
        .records
        .iter()
        .map(|(record, _)| node.ring.state(&record.kid, now).unwrap())
        .collect();
    let count = |state| states.iter().filter(|found| **found == state).count();
    assert_eq!(count(KeyState::Active), 1, "at {now}: {states:?}");
    for (position, (record, private)) in node.records.iter().enumerate() {
        if position > 0 {
            let ahead = record.activates_at.since(record.published_at);
            assert!(
                ahead >= policy().lead(),
                "{} is published {ahead} before it signs",
                record.kid
            );
        }
        assert_eq!(*private, states[position] != KeyState::Retired, "at {now}: {states:?}");
    }
}

//
#[test]
fn no_verifier_refuses_a_token_in_seven_turns() {
    let node = run(7 * PERIOD + HOUR);
    assert_eq!(node.records.len(), 9, "seven turns, the first key and the next");
    for (position, (record, _)) in node.records.iter().enumerate() {
        assert_eq!(record.activates_at, at(position as i64 * PERIOD), "every turn on time");
    }
}

#[test]
fn a_wheel_that_nobody_turned_for_three_periods_recovers_safely() {
    let mut node = run(PERIOD / 2);
    let wake = at(PERIOD / 2 + 3 * PERIOD);
    assert_eq!(
        node.ring.active(RS256, wake).unwrap().record().slot,
        2,
        "the next key took over by itself"
    );
    node.turn(wake);
    let states: Vec<_> = node
        .records
        .iter()
        .map(|(record, _)| node.ring.state(&record.kid, wake).unwrap())
        .collect();
    assert_eq!(states, [KeyState::Retired, KeyState::Active, KeyState::Next]);
    assert!(!node.records[0].1, "the retired private half is destroyed");
    let next = &node.records[2].0;
    assert_eq!((next.published_at, next.activates_at), (wake, wake + policy().lead()));
}

//
#[test]
fn a_compromise_costs_one_command() {
    let mut node = run(PERIOD + HOUR);
    let now = at(PERIOD + 2 * HOUR);
    let (bad, next) = (
        node.ring.active(RS256, now).unwrap().kid().clone(),
        node.ring.next(RS256, now).unwrap().kid().clone(),
    );
    node.records[1].0.tainted_at = Some(now);
    node.load();
    assert_eq!(node.ring.active(RS256, now).unwrap().kid(), &next);
    node.turn(now);
    assert!(node.ring.next(RS256, now).is_some(), "there is a next key again");
    assert_eq!(node.ring.state(&bad, now), Some(KeyState::Tainted));
    node.records[1].0.revoked_at = Some(now);
    node.load();
    assert!(
        !String::from_utf8(node.ring.jwks(now).body)
            .unwrap()
            .contains(bad.as_str())
    );
    node.turn(now);
    assert!(!node.records[1].1, "the revoked private half is destroyed");
}
