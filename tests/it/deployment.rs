//! The files of `deploy/` as far as no other program has to run with them. `tests/it/restart.rs` and `scripts/try-deploy` run them.

use std::path::{Path, PathBuf};
use std::process::Command;

use keywheel::app::SETTINGS;

use crate::interop::installed;

fn shipped(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// `systemd-analyze` on the unit; `None` where systemd is not installed.
fn analyzed(arguments: &[&str]) -> Option<(bool, String)> {
    let directory = tempfile::tempdir().unwrap();
    let unit: PathBuf = directory.path().join("keywheel.service");
    // It wants the program to be there.
    let text = shipped("deploy/systemd/keywheel.service").replace("/usr/bin/keywheel", env!("CARGO_BIN_EXE_keywheel"));
    std::fs::write(&unit, text).unwrap();
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(&unit)
        .output()
        .ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn systemd_understands_the_unit_and_finds_it_exposed_to_little() {
    // Where systemd is not installed, nobody can tell.
    let Some((sound, said)) = analyzed(&["verify", "--no-pager"]) else {
        return;
    };
    assert!(sound && !said.contains("keywheel.service:"), "{said}");
    // In tenths: 2.0.
    let (little, said) = analyzed(&["security", "--offline=true", "--no-pager", "--threshold=20"]).unwrap();
    assert!(little, "{said}");
}

/// The manifests by the schemas of a version of Kubernetes, unknown members refused.
fn validated(manifests: &str, version: &str) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keywheel.yaml");
    std::fs::write(&file, manifests).unwrap();
    let output = Command::new(installed().join("venv/bin/kubernetes-validate"))
        .args(["--strict", "--kubernetes-version", version])
        .arg(&file)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn kubernetes_knows_every_member_of_the_manifests() {
    let manifests = shipped("deploy/kubernetes/keywheel.yaml");
    // The oldest that they are for, and one of today.
    for version in ["1.27", "1.37"] {
        let (valid, said) = validated(&manifests, version);
        let kinds = manifests.lines().filter(|line| line.starts_with("kind: ")).count();
        assert!(
            valid && said.matches(" passed for resource ").count() == kinds,
            "{said}"
        );
    }
    let mistyped = manifests.replace("readOnlyRootFilesystem", "readOnlyRootFileSystem");
    assert!(!validated(&mistyped, "1.27").0);
}

/// The names of settings in a file.
fn named(text: &str) -> Vec<&str> {
    text.match_indices("KEYWHEEL_")
        .map(|(at, _)| {
            let end = text[at..].find(|c: char| !c.is_ascii_uppercase() && c != '_');
            &text[at..end.map_or(text.len(), |end| at + end)]
        })
        .collect()
}

#[test]
fn every_setting_that_a_file_names_is_one() {
    let known = |name: &&str| SETTINGS.iter().any(|setting| setting.environment.contains(name));
    for file in [
        "Dockerfile",
        "docker-compose.yml",
        "docs/deployment.md",
        "deploy/caddy/Caddyfile",
        "deploy/haproxy/haproxy.cfg",
        "deploy/kubernetes/keywheel.yaml",
        "deploy/nginx/keywheel.conf",
        "deploy/systemd/keywheel.env",
        "deploy/systemd/keywheel.service",
    ] {
        let text = shipped(file);
        let named = named(&text);
        assert!(!named.is_empty(), "{file}");
        for name in named {
            assert!(known(&name), "{file}: {name}");
        }
    }
}

#[test]
fn every_file_that_the_guide_links_exists() {
    let guide = shipped("docs/deployment.md");
    let links: Vec<&str> = guide
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .collect();
    assert!(links.len() > 6);
    for link in links {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(link);
        assert!(path.exists(), "{link}");
    }
}
