use ::rsa::pkcs1::der::{Decode as _, Encode as _, asn1::OctetStringRef};
use ::rsa::pkcs1::{ALGORITHM_ID, RsaPrivateKey as Pkcs1Key, UintRef};
use ::rsa::pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use zeroize::Zeroizing;

use super::pem::{self, Block, PemError};
use super::{ImportError, PrivateKey};
use crate::oauth::{KeyType, SigningAlgorithm};

/// The one private key in a PEM file, unencrypted and of the algorithm's type: RSA of 2048 to 4096 bits in PKCS#8 (RFC 5208) or PKCS#1
/// (RFC 8017 §A.1.2), or a key on the curve P-256 in PKCS#8 (RFC 5915 within).
pub(super) fn private_key(text: &str, algorithm: SigningAlgorithm) -> Result<PrivateKey, ImportError> {
    let blocks = pem::blocks(text).map_err(|error| match error {
        PemError::Encrypted(_) => ImportError::Encrypted,
        other => ImportError::KeyFile(other.to_string()),
    })?;
    let labels: Vec<&str> = blocks.iter().map(|block| block.label.as_str()).collect();
    let keys: Vec<&Block> = blocks
        .iter()
        .filter(|block| block.label.ends_with("PRIVATE KEY"))
        .collect();
    let [block] = keys[..] else {
        return Err(match keys.len() {
            0 => ImportError::NoPrivateKey(labels.join(", ")),
            several => ImportError::SeveralPrivateKeys(several),
        });
    };
    let pkcs8 = match block.label.as_str() {
        "ENCRYPTED PRIVATE KEY" => return Err(ImportError::Encrypted),
        "PRIVATE KEY" => block.der.clone(),
        "RSA PRIVATE KEY" => in_pkcs8(&block.der).ok_or(ImportError::Damaged)?,
        "EC PRIVATE KEY" if algorithm.key_type() == KeyType::EcP256 => return Err(ImportError::NotPkcs8),
        _ => return Err(ImportError::OtherKeyType { algorithm }),
    };
    let info = PrivateKeyInfoRef::try_from(pkcs8.as_slice()).map_err(|_malformed| ImportError::Damaged)?;
    let is_rsa = info.algorithm.oid == ALGORITHM_ID.oid;
    let (is_fit, bits) = match algorithm.key_type() {
        KeyType::Rsa => (is_rsa, modulus_bits(info.private_key.as_bytes())),
        KeyType::EcP256 => (info.algorithm.oid == EC && is_p256(&info), None),
    };
    if !is_fit {
        return Err(ImportError::OtherKeyType { algorithm });
    }
    if is_rsa {
        let bits = bits.ok_or(ImportError::Damaged)?;
        if !(SMALLEST_KEY..=LARGEST_KEY).contains(&bits) {
            return Err(ImportError::Size(bits));
        }
    }
    PrivateKey::from_pkcs8(algorithm, &pkcs8).map_err(|_refused| ImportError::Damaged)
}

/// id-ecPublicKey (RFC 5480 §2.1.1).
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// The curve P-256 (RFC 5480 §2.1.1.1).
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

fn is_p256(info: &PrivateKeyInfoRef<'_>) -> bool {
    let curve = info.algorithm.parameters.and_then(|curve| curve.decode_as().ok());
    curve == Some(P256)
}

const SMALLEST_KEY: u32 = 2_048;
/// A larger key makes each token so slow that a few clients could occupy the server.
const LARGEST_KEY: u32 = 4_096;

fn in_pkcs8(pkcs1: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let info = PrivateKeyInfoRef::new(ALGORITHM_ID, OctetStringRef::new(pkcs1).ok()?);
    info.to_der().ok().map(Zeroizing::new)
}

fn modulus_bits(pkcs1: &[u8]) -> Option<u32> {
    let key = Pkcs1Key::<UintRef<'_>>::from_der(pkcs1).ok()?;
    let modulus = key.modulus.as_bytes();
    let length = u32::try_from(modulus.len()).ok()?;
    Some(length * 8 - modulus.first()?.leading_zeros())
}

#[cfg(test)]
mod tests {
    use ::rsa::pkcs8::EncodePrivateKey as _;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::pem::pem;
    use super::super::testing;
    use super::*;

    fn rsa(text: &str) -> Result<PrivateKey, ImportError> {
        private_key(text, SigningAlgorithm::Rs256)
    }

    #[test]
    fn a_key_on_a_curve_is_read_for_the_algorithm_that_wants_one() {
        let curve = testing::curve_key(0);
        let text = pem("PRIVATE KEY", curve.pkcs8());
        let read = |text: &str| private_key(text, SigningAlgorithm::Es256);
        assert_eq!(read(&text).unwrap().public_key(), curve.public_key());
        // The curve's name, prime256v1, turned into another one.
        let mut other = curve.pkcs8().to_vec();
        let name = [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        let position = other.windows(8).position(|bytes| bytes == name).unwrap();
        other[position + 7] = 1;
        for (refusal, reason) in [
            (read(&pkcs8()), "not on the curve P-256"),
            (read(&pem("PRIVATE KEY", &other)), "on the curve P-256"),
            (read(&pem("EC PRIVATE KEY", b"x")), "openssl pkey -in"),
            (rsa(&text), "not of RSA"),
        ] {
            let refusal = refusal.unwrap_err().to_string();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }

    fn pkcs8() -> String {
        pem("PRIVATE KEY", testing::private_key(0).pkcs8())
    }

    fn pkcs1() -> String {
        let info = PrivateKeyInfoRef::try_from(testing::private_key(0).pkcs8()).unwrap();
        pem("RSA PRIVATE KEY", info.private_key.as_bytes())
    }

    #[test]
    fn a_key_is_read_in_both_encodings_whatever_stands_beside_it() {
        let certificate = pem("CERTIFICATE", b"not looked at");
        for text in [pkcs8(), pkcs1(), format!("Bag Attributes\n{certificate}{}", pkcs1())] {
            let key = rsa(&text).unwrap();
            assert_eq!(key.public_key(), testing::private_key(0).public_key());
            assert_eq!(
                key.pkcs8(),
                testing::private_key(0).pkcs8(),
                "whatever it was, it is PKCS#8 now"
            );
        }
    }

    #[test]
    fn what_is_no_usable_key_is_refused_with_a_way_out() {
        let small = ::rsa::PrivateKey::new(&mut StdRng::seed_from_u64(1), 1_024).unwrap();
        let small = pem("PRIVATE KEY", small.to_pkcs8_der().unwrap().as_bytes());
        let mut altered = testing::private_key(0).pkcs8().to_vec();
        altered[900] ^= 1;
        // The OID of the algorithm, rsaEncryption, turned into that of RSASSA-PSS.
        let mut other = testing::private_key(0).pkcs8().to_vec();
        let oid = other.windows(9).position(|bytes| bytes == OID).unwrap();
        other[oid + 8] = 10;
        for (text, reason) in [
            (String::new(), "-----BEGIN"),
            (pem("CERTIFICATE", b"x"), "holds none, but CERTIFICATE"),
            (format!("{}{}", pkcs8(), pkcs8()), "holds 2 of them"),
            (pem("ENCRYPTED PRIVATE KEY", b"x"), "openssl pkey -in"),
            (
                pkcs1().replacen('\n', "\nProc-Type: 4,ENCRYPTED\n", 1),
                "openssl pkey -in",
            ),
            (pem("EC PRIVATE KEY", b"x"), "not of RSA"),
            (pem("PRIVATE KEY", &other), "not of RSA"),
            (small, "1024 bits: use one of 2048 to 4096"),
            (pem("PRIVATE KEY", &altered), "damaged"),
            (pem("PRIVATE KEY", b"x"), "damaged"),
            (pem("RSA PRIVATE KEY", b"x"), "damaged"),
        ] {
            let refusal = rsa(&text).unwrap_err().to_string();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }

    const OID: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
}
