use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::CryptoRng;

use super::FamilyId;

/// What an access token hangs on: once that has ended, the token is not active any more. It stands in the token's `jti`, in front
/// of a dot and 128 random bits, so that it is known of every token without storing any (RFC 7519 §4.1.7, RFC 7662 §2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lineage {
    /// A family of refresh tokens.
    Family(FamilyId),
    /// No family: the client as it stood, and the user if it acts for one. Both by their epochs, which rise when everything that
    /// was given out before shall end.
    Standing {
        /// The client's epoch.
        client: i64,
        /// The user's epoch.
        user: Option<i64>,
    },
}

impl Lineage {
    /// A new `jti` for an access token.
    pub fn jti(&self, rng: &mut dyn CryptoRng) -> String {
        let mut random = [0; 16];
        rng.fill_bytes(&mut random);
        let mut jti = String::with_capacity(64);
        // Writing to a string does not fail.
        let _ = match self {
            Lineage::Family(family) => write!(jti, "{family}."),
            Lineage::Standing { client, user: None } => write!(jti, "{client}."),
            Lineage::Standing {
                client,
                user: Some(user),
            } => write!(jti, "{client}-{user}."),
        };
        BASE64_URL_SAFE_NO_PAD.encode_string(random, &mut jti);
        jti
    }

    /// What the token with this `jti` hangs on; `None` when the text is not of this form.
    pub fn of_jti(jti: &str) -> Option<Self> {
        let (head, _) = jti.split_once('.')?;
        if let Ok(family) = FamilyId::parse(head) {
            return Some(Lineage::Family(family));
        }
        let (client, user) = match head.split_once('-') {
            Some((client, user)) => (client, Some(user.parse().ok()?)),
            None => (head, None),
        };
        Some(Lineage::Standing {
            client: client.parse().ok()?,
            user,
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn a_jti_tells_what_the_token_hangs_on_and_is_never_the_same() {
        let mut rng = StdRng::seed_from_u64(1);
        let all = [
            Lineage::Family(FamilyId::generate(&mut rng)),
            Lineage::Standing { client: 0, user: None },
            Lineage::Standing {
                client: i64::MAX,
                user: None,
            },
            Lineage::Standing {
                client: i64::MAX,
                user: Some(i64::MAX),
            },
            Lineage::Standing {
                client: 7,
                user: Some(12),
            },
        ];
        for lineage in all {
            let (one, other) = (lineage.jti(&mut rng), lineage.jti(&mut rng));
            assert_ne!(one, other);
            assert!(one.len() >= 22 + 2, "at least 128 random bits: {one}");
            assert_eq!(Lineage::of_jti(&one), Some(lineage));
        }
        for jti in [
            "",
            ".",
            "abc.def",
            "AAAAAAAAAAAAAAAAAAAAA+.x",
            "1-.x",
            "-1-.x",
            "1-x.y",
            "AAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(Lineage::of_jti(jti), None, "{jti}");
        }
    }
}
