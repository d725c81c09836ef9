//! The readers of this floor: tokens, what is sealed, and files of keys and certificates. The keys in here are made from fixed seeds
//! when they are first needed, so that an input means the same on every machine.
#![expect(clippy::expect_used, reason = "a broken promise is to be loud")]

use std::sync::{Arc, LazyLock};

use ::rsa::pkcs8::EncodePrivateKey as _;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::pem::{blocks, pem};
use super::private_key_file::private_key;
use super::{
    Certificate, CertificateAuthority, DataKey, ImportedAuthority, ImportedKey, KeyRecord, KeyRing, Leaf, MasterKey,
    PrivateKey, RotationPolicy, RotationSettings, RsaBits, SealError, SigningKey, TrustAnchor,
};
use crate::oauth::{IssuerUrl, NumericDate, Seconds, SigningAlgorithm, TokenType};

const NOW: NumericDate = NumericDate::from_epoch(1_800_000_000);
const ALGORITHM: SigningAlgorithm = SigningAlgorithm::Rs256;

/// One key, the authority that certified it, and the tokens that it ever signed.
struct Wheel {
    private: PrivateKey,
    authority: CertificateAuthority,
    certificate: Certificate,
    ring: KeyRing,
    tokens: [String; 2],
    verifier: DecodingKey,
}

static WHEEL: LazyLock<Wheel> = LazyLock::new(|| {
    let rsa = ::rsa::PrivateKey::new(&mut StdRng::seed_from_u64(1), 2_048).expect("a key");
    let pkcs8 = rsa.to_pkcs8_der().expect("an encoding");
    let private = PrivateKey::from_pkcs8(ALGORITHM, pkcs8.as_bytes()).expect("a key");
    let mut rng = StdRng::seed_from_u64(2);
    let authority = CertificateAuthority::generate(&private, "auth.example", NOW, &mut rng).expect("an authority");
    let kid = private.public_key().thumbprint();
    let leaf = Leaf {
        kid: &kid,
        public_key: private.public_key(),
        issuer: &IssuerUrl::parse("https://auth.example").expect("an issuer"),
        not_before: NOW,
        not_after: NOW + Seconds::days(400),
    };
    let certificate = authority.certify(&leaf, &mut rng).expect("a certificate");
    let record = KeyRecord {
        kid,
        alg: ALGORITHM,
        slot: 1,
        published_at: NOW,
        activates_at: NOW,
        certificate: certificate.der().to_vec(),
        longest_token_life: Seconds::minutes(10),
        withdrawn_at: None,
        tainted_at: None,
        revoked_at: None,
    };
    let key = Arc::new(SigningKey::open(record, Some(private.pkcs8())).expect("they belong together"));
    let claims = br#"{"iss":"https://auth.example","sub":"billing","aud":"https://a","exp":1800000600,"iat":1800000000,"jti":"0.x"}"#;
    Wheel {
        tokens: TokenType::ALL.map(|typ| key.sign_jwt(typ, claims).expect("a token")),
        verifier: DecodingKey::from_rsa_pem(private.public_key().pem().as_bytes()).expect("a public key"),
        ring: KeyRing::new([key]),
        private,
        authority,
        certificate,
    }
});

/// A token: nothing is taken for ours but what was signed here, to the letter. The input is a token, and it is also a list of changes
/// to tokens that are ours. Another verifier never takes what we refuse.
pub fn jwt(data: &[u8]) {
    let wheel = &*WHEEL;
    for token in &wheel.tokens {
        assert!(wheel.ring.verify_jwt(token, NOW).is_some(), "our own");
        judge(wheel, &String::from_utf8_lossy(&changed(token.as_bytes(), data)));
    }
    if let Ok(token) = std::str::from_utf8(data) {
        judge(wheel, token);
    }
}

fn judge(wheel: &Wheel, token: &str) {
    let ours = wheel.tokens.iter().any(|own| own == token);
    assert_eq!(wheel.ring.verify_jwt(token, NOW).is_some(), ours, "{token}");
    let mut validation = Validation::new(Algorithm::RS256);
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_aud) = (false, false);
    let theirs = jsonwebtoken::decode::<serde_json::Value>(token, &wheel.verifier, &validation);
    assert!(ours || theirs.is_err(), "{token}");
}

/// The bytes after the changes that `changes` tells, each in four bytes: what, where (two bytes), and which byte.
fn changed(bytes: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes.chunks_exact(4).take(8) {
        let [what, high, low, byte] = *change else { continue };
        let place = usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1);
        match (what % 4, bytes.get_mut(place)) {
            (0, Some(old)) => *old = byte,
            (1, _) => bytes.insert(place, byte),
            (2, Some(_)) => drop(bytes.remove(place)),
            (3, _) => bytes.truncate(place),
            _ => {}
        }
    }
    bytes
}

/// What is sealed: it opens under its own label and key to the very same bytes, and never after a change. A master key reads back as it
/// was written, and a text that is none is not repeated.
pub fn envelope(data: &[u8]) {
    let mut rng = StdRng::seed_from_u64(3);
    let master = MasterKey::generate(&mut rng).expect("a master key");
    let key = DataKey::generate(&mut rng);
    let sealed = key.seal("kid", b"private", &mut rng).expect("sealed");
    let wrapped = key.wrap(&master, &mut rng).expect("wrapped");
    for attempt in [data.to_vec(), changed(&sealed, data), changed(&wrapped, data)] {
        assert_eq!(key.open("kid", &attempt).is_ok(), attempt == sealed);
        assert_eq!(DataKey::from_wrapped(&master, &attempt).is_ok(), attempt == wrapped);
    }
    let label = String::from_utf8_lossy(data);
    let own = key.seal(&label, data, &mut rng).expect("sealed");
    assert_eq!(key.open(&label, &own).expect("its own label").as_slice(), data);
    assert_eq!(
        key.open(&format!("{label}x"), &own).err(),
        Some(SealError::Altered(format!("{label}x")))
    );
    let Ok(text) = std::str::from_utf8(data) else { return };
    match MasterKey::parse(text) {
        Ok(read) => {
            let again = MasterKey::parse(&read.to_text()).expect("as it is written");
            assert_eq!(again.id(), read.id());
            assert!([43, 44, 64].contains(&text.trim().len()));
            assert!(!format!("{read:?}").contains(text.trim()));
        }
        Err(refusal) => assert_eq!(refusal, SealError::NotAMasterKey),
    }
}

/// A PEM file (RFC 7468): each block that is read can be written and read again, and no print shows what is in it.
pub fn pem_file(data: &[u8]) {
    let own = pem("ANY", data);
    assert_eq!(
        blocks(&own).map(|blocks| blocks.iter().map(|block| block.der.to_vec()).collect::<Vec<_>>()),
        Ok(vec![data.to_vec()])
    );
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(read) = blocks(text) else { return };
    assert!(!read.is_empty() && read.len() <= text.matches("-----BEGIN ").count());
    for block in read {
        let again = blocks(&pem(&block.label, &block.der)).expect("as it is written");
        let [again] = again.as_slice() else {
            unreachable!("one was written")
        };
        assert_eq!((&again.label, &again.der), (&block.label, &block.der));
        assert_eq!(format!("{block:?}"), format!("Block({}, [REDACTED])", block.label));
    }
}

/// A private key in a file, or the DER of one, or changes to one: what is accepted is of the algorithm's type and size, signs, and is kept in PKCS#8.
pub fn key_file(data: &[u8]) {
    let own = pem("PRIVATE KEY", &changed(WHEEL.private.pkcs8(), data));
    let ders = [pem("PRIVATE KEY", data), pem("RSA PRIVATE KEY", data), own];
    let texts = std::str::from_utf8(data)
        .into_iter()
        .chain(ders.iter().map(String::as_str));
    for text in texts {
        for algorithm in SigningAlgorithm::ALL {
            let Ok(key) = private_key(text, algorithm) else {
                continue;
            };
            let again = PrivateKey::from_pkcs8(algorithm, key.pkcs8()).expect("as it is kept");
            assert_eq!(again.public_key(), key.public_key());
            assert_eq!(key.public_key().key_type(), algorithm.key_type());
            assert!(key.into_signer().sign(b"a probe").is_ok());
        }
    }
}

/// A certificate, or a PEM file of several: what is read is written as it was, and what is imported certifies keys, or verifies what its
/// key signs.
pub fn certificate(data: &[u8]) {
    if let Ok(certificate) = Certificate::parse(data) {
        let written = certificate.pem();
        let read = blocks(&written).expect("as it is written");
        assert!(read.iter().all(|block| block.der.as_slice() == data));
        let shown = format!(
            "{}{}{}",
            certificate.not_before(),
            certificate.not_after(),
            certificate.subject()
        );
        assert!(!shown.is_empty() && certificate.uris().len() <= data.len());
    }
    if let Ok(anchor) = TrustAnchor::parse(data) {
        let _whether = (anchor.issued(data), anchor.issued(WHEEL.certificate.der()));
        assert_eq!(anchor.der(), data);
    }
    let wheel = &*WHEEL;
    let (key, policy) = (pem("PRIVATE KEY", wheel.private.pkcs8()), policy());
    let changed = changed(wheel.certificate.der(), data);
    let texts = [
        pem("CERTIFICATE", data),
        String::from_utf8_lossy(data).into_owned(),
        pem("CERTIFICATE", &changed) + &wheel.authority.certificate().pem(),
        pem(
            "CERTIFICATE",
            &super::fuzzing::changed(wheel.authority.certificate().der(), data),
        ),
    ];
    for text in texts {
        let mut rng = StdRng::seed_from_u64(4);
        if let Ok(imported) = ImportedAuthority::read(&text, &key, &policy, NOW, &mut rng) {
            assert_eq!(
                imported.authority.certificate().public_key(),
                wheel.private.public_key()
            );
        }
        let known = [TrustAnchor::parse(wheel.authority.certificate().der()).expect("an authority")];
        if let Ok(imported) = ImportedKey::read((&text, &key, ALGORITHM), &known, &policy, NOW, NOW) {
            assert_eq!(imported.certificate.public_key(), wheel.private.public_key());
            assert_eq!(
                imported.certificate.der(),
                wheel.certificate.der(),
                "nobody else has a certificate of this authority"
            );
        }
    }
}

fn policy() -> RotationPolicy {
    let settings = RotationSettings {
        algorithm: ALGORITHM,
        rsa_bits: RsaBits::Bits2048,
        period: Seconds::days(30),
        jwks_max_age: Seconds::new(300),
        slowest_verifier: Seconds::hours(24),
        longest_access_ttl: Seconds::minutes(10),
        wait_for_fetchers: Seconds::new(0),
    };
    RotationPolicy::new(settings).expect("the default")
}
