use rand::TryRng as _;
use rand::rngs::{SysError, SysRng, ThreadRng};

use crate::oauth::NumericDate;
use crate::server::Edge;

/// The time of the machine and the generator of the thread: the only place where either enters the process.
#[expect(clippy::disallowed_methods, reason = "this is the edge of the process")]
pub(super) fn system_edge() -> Edge {
    Edge::new(|| NumericDate::from(chrono::Utc::now()), generator)
}

/// The generator of the thread, once the system has shown that it gives random numbers. Without them the generator panics when it
/// is to be seeded, and aws-lc ends the process when it blinds one of its next signatures: so a request that might come to that is
/// not begun.
#[expect(clippy::disallowed_methods, reason = "this is the edge of the process")]
fn generator() -> Result<ThreadRng, SysError> {
    SysRng.try_next_u32()?;
    Ok(rand::rng())
}
