use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::oauth::base64url;

/// The key that an operator keeps outside the database: it wraps the [`DataKey`] and does nothing else.
pub struct MasterKey {
    bytes: Zeroizing<[u8; KEY_LEN]>,
    id: MasterKeyId,
}

impl MasterKey {
    /// A new master key.
    pub fn generate(rng: &mut dyn CryptoRng) -> Result<Self, SealError> {
        Self::new(random_key(rng))
    }

    /// Reads 32 bytes from base64 (of either alphabet, padded or not) or from 64 hexadecimal digits, with any white space
    /// around them.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let text = text.trim();
        let bytes = if text.len() == 2 * KEY_LEN {
            from_hex(text)
        } else {
            from_base64(text)
        };
        Self::new(bytes.ok_or(SealError::NotAMasterKey)?)
    }

    fn new(bytes: Zeroizing<[u8; KEY_LEN]>) -> Result<Self, SealError> {
        let name = subkey(&bytes, &[MASTER_KEY_ID])?;
        let hex = name.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(MasterKey {
            bytes,
            id: MasterKeyId(hex),
        })
    }

    /// The key in base64url, for the file that keeps it.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(base64url(self.bytes.as_ref()))
    }

    /// The name of this key, which tells nothing of the key itself.
    pub fn id(&self) -> &MasterKeyId {
        &self.id
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({}, [REDACTED])", self.id)
    }
}

/// The name of a master key: 16 hexadecimal digits, safe to store and to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterKeyId(String);

impl MasterKeyId {
    /// The name as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key that seals private keys and from which other secrets are derived. It is stored wrapped by the [`MasterKey`], so
/// that a new master key re-wraps one value and changes no secret.
pub struct DataKey(Zeroizing<[u8; KEY_LEN]>);

impl DataKey {
    /// A new data key.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        DataKey(random_key(rng))
    }

    /// This key, wrapped for the database.
    pub fn wrap(&self, master: &MasterKey, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SealError> {
        seal_envelope(
            &*subkey(&master.bytes, &[WRAP])?,
            WRAP,
            "data-key",
            self.0.as_ref(),
            rng,
        )
    }

    /// Opens what [`wrap`](Self::wrap) made. Refuses another master key and anything that was altered.
    pub fn from_wrapped(master: &MasterKey, wrapped: &[u8]) -> Result<Self, SealError> {
        let opened = open_envelope(&*subkey(&master.bytes, &[WRAP])?, WRAP, "data-key", wrapped)?
            .ok_or_else(|| SealError::WrongMasterKey(master.id.clone()))?;
        let mut key = Zeroizing::new([0; KEY_LEN]);
        if opened.len() != KEY_LEN {
            return Err(SealError::Truncated);
        }
        key.copy_from_slice(&opened);
        Ok(DataKey(key))
    }

    /// Seals `plaintext` under a label, such as the `kid` of a private key. It opens under the same label alone.
    pub fn seal(&self, label: &str, plaintext: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SealError> {
        seal_envelope(&*subkey(&self.0, &[SEAL])?, SEAL, label, plaintext, rng)
    }

    /// Opens what [`seal`](Self::seal) made under the same label. Refuses what was altered, truncated, or sealed under
    /// another label or key.
    pub fn open(&self, label: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        open_envelope(&*subkey(&self.0, &[SEAL])?, SEAL, label, sealed)?
            .ok_or_else(|| SealError::Altered(label.to_owned()))
    }

    /// A further secret for one purpose (HKDF-SHA-256), such as the pepper under which client secrets are hashed. It stays
    /// the same when the master key changes.
    pub fn derive(&self, purpose: &str) -> Result<Zeroizing<[u8; KEY_LEN]>, SealError> {
        subkey(&self.0, &[DERIVE, purpose])
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey([REDACTED])")
    }
}

/// Why something cannot be sealed or opened. No message tells anything of a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealError {
    /// The text is no master key.
    #[error(
        "the master key is unreadable: give 32 bytes in base64 (43 characters, or 44 with padding) or 64 hexadecimal digits"
    )]
    NotAMasterKey,
    /// The wrapped data key belongs to another master key, or was altered.
    #[error(
        "the master key {0} does not open this database: give the master key with which the database was made, or restore \
         both from one backup"
    )]
    WrongMasterKey(MasterKeyId),
    /// A sealed value was altered, or belongs to another label or data key.
    #[error(
        "what is sealed for {0} does not open: it was altered or belongs elsewhere; restore that row from a backup, or \
         revoke the key"
    )]
    Altered(String),
    /// A sealed value is too short to be one.
    #[error("a sealed value is cut short: restore it from a backup")]
    Truncated,
    /// A sealed value has a form that this version does not know.
    #[error(
        "a sealed value has form {0}, but this version of keywheel knows form {VERSION} alone: run the newer version"
    )]
    Version(u8),
    /// The cryptographic library failed.
    #[error("the cryptographic library failed; if it happens again, start keywheel on another machine")]
    Library,
}

const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;
/// The form of an envelope: this byte, a nonce of 96 bits, the ciphertext, a tag of 128 bits.
const VERSION: u8 = 1;

// A raw key is never used: each use has a key of its own, derived under its label.
const MASTER_KEY_ID: &str = "keywheel/v1/master-key-id";
const WRAP: &str = "keywheel/v1/wrap";
const SEAL: &str = "keywheel/v1/seal";
// Comes before a free text, so no other label may begin with it.
const DERIVE: &str = "keywheel/v1/derive/";

fn subkey(secret: &[u8; KEY_LEN], label: &[&str]) -> Result<Zeroizing<[u8; KEY_LEN]>, SealError> {
    let info: Vec<&[u8]> = label.iter().map(|part| part.as_bytes()).collect();
    let mut key = Zeroizing::new([0; KEY_LEN]);
    Salt::new(HKDF_SHA256, b"keywheel")
        .extract(secret)
        .expand(&info, HKDF_SHA256)
        .and_then(|okm| okm.fill(key.as_mut()))
        .map_err(|_unspecified| SealError::Library)?;
    Ok(key)
}

fn seal_envelope(
    key: &[u8; KEY_LEN],
    purpose: &str,
    label: &str,
    plaintext: &[u8],
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, SealError> {
    // 96 random bits: a data key seals a few values a month, far from the 2^32 of NIST SP 800-38D §8.3.
    let mut nonce = [0; NONCE_LEN];
    rng.fill_bytes(&mut nonce);
    let mut sealed = Zeroizing::new(plaintext.to_vec());
    let tag = cipher(key)?
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            associated_data(purpose, label),
            &mut sealed,
        )
        .map_err(|_unspecified| SealError::Library)?;
    Ok([&[VERSION], &nonce[..], &sealed, tag.as_ref()].concat())
}

/// The plaintext, or `None` when key, purpose or label are not those of the sealing, or a bit was changed.
fn open_envelope(
    key: &[u8; KEY_LEN],
    purpose: &str,
    label: &str,
    sealed: &[u8],
) -> Result<Option<Zeroizing<Vec<u8>>>, SealError> {
    let (version, rest) = sealed.split_first().ok_or(SealError::Truncated)?;
    if *version != VERSION {
        return Err(SealError::Version(*version));
    }
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Truncated)?;
    if ciphertext.len() < TAG_LEN {
        return Err(SealError::Truncated);
    }
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let opened = cipher(key)?.open_in_place(
        Nonce::assume_unique_for_key(*nonce),
        associated_data(purpose, label),
        &mut buffer,
    );
    let Some(length) = opened.ok().map(|plaintext| plaintext.len()) else {
        return Ok(None);
    };
    buffer.truncate(length);
    Ok(Some(buffer))
}

fn cipher(key: &[u8; KEY_LEN]) -> Result<LessSafeKey, SealError> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_unspecified| SealError::Library)?;
    Ok(LessSafeKey::new(key))
}

/// What the tag binds besides the plaintext. Each part has its length before it, so that no two lists of parts are one text.
fn associated_data(purpose: &str, label: &str) -> Aad<Vec<u8>> {
    let mut data = vec![VERSION];
    for part in ["keywheel", purpose, label] {
        data.extend_from_slice(&(part.len() as u64).to_be_bytes());
        data.extend_from_slice(part.as_bytes());
    }
    Aad::from(data)
}

fn random_key(rng: &mut dyn CryptoRng) -> Zeroizing<[u8; KEY_LEN]> {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    rng.fill_bytes(key.as_mut());
    key
}

fn from_hex(text: &str) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        for digit in digits {
            let value = char::from(*digit).to_digit(16)?;
            *byte = (*byte << 4) | u8::try_from(value).ok()?;
        }
    }
    Some(key)
}

fn from_base64(text: &str) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    // 43 characters and at most one of padding; both alphabets at once.
    let text = match text.len() {
        44 => text.strip_suffix('=')?,
        43 => text,
        _ => return None,
    };
    let url_safe: Zeroizing<String> = Zeroizing::new(text.replace('+', "-").replace('/', "_"));
    let bytes = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(url_safe.as_bytes()).ok()?);
    let mut key = Zeroizing::new([0; KEY_LEN]);
    (bytes.len() == KEY_LEN).then(|| key.copy_from_slice(&bytes))?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn keys(seed: u64) -> (MasterKey, DataKey, StdRng) {
        let mut rng = StdRng::seed_from_u64(seed);
        let master = MasterKey::generate(&mut rng).unwrap();
        let data = DataKey::generate(&mut rng);
        (master, data, rng)
    }

    #[test]
    fn a_master_key_reads_in_every_usual_spelling() {
        let spellings = [
            "-_-_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxw",
            "-_-_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxw=",
            "+/+/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxw=",
            "\n  +/+/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxw \r\n",
            "fbffbf000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c",
            "FBFFBF000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C",
        ];
        for text in spellings {
            let key = MasterKey::parse(text).unwrap();
            assert_eq!(key.to_text().as_str(), spellings[0], "{text}");
        }
    }

    #[test]
    fn what_is_no_master_key_is_refused_without_being_repeated() {
        for text in [
            "",
            "hunter2hunter2",
            "-_-_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGx",
            "-_-_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxw==",
            "-_-_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGx!",
            "gg".repeat(32).as_str(),
            "é".repeat(32).as_str(),
        ] {
            let refusal = MasterKey::parse(text).unwrap_err();
            assert_eq!(refusal, SealError::NotAMasterKey, "{text}");
            assert!(text.is_empty() || !refusal.to_string().contains(text));
        }
    }

    #[test]
    fn the_name_of_a_master_key_is_stable_and_differs_from_that_of_another() {
        let (one, _, _) = keys(1);
        let (other, _, _) = keys(2);
        assert_eq!(MasterKey::parse(&one.to_text()).unwrap().id(), one.id());
        assert_ne!(one.id(), other.id());
        let id = one.id().as_str();
        assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    }

    #[test]
    fn a_new_master_key_changes_no_secret() {
        let (old, data, mut rng) = keys(1);
        let sealed = data.seal("kid", b"private", &mut rng).unwrap();
        let new = MasterKey::generate(&mut rng).unwrap();
        let wrapped = DataKey::from_wrapped(&old, &data.wrap(&old, &mut rng).unwrap())
            .unwrap()
            .wrap(&new, &mut rng)
            .unwrap();
        let again = DataKey::from_wrapped(&new, &wrapped).unwrap();
        assert_eq!(again.open("kid", &sealed).unwrap().as_slice(), b"private");
        assert_eq!(again.derive("pepper").unwrap(), data.derive("pepper").unwrap());
    }

    //
    #[test]
    fn another_master_key_is_refused_by_name() {
        let (master, data, mut rng) = keys(1);
        let (other, _, _) = keys(2);
        let wrapped = data.wrap(&master, &mut rng).unwrap();
        let refusal = DataKey::from_wrapped(&other, &wrapped).unwrap_err();
        assert_eq!(refusal, SealError::WrongMasterKey(other.id().clone()));
        assert!(refusal.to_string().contains(other.id().as_str()));
    }

    //
    #[test]
    fn a_sealed_key_that_was_swapped_truncated_or_altered_does_not_open() {
        let (master, data, mut rng) = keys(1);
        let (_, other, _) = keys(2);
        let sealed = data.seal("kid-1", b"private", &mut rng).unwrap();
        let altered = |label: &str| Err(SealError::Altered(label.to_owned()));
        assert_eq!(data.open("kid-2", &sealed), altered("kid-2"), "another row's");
        assert_eq!(other.open("kid-1", &sealed), altered("kid-1"), "another data key");
        for length in 0..sealed.len() {
            assert!(data.open("kid-1", &sealed[..length]).is_err(), "cut to {length}");
        }
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(data.open("kid-1", &flipped).is_err(), "bit {bit}");
        }
        assert_eq!(data.open("kid-1", &[]), Err(SealError::Truncated));
        assert_eq!(data.open("kid-1", &[2; 60]), Err(SealError::Version(2)));
        // A wrapped key is no sealed value, nor the other way round.
        let wrapped = data.wrap(&master, &mut rng).unwrap();
        assert!(data.open("data-key", &wrapped).is_err());
        let posing = data.seal("data-key", &[0; 32], &mut rng).unwrap();
        assert!(DataKey::from_wrapped(&master, &posing).is_err());
    }

    #[test]
    fn one_plaintext_never_seals_to_one_text_and_each_purpose_has_its_own_secret() {
        let (_, data, mut rng) = keys(1);
        let sealed: Vec<_> = (0..2)
            .map(|_| data.seal("kid", b"private", &mut rng).unwrap())
            .collect();
        assert_ne!(sealed[0], sealed[1]);
        assert_ne!(data.derive("a").unwrap(), data.derive("b").unwrap());
        assert_ne!(data.derive("").unwrap().as_ref(), data.0.as_ref());
    }

    // N-07
    #[test]
    fn no_key_can_be_printed() {
        let (master, data, _) = keys(1);
        assert_eq!(format!("{data:?}"), "DataKey([REDACTED])");
        assert!(!format!("{master:?}").contains(master.to_text().as_str()));
    }
}
