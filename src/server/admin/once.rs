use std::fmt;

use aws_lc_rs::hmac;
use rand::rngs::ChaCha12Rng;
use rand::{CryptoRng, SeedableRng};

use crate::oauth::{NumericDate, Seconds};
use crate::server::Context;
use crate::storage::{self, Creation, Store};

/// A creation that may be asked for again because its answer got lost (`Idempotency-Key`).
///
/// What is made, its secret included, is derived from a key of the vault and a salt. The salt is stored with the request's name in the
/// transaction that makes the thing: asked again, the same comes out, and can be shown although no secret was kept.
pub struct Once {
    creation: Creation,
    before: Before,
    identifiers: [u8; 32],
    secrets: [u8; 32],
}

/// Whether the request came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// It did not.
    Never,
    /// It did, word for word.
    Same,
    /// Another one had its name.
    Another,
}

/// Something else was made with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyReused;

/// How long a request may come again.
pub(in crate::server) const REPEATED_FOR: Seconds = Seconds::days(7);

impl Once {
    /// The creation that `key` names, of the content `body`. `whose` tells apart who asks, and for what.
    pub(super) fn look(
        store: &Store,
        mac: &hmac::Key,
        (whose, key): (&[&str], &str),
        body: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<Self, storage::Error> {
        let named: Vec<&[u8]> = whose.iter().copied().chain([key]).map(str::as_bytes).collect();
        let (name, content) = (tag(mac, "name", &named), tag(mac, "content", &[body]));
        let (creation, before) = match store.creation(&name)? {
            Some(creation) if creation.content == content => (creation, Before::Same),
            Some(creation) => (creation, Before::Another),
            None => (Self::fresh(name, content, cx.now, cx.rng), Before::Never),
        };
        Ok(Once {
            identifiers: tag(mac, "identifiers", &[&creation.salt]),
            secrets: tag(mac, "secrets", &[&creation.salt]),
            creation,
            before,
        })
    }

    fn fresh(name: [u8; 32], content: [u8; 32], now: NumericDate, rng: &mut dyn CryptoRng) -> Creation {
        let mut salt = [0; 32];
        rng.fill_bytes(&mut salt);
        Creation {
            name,
            salt,
            content,
            created_at: now,
        }
    }

    /// Whether the thing was made before; `Err` if another one was.
    pub(super) fn is_repeated(&self) -> Result<bool, KeyReused> {
        match self.before {
            Before::Never => Ok(false),
            Before::Same => Ok(true),
            Before::Another => Err(KeyReused),
        }
    }

    /// The database, through which the thing is made once.
    pub(super) fn store(&self, store: &Store) -> Store {
        store.creating(self.creation.clone())
    }

    /// The generator of what names the thing.
    pub(super) fn identifiers(&self) -> ChaCha12Rng {
        ChaCha12Rng::from_seed(self.identifiers)
    }

    /// The generator of what is secret about it.
    pub(super) fn secrets(&self) -> ChaCha12Rng {
        ChaCha12Rng::from_seed(self.secrets)
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("before", &self.before)
            .finish_non_exhaustive()
    }
}

fn tag(mac: &hmac::Key, what: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(mac);
    for part in [what.as_bytes()].into_iter().chain(parts.iter().copied()) {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut tag = [0; 32];
    tag.copy_from_slice(context.sign().as_ref());
    tag
}
