//! The signature of an access token and its verification, with a key that was parsed once.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};

use super::repeated::repeat;
use super::{Outcome, answer_each};

/// As long as what is signed of an access token: header, dot and claims.
const SIGNED: [u8; 411] = [b'a'; 411];
/// Pieces of work between two looks at the clock.
const BATCH: u32 = 16;

pub(super) fn sign() -> Outcome<()> {
    let key = KeyPair::generate(KeySize::Rsa2048)?;
    let mut signature = vec![0; key.public_modulus_len()];
    let random = SystemRandom::new();
    answer_each(|seconds| {
        repeat(seconds, BATCH, || {
            Ok(key.sign(&RSA_PKCS1_SHA256, &random, &SIGNED, &mut signature)?)
        })
    })
}

pub(super) fn verify() -> Outcome<()> {
    let key = KeyPair::generate(KeySize::Rsa2048)?;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &SIGNED, &mut signature)?;
    let spki: PublicKeyX509Der<'_> = key.public_key().as_der()?;
    let public = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, spki.as_ref())?;
    answer_each(|seconds| repeat(seconds, BATCH, || Ok(public.verify_sig(&SIGNED, &signature)?)))
}
