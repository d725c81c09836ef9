//! A key in foreign hands: one command takes it out of use, on every node, for good. Row Q-06 of the catalogue.

use keywheel::oauth::Seconds;
use keywheel::server::admin::{Exposure, KeyAdmin, KeyError};
use serde_json::json;

use crate::rotation::policy;
use crate::support::http::Request;
use crate::support::jwt::{part, verify_with};
use crate::support::on_both;
use crate::support::server::{Credentials, JWKS, TestServer, metadata};

struct Stage {
    one: TestServer,
    two: TestServer,
    client: Credentials,
}

fn staged(test: impl Fn(&Stage)) {
    on_both(|database| {
        let one = TestServer::with(database.url(), crate::rotation::options());
        let options = crate::support::server::Options {
            clock: one.options().clock,
            ..crate::rotation::options()
        };
        let two = TestServer::with(database.url(), options);
        let client = one.client("billing", metadata());
        one.advance(Seconds::hours(30));
        one.tick().unwrap();
        two.tick().unwrap();
        test(&Stage { one, two, client });
    });
}

impl Stage {
    fn kid(&self, token: &str) -> String {
        part(token, 0)["kid"].as_str().unwrap().to_owned()
    }

    fn act(&self, act: impl Fn(&KeyAdmin<'_>) -> Result<Exposure, KeyError>) -> Result<Exposure, KeyError> {
        let policy = policy();
        act(&KeyAdmin::new(&self.one.store, self.one.vault(), &policy, "test"))
    }

    fn is_active(&self, token: &str) -> bool {
        let form = Request::form("/oauth2/introspect", &[("token", token)]);
        self.two.send(&form.basic(&self.client.id, &self.client.secret)).json()["active"] == true
    }

    fn ticks(&self) {
        self.one.tick().unwrap();
        self.two.tick().unwrap();
    }
}

#[test]
fn a_tainted_key_signs_no_more_on_any_node_and_its_tokens_stay_good() {
    staged(|stage| {
        let before = stage.two.granted(&stage.client, &[]);
        let kid = stage.kid(&before);
        let now = stage.one.now();
        let exposure = stage
            .act(|admin| admin.taint(&kid, Some("a laptop was lost"), now))
            .unwrap();
        assert_eq!((exposure.kid.as_str(), exposure.state), (kid.as_str(), "active"));
        assert_eq!(exposure.successor_known_at, None, "the next key was published long ago");
        stage.ticks();
        for node in [&stage.one, &stage.two] {
            let token = node.granted(&stage.client, &[]);
            assert_eq!(
                Some(stage.kid(&token)),
                exposure.successor.as_ref().map(ToString::to_string)
            );
            verify_with(&stage.two.get(JWKS).json(), &token).unwrap();
            verify_with(&node.get(JWKS).json(), &before).unwrap();
        }
        assert!(stage.is_active(&before));
        let again = stage.act(|admin| admin.taint(&kid, None, now)).unwrap_err();
        assert!(matches!(again, KeyError::BarredBefore(..)), "{again}");
        let stored = stage.one.store.signing_keys().unwrap();
        let bad = stored.iter().find(|key| key.kid.as_str() == kid).unwrap();
        assert_eq!(bad.sealed_private_key, None, "its private half is destroyed");
    });
}

#[test]
fn a_revoked_key_leaves_every_nodes_set_and_its_tokens_are_not_active_for_good() {
    staged(|stage| {
        let before = stage.two.granted(&stage.client, &[]);
        let kid = stage.kid(&before);
        let now = stage.one.now();
        let planned = stage
            .act(|admin| admin.exposure(&kid, keywheel::storage::Barring::Revoke, now))
            .unwrap();
        assert!(stage.is_active(&before), "to look at it changes nothing");
        let exposure = stage.act(|admin| admin.revoke(&kid, None, now)).unwrap();
        assert_eq!(exposure, planned);
        assert_eq!(exposure.caches_until, now + Seconds::new(300));
        assert!(exposure.verifiers.iter().any(|known| known.trusts_for.is_none()));
        stage.ticks();
        for node in [&stage.one, &stage.two] {
            assert!(!node.get(JWKS).text().contains(&kid));
            assert!(verify_with(&node.get(JWKS).json(), &before).is_err());
            assert_eq!(node.get(&format!("/.well-known/keywheel/keys/{kid}.pem")).status, 404);
            let token = node.granted(&stage.client, &[]);
            assert_ne!(stage.kid(&token), kid);
            assert!(stage.is_active(&token));
        }
        assert!(
            !stage.is_active(&before),
            "also where its signature was verified before"
        );
        let events = stage.one.audit();
        assert!(events.contains(&"key.revoked".to_owned()), "{events:?}");
        stage.one.advance(Seconds::days(400));
        stage.ticks();
        let keys = stage.act(|admin| admin.exposure(&kid, keywheel::storage::Barring::Revoke, stage.one.now()));
        assert_eq!(keys.unwrap().state, "revoked", "for good");
        let unknown = stage.act(|admin| admin.revoke("nonsense", None, now)).unwrap_err();
        assert!(matches!(unknown, KeyError::Unknown(_)), "{unknown}");
    });
}

#[test]
fn a_revoked_next_key_is_replaced_with_a_full_lead_and_nothing_is_interrupted() {
    staged(|stage| {
        let active = stage.kid(&stage.one.granted(&stage.client, &[]));
        let published = stage.one.get(JWKS).json();
        let next = published["keys"][0]["kid"].as_str().unwrap().to_owned();
        assert_ne!(next, active);
        let now = stage.one.now();
        let exposure = stage.act(|admin| admin.revoke(&next, None, now)).unwrap();
        assert_eq!(
            (exposure.signed_from, exposure.tokens_until),
            (None, None),
            "it has signed nothing"
        );
        stage.ticks();
        assert_eq!(stage.kid(&stage.two.granted(&stage.client, &[])), active);
        let keys = stage.one.store.signing_keys().unwrap();
        let newest = keys.last().unwrap();
        assert!(newest.activates_at.since(now) >= policy().lead(), "{newest:?}");
        assert!(!stage.two.get(JWKS).text().contains(&next));
        assert!(stage.two.get(JWKS).text().contains(newest.kid.as_str()));
    });
}

#[test]
fn when_all_keys_are_revoked_a_new_one_signs_within_a_tick() {
    staged(|stage| {
        let now = stage.one.now();
        for key in stage.one.store.signing_keys().unwrap() {
            stage.act(|admin| admin.revoke(key.kid.as_str(), None, now)).unwrap();
        }
        stage.ticks();
        stage.ticks();
        for node in [&stage.one, &stage.two] {
            let token = node.granted(&stage.client, &[]);
            for other in [&stage.one, &stage.two] {
                verify_with(&other.get(JWKS).json(), &token).unwrap();
            }
        }
        assert_eq!(
            json!(stage.one.get(JWKS).json()["keys"].as_array().unwrap().len()),
            json!(2)
        );
    });
}
