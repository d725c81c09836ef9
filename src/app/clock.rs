use crate::oauth::NumericDate;
use crate::server::Edge;

/// The time of the machine and the generator of the thread: the only place where either enters the process.
#[expect(clippy::disallowed_methods, reason = "this is the edge of the process")]
pub(super) fn system_edge() -> Edge {
    Edge::new(|| NumericDate::from(chrono::Utc::now()), rand::rng)
}
