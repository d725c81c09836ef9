//! The architecture as a test: a lower floor never imports an upper one, siblings never import each other, and files tell one
//! story each.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::rust_files;

/// Each floor and what it may use besides itself.
const FLOORS: [(&str, &[&str]); 6] = [
    ("oauth", &[]),
    ("storage", &["oauth"]),
    ("keys", &["oauth"]),
    ("server", &["oauth", "storage", "keys"]),
    ("http", &["oauth", "server"]),
    ("app", &["oauth", "storage", "keys", "server", "http"]),
];

/// Crates that belong to one floor: the others must not know that they are there.
const CRATES: [(&str, &[&str]); 7] = [
    ("actix_web", &["http", "app"]),
    ("diesel", &["storage"]),
    ("diesel_async", &["storage"]),
    ("r2d2", &["storage"]),
    ("rcgen", &["keys"]),
    ("rsa", &["keys"]),
    ("clap", &["app"]),
];

/// Files that stand on no floor: two that make a library and a program of the floors, two that are nothing in what is shipped, and one by
/// which every floor says how long something took.
const GROUND: [&str; 5] = ["failpoint.rs", "fuzzing.rs", "lib.rs", "main.rs", "timed.rs"];

/// Longest file of a floor in lines, its tests included.
const LONGEST_FILE: usize = 500;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The code of a file without its comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The floors that a file names: `crate::keys`, `crate::{keys, storage}`, and `super` climbing out is not possible without them.
fn used_floors(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (position, _) in code.match_indices("crate::") {
        let rest = &code[position + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let end = group.find("};").unwrap_or(group.len());
            let mut depth = 0;
            let mut word = String::new();
            for c in group[..end].chars().chain([',']) {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        used.insert(std::mem::take(&mut word).trim().split("::").next().unwrap().to_owned());
                    }
                    c if depth == 0 => word.push(c),
                    _ => {}
                }
            }
        } else {
            used.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    used
}

#[test]
fn no_floor_imports_an_upper_one_or_a_sibling() {
    let names: Vec<&str> = FLOORS.iter().map(|(name, _)| *name).collect();
    let mut seen = 0;
    for (floor, allowed) in FLOORS {
        for file in rust_files(&source().join(floor)) {
            for used in used_floors(&code(&file)) {
                if names.contains(&used.as_str()) && used != floor {
                    assert!(
                        allowed.contains(&used.as_str()),
                        "{} uses crate::{used}, which floor {floor} may not",
                        file.display()
                    );
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 50, "the imports were not read: {seen}");
}

#[test]
fn what_every_floor_may_use_uses_none() {
    for file in ["failpoint.rs", "timed.rs"] {
        let used = used_floors(&code(&source().join(file)));
        assert!(FLOORS.iter().all(|(floor, _)| !used.contains(*floor)), "{used:?}");
    }
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    let used =
        used_floors("use crate::oauth::{A, B};\nuse crate::{keys, storage::Store};\nfn f() { crate::http::x() }");
    assert_eq!(used, ["http", "keys", "oauth", "storage"].map(str::to_owned).into());
}

#[test]
fn a_crate_of_one_floor_stays_on_it() {
    for (floor, _) in FLOORS {
        for file in rust_files(&source().join(floor)) {
            let code = code(&file);
            for (name, floors) in CRATES {
                let names_it = code.match_indices(&format!("{name}::")).any(|(position, _)| {
                    !code[..position].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                });
                assert!(!names_it || floors.contains(&floor), "{} uses {name}", file.display());
            }
        }
    }
}

#[test]
fn every_floor_is_in_the_table_and_every_file_is_short() {
    for entry in fs::read_dir(source()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(FLOORS.iter().any(|(floor, _)| *floor == name), "src/{name} is no floor");
        } else {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(GROUND.contains(&name), "src/{name} is on no floor");
        }
    }
    for file in rust_files(&source()) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines", file.display());
    }
}
