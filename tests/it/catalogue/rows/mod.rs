//! What the rows are, and which tests hold them.

mod browser;
mod documents;
mod http;
mod keys;
mod tokens;

/// One row: a request, or an event, and what has to come of it.
pub(super) struct Row {
    /// A letter for what it is about, and a number.
    pub(super) id: &'static str,
    /// What it says, in a line.
    pub(super) says: &'static str,
    pub(super) state: State,
}

/// How a row stands.
pub(super) enum State {
    /// These tests hold it, named as `cargo test` prints them.
    Covered(&'static [&'static str]),
    /// It is about a part that does not exist: this one.
    Pending(&'static str),
    /// It was decided otherwise, and how; these tests hold what was decided.
    Overruled(&'static str, &'static [&'static str]),
}

/// All rows, in their order: one that was left out would show as a gap.
pub(super) fn all() -> impl Iterator<Item = &'static Row> {
    [http::ROWS, tokens::ROWS, documents::ROWS, browser::ROWS, keys::ROWS]
        .into_iter()
        .flatten()
}

const fn row(
    (id, says): (&'static str, &'static str),
    pending: &'static [&'static str],
    overruled: &'static [&'static str],
    tests: &'static [&'static str],
) -> Row {
    let state = match (pending, overruled) {
        ([part], _) => State::Pending(part),
        (_, [how]) => State::Overruled(how, tests),
        _ => State::Covered(tests),
    };
    Row { id, says, state }
}

/// A table of rows. Each has its identifier and what it says; then `pending` and the part that it waits for, or `overruled` and what
/// was decided, or neither; then the tests.
macro_rules! rows {
    ($($id:literal $says:literal $(pending $part:literal)? $(overruled $how:literal)? $(: $($test:literal),+)?;)*) => {
        pub(super) const ROWS: &[$crate::catalogue::rows::Row] = &[$(
            $crate::catalogue::rows::row(($id, $says), &[$($part)?], &[$($how)?], &[$($($test),+)?]),
        )*];
    };
}
use rows;
