use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;

use super::SigningAlgorithm;

/// A public signing key as it is published (RFC 7517 §4). It has no private member to leak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Jwk {
    kty: &'static str,
    #[serde(rename = "use")]
    public_key_use: &'static str,
    alg: &'static str,
    kid: Thumbprint,
    #[serde(flatten)]
    material: Material,
    x5c: [String; 1],
    #[serde(rename = "x5t#S256")]
    x5t_s256: String,
}

/// The members that are the key itself, in base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Material {
    /// RFC 7518 §6.3.1.
    Rsa { n: String, e: String },
    /// RFC 7518 §6.2.1.
    Ec { crv: &'static str, x: String, y: String },
}

impl Jwk {
    /// An RSA key from its modulus and exponent (unsigned, big-endian, any leading zeros), its one algorithm and the DER of the one
    /// certificate that speaks of it.
    pub fn rsa(alg: SigningAlgorithm, n: &[u8], e: &[u8], certificate: &[u8]) -> Self {
        let (n, e) = (base64url(minimal(n)), base64url(minimal(e)));
        let kid = Thumbprint::rsa(&n, &e);
        Jwk::new("RSA", alg, kid, Material::Rsa { n, e }, certificate)
    }

    /// The same of a key on the curve P-256 from its coordinates, each as long as a number of the field: leading zeros stay (RFC 7518
    /// §6.2.1.2).
    pub fn p256(alg: SigningAlgorithm, x: &[u8; 32], y: &[u8; 32], certificate: &[u8]) -> Self {
        let (x, y) = (base64url(x), base64url(y));
        let kid = Thumbprint::p256(&x, &y);
        Jwk::new("EC", alg, kid, Material::Ec { crv: P256, x, y }, certificate)
    }

    fn new(kty: &'static str, alg: SigningAlgorithm, kid: Thumbprint, material: Material, certificate: &[u8]) -> Self {
        Jwk {
            kty,
            public_key_use: "sig",
            alg: alg.as_str(),
            kid,
            material,
            x5c: [BASE64_STANDARD.encode(certificate)],
            x5t_s256: base64url(&certificate_sha256(certificate)),
        }
    }

    /// The key's identifier: its thumbprint.
    pub fn kid(&self) -> &Thumbprint {
        &self.kid
    }
}

/// The name of the curve (RFC 7518 §6.2.1.1).
const P256: &str = "P-256";

/// The SHA-256 thumbprint of a public key (RFC 7638), which serves as its `kid`: the same key always has the same, and no two
/// keys share one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Thumbprint(String);

impl Thumbprint {
    /// Of an RSA key whose members are already in base64url.
    fn rsa(n: &str, e: &str) -> Self {
        // RFC 7638 §3.2: the required members in lexicographic order, without white space.
        Thumbprint::of(&format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#))
    }

    /// The same of a key on the curve P-256.
    fn p256(x: &str, y: &str) -> Self {
        Thumbprint::of(&format!(r#"{{"crv":"{P256}","kty":"EC","x":"{x}","y":"{y}"}}"#))
    }

    fn of(canonical: &str) -> Self {
        Thumbprint(base64url(digest(&SHA256, canonical.as_bytes()).as_ref()))
    }

    /// A thumbprint read from a database or a command line: 43 characters of base64url.
    pub fn parse(text: &str) -> Option<Self> {
        let alphabet = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        (text.len() == 43 && alphabet).then(|| Thumbprint(text.to_owned()))
    }

    /// The value of `kid`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// base64url without padding (RFC 7515 §2).
pub fn base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// SHA-256 of a certificate's DER.
pub fn certificate_sha256(certificate: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, certificate).as_ref());
    hash
}

/// A big-endian number without leading zero bytes (RFC 7518 §2, `Base64urlUInt`).
fn minimal(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 7638 §3.1.
    const N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs\
                     tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91C\
                     bOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        let n = BASE64_URL_SAFE_NO_PAD.decode(N).unwrap();
        let jwk = Jwk::rsa(SigningAlgorithm::Rs256, &n, &[1, 0, 1], b"certificate");
        assert_eq!(jwk.kid().as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(Thumbprint::parse(jwk.kid().as_str()).as_ref(), Some(jwk.kid()));
    }

    // J-01, J-02
    #[test]
    fn only_public_members_are_published_and_numbers_are_minimal() {
        let jwk = Jwk::rsa(SigningAlgorithm::Ps256, &[0, 0, 0xff, 1], &[0, 1, 0, 1], &[0xfb, 0xff]);
        let json = serde_json::to_value(&jwk).unwrap();
        let members: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use", "x5c", "x5t#S256"]);
        assert_eq!((&json["n"], &json["e"]), (&"_wE".into(), &"AQAB".into()));
        assert_eq!(json["x5c"][0], "+/8=", "x5c is standard base64 with padding");
    }

    // The order of the members is that of the releases before, for who compares bytes.
    #[test]
    fn the_members_are_written_in_one_order() {
        let jwk = Jwk::rsa(SigningAlgorithm::Rs256, &[0xff, 1], &[1, 0, 1], b"certificate");
        let written = serde_json::to_string(&jwk).unwrap();
        let begin = format!(
            r#"{{"kty":"RSA","use":"sig","alg":"RS256","kid":"{}","n":"_wE","e":"AQAB","x5c":["#,
            jwk.kid()
        );
        assert!(
            written.starts_with(&begin) && written.contains(r#"],"x5t#S256":"#),
            "{written}"
        );
    }

    // The key of RFC 7517 appendix A.1; its thumbprint was computed with another implementation.
    #[test]
    fn a_key_on_a_curve_has_its_coordinates_in_full() {
        let field = |text: &str| <[u8; 32]>::try_from(BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
        let (x, y) = (
            "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        );
        let json = serde_json::to_value(Jwk::p256(SigningAlgorithm::Es256, &field(x), &field(y), b"")).unwrap();
        let members: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            members,
            ["alg", "crv", "kid", "kty", "use", "x", "x5c", "x5t#S256", "y"]
        );
        assert_eq!((&json["x"], &json["y"]), (&x.into(), &y.into()));
        assert_eq!(
            (&json["kty"], &json["crv"], &json["alg"]),
            (&"EC".into(), &"P-256".into(), &"ES256".into())
        );
        assert_eq!(json["kid"], "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
        let short = serde_json::to_value(Jwk::p256(SigningAlgorithm::Es256, &[0; 32], &[1; 32], b"")).unwrap();
        assert_eq!(short["x"].as_str().map(str::len), Some(43), "zeros are not left out");
    }
}
