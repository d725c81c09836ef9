//! Several signature algorithms on one wheel: by the server's setting and per client, on both databases, by a moved clock.

use keywheel::oauth::SigningAlgorithm::{Es256, Ps256, Rs256};
use keywheel::oauth::{ClientId, ClientMetadata, NumericDate, Seconds, SigningAlgorithm};
use keywheel::server::admin::ClientChange;
use serde_json::Value;

use crate::rotation::options;
use crate::support::http::Request;
use crate::support::jwt::{part, verify_with};
use crate::support::on_both;
use crate::support::server::{Credentials, JWKS, Options, TestServer, metadata};

mod surfaces;

/// As in the tests of the rotation.
const LEAD: Seconds = Seconds::hours(24);
const STEP: Seconds = Seconds::minutes(29);
/// The life of a token, and how long verifiers accept it beyond that.
const ACCEPTED: Seconds = Seconds::minutes(15);

fn with(algorithm: SigningAlgorithm) -> ClientMetadata {
    ClientMetadata {
        signing_alg: Some(algorithm),
        ..metadata()
    }
}

/// Verifiers of every age, and every token that one of them may be shown.
#[derive(Default)]
struct Witness {
    sets: Vec<(NumericDate, Value)>,
    tokens: Vec<(NumericDate, String)>,
}

impl Witness {
    /// Takes a token of the client from each node. Whoever has fetched the set within the longest time that verifiers may keep it
    /// must accept it, and every token until it has expired. Returns the algorithm of the last node's.
    fn watch(&mut self, nodes: &[&TestServer], client: &Credentials) -> String {
        let mut alg = String::new();
        for node in nodes {
            let now = node.now();
            let set = node.get(JWKS).json();
            self.sets.push((now, set));
            self.sets.retain(|(at, _)| now.since(*at) < LEAD);
            let token = node.granted(client, &[]);
            for (at, set) in &self.sets {
                let verified =
                    verify_with(set, &token).unwrap_or_else(|why| panic!("at {now} by a set of {at}: {why}"));
                assert_eq!(verified.header["alg"], part(&token, 0)["alg"]);
            }
            alg = part(&token, 0)["alg"].as_str().unwrap().to_owned();
            self.tokens.push((now + ACCEPTED, token));
            self.tokens.retain(|(until, _)| now < *until);
            let (_, set) = self.sets.last().unwrap();
            for (_, token) in &self.tokens {
                verify_with(set, token).unwrap();
            }
        }
        alg
    }
}

fn tick(nodes: &[&TestServer]) {
    for node in nodes {
        node.tick().unwrap();
    }
}

/// The algorithms of the published keys, in the order of the set.
fn published(server: &TestServer) -> Vec<String> {
    let set = server.get(JWKS).json();
    let keys = set["keys"].as_array().unwrap().iter();
    keys.map(|key| key["alg"].as_str().unwrap().to_owned()).collect()
}

fn announced(server: &TestServer) -> Value {
    let metadata = server.get("/.well-known/oauth-authorization-server").json();
    metadata["id_token_signing_alg_values_supported"].clone()
}

fn is_active(server: &TestServer, client: &Credentials, token: &str) -> bool {
    let request = Request::form("/oauth2/introspect", &[("token", token)]).basic(&client.id, &client.secret);
    server.send(&request).json()["active"] == true
}

// interop.md rule 7 in short: no key of another algorithm while nobody wants it.
#[test]
fn a_client_gets_its_own_algorithm_when_every_verifier_knows_the_key_and_the_keys_go_with_the_last_client() {
    on_both(|database| {
        let server = TestServer::with(database.url(), options());
        let plain = server.client("plain", metadata());
        assert_eq!(published(&server), ["RS256", "RS256"]);
        let before = server.get(JWKS).body;
        let (curve, pss) = (server.client("curve", with(Es256)), server.client("pss", with(Ps256)));
        let mut witness = Witness::default();
        assert_eq!(witness.watch(&[&server], &curve), "RS256");
        assert_eq!(
            server.get(JWKS).body,
            before,
            "registering a client publishes nothing by itself"
        );
        server.tick().unwrap();
        assert_eq!(published(&server), ["RS256", "RS256", "PS256", "ES256"]);
        assert_eq!(announced(&server), serde_json::json!(["RS256", "PS256", "ES256"]));

        let begun = server.now();
        let mut signed: Vec<(String, String)> = Vec::new();
        while server.now().since(begun) < Seconds::days(4) {
            server.tick().unwrap();
            assert_eq!(witness.watch(&[&server], &plain), "RS256");
            let expected = |alg: &'static str| if server.now().since(begun) < LEAD { "RS256" } else { alg };
            let waits = server.now().since(begun).get() / 60 == LEAD.get() / 60;
            for (client, alg) in [(&curve, "ES256"), (&pss, "PS256")] {
                let found = witness.watch(&[&server], client);
                assert!(
                    found == expected(alg) || waits,
                    "{found} at {}",
                    server.now().since(begun)
                );
                let (_, token) = witness.tokens.last().unwrap();
                assert!(is_active(&server, client, token));
                let kid = part(token, 0)["kid"].as_str().unwrap().to_owned();
                if found == alg && !signed.contains(&(found.clone(), kid.clone())) {
                    signed.push((found, kid));
                }
            }
            server.advance(STEP);
        }
        let turned = |alg: &str| signed.iter().filter(|(found, _)| found == alg).count();
        assert_eq!(
            (turned("ES256"), turned("PS256")),
            (2, 2),
            "a period is two days: {signed:?}"
        );
        let (_, curve_token) = witness
            .tokens
            .iter()
            .rev()
            .find(|(_, token)| part(token, 0)["alg"] == "ES256")
            .unwrap();
        let signature = curve_token.rsplit('.').next().unwrap();
        assert_eq!(signature.len(), 86, "r and s in a row, 64 bytes");

        // The last client of one algorithm is deleted, that of the other gets the server's.
        let change = ClientChange {
            signing_alg: Some(None),
            ..ClientChange::default()
        };
        let id = |client: &Credentials| ClientId::parse(&client.id).unwrap();
        server.admin().update(&id(&curve), change, server.now()).unwrap();
        server.admin().delete(&id(&pss), server.now()).unwrap();
        server.tick().unwrap();
        assert_eq!(witness.watch(&[&server], &curve), "RS256");
        assert!(published(&server).contains(&"ES256".to_owned()), "its tokens live");
        for _ in 0..5 {
            server.advance(STEP);
            server.tick().unwrap();
            assert_eq!(witness.watch(&[&server], &plain), "RS256");
        }
        assert!(
            published(&server).iter().all(|alg| alg == "RS256"),
            "{:?}",
            published(&server)
        );
        assert_eq!(announced(&server), serde_json::json!(["RS256"]));
        for key in server.store.signing_keys().unwrap() {
            assert!(
                key.alg == "RS256" || key.sealed_private_key.is_none(),
                "{} is not destroyed",
                key.kid
            );
        }
        let audit = server.audit();
        assert!(
            audit.iter().filter(|event| *event == "key.withdrawn").count() >= 4,
            "{audit:?}"
        );

        // Whoever wants it again waits again, for a new key.
        let again = server.client("again", with(Es256));
        server.tick().unwrap();
        assert_eq!(witness.watch(&[&server], &again), "RS256");
        server.advance(LEAD + Seconds::new(10));
        server.tick().unwrap();
        witness.sets.clear();
        assert_eq!(witness.watch(&[&server], &again), "ES256");
    });
}

#[test]
fn the_servers_algorithm_changes_there_and_back_and_every_token_verifies_throughout() {
    on_both(|database| {
        let mut server = TestServer::with(database.url(), options());
        let client = server.client("plain", metadata());
        let mut witness = Witness::default();
        for (algorithm, name, before) in [
            (Es256, "ES256", "RS256"),
            (Ps256, "PS256", "ES256"),
            (Rs256, "RS256", "PS256"),
        ] {
            witness.watch(&[&server], &client);
            let changed = server.options_of(Options { algorithm, ..options() });
            drop(server);
            server = TestServer::with(database.url(), changed);
            let begun = server.now();
            let mut begins = None;
            while server.now().since(begun) < LEAD + Seconds::hours(3) {
                server.tick().unwrap();
                let alg = witness.watch(&[&server], &client);
                assert!(alg == name || (alg == before && begins.is_none()), "{alg}");
                if alg == name && begins.is_none() {
                    begins = Some(server.now().since(begun));
                }
                server.advance(STEP);
            }
            let begins = begins.expect("it signs in the end");
            assert!(begins >= LEAD && begins <= LEAD + STEP, "{begins}");
            assert!(
                published(&server).iter().all(|alg| alg == name),
                "{:?}",
                published(&server)
            );
            assert_eq!(announced(&server), serde_json::json!([name]));
        }
        for key in server.store.signing_keys().unwrap() {
            assert!(
                key.alg == "RS256" || key.sealed_private_key.is_none(),
                "{} is not destroyed",
                key.kid
            );
        }
    });
}

#[test]
fn a_setting_that_is_taken_back_in_time_changes_nothing() {
    on_both(|database| {
        let server = TestServer::with(database.url(), options());
        let client = server.client("plain", metadata());
        let kid = |server: &TestServer| part(&server.granted(&client, &[]), 0)["kid"].clone();
        let before = kid(&server);
        let changed = server.options_of(Options {
            algorithm: Es256,
            ..options()
        });
        drop(server);
        let server = TestServer::with(database.url(), changed);
        assert_eq!(published(&server), ["RS256", "RS256", "ES256"]);
        assert_eq!(kid(&server), before);
        server.advance(Seconds::hours(2));
        server.tick().unwrap();
        let back = server.options_of(options());
        drop(server);
        let server = TestServer::with(database.url(), back);
        assert_eq!(kid(&server), before);
        server.advance(Seconds::hours(1));
        server.tick().unwrap();
        server.advance(Seconds::hours(1));
        server.tick().unwrap();
        assert_eq!(published(&server), ["RS256", "RS256"]);
        assert_eq!(kid(&server), before);
    });
}

#[test]
fn two_servers_with_two_settings_keep_both_algorithms_and_agree_on_the_set() {
    on_both(|database| {
        let one = TestServer::with(database.url(), options());
        let two = TestServer::with(
            database.url(),
            one.options_of(Options {
                algorithm: Es256,
                ..options()
            }),
        );
        let client = one.client("plain", metadata());
        let mut witness = Witness::default();
        let begun = one.now();
        while one.now().since(begun) < Seconds::hours(74) {
            // What one of them made, the other reads at its next tick.
            tick(&[&one, &two, &one]);
            assert_eq!(one.get(JWKS).body, two.get(JWKS).body);
            let alg = witness.watch(&[&one, &two], &client);
            let is_due = one.now().since(begun) >= LEAD + STEP;
            assert!(alg == "ES256" || !is_due, "{alg}");
            assert_eq!(part(&one.granted(&client, &[]), 0)["alg"], "RS256");
            one.advance(STEP);
        }
        let slots = |alg: &str| {
            let keys = one.store.signing_keys().unwrap();
            keys.iter()
                .filter(|key| key.alg == alg)
                .map(|key| key.slot)
                .collect::<Vec<_>>()
        };
        assert_eq!((slots("RS256"), slots("ES256")), (vec![1, 2, 3], vec![1, 2, 3]));
    });
}

#[test]
fn a_server_that_is_set_to_another_algorithm_from_the_first_second_on_signs_with_it_at_once() {
    for (algorithm, name) in [(Es256, "ES256"), (Ps256, "PS256")] {
        on_both(|database| {
            let server = TestServer::with(database.url(), Options { algorithm, ..options() });
            let client = server.client("plain", metadata());
            let mut witness = Witness::default();
            assert_eq!(witness.watch(&[&server], &client), name);
            assert_eq!(published(&server), [name, name]);
            let set = server.get(JWKS).json();
            for key in set["keys"].as_array().unwrap() {
                let pem = server.get(&format!(
                    "/.well-known/keywheel/keys/{}.pem",
                    key["kid"].as_str().unwrap()
                ));
                assert!(pem.text().starts_with("-----BEGIN PUBLIC KEY-----"));
            }
        });
    }
}
