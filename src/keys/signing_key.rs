use std::sync::OnceLock;

use aws_lc_rs::signature::ParsedPublicKey;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation};
use thiserror::Error;

use super::algorithm::{jwa, verification};
use super::{Certificate, CertificateError, KeyError, PublicKey, Signer, TrustAnchors};
use crate::oauth::{NumericDate, Seconds, SigningAlgorithm, Thumbprint, TokenType, base64url};
use crate::timed::{Part, timed};

/// The stored facts of a signing key, except its sealed private half. Everything else follows from them and from the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key's identifier (RFC 7638).
    pub kid: Thumbprint,
    /// What it signs with.
    pub alg: SigningAlgorithm,
    /// Its place in the order of its algorithm's keys. No two keys share one, so that of two nodes that make the same key one wins.
    pub slot: i64,
    /// When it was first published.
    pub published_at: NumericDate,
    /// When it begins to sign.
    pub activates_at: NumericDate,
    /// The DER of its certificate.
    pub certificate: Vec<u8>,
    /// The longest life of any token that it signed or may sign.
    pub longest_token_life: Seconds,
    /// When it stops signing because nobody wants its algorithm any more. It never signs again.
    pub withdrawn_at: Option<NumericDate>,
    /// When it was barred from signing. A date means "from now on", whatever the clock says.
    pub tainted_at: Option<NumericDate>,
    /// When it was withdrawn from publication. A date means "from now on", whatever the clock says.
    pub revoked_at: Option<NumericDate>,
}

impl KeyRecord {
    /// When the key was barred from signing, by taint or by revocation.
    pub fn barred_at(&self) -> Option<NumericDate> {
        match (self.tainted_at, self.revoked_at) {
            (Some(tainted), Some(revoked)) => Some(tainted.min(revoked)),
            (tainted, revoked) => tainted.or(revoked),
        }
    }
}

/// A signing key in memory: its facts, its certificate and, unless it was destroyed, its private half.
#[derive(Debug)]
pub struct SigningKey {
    record: KeyRecord,
    certificate: Certificate,
    signer: Option<Signer>,
    /// Made again when somebody asks for it, where there is no private half: of retired keys there are ever more.
    prepared: OnceLock<Prepared>,
}

/// What follows from the facts and is wanted of a key that is published.
#[derive(Debug)]
struct Prepared {
    /// The public half as it is published.
    jwk_json: String,
    /// The public half, parsed.
    verifier: ParsedPublicKey,
    /// The protected headers in base64url, in the order of [`TokenType::ALL`].
    headers: [String; 2],
}

impl Prepared {
    fn of(record: &KeyRecord, certificate: &Certificate) -> Result<Self, OpenFault> {
        let jwk = certificate.public_key().jwk(record.alg, certificate.der());
        if *jwk.kid() != record.kid {
            return Err(OpenFault::OtherCertificate);
        }
        if certificate.public_key().key_type() != record.alg.key_type() {
            return Err(OpenFault::OtherKeyType(record.alg));
        }
        Ok(Prepared {
            jwk_json: serde_json::to_string(&jwk).map_err(|error| OpenFault::Json(error.to_string()))?,
            verifier: ParsedPublicKey::new(verification(record.alg), certificate.public_key().spki())
                .map_err(|error| OpenFault::SelfTest(error.to_string()))?,
            headers: TokenType::ALL.map(|typ| {
                // Neither an algorithm, a type nor a thumbprint holds a character that JSON escapes.
                let (alg, kid) = (record.alg, &record.kid);
                base64url(format!(r#"{{"alg":"{alg}","typ":"{typ}","kid":"{kid}"}}"#).as_bytes())
            }),
        })
    }
}

impl SigningKey {
    /// Joins a record and its private half in PKCS#8, when there is one. Refuses a certificate, a private key and a `kid` that
    /// do not belong together, and verifies the key's first signature before anybody sees one.
    pub fn open(record: KeyRecord, pkcs8: Option<&[u8]>) -> Result<Self, OpenError> {
        let kid = record.kid.clone();
        let fault = |fault: OpenFault| OpenError {
            kid: kid.clone(),
            fault,
        };
        let certificate = Certificate::parse(&record.certificate).map_err(|error| fault(error.into()))?;
        let prepared = Prepared::of(&record, &certificate).map_err(fault)?;
        let signer = pkcs8
            .map(|pkcs8| Signer::from_pkcs8(record.alg, pkcs8))
            .transpose()
            .map_err(|error| fault(error.into()))?;
        if signer
            .as_ref()
            .is_some_and(|signer| signer.public_key() != certificate.public_key())
        {
            return Err(fault(OpenFault::OtherPrivateKey));
        }
        let can_sign = signer.is_some();
        let key = SigningKey {
            record,
            certificate,
            signer,
            prepared: if can_sign { prepared.into() } else { OnceLock::new() },
        };
        if can_sign {
            key.self_test()?;
        }
        Ok(key)
    }

    /// Refuses a certificate that names one of these authorities and was signed by none of them. One of an authority that nobody
    /// knows is left to the verifiers.
    pub fn certified_by(&self, anchors: &TrustAnchors) -> Result<(), OpenError> {
        let altered = anchors.disown(self.certificate.der());
        (!altered).then_some(()).ok_or_else(|| OpenError {
            kid: self.record.kid.clone(),
            fault: OpenFault::AlteredCertificate,
        })
    }

    /// Signs a JWT (RFC 7515 §3.1) over claims that are already JSON. One signature, and little else.
    pub fn sign_jwt(&self, typ: TokenType, claims: &[u8]) -> Result<String, SignError> {
        let failed = |cause: Option<KeyError>| SignError {
            kid: self.record.kid.clone(),
            cause,
        };
        let signer = self.signer.as_ref().ok_or_else(|| failed(None))?;
        let [at_jwt, jwt] = &self.prepared().ok_or_else(|| failed(None))?.headers;
        let header = match typ {
            TokenType::AtJwt => at_jwt,
            TokenType::Jwt => jwt,
        };
        let encoded = |bytes: usize| bytes.div_ceil(3) * 4;
        let capacity = header.len() + encoded(claims.len()) + encoded(signer.signature_len()) + 2;
        let mut token = String::with_capacity(capacity);
        token.push_str(header);
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = timed(Part::Signature(self.record.alg.as_str()), || {
            signer.sign(token.as_bytes())
        });
        let signature = signature.map_err(|error| failed(Some(error)))?;
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// Whether this is the protected header of a token that this key may have signed.
    pub(super) fn has_header(&self, header: &str) -> bool {
        self.prepared()
            .is_some_and(|prepared| prepared.headers.iter().any(|own| own == header))
    }

    /// The claims of a token with one of this key's headers, if its signature is this key's.
    pub(super) fn verify_jwt(&self, token: &str) -> Option<Vec<u8>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (_, claims) = signed.split_once('.')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        let verifier = &self.prepared()?.verifier;
        verifier.verify_sig(signed.as_bytes(), &signature).ok()?;
        BASE64_URL_SAFE_NO_PAD.decode(claims).ok()
    }

    /// Signs a probe and verifies it through the published JWK, as a stranger would. A signature spoilt by a fault gives an
    /// RSA key away (Boneh, DeMillo and Lipton 1997), so no key is used before its first signature verified.
    pub fn self_test(&self) -> Result<(), OpenError> {
        let fault = |reason: String| OpenError {
            kid: self.record.kid.clone(),
            fault: OpenFault::SelfTest(reason),
        };
        let token = self
            .sign_jwt(TokenType::AtJwt, br#"{"probe":true}"#)
            .map_err(|error| fault(error.to_string()))?;
        // Without a provider jsonwebtoken panics. Somebody else may have installed one, which serves as well.
        let _installed = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let published =
            serde_json::from_str(self.jwk_json().unwrap_or_default()).map_err(|error| fault(error.to_string()))?;
        let key = DecodingKey::from_jwk(&published).map_err(|error| fault(error.to_string()))?;
        let mut validation = Validation::new(jwa(self.record.alg));
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let verified = jsonwebtoken::decode::<serde_json::Value>(&token, &key, &validation)
            .map_err(|error| fault(error.to_string()))?;
        if verified.header.kid.as_deref() != Some(self.record.kid.as_str()) {
            return Err(fault("the header names another key".to_owned()));
        }
        Ok(())
    }

    /// The stored facts.
    pub fn record(&self) -> &KeyRecord {
        &self.record
    }

    /// The key's identifier.
    pub fn kid(&self) -> &Thumbprint {
        &self.record.kid
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        self.certificate.public_key()
    }

    /// The public half as it is published (RFC 7517 §4), as JSON.
    pub(super) fn jwk_json(&self) -> Option<&str> {
        Some(&self.prepared()?.jwk_json)
    }

    /// There always is something: whoever opened the key made it once.
    fn prepared(&self) -> Option<&Prepared> {
        if let Some(prepared) = self.prepared.get() {
            return Some(prepared);
        }
        let prepared = Prepared::of(&self.record, &self.certificate).ok()?;
        Some(self.prepared.get_or_init(|| prepared))
    }

    /// Whether the private half is here.
    pub fn can_sign(&self) -> bool {
        self.signer.is_some()
    }
}

/// Why a stored key is not fit for use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the signing key {kid} is unusable: {fault}")]
pub struct OpenError {
    /// Which key.
    pub kid: Thumbprint,
    fault: OpenFault,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
enum OpenFault {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    PrivateKey(#[from] KeyError),
    #[error("its certificate is of another key; restore its row from a backup")]
    OtherCertificate,
    #[error("it is no key for {0}; restore its row from a backup")]
    OtherKeyType(SigningAlgorithm),
    #[error("its private half is of another key; restore its row from a backup")]
    OtherPrivateKey,
    #[error("its certificate was altered, the authority that it names did not sign it; restore its row from a backup")]
    AlteredCertificate,
    #[error("its own signature does not verify ({0}); rotate it away, and suspect the machine")]
    SelfTest(String),
    #[error("it cannot be published: {0}")]
    Json(String),
}

/// Why a key did not sign.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the signing key {kid} did not sign: {}", match cause {
    Some(cause) => cause.to_string(),
    None => "its private half is gone; rotate to another key".to_owned(),
})]
pub struct SignError {
    /// Which key.
    pub kid: Thumbprint,
    cause: Option<KeyError>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing;
    use super::*;
    use crate::oauth::KeyType;

    fn of(alg: SigningAlgorithm) -> SigningKey {
        SigningKey::open(
            testing::record_for(alg, 0, 1, 0, 0),
            Some(testing::key_for(alg, 0).pkcs8()),
        )
        .unwrap()
    }

    fn opened(certified: usize, private: usize, kid: usize) -> Result<SigningKey, OpenError> {
        let mut record = testing::record(certified, 1, 0, 0);
        record.kid = testing::private_key(kid).public_key().thumbprint();
        SigningKey::open(record, Some(testing::private_key(private).pkcs8()))
    }

    fn part(token: &str, index: usize) -> Value {
        let part = token.split('.').nth(index).unwrap();
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    // J-04
    #[test]
    fn a_key_whose_parts_do_not_agree_is_refused() {
        for (certified, private, kid, reason) in [
            (0, 1, 0, "private half is of another key"),
            (0, 0, 1, "certificate is of another key"),
            (1, 0, 0, "certificate is of another key"),
        ] {
            let refusal = opened(certified, private, kid).unwrap_err().to_string();
            assert!(refusal.contains(reason), "{refusal}");
        }
        let mut record = testing::record(0, 1, 0, 0);
        record.certificate.pop();
        assert!(
            SigningKey::open(record, None)
                .unwrap_err()
                .to_string()
                .contains("unreadable")
        );
    }

    #[test]
    fn without_its_private_half_a_key_is_published_and_verifies_as_before() {
        for alg in SigningAlgorithm::ALL {
            let key = of(alg);
            let retired = SigningKey::open(testing::record_for(alg, 0, 1, 0, 0), None).unwrap();
            assert!(
                retired.prepared.get().is_none(),
                "retired keys hold what they are asked for"
            );
            let token = key.sign_jwt(TokenType::AtJwt, b"{}").unwrap();
            assert_eq!(retired.verify_jwt(&token).unwrap(), b"{}");
            assert!(retired.has_header(token.split('.').next().unwrap()));
            assert_eq!(retired.jwk_json().unwrap(), key.jwk_json().unwrap());
            assert!(retired.sign_jwt(TokenType::AtJwt, b"{}").is_err());
        }
    }

    // J-04
    #[test]
    fn the_certificate_in_x5c_is_of_the_published_key() {
        for alg in SigningAlgorithm::ALL {
            let key = of(alg);
            let jwk: Value = serde_json::from_str(key.jwk_json().unwrap()).unwrap();
            let [x5c] = jwk["x5c"].as_array().unwrap().as_slice() else {
                panic!("exactly one certificate: {jwk}");
            };
            let der = base64::prelude::BASE64_STANDARD.decode(x5c.as_str().unwrap()).unwrap();
            let certificate = Certificate::parse(&der).unwrap();
            let again = serde_json::to_value(certificate.public_key().jwk(alg, &der)).unwrap();
            assert_eq!(jwk, again);
            let numbers: &[&str] = match alg.key_type() {
                KeyType::Rsa => &["n", "e"],
                KeyType::EcP256 => &["crv", "x", "y"],
            };
            assert!(numbers.iter().all(|member| jwk[member].is_string()), "{jwk}");
            assert_eq!(jwk["alg"], alg.as_str());
            assert_eq!(jwk["x5t#S256"], base64url(&certificate.sha256()));
            assert_eq!(jwk["kid"], certificate.public_key().thumbprint().as_str());
        }
    }

    // RFC 8725 §3.1: one key, one algorithm.
    #[test]
    fn a_key_is_of_one_algorithm_and_no_token_is_taken_for_another() {
        let of = |alg: SigningAlgorithm, index: usize| {
            let record = testing::record_for(alg, index, 1, 0, 0);
            SigningKey::open(record, Some(testing::key_for(alg, index).pkcs8())).unwrap()
        };
        // Two keys of one RSA key pair, so that nothing but the algorithm tells them apart.
        let (pkcs1, pss) = (of(SigningAlgorithm::Rs256, 0), of(SigningAlgorithm::Ps256, 0));
        assert_eq!(pkcs1.kid(), pss.kid());
        for (one, other) in [(&pkcs1, &pss), (&pss, &pkcs1)] {
            let token = one.sign_jwt(TokenType::AtJwt, b"{}").unwrap();
            let (header, _) = token.split_once('.').unwrap();
            assert!(one.has_header(header) && !other.has_header(header));
            assert!(one.verify_jwt(&token).is_some());
            assert_eq!(other.verify_jwt(&token), None);
        }
        let mut mistaken = testing::record_for(SigningAlgorithm::Es256, 0, 1, 0, 0);
        mistaken.alg = SigningAlgorithm::Rs256;
        let refusal = SigningKey::open(mistaken, None).unwrap_err().to_string();
        assert!(refusal.contains("no key for RS256"), "{refusal}");
    }

    #[test]
    fn a_token_has_exactly_alg_typ_and_kid_and_verifies() {
        for (alg, typ) in SigningAlgorithm::ALL
            .into_iter()
            .flat_map(|alg| TokenType::ALL.map(|typ| (alg, typ)))
        {
            let key = of(alg);
            // Lengths of every remainder, so that padding would show.
            for sub in ["", "a", "ab", "abc"] {
                let claims = json!({"sub": sub, "exp": 4_000_000_000_u64});
                let token = key.sign_jwt(typ, claims.to_string().as_bytes()).unwrap();
                assert_eq!(
                    part(&token, 0),
                    json!({"alg": alg.as_str(), "typ": typ.as_str(), "kid": key.kid().as_str()})
                );
                assert_eq!(testing::verify(&token, key.jwk_json().unwrap()), Ok(claims.clone()));
                let read = key.verify_jwt(&token).unwrap();
                assert_eq!(serde_json::from_slice::<Value>(&read).unwrap(), claims);
                assert!(!token.contains('=') && token.matches('.').count() == 2, "{token}");
            }
        }
    }

    #[test]
    fn another_key_verifies_nothing() {
        let (one, other) = (opened(0, 0, 0).unwrap(), opened(1, 1, 1).unwrap());
        let token = one.sign_jwt(TokenType::Jwt, b"{}").unwrap();
        assert!(testing::verify(&token, other.jwk_json().unwrap()).is_err());
    }

    #[test]
    fn a_key_without_its_private_half_is_published_and_does_not_sign() {
        let key = SigningKey::open(testing::record(0, 1, 0, 0), None).unwrap();
        assert!(!key.can_sign());
        let refusal = key.sign_jwt(TokenType::AtJwt, b"{}").unwrap_err().to_string();
        assert!(
            refusal.contains(key.kid().as_str()) && refusal.contains("private half is gone"),
            "{refusal}"
        );
        assert!(key.self_test().is_err());
    }

    // N-07, J-02
    #[test]
    fn printing_a_signing_key_shows_no_private_byte() {
        let key = opened(0, 0, 0).unwrap();
        let printed = format!("{key:?}");
        assert!(printed.contains("Signer([REDACTED])"), "{printed}");
        let private = testing::private_key(0).pkcs8();
        let run = format!("{:?}", &private[600..608]);
        assert!(!printed.contains(run.trim_matches(['[', ']'])));
    }
}
