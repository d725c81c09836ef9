//! Passwords of people: how they are hashed, how many at once, and how guessing is slowed down.

mod decoys;
mod hash;
mod hasher;
mod throttle;

pub use decoys::Decoys;
pub use hash::{PasswordHash, PasswordHashError};
pub use hasher::{Compared, Overloaded, PasswordHasher, Verdict};
pub use throttle::{Admission, RetryAfter, Throttle};
