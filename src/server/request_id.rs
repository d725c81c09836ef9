use std::cell::Cell;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};
use rand::CryptoRng;

use crate::oauth::base64url;

/// How a request is called in the log, the audit trail, its trace and its answer: as the proxy in front calls it, else by a word
/// that follows from its number. Every request has a number, which costs nothing; the word is made where it is written down.
#[derive(Debug, Clone, Default)]
pub struct RequestId {
    number: u64,
    given: Option<String>,
}

impl RequestId {
    /// The next request, which the proxy in front may have given a name.
    pub fn next(given: Option<String>) -> Self {
        RequestId {
            number: next_number(),
            given,
        }
    }

    /// The name that the proxy in front gave it.
    pub fn given(&self) -> Option<&str> {
        self.given.as_deref()
    }

    /// Bytes that are this request's alone, and that nobody can foresee. For each purpose they are others.
    pub fn bytes(&self, purpose: &str) -> [u8; 32] {
        let mut hash = Context::new(&SHA256);
        hash.update(KEY.get().unwrap_or(&[0; 32]));
        hash.update(&self.number.to_be_bytes());
        hash.update(purpose.as_bytes());
        let mut bytes = [0; 32];
        for (byte, hashed) in bytes.iter_mut().zip(hash.finish().as_ref()) {
            *byte = *hashed;
        }
        bytes
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.given {
            Some(name) => f.write_str(name),
            None => f.write_str(&base64url(self.bytes("name").first_chunk::<12>().unwrap_or(&[0; 12]))),
        }
    }
}

/// What the names of this process are made with, so that no two processes have the same and none tells how many requests there were.
static KEY: OnceLock<[u8; 32]> = OnceLock::new();

/// Draws the key, once in a process.
pub(super) fn seed(rng: &mut dyn CryptoRng) {
    let mut key = [0; 32];
    rng.fill_bytes(&mut key);
    // A second server in one process, as in tests, goes on with the first one's.
    let _ = KEY.set(key);
}

/// Each thread takes many numbers at once, so that threads do not wait for each other.
fn next_number() -> u64 {
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static OWN: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    }
    let (mut next, mut end) = OWN.get();
    if next == end {
        next = TAKEN.fetch_add(NUMBERS_AT_ONCE, Ordering::Relaxed);
        end = next + NUMBERS_AT_ONCE;
    }
    OWN.set((next + 1, end));
    next
}

/// Numbers that a thread takes at once.
const NUMBERS_AT_ONCE: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_request_has_a_name_of_its_own_on_whatever_thread() {
        let names = || {
            (0..1_000)
                .map(|_| RequestId::next(None).to_string())
                .collect::<Vec<_>>()
        };
        let all: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(names)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|name| name.len() == 16));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 4_000);
    }

    #[test]
    fn the_proxys_name_counts_and_what_is_made_for_one_purpose_is_not_that_of_another() {
        let named = RequestId::next(Some("req-1".to_owned()));
        assert_eq!((named.to_string().as_str(), named.given()), ("req-1", Some("req-1")));
        assert_eq!(named.bytes("trace"), named.clone().bytes("trace"));
        assert_ne!(named.bytes("trace"), named.bytes("name"));
        assert_ne!(named.bytes("trace"), RequestId::next(None).bytes("trace"));
    }
}
