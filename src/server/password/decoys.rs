use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::PasswordHash;
use crate::oauth::SecretHash;

/// What the passwords of unknown users are compared with, so that an unknown user takes as long as one that there is.
///
/// Where hashes were imported, users differ in how long theirs take. So decoys are of the kinds that users have, in the same
/// proportions, and a name gets the same kind each time. Whatever the comparison yields, it is never taken for a match.
pub struct Decoys {
    first: PasswordHash,
    by_share: ArcSwap<Vec<PasswordHash>>,
}

impl Decoys {
    /// Decoys of the kind of `first`, until those of users are known.
    pub fn new(first: PasswordHash) -> Self {
        Decoys {
            first,
            by_share: ArcSwap::from_pointee(Vec::new()),
        }
    }

    /// Takes over the kinds of a sample of users' hashes, in their proportions.
    pub fn follow(&self, sample: impl IntoIterator<Item = PasswordHash>) {
        // In the order of kinds, so that a share that grows a little moves few names from one kind to another.
        let mut kinds: BTreeMap<String, Vec<PasswordHash>> = BTreeMap::new();
        for hash in sample {
            kinds.entry(hash.kind()).or_default().push(hash);
        }
        self.by_share.store(Arc::new(kinds.into_values().flatten().collect()));
    }

    /// The decoy of a name, by a keyed hash of it.
    pub fn of(&self, tag: &SecretHash) -> PasswordHash {
        let decoys = self.by_share.load();
        let share = tag
            .as_bytes()
            .first_chunk()
            .map_or(0, |first| u64::from(u32::from_be_bytes(*first)));
        let place = (share * decoys.len() as u64) >> 32;
        usize::try_from(place)
            .ok()
            .and_then(|place| decoys.get(place))
            .unwrap_or(&self.first)
            .clone()
    }
}

impl fmt::Debug for Decoys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decoys({})", self.by_share.load().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::SecretHasher;

    const PBKDF2: &str = "pbkdf2_sha256$10000$seasalt$CWWFdHOWwPnki7HvkcqN9iA2T3KLW1cf2uZ5kvArtVY=";
    const BCRYPT: &str = "$2b$05$JrkhsFi.Z2XbbH3EhIooRO.GelXEAXZOFQujbJsMVejP9yhKXbA7O";

    fn hashes(pbkdf2: usize, bcrypt: usize) -> Vec<PasswordHash> {
        let repeated = |text: &'static str, count| std::iter::repeat_n(text, count);
        let texts = repeated(PBKDF2, pbkdf2).chain(repeated(BCRYPT, bcrypt));
        texts.map(|text| PasswordHash::parse(text).unwrap()).collect()
    }

    fn tag(name: u32) -> SecretHash {
        SecretHasher::new(&[7; 32]).hash(&name.to_string())
    }

    // P-04
    #[test]
    fn unknown_names_have_the_kinds_of_hashes_that_users_have_in_the_same_proportions() {
        let first = PasswordHash::nobodys().unwrap();
        assert_eq!(first.kind(), "argon2id m=19456,t=2,p=1");
        let decoys = Decoys::new(first.clone());
        assert_eq!(decoys.of(&tag(0)).kind(), first.kind(), "nobody there yet");
        decoys.follow(hashes(25, 75));
        let names: Vec<SecretHash> = (0..4_000).map(tag).collect();
        let kinds = || names.iter().map(|tag| decoys.of(tag).kind()).collect::<Vec<_>>();
        let before = kinds();
        let pbkdf2 = before.iter().filter(|kind| kind.starts_with("pbkdf2")).count();
        assert!((900..1_100).contains(&pbkdf2), "{pbkdf2}");
        // One of a hundred users signs in for the first time: one of a hundred names changes, and no other.
        decoys.follow(hashes(24, 76));
        let changed = kinds().iter().zip(&before).filter(|(now, then)| now != then).count();
        assert!(changed < 80, "{changed}");
    }
}
