use std::cell::Cell;
use std::time::{Duration, Instant};

use rand::TryRng as _;
use rand::rngs::{SysError, SysRng, ThreadRng};

use crate::oauth::NumericDate;
use crate::server::Edge;

/// The time of the machine and the generator of the thread: the only place where either enters the process.
#[expect(clippy::disallowed_methods, reason = "this is the edge of the process")]
pub(super) fn system_edge() -> Edge {
    Edge::new(|| NumericDate::from(chrono::Utc::now()), generator)
}

/// The generator of the thread, once the system has shown lately that it gives random numbers. Without them the generator panics
/// when it is to be seeded, and aws-lc ends the process when it blinds one of its next signatures: so a request that might come to
/// that is not begun. A thread asks again after a while, for the question is a system call.
#[expect(clippy::disallowed_methods, reason = "this is the edge of the process")]
fn generator() -> Result<ThreadRng, SysError> {
    thread_local! {
        static ASKED_AT: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    let now = Instant::now();
    if ASKED_AT
        .get()
        .is_none_or(|asked_at| now.duration_since(asked_at) >= A_WHILE)
    {
        ASKED_AT.set(None);
        SysRng.try_next_u32()?;
        ASKED_AT.set(Some(now));
    }
    Ok(rand::rng())
}

/// Much shorter than aws-lc takes to give up.
const A_WHILE: Duration = Duration::from_millis(10);
