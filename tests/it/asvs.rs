//! docs/asvs.md speaks of every requirement of its chapters, of tests that there are, and of files that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::rust_files;

const DOCUMENT: &str = include_str!("../../docs/asvs.md");

/// The sections of ASVS 5.0, and how many requirements each has. Of V5 and V17 nothing applies.
const SECTIONS: &[(&str, u32)] = &[
    ("1.1", 2),
    ("1.2", 10),
    ("1.3", 12),
    ("1.4", 3),
    ("1.5", 3),
    ("2.1", 3),
    ("2.2", 3),
    ("2.3", 5),
    ("2.4", 2),
    ("3.1", 1),
    ("3.2", 3),
    ("3.3", 5),
    ("3.4", 8),
    ("3.5", 8),
    ("3.6", 1),
    ("3.7", 5),
    ("4.1", 5),
    ("4.2", 5),
    ("4.3", 2),
    ("4.4", 4),
    ("6.1", 3),
    ("6.2", 12),
    ("6.3", 8),
    ("6.4", 6),
    ("6.5", 8),
    ("6.6", 4),
    ("6.7", 2),
    ("6.8", 4),
    ("7.1", 3),
    ("7.2", 4),
    ("7.3", 2),
    ("7.4", 5),
    ("7.5", 3),
    ("7.6", 2),
    ("8.1", 4),
    ("8.2", 4),
    ("8.3", 3),
    ("8.4", 2),
    ("9.1", 3),
    ("9.2", 4),
    ("10.1", 2),
    ("10.2", 3),
    ("10.3", 5),
    ("10.4", 16),
    ("10.5", 5),
    ("10.6", 2),
    ("10.7", 3),
    ("11.1", 4),
    ("11.2", 5),
    ("11.3", 5),
    ("11.4", 4),
    ("11.5", 2),
    ("11.6", 2),
    ("11.7", 2),
    ("12.1", 5),
    ("12.2", 2),
    ("12.3", 5),
    ("13.1", 4),
    ("13.2", 6),
    ("13.3", 4),
    ("13.4", 7),
    ("14.1", 2),
    ("14.2", 8),
    ("14.3", 3),
    ("15.1", 5),
    ("15.2", 5),
    ("15.3", 7),
    ("15.4", 4),
    ("16.1", 1),
    ("16.2", 5),
    ("16.3", 4),
    ("16.4", 3),
    ("16.5", 4),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Every test as `cargo test` prints it, whatever features it needs.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (folder, suffix) in [("src", "::tests"), ("tests/it", "")] {
        let folder = root().join(folder);
        for file in rust_files(&folder) {
            let module = file.strip_prefix(&folder).unwrap().with_extension("");
            let module = module.to_str().unwrap().replace('/', "::");
            let module = module.strip_suffix("::mod").unwrap_or(&module).to_owned() + suffix;
            let text = fs::read_to_string(file).unwrap();
            for after in text
                .split("#[test]\n")
                .skip(1)
                .chain(text.split("#[actix_web::test]\n").skip(1))
            {
                let name = after
                    .split("fn ")
                    .nth(1)
                    .and_then(|rest| rest.split('(').next())
                    .unwrap();
                names.insert(format!("{module}::{name}"));
            }
        }
    }
    names
}

/// Rows of the tables: the requirement, and what is said to it.
fn rows() -> Vec<(&'static str, &'static str)> {
    let rows = DOCUMENT
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains(" | L"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, level, asks, kept] = cells[..] else {
            panic!("four cells: {line}")
        };
        assert!(["L1", "L2", "L3"].contains(&level) && !asks.is_empty(), "{line}");
        (id, kept)
    })
    .collect()
}

#[test]
fn every_requirement_of_its_chapters_is_told_of_once() {
    let mut told: Vec<String> = rows().iter().map(|(id, _)| (*id).to_owned()).collect();
    let not_here = DOCUMENT
        .split("\nNot here: ")
        .skip(1)
        .map(|rest| rest.split("\n\n").next().unwrap());
    for paragraph in not_here {
        let words = paragraph.split(|c: char| !c.is_ascii_digit() && c != '.');
        let ids = words.map(|word| word.trim_matches('.'));
        told.extend(ids.filter(|word| word.split('.').count() == 3).map(str::to_owned));
    }
    let all = SECTIONS
        .iter()
        .flat_map(|(section, count)| (1..=*count).map(move |number| format!("{section}.{number}")));
    let all: BTreeSet<String> = all.collect();
    let mut seen = BTreeSet::new();
    for id in &told {
        assert!(all.contains(id), "{id} is no requirement");
        assert!(seen.insert(id.clone()), "{id} is told of twice");
    }
    let missing: Vec<_> = all.difference(&seen).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn what_is_said_to_a_requirement_names_tests_and_files_that_there_are() {
    let tests = tests();
    assert!(tests.len() > 400, "the tests were not read: {}", tests.len());
    for (id, kept) in rows() {
        let named: Vec<&str> = kept
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| name.contains("::"))
            .collect();
        for name in &named {
            assert!(tests.contains(*name), "{id} names {name}, which is no test");
        }
        let links: Vec<&str> = kept
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            .collect();
        for link in &links {
            assert!(root().join("docs").join(link).exists(), "{id} links to {link}");
        }
        let is_written = kept.starts_with("Document:") && (!links.is_empty() || kept.contains("OpenAPI"));
        assert!(
            is_written || kept.contains("Deviation:") || !named.is_empty(),
            "{id}: {kept}"
        );
    }
}
