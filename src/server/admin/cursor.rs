use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use thiserror::Error;

/// The place in a list from where on the next page is read. It is sealed to the list that it belongs to: whoever makes one up, changes
/// one, or takes it elsewhere is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(Vec<String>);

/// What was sent is no cursor of this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the cursor is not one that this list gave out: begin without one")]
pub struct CursorError;

/// Bytes of the seal.
const SEAL: usize = 16;

impl Cursor {
    /// The place after what has this key.
    pub fn after(key: Vec<String>) -> Self {
        Cursor(key)
    }

    /// The key.
    pub fn key(&self) -> &[String] {
        &self.0
    }

    /// As a word, for the list of that name with those filters.
    pub(in crate::server) fn seal(&self, mac: &hmac::Key, list: &str) -> String {
        let content = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut bytes = sealed(mac, list, &content).to_vec();
        bytes.extend_from_slice(&content);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`seal`](Self::seal) wrote.
    pub(in crate::server) fn open(text: &str, mac: &hmac::Key, list: &str) -> Result<Self, CursorError> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_no_base64| CursorError)?;
        let (seal, content) = bytes.split_at_checked(SEAL).ok_or(CursorError)?;
        let right = aws_lc_rs::constant_time::verify_slices_are_equal(seal, &sealed(mac, list, content));
        right.map_err(|_forged| CursorError)?;
        serde_json::from_slice(content)
            .map(Cursor)
            .map_err(|_no_key| CursorError)
    }
}

fn sealed(mac: &hmac::Key, list: &str, content: &[u8]) -> [u8; SEAL] {
    let mut context = hmac::Context::with_key(mac);
    context.update(&(list.len() as u64).to_be_bytes());
    context.update(list.as_bytes());
    context.update(content);
    let mut seal = [0; SEAL];
    seal.copy_from_slice(context.sign().as_ref().get(..SEAL).unwrap_or(&[0; SEAL]));
    seal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32])
    }

    // D-09
    #[test]
    fn a_cursor_is_good_for_its_own_list_alone() {
        let cursor = Cursor::after(vec!["billing".to_owned(), "7".to_owned()]);
        let word = cursor.seal(&key(1), "clients?enabled=true");
        assert_eq!(Cursor::open(&word, &key(1), "clients?enabled=true"), Ok(cursor));
        assert_eq!(Cursor::open(&word, &key(1), "clients"), Err(CursorError));
        assert_eq!(Cursor::open(&word, &key(2), "clients?enabled=true"), Err(CursorError));
        for forged in ["", "AAAA", "!", "W10", &word[..word.len() - 1], &format!("{word}A")] {
            assert_eq!(
                Cursor::open(forged, &key(1), "clients?enabled=true"),
                Err(CursorError),
                "{forged}"
            );
        }
        let mut flipped = BASE64_URL_SAFE_NO_PAD.decode(&word).unwrap();
        for place in 0..flipped.len() {
            flipped[place] ^= 1;
            let word = BASE64_URL_SAFE_NO_PAD.encode(&flipped);
            assert_eq!(Cursor::open(&word, &key(1), "clients?enabled=true"), Err(CursorError));
            flipped[place] ^= 1;
        }
    }
}
