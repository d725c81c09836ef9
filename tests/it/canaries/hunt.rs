//! Secrets that are marked, and the search for them in whatever encoding.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::private_bytes::search::{Search, written};

/// Secrets, each with a name.
#[derive(Default)]
pub(super) struct Canaries {
    names: Vec<String>,
    cores: Vec<[u8; CORE]>,
    texts: Vec<(String, String)>,
}

/// Bytes from the middle of a secret: what is not its own, such as a prefix or what people tell secrets apart by, is at its ends.
const CORE: usize = 24;

impl Canaries {
    /// Makes a secret.
    pub(super) fn marked(&mut self, name: &str) -> String {
        let random = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, name.as_bytes()));
        let secret = format!("Kanarie-{random}");
        self.keep(name, &secret);
        secret
    }

    /// Marks a text that somebody else made.
    pub(super) fn keep(&mut self, name: &str, text: &str) {
        self.texts.push((name.to_owned(), text.to_owned()));
        // Of a JWT, the signature: the claims are told by introspection, too.
        self.keep_bytes(name, text.rsplit('.').next().unwrap().as_bytes());
    }

    /// Marks bytes.
    pub(super) fn keep_bytes(&mut self, name: &str, bytes: &[u8]) {
        let at = bytes
            .len()
            .checked_sub(CORE)
            .unwrap_or_else(|| panic!("{name} is short"))
            / 2;
        self.names.push(name.to_owned());
        self.cores.push(bytes[at..at + CORE].try_into().unwrap());
    }

    /// Those that are texts, with their names.
    pub(super) fn texts(&self) -> &[(String, String)] {
        &self.texts
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.cores.iter().collect::<BTreeSet<_>>().len()
    }

    /// Looks for all of them.
    pub(super) fn hunt(&self) -> Hunt<'_> {
        let mut names = Vec::new();
        let mut runs = Vec::new();
        for (name, core) in self.names.iter().zip(&self.cores) {
            for form in written(core) {
                names.push(name.as_str());
                runs.push(form);
            }
        }
        Hunt {
            names,
            search: Search::new(runs),
        }
    }
}

/// A search for all canaries.
pub(super) struct Hunt<'c> {
    names: Vec<&'c str>,
    search: Search,
}

impl<'c> Hunt<'c> {
    /// The names of those that are there.
    pub(super) fn found_in(&self, bytes: &[u8]) -> BTreeSet<&'c str> {
        let found = self.search.found_in(bytes);
        found.into_iter().map(|run| self.names[run]).collect()
    }

    /// None may be there, but `control`, which is known to be.
    pub(super) fn assert_absent(&self, place: &str, bytes: &[u8], control: &str) {
        assert!(
            bytes.windows(control.len()).any(|window| window == control.as_bytes()),
            "{place} was not looked at: it does not hold \"{control}\""
        );
        self.assert_none(place, bytes);
    }

    /// None may be there, whatever else is.
    pub(super) fn assert_none(&self, place: &str, bytes: &[u8]) {
        let found = self.found_in(bytes);
        assert!(found.is_empty(), "{place} holds {found:?}");
    }
}

#[test]
fn a_canary_is_found_in_every_encoding_and_in_part() {
    let mut canaries = Canaries::default();
    let secret = canaries.marked("a password");
    let other = canaries.marked("another");
    let hunt = canaries.hunt();
    let bytes = secret.as_bytes();
    let each = |form: &dyn Fn(&u8) -> String| bytes.iter().map(form).collect::<String>();
    let basic = base64::prelude::BASE64_STANDARD.encode(format!("shop:{secret}"));
    for text in [
        secret.clone(),
        secret[10..40].to_owned(),
        format!("{{\"password\":\"{secret}\"}}"),
        format!("Basic {basic}"),
        BASE64_URL_SAFE_NO_PAD.encode(format!("ab{secret}")),
        each(&|byte| format!("{byte:02x}")),
        each(&|byte| format!("%{byte:02X}")),
        format!("{bytes:?}"),
    ] {
        assert_eq!(hunt.found_in(text.as_bytes()), BTreeSet::from(["a password"]), "{text}");
    }
    assert_eq!(hunt.found_in(format!("{secret} {other}").as_bytes()).len(), 2);
    assert!(hunt.found_in(&bytes[30..]).is_empty() && hunt.found_in(&[0; 4_096]).is_empty());
}
