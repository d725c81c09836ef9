use crate::oauth::Seconds;

/// How a library that verifies tokens keeps the JWK set, as it is when nobody configures it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownVerifier {
    /// The library, and who uses it.
    pub name: &'static str,
    /// How long it keeps the set; `None` until it is restarted.
    pub keeps: Option<Seconds>,
    /// What it does about a `kid` that is not in the set it has.
    pub unknown_kid: UnknownKid,
}

/// What a verifier does about a token whose `kid` it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownKid {
    /// It fetches the set, if it did not fetch it within this time.
    Refetch(Seconds),
    /// It refuses the token until the time of its set is over.
    Refuse,
}

impl KnownVerifier {
    /// How long it may refuse a key that is published and signs from one moment to the next; `None` until it is restarted.
    pub fn learns_within(&self) -> Option<Seconds> {
        match (self.unknown_kid, self.keeps) {
            (UnknownKid::Refetch(cooldown), Some(keeps)) => Some(cooldown.min(keeps)),
            (UnknownKid::Refetch(cooldown), None) => Some(cooldown),
            (UnknownKid::Refuse, keeps) => keeps,
        }
    }

    /// How long it may go on trusting a key that is not published any more; `None` until it is restarted.
    pub fn forgets_within(&self) -> Option<Seconds> {
        self.keeps
    }
}

const fn verifier(name: &'static str, keeps: i64, unknown_kid: UnknownKid) -> KnownVerifier {
    KnownVerifier {
        name,
        keeps: if keeps == FOR_EVER {
            None
        } else {
            Some(Seconds::new(keeps))
        },
        unknown_kid,
    }
}

const fn refetch(seconds: i64) -> UnknownKid {
    UnknownKid::Refetch(Seconds::new(seconds))
}

const FOR_EVER: i64 = -1;

/// Verifiers whose defaults are known, the quickest to forget a key first. What a command says about exposure is read off
/// this table, and the proof of the rotation runs a fleet of them.
pub const KNOWN_VERIFIERS: &[KnownVerifier] = &[
    verifier("get-jwks (fastify-jwt)", 60, refetch(0)),
    verifier("tower-oauth2-resource-server", 60, UnknownKid::Refuse),
    verifier("PyJWKClient (PyJWT, simplejwt)", 300, refetch(30)),
    verifier("oauth4webapi", 300, refetch(60)),
    verifier("NimbusJwtDecoder (Spring Security)", 300, refetch(0)),
    verifier("pyjwt-key-fetcher", 300, UnknownKid::Refuse),
    verifier("jose (createRemoteJWKSet), express-oauth2-jwt-bearer", 600, refetch(30)),
    verifier("jwks-rsa (passport-jwt, express-jwt, koa-jwt)", 600, refetch(0)),
    verifier("axioms-fastapi", 600, UnknownKid::Refuse),
    verifier("Envoy", 600, UnknownKid::Refuse),
    verifier("Istio", 1_200, UnknownKid::Refuse),
    verifier("axum-jwt-auth", 3_600, UnknownKid::Refuse),
    verifier("aws-jwt-verify", FOR_EVER, refetch(10)),
    verifier("jwt-authorizer (Rust)", FOR_EVER, refetch(600)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_verifier_keeps_and_what_it_asks_for_say_how_long_it_is_wrong() {
        let find = |name: &str| {
            let found = KNOWN_VERIFIERS.iter().find(|known| known.name.starts_with(name));
            let found = found.unwrap_or_else(|| panic!("{name} is not in the table"));
            let seconds = |span: Option<Seconds>| span.map(Seconds::get);
            (seconds(found.learns_within()), seconds(found.forgets_within()))
        };
        assert_eq!(find("PyJWKClient"), (Some(30), Some(300)));
        assert_eq!(find("Istio"), (Some(1_200), Some(1_200)));
        assert_eq!(find("aws-jwt-verify"), (Some(10), None));
        let order: Vec<i64> = KNOWN_VERIFIERS
            .iter()
            .map(|known| known.keeps.map_or(i64::MAX, Seconds::get))
            .collect();
        assert!(order.is_sorted(), "the quickest to forget comes first");
    }
}
