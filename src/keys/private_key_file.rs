use ::rsa::pkcs1::der::{Decode as _, Encode as _, asn1::OctetStringRef};
use ::rsa::pkcs1::{ALGORITHM_ID, RsaPrivateKey as Pkcs1Key, UintRef};
use ::rsa::pkcs8::PrivateKeyInfoRef;
use zeroize::Zeroizing;

use super::pem::{self, Block, PemError};
use super::{ImportError, PrivateKey};

/// The one private key in a PEM file: RSA of 2048 to 4096 bits, unencrypted, in PKCS#8 (RFC 5208) or PKCS#1 (RFC 8017 §A.1.2).
pub(super) fn private_key(text: &str) -> Result<PrivateKey, ImportError> {
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
        _ => return Err(ImportError::NotRsa),
    };
    let info = PrivateKeyInfoRef::try_from(pkcs8.as_slice()).map_err(|_malformed| ImportError::Damaged)?;
    if info.algorithm.oid != ALGORITHM_ID.oid {
        return Err(ImportError::NotRsa);
    }
    let bits = modulus_bits(info.private_key.as_bytes()).ok_or(ImportError::Damaged)?;
    if !(SMALLEST_KEY..=LARGEST_KEY).contains(&bits) {
        return Err(ImportError::Size(bits));
    }
    PrivateKey::from_pkcs8(&pkcs8).map_err(|_refused| ImportError::Damaged)
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
            let key = private_key(&text).unwrap();
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
            let refusal = private_key(&text).unwrap_err().to_string();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }

    const OID: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
}
