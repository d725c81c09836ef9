//! The master key changes while servers run, and a change that was interrupted anywhere goes on: the real program.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::http::{Request, Response, send};
use crate::support::on_both_processes;
use crate::support::process::{Folder, Served};
use crate::support::server::TOKEN;

const SERVE: [&str; 2] = ["--issuer", "https://auth.example"];

fn create(folder: &Folder) -> String {
    let created = folder.json(&[
        "client",
        "create",
        "Billing",
        "--id",
        "billing",
        "--grant",
        "client_credentials",
    ]);
    created["client_secret"].as_str().unwrap().to_owned()
}

fn token(served: &Served, secret: &str) -> Response {
    let form = Request::form(TOKEN, &[("grant_type", "client_credentials")]);
    send(served.address, &form.basic("billing", secret))
}

fn rotate(folder: &Folder, more: &[&str]) -> Value {
    folder.json(&[&["master-key", "rotate"], more].concat())
}

fn read(folder: &Folder, name: &str) -> Option<String> {
    std::fs::read_to_string(folder.path().join("keys").join(name)).ok()
}

fn write(folder: &Folder, name: &str, text: &str) {
    let path = folder.path().join("keys").join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn the_master_key_changes_under_a_running_server_and_the_old_one_opens_nothing_afterwards() {
    on_both_processes(|folder| {
        let secret = create(folder);
        let served = folder.serve(&SERVE);
        let old = read(folder, "master.key").unwrap();
        let begun = rotate(folder, &[]);
        assert_eq!(begun["finished"], false);
        let new = read(folder, "master.key").unwrap();
        assert_ne!(old, new);
        assert_eq!(read(folder, "master.key.old"), Some(old.clone()));
        assert_eq!(token(&served, &secret).status, 200);
        // A node that has not been given the new one yet starts with the old one.
        for key in [&old, &new] {
            let node = folder.serve_with(&SERVE, &[("KEYWHEEL_MASTER_KEY", key.trim())]);
            assert_eq!(token(&node, &secret).status, 200);
        }
        let status = folder.json(&["master-key", "status"]);
        assert_eq!(status.as_array().unwrap().len(), 2, "{status}");
        // Whoever does not have the new one cannot lock everybody out.
        let said = folder.refused_with(
            &["master-key", "rotate", "--finish"],
            &[("KEYWHEEL_MASTER_KEY", old.trim())],
        );
        assert!(said.contains("nothing else would open the database"), "{said}");
        assert_eq!(rotate(folder, &["--finish"])["finished"], true);
        assert_eq!(read(folder, "master.key.old"), None);
        assert_eq!(token(&served, &secret).status, 200);
        let again = folder.serve(&SERVE);
        assert_eq!(token(&again, &secret).status, 200, "secrets are what they were");
        let said = folder.refused_with(
            &["serve", "--issuer", "https://auth.example"],
            &[("KEYWHEEL_MASTER_KEY", old.trim())],
        );
        assert!(said.contains("sealed under master key"), "{said}");
        let events = folder.json(&["audit", "list"]).to_string();
        assert!(
            events.contains("master_key.change_begun") && events.contains("master_key.changed"),
            "{events}"
        );
        assert!(!events.contains(new.trim()) && !events.contains(old.trim()));
    });
}

#[test]
fn a_change_that_was_interrupted_at_any_step_goes_on_with_the_same_key() {
    on_both_processes(|folder| {
        let secret = create(folder);
        let starts = || {
            let served = folder.serve(&SERVE);
            assert_eq!(token(&served, &secret).status, 200);
        };
        starts();
        let old = read(folder, "master.key").unwrap();
        // A new key was made, and nobody was told.
        let waiting = "a1".repeat(32);
        write(folder, "master.key.next", &waiting);
        starts();
        let begun = rotate(folder, &[]);
        assert_eq!(read(folder, "master.key"), Some(waiting.clone()));
        // The database was told, and the files are as they were.
        write(folder, "master.key", &old);
        write(folder, "master.key.next", &waiting);
        std::fs::remove_file(folder.path().join("keys/master.key.old")).unwrap();
        starts();
        assert_eq!(rotate(folder, &[]), begun);
        // The old one was kept, and the new one not put in place.
        write(folder, "master.key", &old);
        write(folder, "master.key.next", &waiting);
        starts();
        assert_eq!(rotate(folder, &[]), begun);
        assert_eq!(rotate(folder, &[]), begun, "all was done");
        // Finished in the database, and the old file is still there.
        assert_eq!(rotate(folder, &["--finish"])["finished"], true);
        write(folder, "master.key.old", &old);
        starts();
        assert_eq!(rotate(folder, &["--finish"])["finished"], true);
        assert_eq!(read(folder, "master.key.old"), None);
        starts();
    });
}

#[test]
fn a_change_can_be_given_up_and_a_key_from_elsewhere_be_handed_over() {
    on_both_processes(|folder| {
        let secret = create(folder);
        drop(folder.serve(&SERVE));
        let old = read(folder, "master.key").unwrap();
        rotate(folder, &[]);
        assert_eq!(rotate(folder, &["--abandon"])["abandoned"], true);
        assert_eq!(read(folder, "master.key"), Some(old.clone()));
        assert_eq!(folder.json(&["master-key", "status"]).as_array().unwrap().len(), 1);

        let new = "b2".repeat(32);
        let present = [("KEYWHEEL_MASTER_KEY", old.trim())];
        let said = folder.refused_with(&["master-key", "rotate"], &present);
        assert!(said.contains("--new"), "{said}");
        let begun = folder.with_input(&["master-key", "rotate", "--new", "-"], &new);
        assert_eq!(begun["finished"], false);
        let said = folder.refused(&["master-key", "rotate", "--finish"]);
        assert!(said.contains("does not have the new master key"), "{said}");
        write(folder, "master.key", &new);
        rotate(folder, &["--finish"]);
        let served = folder.serve(&SERVE);
        assert_eq!(token(&served, &secret).status, 200);
        for wrong in ["short", &old, &new] {
            let output = folder.try_with_input(&["master-key", "rotate", "--new", "-"], wrong);
            assert_eq!(output.status.success(), wrong == old, "{wrong}: {output:?}");
        }
        assert_eq!(json!(read(folder, "master.key")), json!(new));
    });
}
