//! What the tests of this floor share. RSA keys are slow to make, so they are made once, from a fixed seed.

use std::sync::{Arc, LazyLock, OnceLock};

use ::rsa::pkcs8::EncodePrivateKey as _;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

use super::{CertificateAuthority, KeyRecord, KeyRing, Leaf, PrivateKey, RsaBits, SigningKey};
use crate::oauth::{IssuerUrl, KeyType, NumericDate, Seconds, SigningAlgorithm};

/// The life of every token in these tests.
pub(super) const TOKEN_LIFE: Seconds = Seconds::minutes(10);

static KEYS: [OnceLock<PrivateKey>; 12] = [const { OnceLock::new() }; 12];

/// One of twelve private keys.
pub(super) fn private_key(index: usize) -> &'static PrivateKey {
    KEYS[index].get_or_init(|| {
        let mut rng = StdRng::seed_from_u64(index as u64);
        let key = ::rsa::PrivateKey::new(&mut rng, 2_048).unwrap();
        PrivateKey::from_pkcs8(SigningAlgorithm::Rs256, key.to_pkcs8_der().unwrap().as_bytes()).unwrap()
    })
}

/// One of a few private keys on the curve P-256.
pub(super) fn curve_key(index: usize) -> &'static PrivateKey {
    static KEYS: [OnceLock<PrivateKey>; 12] = [const { OnceLock::new() }; 12];
    KEYS[index].get_or_init(|| PrivateKey::generate(SigningAlgorithm::Es256, RsaBits::default()).unwrap())
}

/// The private key that record `index` of an algorithm is of.
pub(super) fn key_for(alg: SigningAlgorithm, index: usize) -> &'static PrivateKey {
    match alg.key_type() {
        KeyType::Rsa => private_key(index),
        KeyType::EcP256 => curve_key(index),
    }
}

/// The authority that certifies them.
pub(super) fn authority() -> &'static CertificateAuthority {
    static AUTHORITY: LazyLock<CertificateAuthority> = LazyLock::new(|| {
        let mut rng = StdRng::seed_from_u64(7);
        CertificateAuthority::generate(private_key(11), "auth.example", at(0), &mut rng).unwrap()
    });
    &AUTHORITY
}

/// An instant.
pub(super) fn at(seconds: i64) -> NumericDate {
    NumericDate::from_epoch(seconds)
}

/// The record of private key `index`.
pub(super) fn record(index: usize, slot: i64, published_at: i64, activates_at: i64) -> KeyRecord {
    record_for(SigningAlgorithm::Rs256, index, slot, published_at, activates_at)
}

/// The same for an algorithm.
pub(super) fn record_for(
    alg: SigningAlgorithm,
    index: usize,
    slot: i64,
    published_at: i64,
    activates_at: i64,
) -> KeyRecord {
    let public_key = key_for(alg, index).public_key();
    let kid = public_key.thumbprint();
    let leaf = Leaf {
        kid: &kid,
        public_key,
        issuer: &IssuerUrl::parse("https://auth.example").unwrap(),
        not_before: at(published_at),
        not_after: at(activates_at) + Seconds::days(61),
    };
    let mut rng = StdRng::seed_from_u64(index as u64);
    let certificate = authority().certify(&leaf, &mut rng).unwrap().der().to_vec();
    KeyRecord {
        kid,
        alg,
        slot,
        published_at: at(published_at),
        activates_at: at(activates_at),
        certificate,
        longest_token_life: TOKEN_LIFE,
        withdrawn_at: None,
        tainted_at: None,
        revoked_at: None,
    }
}

/// A ring of records, each with its private half; record `i` is of private key `i`.
pub(super) fn ring(records: impl IntoIterator<Item = KeyRecord>) -> KeyRing {
    KeyRing::new(records.into_iter().map(|record| {
        let mut keys = (0..KEYS.len()).map(|index| key_for(record.alg, index));
        let pkcs8 = keys
            .find(|key| key.public_key().thumbprint() == record.kid)
            .map(PrivateKey::pkcs8);
        Arc::new(SigningKey::open(record, pkcs8).unwrap())
    }))
}

/// Verifies a token as a resource server would, by one JWK in JSON. Times are not looked at.
pub(super) fn verify(token: &str, jwk: &str) -> Result<Value, String> {
    let jwk: Jwk = serde_json::from_str(jwk).map_err(|error| error.to_string())?;
    let key = DecodingKey::from_jwk(&jwk).map_err(|error| error.to_string())?;
    let named: Algorithm = jwk
        .common
        .key_algorithm
        .and_then(|alg| alg.to_string().parse().ok())
        .unwrap();
    let mut validation = Validation::new(named);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    let verified = jsonwebtoken::decode::<Value>(token, &key, &validation);
    verified.map(|token| token.claims).map_err(|error| error.to_string())
}
