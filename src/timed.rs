//! How long the parts of a traced request take: `http/trace.rs` asks for it, and any floor may name a part. Nobody else is slowed down:
//! a thread that works for no traced request looks at one flag of its own.

use std::cell::{Cell, RefCell};
use std::time::Instant;

/// A part of a request that is worth a span of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// A signature, by this algorithm.
    Signature(&'static str),
    /// A password is hashed, its wait for a thread included.
    PasswordHash,
    /// A statement or a transaction, its wait for a connection included.
    Database {
        /// As OpenTelemetry calls the system.
        system: &'static str,
        /// What is done.
        operation: &'static str,
    },
}

/// A part, and when it was done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timed {
    pub(crate) part: Part,
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
}

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static PARTS: RefCell<Vec<Timed>> = const { RefCell::new(Vec::new()) };
}

/// Does a part of a request.
pub(crate) fn timed<T>(part: Part, work: impl FnOnce() -> T) -> T {
    if !WATCHED.get() {
        return work();
    }
    let begun = Instant::now();
    let done = work();
    let ended = Instant::now();
    PARTS.with_borrow_mut(|parts| parts.push(Timed { part, begun, ended }));
    done
}

/// Does work of a traced request on this thread, which must not panic, and returns its parts in the order of their ends.
pub(crate) fn watched<T>(work: impl FnOnce() -> T) -> (T, Vec<Timed>) {
    WATCHED.set(true);
    let done = work();
    WATCHED.set(false);
    (done, PARTS.take())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_kept_while_somebody_watches_and_never_else() {
        timed(Part::PasswordHash, || ());
        let ((), parts) = watched(|| {
            timed(Part::Signature("RS256"), || ());
            timed(Part::PasswordHash, || ());
        });
        let kept: Vec<_> = parts.iter().map(|timed| timed.part).collect();
        assert_eq!(kept, [Part::Signature("RS256"), Part::PasswordHash]);
        assert!(parts.iter().all(|timed| timed.begun <= timed.ended));
        timed(Part::PasswordHash, || ());
        assert!(watched(|| ()).1.is_empty());
    }
}
