//! The entry points of the fuzzers (`src/fuzzing.rs`) on any toolchain: what fuzzing found worth keeping is tried again, and so is
//! what comes of changing it. Libfuzzer, which sees where an input leads, is driven by `scripts/fuzz`.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{Write as _, stderr};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use keywheel::fuzzing::{Check, TARGETS};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The inputs that are kept for a target, and the words that its inputs are likely to be made of.
struct Kept {
    inputs: Vec<(String, Vec<u8>)>,
    words: Vec<Vec<u8>>,
}

fn kept(target: &str) -> Kept {
    let corpus = folder().join("corpus").join(target);
    let mut inputs: Vec<_> = fs::read_dir(&corpus)
        .unwrap_or_else(|error| panic!("{}: {error}", corpus.display()))
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    inputs.sort();
    let dictionary = fs::read_to_string(folder().join(format!("dict/{target}.dict"))).unwrap();
    let words = dictionary
        .lines()
        .map(|line| unescaped(line.trim_matches('"')))
        .collect();
    Kept { inputs, words }
}

/// A word of libFuzzer's dictionaries, in which `\xAB` is a byte.
fn unescaped(word: &str) -> Vec<u8> {
    let mut parts = word.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(&part.as_bytes()[2..]);
    }
    bytes
}

/// One change to an input.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Put(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
    /// Goes on as another input does.
    Splice(Index, Vec<u8>, Index),
}

impl Change {
    fn any(kept: &Kept) -> impl Strategy<Value = Change> + use<> {
        let inputs: Vec<Vec<u8>> = kept.inputs.iter().map(|(_, input)| input.clone()).collect();
        let place = any::<Index>;
        prop_oneof![
            1 => (place(), 0..8_u8).prop_map(|(place, bit)| Change::Flip(place, 1 << bit)),
            1 => (place(), vec(any::<u8>(), 1..4)).prop_map(|(place, bytes)| Change::Put(place, bytes)),
            3 => (place(), select(kept.words.clone())).prop_map(|(place, word)| Change::Put(place, word)),
            1 => (place(), 1..16_usize).prop_map(|(place, length)| Change::Remove(place, length)),
            1 => (place(), 1..32_usize, 2..40_usize).prop_map(|(place, length, times)| Change::Repeat(place, length, times)),
            1 => (place(), select(inputs), place()).prop_map(|(place, other, from)| Change::Splice(place, other, from)),
        ]
    }

    fn to(&self, input: &mut Vec<u8>) {
        let end = input.len();
        let within = |place: &Index| place.index(end + 1);
        match self {
            Change::Flip(place, bit) => {
                if let Some(byte) = input.get_mut(within(place)) {
                    *byte ^= bit;
                }
            }
            Change::Put(place, bytes) => drop(input.splice(within(place)..within(place), bytes.iter().copied())),
            Change::Remove(place, length) => drop(input.drain(within(place)..end.min(within(place) + length))),
            Change::Repeat(place, length, times) => {
                let part = input[within(place)..end.min(within(place) + length)].repeat(*times);
                input.splice(within(place)..within(place), part);
            }
            Change::Splice(place, other, from) => {
                input.truncate(within(place));
                input.extend(&other[from.index(other.len() + 1)..]);
            }
        }
        input.truncate(LONGEST);
    }
}

/// Longest input in bytes: beyond it there is only more of the same.
const LONGEST: usize = 8_192;

#[expect(clippy::disallowed_methods, reason = "the tests have no configuration")]
fn setting(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Changes inputs that are kept, and holds the reader to its promises. What breaks one is made as small as it can be and shown.
fn play(name: &str, check: Check, cases: u32, rng: Option<TestRng>) {
    let kept = kept(name);
    let inputs: Vec<Vec<u8>> = kept.inputs.iter().map(|(_, input)| input.clone()).collect();
    let input = (select(inputs), vec(Change::any(&kept), 1..8)).prop_map(|(mut input, changes)| {
        changes.iter().for_each(|change| change.to(&mut input));
        Shown(input)
    });
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = match rng {
        Some(rng) => TestRunner::new_with_rng(config, rng),
        None => TestRunner::new(config),
    };
    let outcome = runner.run(&input, |Shown(input)| {
        catch_unwind(|| check(&input)).map_err(|_broken| TestCaseError::fail("a promise is broken, see above"))
    });
    outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// Bytes that print as they are written in a test.
#[derive(Clone)]
struct Shown(Vec<u8>);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

#[test]
fn what_was_kept_keeps_every_promise() {
    for (name, check) in TARGETS {
        for (input, bytes) in kept(name).inputs {
            catch_unwind(|| check(&bytes)).unwrap_or_else(|_broken| panic!("fuzz/corpus/{name}/{input}"));
        }
    }
}

/// The same inputs each time, so that nobody's change fails by somebody else's bad luck. `KEYWHEEL_FUZZ_SECONDS` plays others, for so
/// long in each target; `KEYWHEEL_FUZZ_TARGET` names one.
#[test]
fn what_comes_of_changing_it_keeps_every_promise() {
    let (seconds, chosen) = (setting("KEYWHEEL_FUZZ_SECONDS"), setting("KEYWHEEL_FUZZ_TARGET"));
    let seconds = seconds.map(|text| text.parse().unwrap());
    let all = chosen.as_deref().is_none_or(|chosen| chosen == "all");
    let mut played = 0;
    for (name, check) in TARGETS {
        if !all && chosen.as_deref() != Some(name) {
            continue;
        }
        played += 1;
        let Some(seconds) = seconds else {
            play(
                name,
                *check,
                250,
                Some(TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
            );
            continue;
        };
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut cases: u64 = 0;
        while Instant::now() < end {
            play(name, *check, 100, None);
            cases += 100;
        }
        writeln!(stderr(), "{name}: {cases} inputs").unwrap();
    }
    assert!(played > 0, "no target is called {chosen:?}");
}

#[test]
fn every_target_has_a_program_words_and_inputs_and_the_inputs_are_small() {
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let mut size = 0;
    for (name, _) in TARGETS {
        let program = fs::read_to_string(folder().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains("fuzz_target!"), "{name}");
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
        let kept = kept(name);
        assert!(kept.inputs.len() >= 3 && kept.words.len() >= 5, "{name}");
        assert!(kept.inputs.iter().all(|(_, input)| input.len() <= LONGEST), "{name}");
        size += kept.inputs.iter().map(|(_, input)| input.len()).sum::<usize>();
    }
    assert!(size < 1_000_000, "{size} bytes: minimise the corpus");
    let names: BTreeSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    for folder in ["corpus", "fuzz_targets", "dict"].map(|name| folder().join(name)) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            assert!(
                names.contains(path.file_stem().unwrap().to_str().unwrap()),
                "{} is of no target",
                path.display()
            );
        }
    }
}
