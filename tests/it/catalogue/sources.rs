//! Which tests there are, and which rows each of them cites, read from the sources.

use std::fs;
use std::path::Path;

/// A test, as `cargo test` prints it, and the rows in the comment above it or inside it.
pub(super) struct Test {
    pub(super) name: String,
    pub(super) cites: Vec<String>,
}

/// The letters of rows.
pub(super) const LETTERS: &str = "HTCAGPRKVXWIJMDYZLQSBN";

/// All tests, here and at the ends of the files of `src`.
pub(super) fn tests() -> Vec<Test> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = Vec::new();
    for base in ["tests/it", "src"] {
        read_folder(&root.join(base), "", &mut tests);
    }
    tests
}

fn read_folder(folder: &Path, module: &str, tests: &mut Vec<Test>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let own = match (module, name) {
            (_, "mod") => module.to_owned(),
            ("", _) => name.to_owned(),
            _ => format!("{module}::{name}"),
        };
        if path.is_dir() {
            read_folder(&path, &own, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            read_file(&fs::read_to_string(&path).unwrap(), &own, tests);
        }
    }
}

fn read_file(text: &str, module: &str, tests: &mut Vec<Test>) {
    let mut module = module.to_owned();
    let (mut cited, mut marked, mut inside) = (Vec::new(), false, false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("//!") {
            continue;
        }
        if line.starts_with("//") {
            cited.extend(rows_in(line));
        } else if line.starts_with("#[") {
            marked |= line == "#[test]";
        } else if let Some(name) = function(line) {
            if marked {
                tests.push(Test {
                    name: format!("{module}::{name}"),
                    cites: std::mem::take(&mut cited),
                });
            }
            inside |= marked;
            (cited, marked) = (Vec::new(), false);
        } else {
            if line == "mod tests {" {
                module += "::tests";
            }
            // A comment inside of a test is about the test.
            if let (true, Some(test)) = (inside, tests.last_mut()) {
                test.cites.append(&mut cited);
            }
            cited.clear();
        }
    }
}

/// The name of the function that begins in a line.
fn function(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("fn ")?;
    let begins = before
        .split(' ')
        .all(|word| matches!(word, "" | "async" | "const" | "pub" | "pub(crate)" | "pub(super)"));
    begins.then(|| rest.split(['(', '<']).next().unwrap_or_default())
}

/// The rows that a comment names: `H-01, H-03` are two, and `H-01 to H-03` are three.
pub(super) fn rows_in(comment: &str) -> Vec<String> {
    let mut rows: Vec<(char, u32)> = Vec::new();
    let mut words = comment
        .split(|c: char| c.is_whitespace() || ",.:;()".contains(c))
        .filter(|word| !word.is_empty());
    let mut up_to = false;
    for word in &mut words {
        match (row(word), up_to.then(|| rows.last().copied()).flatten()) {
            (Some((letter, last)), Some((same, first))) if letter == same => {
                rows.extend((first + 1..=last).map(|number| (letter, number)));
            }
            (Some(row), _) => rows.push(row),
            (None, _) => {}
        }
        up_to = word == "to";
    }
    rows.into_iter()
        .map(|(letter, number)| format!("{letter}-{number:02}"))
        .collect()
}

/// A word that is the identifier of a row.
fn row(word: &str) -> Option<(char, u32)> {
    let (letter, number) = word.split_once('-')?;
    let letter = letter.parse().ok().filter(|letter| LETTERS.contains(*letter))?;
    let is_number = number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit());
    Some((letter, is_number.then(|| number.parse().ok()).flatten()?))
}

#[test]
fn rows_are_found_in_comments_and_nothing_else_is_taken_for_one() {
    assert_eq!(rows_in("// T-05, T-06: twice"), ["T-05", "T-06"]);
    assert_eq!(rows_in("// H-01 to H-03 (and H-07)"), ["H-01", "H-02", "H-03", "H-07"]);
    for other in ["// UTF-8, SHA-25, CVE-20, RFC-75, T-1, T-123, O-01, t-05", "// to T-"] {
        assert!(rows_in(other).is_empty(), "{other}");
    }
}

#[test]
fn a_test_has_the_rows_above_it_and_inside_it() {
    let source = "
        // T-01
        fn helps() {}
        // T-02
        #[test]
        #[ignore]
        fn one() {
            // T-03
            helps();
        }
        #[cfg(test)]
        mod tests {
            #[test]
            fn two() {}
        }";
    let mut tests = Vec::new();
    read_file(source, "a::b", &mut tests);
    let read: Vec<String> = tests
        .iter()
        .map(|test| format!("{} {:?}", test.name, test.cites))
        .collect();
    assert_eq!(read, [r#"a::b::one ["T-02", "T-03"]"#, "a::b::tests::two []"]);
}
