use std::fmt;
use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use rand::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

/// A stored password hash: our own argon2id, or one that was imported. There is no `==`, and printing shows nothing of it.
#[derive(Clone)]
pub struct PasswordHash {
    text: Zeroizing<String>,
    scheme: Scheme,
}

#[derive(Clone)]
enum Scheme {
    /// PHC string, also behind Django's `argon2` prefix.
    Argon2 {
        algorithm: Algorithm,
        version: Version,
        params: Params,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    /// Django's `pbkdf2_sha256$iterations$salt$hash`.
    Pbkdf2 {
        iterations: NonZeroU32,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    /// `$2b$…`, of the password itself or, as Django's `bcrypt_sha256` does, of its SHA-256 in hexadecimal.
    Bcrypt { modular: String, of_sha256: bool },
}

impl PasswordHash {
    /// Memory of one argon2id hash in KiB (OWASP's first choice, with `TIME` passes on one lane).
    pub const MEMORY_KIB: u32 = 19_456;
    const TIME: u32 = 2;

    /// Reads a hash as it is stored or imported. Refused is what is no hash, and what would cost more than a server can bear.
    pub fn parse(text: &str) -> Result<Self, PasswordHashError> {
        if !text.is_ascii() || text.len() > 512 {
            return Err(PasswordHashError::Unknown);
        }
        let (kind, rest) = text.split_once('$').ok_or(PasswordHashError::Unknown)?;
        let scheme = match kind {
            "" if rest.starts_with("argon2") => phc(rest)?,
            "argon2" => phc(rest)?,
            "" if rest.starts_with('2') => bcrypt(text, false)?,
            "bcrypt" => bcrypt(rest, false)?,
            "bcrypt_sha256" => bcrypt(rest, true)?,
            "pbkdf2_sha256" => django_pbkdf2(rest)?,
            _ => return Err(PasswordHashError::Unknown),
        };
        Ok(PasswordHash {
            text: Zeroizing::new(text.to_owned()),
            scheme,
        })
    }

    /// A hash of today's kind that no password has.
    pub fn nobodys() -> Result<Self, PasswordHashError> {
        let params = Params::new(Self::MEMORY_KIB, Self::TIME, 1, None).map_err(|_bad| PasswordHashError::Failed)?;
        Ok(Self::assembled(params, vec![0; 16], vec![0; 32]))
    }

    /// Hashes a new password: argon2id, 19 MiB, two passes, a random salt of 16 bytes.
    pub fn create(password: &str, rng: &mut dyn CryptoRng) -> Result<Self, PasswordHashError> {
        Self::with_salt(password, new_salt(rng))
    }

    pub(super) fn with_salt(password: &str, salt: Vec<u8>) -> Result<Self, PasswordHashError> {
        let params = Params::new(Self::MEMORY_KIB, Self::TIME, 1, None).map_err(|_bad| PasswordHashError::Failed)?;
        let mut hash = vec![0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
            .hash_password_into(password.as_bytes(), &salt, &mut hash)
            .map_err(|_failed| PasswordHashError::Failed)?;
        Ok(Self::assembled(params, salt, hash))
    }

    fn assembled(params: Params, salt: Vec<u8>, hash: Vec<u8>) -> Self {
        let encode = |bytes: &[u8]| BASE64_STANDARD_NO_PAD.encode(bytes);
        let (m, t) = (Self::MEMORY_KIB, Self::TIME);
        let text = format!("$argon2id$v=19$m={m},t={t},p=1${}${}", encode(&salt), encode(&hash));
        let scheme = Scheme::Argon2 {
            algorithm: Algorithm::Argon2id,
            version: Version::V0x13,
            params,
            salt,
            hash,
        };
        PasswordHash {
            text: Zeroizing::new(text),
            scheme,
        }
    }

    /// Whether this is the hash of `password`. `memory` is kept between calls, so that pages are not fetched anew each time.
    pub(in crate::server) fn verify(&self, password: &str, memory: &mut Vec<Block>) -> bool {
        match &self.scheme {
            Scheme::Argon2 {
                algorithm,
                version,
                params,
                salt,
                hash,
            } => {
                memory.resize(params.block_count().max(memory.len()), Block::default());
                let mut computed = Zeroizing::new(vec![0; hash.len()]);
                let argon2 = Argon2::new(*algorithm, *version, params.clone());
                let done = argon2.hash_password_into_with_memory(
                    password.as_bytes(),
                    salt,
                    &mut computed,
                    memory.as_mut_slice(),
                );
                done.is_ok() && verify_slices_are_equal(&computed, hash).is_ok()
            }
            Scheme::Pbkdf2 { iterations, salt, hash } => {
                pbkdf2::verify(PBKDF2_HMAC_SHA256, *iterations, salt, password.as_bytes(), hash).is_ok()
            }
            Scheme::Bcrypt {
                modular,
                of_sha256: false,
            } => bcrypt::verify(password, modular).unwrap_or(false),
            Scheme::Bcrypt {
                modular,
                of_sha256: true,
            } => {
                let sha256 = digest(&SHA256, password.as_bytes());
                let hex: String = sha256.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                bcrypt::verify(hex, modular).unwrap_or(false)
            }
        }
    }

    /// Whether the next login should replace it by one of today's.
    pub fn needs_upgrade(&self) -> bool {
        !matches!(&self.scheme, Scheme::Argon2 { algorithm: Algorithm::Argon2id, params, .. }
            if params.m_cost() >= Self::MEMORY_KIB && params.t_cost() >= Self::TIME)
    }

    /// What it costs to verify it, as a word: hashes of one kind take the same time.
    pub fn kind(&self) -> String {
        match &self.scheme {
            Scheme::Argon2 { algorithm, params, .. } => {
                let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
                format!("{algorithm} m={m},t={t},p={p}")
            }
            Scheme::Pbkdf2 { iterations, .. } => format!("pbkdf2_sha256 {iterations}"),
            // The kind and the cost stand in the first seven characters.
            Scheme::Bcrypt { modular, of_sha256 } => {
                format!("bcrypt {} {of_sha256}", modular.get(..7).unwrap_or_default())
            }
        }
    }

    /// The text to be stored.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([REDACTED])")
    }
}

/// Why a text is no password hash that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PasswordHashError {
    /// No known form.
    #[error(
        "not a password hash of a known kind: pbkdf2_sha256$, argon2 and bcrypt are understood, as Django writes them or plain"
    )]
    Unknown,
    /// A known form with parts that do not fit.
    #[error("a damaged password hash")]
    Damaged,
    /// Verifying it would take too much time or memory.
    #[error(
        "a password hash that costs too much: at most 5000000 iterations of PBKDF2, cost 15 of bcrypt, or 256 MiB and 16 passes of argon2"
    )]
    TooCostly,
    /// The library refused.
    #[error("the password could not be hashed")]
    Failed,
}

/// A salt for a new hash.
pub(super) fn new_salt(rng: &mut dyn CryptoRng) -> Vec<u8> {
    let mut salt = vec![0; 16];
    rng.fill_bytes(&mut salt);
    salt
}

const MOST_ITERATIONS: u32 = 5_000_000;
const MOST_BCRYPT_COST: u32 = 15;
const MOST_MEMORY_KIB: u32 = 256 * 1_024;
const MOST_PASSES: u32 = 16;

/// `argon2id$v=19$m=…,t=…,p=…$salt$hash`, the first dollar sign already taken off.
fn phc(text: &str) -> Result<Scheme, PasswordHashError> {
    let damaged = PasswordHashError::Damaged;
    let mut fields = text.split('$').peekable();
    let algorithm = match fields.next() {
        Some("argon2id") => Algorithm::Argon2id,
        Some("argon2i") => Algorithm::Argon2i,
        _ => return Err(PasswordHashError::Unknown),
    };
    let version = match fields.next_if(|field| field.starts_with("v=")) {
        Some("v=19") => Version::V0x13,
        None | Some("v=16") => Version::V0x10,
        Some(_) => return Err(damaged),
    };
    let (mut m, mut t, mut p) = (0, 0, 0);
    for parameter in fields.next().ok_or(damaged)?.split(',') {
        let (name, value) = parameter.split_once('=').ok_or(damaged)?;
        let value = number(value).ok_or(damaged)?;
        match name {
            "m" => m = value,
            "t" => t = value,
            "p" => p = value,
            _ => return Err(damaged),
        }
    }
    if m > MOST_MEMORY_KIB || t > MOST_PASSES || p > MOST_PASSES {
        return Err(PasswordHashError::TooCostly);
    }
    let mut decoded = || {
        BASE64_STANDARD_NO_PAD
            .decode(fields.next().ok_or(damaged)?)
            .map_err(|_bad_base64| damaged)
    };
    let (salt, hash) = (decoded()?, decoded()?);
    if salt.len() < 8 || !(16..=64).contains(&hash.len()) || fields.next().is_some() {
        return Err(damaged);
    }
    let params = Params::new(m, t, p, Some(hash.len())).map_err(|_bad| damaged)?;
    Ok(Scheme::Argon2 {
        algorithm,
        version,
        params,
        salt,
        hash,
    })
}

fn bcrypt(text: &str, of_sha256: bool) -> Result<Scheme, PasswordHashError> {
    let damaged = PasswordHashError::Damaged;
    let mut fields = text.strip_prefix('$').ok_or(damaged)?.split('$');
    let (kind, cost, rest) = (fields.next(), fields.next(), fields.next());
    let alphabet = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"./".contains(&b));
    let fits = matches!(kind, Some("2a" | "2b" | "2y"))
        && rest.is_some_and(|rest| rest.len() == 53 && alphabet(rest))
        && fields.next().is_none();
    // Two digits, as every library reads it.
    let cost = cost.filter(|cost| cost.len() == 2).and_then(number).ok_or(damaged)?;
    if !fits || cost < 4 {
        return Err(damaged);
    }
    if cost > MOST_BCRYPT_COST {
        return Err(PasswordHashError::TooCostly);
    }
    Ok(Scheme::Bcrypt {
        modular: text.to_owned(),
        of_sha256,
    })
}

fn django_pbkdf2(text: &str) -> Result<Scheme, PasswordHashError> {
    let damaged = PasswordHashError::Damaged;
    let fields: Vec<&str> = text.split('$').collect();
    let [iterations, salt, hash] = fields.as_slice() else {
        return Err(damaged);
    };
    let iterations = number(iterations).and_then(NonZeroU32::new).ok_or(damaged)?;
    if iterations.get() > MOST_ITERATIONS {
        return Err(PasswordHashError::TooCostly);
    }
    let hash = BASE64_STANDARD.decode(hash).map_err(|_bad_base64| damaged)?;
    if salt.is_empty() || hash.len() != 32 {
        return Err(damaged);
    }
    Ok(Scheme::Pbkdf2 {
        iterations,
        salt: salt.as_bytes().to_vec(),
        hash,
    })
}

/// Digits alone: a sign is nothing that whoever else reads the hash would take.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn verify(hash: &str, password: &str) -> bool {
        PasswordHash::parse(hash).unwrap().verify(password, &mut Vec::new())
    }

    /// Made by Django and by the reference programs.
    const IMPORTED: [(&str, &str); 6] = [
        (
            "pbkdf2_sha256$10000$seasalt$CWWFdHOWwPnki7HvkcqN9iA2T3KLW1cf2uZ5kvArtVY=",
            "lètmein",
        ),
        (
            "$2b$05$JrkhsFi.Z2XbbH3EhIooRO.GelXEAXZOFQujbJsMVejP9yhKXbA7O",
            "lètmein",
        ),
        (
            "bcrypt$$2b$05$JrkhsFi.Z2XbbH3EhIooRO.GelXEAXZOFQujbJsMVejP9yhKXbA7O",
            "lètmein",
        ),
        (
            "bcrypt_sha256$$2b$05$zBpo5o4ajk04t8G0c/aAA.uGZgIf7cYiXv4bhzgccY/Zi1AJWfIce",
            "lètmein",
        ),
        (
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "password",
        ),
        (
            "argon2$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA",
            "password",
        ),
    ];

    #[test]
    fn imported_hashes_verify_their_password_alone_and_want_an_upgrade() {
        for (hash, password) in IMPORTED {
            assert!(verify(hash, password), "{hash}");
            assert!(!verify(hash, "another"), "{hash}");
        }
        let outdated = IMPORTED.map(|(hash, _)| PasswordHash::parse(hash).unwrap().needs_upgrade());
        assert_eq!(outdated, [true, true, true, true, false, true]);
    }

    // P-10
    #[test]
    fn a_password_is_hashed_whole_and_the_hash_says_how() {
        let long = "p".repeat(80);
        let hash = PasswordHash::create(&long, &mut StdRng::seed_from_u64(1)).unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(!hash.needs_upgrade());
        assert!(verify(hash.as_str(), &long) && !verify(hash.as_str(), &long[..72]));
        assert_eq!(format!("{hash:?}"), "PasswordHash([REDACTED])");
    }

    #[test]
    fn what_is_no_hash_or_costs_too_much_is_refused() {
        for text in [
            "",
            "x",
            "plain$text",
            "md5$salt$hash",
            "$argon2d$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "é$é",
        ] {
            assert_eq!(
                PasswordHash::parse(text).unwrap_err(),
                PasswordHashError::Unknown,
                "{text}"
            );
        }
        for text in [
            "pbkdf2_sha256$1000$salt",
            "pbkdf2_sha256$0$salt$CWWFdHOWwPnki7HvkcqN9iA2T3KLW1cf2uZ5kvArtVY=",
            "pbkdf2_sha256$1$salt$AAAA",
            "$2b$12$short",
            "$argon2id$v=19$m=8,t=1$c29tZXNhbHQ",
            "$argon2id$v=19$m=x,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=+8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "pbkdf2_sha256$+1$salt$CWWFdHOWwPnki7HvkcqN9iA2T3KLW1cf2uZ5kvArtVY=",
            "$2b$+5$JrkhsFi.Z2XbbH3EhIooRO.GelXEAXZOFQujbJsMVejP9yhKXbA7O",
            "$2b$5$JrkhsFi.Z2XbbH3EhIooRO.GelXEAXZOFQujbJsMVejP9yhKXbA7O",
        ] {
            assert_eq!(
                PasswordHash::parse(text).unwrap_err(),
                PasswordHashError::Damaged,
                "{text}"
            );
        }
        for text in [
            "pbkdf2_sha256$5000001$salt$CWWFdHOWwPnki7HvkcqN9iA2T3KLW1cf2uZ5kvArtVY=",
            "$2b$16$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m",
            "$argon2id$v=19$m=9999999,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        ] {
            assert_eq!(
                PasswordHash::parse(text).unwrap_err(),
                PasswordHashError::TooCostly,
                "{text}"
            );
        }
    }
}
