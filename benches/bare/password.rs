//! The hash of a password, as OWASP recommends it first and keywheel makes it, in memory that is kept from one to the next.

use argon2::{Algorithm, Argon2, Block, Params, Version};

use super::repeated::repeat;
use super::{Outcome, answer_each};

/// In KiB.
const MEMORY: u32 = 19_456;
const PASSES: u32 = 2;

pub(super) fn hash() -> Outcome<()> {
    let params = Params::new(MEMORY, PASSES, 1, None)?;
    let mut memory = vec![Block::default(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = [0; 32];
    answer_each(|seconds| {
        repeat(seconds, 1, || {
            Ok(argon2.hash_password_into_with_memory(b"correct horse", &[7; 16], &mut hash, memory.as_mut_slice())?)
        })
    })
}
