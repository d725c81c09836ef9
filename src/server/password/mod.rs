//! Passwords of people: how they are hashed, how many at once, and how guessing is slowed down.

mod hash;
mod hasher;
mod throttle;

pub use hash::{PasswordHash, PasswordHashError};
pub use hasher::{Overloaded, PasswordHasher, Verdict};
pub use throttle::{Admission, RetryAfter, Throttle};
