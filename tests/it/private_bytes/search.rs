//! The bytes of a private key in every form that they may have, and a search for them.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rsa::pkcs1::der::Decode as _;
use rsa::pkcs1::{RsaPrivateKey, UintRef};
use rsa::pkcs8::PrivateKeyInfoRef;

/// The numbers of a private key that give it away, in big-endian bytes: both primes, the private exponent, and those of the Chinese
/// remainder theorem. Its PKCS#8 encoding is made of them.
pub(crate) struct PrivateKey {
    pub(crate) kid: String,
    numbers: Vec<Vec<u8>>,
}

impl PrivateKey {
    pub(crate) fn read(kid: &str, pkcs8: &[u8]) -> Self {
        let pkcs1 = PrivateKeyInfoRef::try_from(pkcs8).unwrap().private_key;
        let key = RsaPrivateKey::<UintRef<'_>>::from_der(pkcs1.as_bytes()).unwrap();
        let numbers = [
            key.prime1,
            key.prime2,
            key.private_exponent,
            key.exponent1,
            key.exponent2,
            key.coefficient,
        ];
        PrivateKey {
            kid: kid.to_owned(),
            numbers: numbers.iter().map(|number| number.as_bytes().to_vec()).collect(),
        }
    }

    /// The numbers, each with its name.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let names = ["p", "q", "d", "dp", "dq", "qinv"];
        names.into_iter().zip(self.numbers.iter().map(Vec::as_slice))
    }

    /// Short parts of the numbers, from the beginning, the middle and the end, as a part may outlast the whole.
    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let parts = |number| [8, number / 2, number - 32].map(|at| at..at + 24);
        self.numbers
            .iter()
            .flat_map(move |number| parts(number.len()).map(|part| &number[part]))
    }

    /// As they may be in memory: as they are in an encoding, and as machine words, the lowest first.
    pub(super) fn in_memory(&self) -> Vec<Vec<u8>> {
        let both = |part: &[u8]| {
            let reversed = part.iter().rev().copied().collect();
            [part.to_vec(), reversed]
        };
        self.parts().flat_map(both).collect()
    }

    /// As they may be written.
    pub(super) fn written(&self) -> Vec<Vec<u8>> {
        self.parts().flat_map(written).collect()
    }
}

/// How 24 bytes may be written: raw, hexadecimal, as a list of numbers, in base64 of both alphabets, wherever in it they begin, and
/// percent-encoded.
pub(crate) fn written(part: &[u8]) -> Vec<Vec<u8>> {
    let joined = |byte: &dyn Fn(&u8) -> String| part.iter().map(byte).collect::<String>().into_bytes();
    let list = format!("{part:?}");
    let mut forms = vec![
        part.to_vec(),
        joined(&|byte| format!("{byte:02x}")),
        joined(&|byte| format!("{byte:02X}")),
        joined(&|byte| format!("%{byte:02x}")),
        joined(&|byte| format!("%{byte:02X}")),
        list.trim_matches(['[', ']']).as_bytes().to_vec(),
    ];
    for aligned in [0, 1, 2].map(|shift| &part[shift..shift + 18]) {
        forms.push(BASE64_STANDARD.encode(aligned).into_bytes());
        forms.push(BASE64_URL_SAFE_NO_PAD.encode(aligned).into_bytes());
    }
    forms
}

/// Looks for many short runs of bytes at once.
pub(crate) struct Search {
    runs: Vec<Vec<u8>>,
    /// Which of them begin with these two bytes.
    by_beginning: Vec<Vec<usize>>,
}

impl Search {
    pub(crate) fn new(runs: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let runs: Vec<Vec<u8>> = runs.into_iter().collect();
        let mut by_beginning = vec![Vec::new(); 1 << 16];
        for (index, run) in runs.iter().enumerate() {
            by_beginning[usize::from(u16::from_le_bytes([run[0], run[1]]))].push(index);
        }
        Search { runs, by_beginning }
    }

    pub(crate) fn found_in(&self, bytes: &[u8]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for (at, pair) in bytes.windows(2).enumerate() {
            for &run in &self.by_beginning[usize::from(u16::from_le_bytes([pair[0], pair[1]]))] {
                if bytes[at..].starts_with(&self.runs[run]) {
                    found.insert(run);
                }
            }
        }
        found
    }

    pub(super) fn assert_absent(&self, place: &str, bytes: &[u8]) {
        assert!(self.found_in(bytes).is_empty(), "{place} holds a part of a private key");
    }
}

#[test]
fn the_search_finds_a_number_in_whatever_form() {
    let number: Vec<u8> = (0..128).map(|index: u8| index.wrapping_mul(37)).collect();
    let key = PrivateKey {
        kid: String::new(),
        numbers: vec![number.clone()],
    };
    let reversed: Vec<u8> = number.iter().rev().copied().collect();
    let hex: String = number.iter().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = number.iter().map(|byte| format!("%{byte:02X}")).collect();
    for shift in 0..3 {
        let shifted = [&b"xy"[..shift], &number].concat();
        for text in [
            BASE64_STANDARD.encode(&shifted).into_bytes(),
            BASE64_URL_SAFE_NO_PAD.encode(&shifted).into_bytes(),
            shifted,
        ] {
            assert_ne!(Search::new(key.written()).found_in(&text), BTreeSet::new());
        }
    }
    for text in [percent, hex.to_uppercase(), hex, format!("{number:?}")] {
        assert_ne!(
            Search::new(key.written()).found_in(text.as_bytes()),
            BTreeSet::new(),
            "{text}"
        );
    }
    assert_eq!(Search::new(key.in_memory()).found_in(&number).len(), 3);
    assert_eq!(Search::new(key.in_memory()).found_in(&reversed).len(), 3);
    assert_eq!(Search::new(key.in_memory()).found_in(&[0; 4096]), BTreeSet::new());
}
