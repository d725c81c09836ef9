use aws_lc_rs::digest::{SHA256, digest};

use super::KeyRing;
use crate::oauth::{NumericDate, Seconds, base64url};

/// The published keys as they go over the wire (RFC 7517 §5), prepared once for many answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwks {
    /// The JSON document.
    pub body: Vec<u8>,
    /// A strong entity tag with its quotes (RFC 9110 §8.8.3). It changes exactly when the body does.
    pub etag: String,
    /// When this document stops being true, as far as the rows tell.
    pub changes_at: Option<NumericDate>,
}

impl KeyRing {
    /// The JWKS at `now`, the newest key first.
    pub fn jwks(&self, now: NumericDate) -> Jwks {
        let keys: Vec<&str> = self.published(now).filter_map(|key| key.jwk_json()).collect();
        let body = format!(r#"{{"keys":[{}]}}"#, keys.join(",")).into_bytes();
        let etag = format!("\"{}\"", base64url(digest(&SHA256, &body).as_ref()));
        Jwks {
            body,
            etag,
            changes_at: self.next_change(now),
        }
    }
}

impl Jwks {
    /// How long a verifier may keep the document: `setting`, and at most half the time to the next change, so that a copy is
    /// renewed in time. Less up to a tenth by `jitter` (any random byte), so that verifiers do not come all at once.
    pub fn max_age(&self, now: NumericDate, setting: Seconds, jitter: u8) -> Seconds {
        let half = self.changes_at.map_or(setting, |change| change.since(now) / 2);
        let longest = setting.min(half);
        let spread = longest.get() * i64::from(jitter) / (10 * i64::from(u8::MAX));
        // Close to a change the half would tell every verifier to ask anew all the time.
        Seconds::new(longest.get() - spread).max(setting.min(SHORTEST_MAX_AGE))
    }
}

const SHORTEST_MAX_AGE: Seconds = Seconds::new(15);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{at, record, ring};
    use super::*;
    use crate::oauth::SigningAlgorithm;

    fn two() -> KeyRing {
        ring([record(0, 1, 1_000, 1_000), record(1, 2, 1_000, 5_000)])
    }

    fn document(jwks: &Jwks) -> Value {
        serde_json::from_slice(&jwks.body).unwrap()
    }

    // J-01, J-02
    #[test]
    fn the_document_is_the_set_of_published_keys_with_public_members_alone() {
        let ring = two();
        let jwks = document(&ring.jwks(at(2_000)));
        let published = ring.published(at(2_000));
        let keys: Vec<_> = published
            .map(|key| key.public_key().jwk(key.record().alg, key.certificate().der()))
            .collect();
        assert_eq!(jwks, json!({ "keys": keys }));
        let keys = jwks["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 2);
        for key in keys {
            let members: Vec<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use", "x5c", "x5t#S256"]);
            assert_eq!(
                (&key["kty"], &key["use"], &key["alg"]),
                (&"RSA".into(), &"sig".into(), &"RS256".into())
            );
        }
        assert_ne!(keys[0]["kid"], keys[1]["kid"]);
    }

    #[test]
    fn the_entity_tag_changes_exactly_when_the_set_does() {
        let ring = two();
        let etag = |now| ring.jwks(at(now)).etag;
        let (before, removed) = (
            etag(1_000),
            ring.removed_at(ring.active(SigningAlgorithm::Rs256, at(1_000)).unwrap().kid())
                .unwrap(),
        );
        // The active key changes at 5000, but not the set.
        assert_eq!(before, etag(5_000));
        assert_eq!(before, etag(removed.epoch() - 1));
        assert_ne!(before, etag(removed.epoch()));
        assert_eq!(etag(removed.epoch()), etag(9_000_000));
        assert!(
            before.starts_with('"') && before.ends_with('"') && before.len() == 45,
            "{before}"
        );
    }

    // J-07
    #[test]
    fn the_set_is_never_empty_while_a_key_may_sign() {
        let ring = two();
        for now in [0, 1_000, 5_000, 9_000_000] {
            assert!(
                !document(&ring.jwks(at(now)))["keys"].as_array().unwrap().is_empty(),
                "at {now}"
            );
        }
        assert_eq!(KeyRing::default().jwks(at(0)).body, br#"{"keys":[]}"#);
    }

    #[test]
    fn max_age_is_the_setting_or_half_the_time_to_the_next_change_less_up_to_a_tenth() {
        let jwks = two().jwks(at(1_000));
        assert_eq!(jwks.changes_at, Some(at(5_000)));
        for (now, setting, jitter, max_age) in [
            (1_000, 300, 0, 300),
            (1_000, 300, 255, 270),
            (4_600, 300, 0, 200),
            (4_600, 300, 255, 180),
            (4_980, 300, 0, 15),
            (4_999, 300, 255, 15),
            (5_001, 300, 0, 15),
            (1_000, 16, 255, 15),
            (1_000, 5, 255, 5),
            (4_999, 5, 0, 5),
        ] {
            let found = jwks.max_age(at(now), Seconds::new(setting), jitter);
            assert_eq!(
                found,
                Seconds::new(max_age),
                "at {now}, set to {setting}, jitter {jitter}"
            );
        }
        let settled = Jwks {
            changes_at: None,
            ..jwks
        };
        assert_eq!(settled.max_age(at(9_000), Seconds::new(300), 0), Seconds::new(300));
    }
}
