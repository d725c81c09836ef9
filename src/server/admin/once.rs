use aws_lc_rs::{digest, hmac};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// A creation that may be asked for again because its answer got lost (`Idempotency-Key`).
///
/// What is made is derived: identifiers from the key and who sends it, secrets from the content of the request as well. Asked again,
/// the same things come out, so the answer can be given again although no secret was kept, by any node and at any time.
#[derive(Debug)]
pub struct Once {
    identifiers: [u8; 32],
    secrets: [u8; 32],
}

impl Once {
    /// The creation that `key` names, of the content `body`. `whose` tells apart who asks, and for what.
    pub(super) fn new(mac: &hmac::Key, whose: &[&str], key: &str, body: &[u8]) -> Self {
        let derive = |what: &str, body: &[u8]| {
            let mut context = hmac::Context::with_key(mac);
            let hash = digest::digest(&digest::SHA256, body);
            for part in [what.as_bytes(), key.as_bytes(), hash.as_ref()]
                .into_iter()
                .chain(whose.iter().map(|part| part.as_bytes()))
            {
                context.update(&(part.len() as u64).to_be_bytes());
                context.update(part);
            }
            let mut seed = [0; 32];
            seed.copy_from_slice(context.sign().as_ref());
            seed
        };
        Once {
            identifiers: derive("identifiers", b""),
            secrets: derive("secrets", body),
        }
    }

    /// The generator of what names the thing.
    pub(super) fn identifiers(&self) -> StdRng {
        StdRng::from_seed(self.identifiers)
    }

    /// The generator of what is secret about it.
    pub(super) fn secrets(&self) -> StdRng {
        StdRng::from_seed(self.secrets)
    }
}
