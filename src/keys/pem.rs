use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use thiserror::Error;
use zeroize::Zeroizing;

/// One block of a PEM file (RFC 7468 §2). It may be a private key, so it cannot be printed and its memory is wiped.
pub(super) struct Block {
    /// What it says it is, such as `CERTIFICATE`.
    pub(super) label: String,
    /// Its content, a DER in general.
    pub(super) der: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({}, [REDACTED])", self.label)
    }
}

/// Why a text is no PEM.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum PemError {
    /// Not even the first line of a block.
    #[error(
        "it holds no line \"-----BEGIN …-----\"; convert DER with \"openssl x509 -inform DER\" or \"openssl pkey -inform DER\""
    )]
    Absent,
    /// A block without its last line.
    #[error("the block {0} has no last line \"-----END {0}-----\": the file is cut short")]
    Unfinished(String),
    /// What is between the lines is not base64.
    #[error("the block {0} is not base64: the file is damaged")]
    NotBase64(String),
    /// The way in which OpenSSL encrypted keys before PKCS#8.
    #[error("the block {0} is encrypted")]
    Encrypted(String),
}

/// The blocks of a PEM file, in order. Text between blocks is ignored, as OpenSSL writes it.
pub(super) fn blocks(text: &str) -> Result<Vec<Block>, PemError> {
    let mut lines = text.lines().map(str::trim);
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(label) = line
            .strip_prefix("-----BEGIN ")
            .and_then(|rest| rest.strip_suffix("-----"))
        else {
            continue;
        };
        let end = format!("-----END {label}-----");
        // As long as the text at most, so that it never moves and leaves nothing behind.
        let mut encoded = Zeroizing::new(String::with_capacity(text.len()));
        loop {
            match lines.next() {
                None => return Err(PemError::Unfinished(label.to_owned())),
                Some(line) if line == end => break,
                // With its colon: the nine letters alone are base64, too.
                Some(line) if line.contains(':') && line.contains("ENCRYPTED") => {
                    return Err(PemError::Encrypted(label.to_owned()));
                }
                Some(line) => encoded.push_str(line),
            }
        }
        let der = BASE64_STANDARD.decode(encoded.as_bytes());
        found.push(Block {
            label: label.to_owned(),
            der: Zeroizing::new(der.map_err(|_not_base64| PemError::NotBase64(label.to_owned()))?),
        });
    }
    if found.is_empty() {
        Err(PemError::Absent)
    } else {
        Ok(found)
    }
}

/// One block in the textual encoding of RFC 7468 §3.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (position, character) in BASE64_STANDARD.encode(der).chars().enumerate() {
        if position > 0 && position % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text + &format!("\n-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_whatever_stands_between() {
        let text = format!(
            "Subject: x\r\n{}\r\n# a remark\n{}",
            pem("A", &[7; 100]),
            pem("B C", b"")
        );
        let read = blocks(&text.replace("\n-----END A", "\r\n-----END A")).unwrap();
        let read: Vec<_> = read
            .iter()
            .map(|block| (block.label.as_str(), block.der.as_slice()))
            .collect();
        assert_eq!(read, [("A", &[7; 100][..]), ("B C", b"")]);
    }

    #[test]
    fn what_only_happens_to_spell_encrypted_is_not() {
        let text = "-----BEGIN A-----\nENCRYPTEDxyz\n-----END A-----\n";
        assert_eq!(blocks(text).unwrap()[0].der.len(), 9);
    }

    #[test]
    fn what_is_no_pem_is_refused_with_the_reason() {
        let whole = pem("RSA PRIVATE KEY", &[1; 60]);
        for (text, reason) in [
            ("", "no line"),
            ("\u{30}\u{82}", "-inform DER"),
            (whole.trim_end().trim_end_matches('-'), "cut short"),
            (&whole.replace("AQ", "*Q"), "not base64"),
            (&whole.replacen('\n', "\nProc-Type: 4,ENCRYPTED\n\n", 1), "is encrypted"),
        ] {
            let refusal = blocks(text).unwrap_err().to_string();
            assert!(refusal.contains(reason), "{refusal}");
        }
        assert!(!format!("{:?}", blocks(&whole).unwrap()).contains('1'));
    }
}
