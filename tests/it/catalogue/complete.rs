//! Every row has its tests, or says what it waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::rows::{self, Row, State};
use super::sources::{self, LETTERS};

/// How many rows each letter has.
const ROWS: [(char, usize); 22] = [
    ('H', 32),
    ('T', 39),
    ('C', 24),
    ('A', 26),
    ('G', 4),
    ('P', 11),
    ('R', 28),
    ('K', 15),
    ('V', 7),
    ('X', 7),
    ('W', 11),
    ('I', 12),
    ('J', 10),
    ('M', 5),
    ('D', 24),
    ('Y', 21),
    ('Z', 27),
    ('L', 17),
    ('Q', 14),
    ('S', 10),
    ('B', 6),
    ('N', 13),
];

/// The tests that hold a row.
fn held_by(row: &Row) -> &'static [&'static str] {
    match row.state {
        State::Covered(tests) | State::Overruled(_, tests) => tests,
        State::Pending(_) => &[],
    }
}

#[test]
fn no_row_is_missing_and_each_says_something() {
    let mut expected = ROWS
        .iter()
        .flat_map(|(letter, count)| (1..=*count).map(move |number| format!("{letter}-{number:02}")));
    for row in rows::all() {
        assert_eq!(Some(row.id), expected.next().as_deref());
        assert!(
            (10..=120).contains(&row.says.len()) && row.says.ends_with('.'),
            "{}: {}",
            row.id,
            row.says
        );
        match row.state {
            State::Covered(tests) => assert!(!tests.is_empty(), "{} has no test", row.id),
            State::Pending(part) => assert!(part.starts_with("needs "), "{}: {part}", row.id),
            State::Overruled(how, _) => assert!(how.len() > 20, "{}: {how}", row.id),
        }
    }
    assert_eq!(expected.next(), None);
    assert_eq!(ROWS.map(|(letter, _)| letter).iter().collect::<String>(), LETTERS);
}

#[test]
fn the_catalogue_is_complete() {
    let tests = sources::tests();
    let cited: BTreeMap<&str, BTreeSet<&str>> = tests
        .iter()
        .map(|test| (test.name.as_str(), test.cites.iter().map(String::as_str).collect()))
        .collect();
    assert!(cited.len() > 500, "the sources were not read: {}", cited.len());
    let mut wrong = String::new();
    let mut named: BTreeSet<(&str, &str)> = BTreeSet::new();
    for row in rows::all() {
        for test in held_by(row) {
            named.insert((row.id, test));
            match cited.get(test) {
                None => writeln!(wrong, "{} names {test}, which is no test", row.id),
                Some(rows) if !rows.contains(row.id) => {
                    writeln!(wrong, "{} names {test}, which does not cite it", row.id)
                }
                Some(_) => Ok(()),
            }
            .unwrap();
        }
    }
    for (test, rows) in &cited {
        for row in rows {
            if !named.contains(&(*row, *test)) {
                writeln!(wrong, "{test} cites {row}, whose row does not name it").unwrap();
            }
        }
        // A test of the catalogue is named after its row.
        if let Some((row, _)) = test.strip_prefix("catalogue::").and_then(named_after) {
            assert!(rows.contains(row.as_str()), "{test} does not cite {row}");
        }
    }
    assert!(wrong.is_empty(), "tests/it/catalogue/rows:\n{wrong}");
    write_down();
}

/// The row that a test is named after, `t_05` for T-05, and the rest of its name.
fn named_after(test: &str) -> Option<(String, &str)> {
    let name = test.rsplit("::").next()?;
    let (letter, rest) = name.split_at_checked(1)?;
    let (number, rest) = rest.strip_prefix('_')?.split_at_checked(2)?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && rest.starts_with('_')).then(|| (format!("{}-{number}", letter.to_uppercase()), rest))
}

/// For scripts/test, which counts the rows whose tests passed: each row with the tests of this program that hold it. Those at the ends
/// of source files ran before.
fn write_down() {
    let mut text = String::new();
    for row in rows::all() {
        // Of those that run before these there is no word here, and one is the example of the reader's own test.
        let others = ["keys::simulation::", "catalogue::sources::one"];
        let tests = held_by(row)
            .iter()
            .filter(|test| !test.contains("::tests::") && !others.iter().any(|other| test.starts_with(other)));
        let state = if matches!(row.state, State::Pending(_)) {
            "pending"
        } else {
            "held"
        };
        let tests = tests.copied().collect::<Vec<_>>().join(" ");
        writeln!(text, "{} {state} {tests}", row.id).unwrap();
    }
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("catalogue"), text).unwrap();
}

// N-12
#[test]
fn n_12_what_could_panic_is_denied_by_the_lints_that_every_change_has_to_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for lint in ["unwrap_used", "expect_used", "indexing_slicing", "panic"] {
        assert!(manifest.contains(&format!("\n{lint} = \"warn\"\n")), "{lint}");
    }
    let every_change = fs::read_to_string(root.join(".ci/run")).unwrap();
    assert!(every_change.contains("cargo clippy --locked --all-targets -- -D warnings"));
}
