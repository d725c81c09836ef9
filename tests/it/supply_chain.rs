//! What keywheel is made of, and that the documents and the bill of materials tell the truth about it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const DOCUMENT: &str = include_str!("../../docs/supply-chain.md");
const MANIFEST: &str = include_str!("../../Cargo.toml");
const LOCK: &str = include_str!("../../Cargo.lock");

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("SOURCE_DATE_EPOCH")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every package of the lock file.
fn locked() -> Vec<toml::Table> {
    let lock: toml::Table = LOCK.parse().unwrap();
    let packages = lock["package"].as_array().unwrap().iter();
    packages.map(|package| package.as_table().unwrap().clone()).collect()
}

#[test]
fn the_bill_of_materials_names_every_crate_of_the_release_and_is_the_same_each_time() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/sbom");
    let text = run(script.to_str().unwrap(), &[]);
    assert_eq!(run(script.to_str().unwrap(), &[]), text);
    let bill: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&bill["bomFormat"], &bill["metadata"]["component"]["name"]),
        (&"CycloneDX".into(), &"keywheel".into())
    );
    let components: BTreeMap<String, &Value> = bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["bom-ref"].as_str().unwrap().to_owned(), one))
        .collect();
    let tree = |edges| {
        run(
            env!("CARGO"),
            &[
                "tree",
                "--locked",
                "--edges",
                edges,
                "--prefix",
                "none",
                "--no-dedupe",
                "--format",
                "{p}|{l}",
            ],
        )
    };
    let mut compiled = BTreeSet::new();
    for line in tree("normal,build").lines() {
        let (package, licence) = line.split_once('|').unwrap();
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap(), words.next().unwrap().trim_start_matches('v'));
        if name == "keywheel" {
            continue;
        }
        let reference = format!("pkg:cargo/{name}@{version}");
        let component = components
            .get(&reference)
            .unwrap_or_else(|| panic!("{reference} is missing"));
        assert_eq!(
            component["licenses"][0]["expression"],
            licence.replace('/', " OR "),
            "{reference}"
        );
        assert_eq!(
            component["hashes"][0]["content"].as_str().unwrap().len(),
            64,
            "{reference}"
        );
        compiled.insert(reference);
    }
    assert!(compiled.len() > 150, "the tree was not read: {}", compiled.len());
    for name in ["aws-lc", "sqlite"] {
        let found = components.values().filter(|one| one["name"] == name).count();
        assert_eq!(found, 1, "{name}");
    }
    // What is in the program is told from what only helps to build it, and the graph names what there is.
    let scope = |name: &str| &components.values().find(|one| one["name"] == name).unwrap()["scope"];
    assert_eq!(
        (scope("actix-http"), scope("serde_derive"), scope("cc")),
        (&"required".into(), &"excluded".into(), &"excluded".into())
    );
    assert!(
        components.values().all(|one| one["name"] != "proptest"),
        "it is for tests alone"
    );
    let graph = bill["dependencies"].as_array().unwrap();
    assert_eq!(graph.len(), components.len() + 1);
    let known = |reference: &Value| components.contains_key(reference.as_str().unwrap());
    assert!(
        graph
            .iter()
            .all(|one| one["dependsOn"].as_array().unwrap().iter().all(known))
    );
    let own = graph
        .iter()
        .find(|one| one["ref"].as_str().unwrap().starts_with("pkg:cargo/keywheel@"));
    assert!(own.unwrap()["dependsOn"].as_array().unwrap().len() > 40);
}

#[test]
fn every_direct_dependency_is_told_of_and_every_crate_that_is_told_of_exists() {
    let manifest: toml::Table = MANIFEST.parse().unwrap();
    let direct: BTreeSet<&str> = ["dependencies", "dev-dependencies"]
        .iter()
        .flat_map(|section| manifest[*section].as_table().unwrap().keys())
        .map(String::as_str)
        .collect();
    let rows = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let mut told = BTreeSet::new();
    let locked = locked();
    for (name, _) in rows {
        assert!(told.insert(name), "{name} is told of twice");
        let exists = locked.iter().any(|package| package["name"].as_str() == Some(name));
        assert!(exists, "docs/supply-chain.md names {name}, which is not in Cargo.lock");
    }
    let missing: Vec<_> = direct.difference(&told).collect();
    assert!(
        missing.is_empty(),
        "{missing:?} is a direct dependency: name it in the list of docs/supply-chain.md that it belongs to"
    );
}

#[test]
fn every_crate_comes_from_the_one_registry_with_a_checksum() {
    for package in locked() {
        let name = package["name"].as_str().unwrap();
        if name == "keywheel" {
            continue;
        }
        let source = package["source"].as_str();
        assert_eq!(
            source,
            Some("registry+https://github.com/rust-lang/crates.io-index"),
            "{name}"
        );
        assert_eq!(package["checksum"].as_str().unwrap().len(), 64, "{name}");
    }
}
