//! The master key changes while servers run, and a change that was interrupted anywhere goes on: the real program.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::http::{Request, Response, send};
use crate::support::process::{Folder, Served};
use crate::support::server::TOKEN;
use crate::support::{Database, on_both, on_both_processes};

const SERVE: [&str; 2] = ["--issuer", "https://auth.example"];

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
        let secret = folder.client_secret("billing");
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
        let secret = folder.client_secret("billing");
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
        let secret = folder.client_secret("billing");
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

#[test]
fn a_backup_from_during_a_change_opens_with_either_key_and_one_from_before_with_the_old_one_alone() {
    let folder = Folder::empty();
    folder.create_client("billing");
    drop(folder.serve(&SERVE).terminate());
    let old = read(&folder, "master.key").unwrap();
    folder.json(&["db", "backup", "before.db"]);
    let output = folder.run(&["master-key", "rotate"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("Take a backup now"), "{said}");
    folder.json(&["db", "backup", "during.db"]);
    rotate(&folder, &["--finish"]);
    let new = read(&folder, "master.key").unwrap();
    for (backup, key, is_opened) in [
        ("before.db", &old, true),
        ("before.db", &new, false),
        ("during.db", &old, true),
        ("during.db", &new, true),
    ] {
        let mut command = folder.command(&["backup", "verify", backup]);
        let output = command.env("KEYWHEEL_MASTER_KEY", key.trim()).output().unwrap();
        assert_eq!(output.status.success(), is_opened, "{backup}: {output:?}");
    }
}

/// Two nodes on one database, both with its master key.
fn two_nodes(database: &Database) -> [Folder; 2] {
    let nodes = [(); 2].map(|()| Folder::empty().with("DATABASE_URL", database.url()));
    nodes[0].create_client("billing");
    std::fs::create_dir(nodes[1].path().join("keys")).unwrap();
    give(&nodes[0], &nodes[1]);
    nodes
}

/// An operator copies the master key.
fn give(from: &Folder, to: &Folder) {
    write(to, "master.key", &read(from, "master.key").unwrap());
}

fn opens(node: &Folder) -> bool {
    node.run(&["keys", "list"]).status.success()
}

#[test]
fn what_is_left_of_a_change_that_another_node_finished_replaces_no_key() {
    on_both(|database| {
        let [here, there] = two_nodes(database);
        rotate(&here, &[]);
        give(&here, &there);
        rotate(&there, &["--finish"]);
        let present = read(&here, "master.key").unwrap();
        // The old one is still here, and opens nothing.
        assert!(read(&here, "master.key.old").is_some());
        assert_eq!(rotate(&here, &["--abandon"])["abandoned"], false);
        assert_eq!(read(&here, "master.key"), Some(present.clone()));
        assert!(opens(&here));

        rotate(&here, &[]);
        give(&here, &there);
        rotate(&there, &["--finish"]);
        let present = read(&here, "master.key").unwrap();
        rotate(&here, &[]);
        assert_eq!(
            read(&here, "master.key.old"),
            Some(present.clone()),
            "the present one is kept"
        );
        rotate(&here, &["--abandon"]);
        assert_eq!(read(&here, "master.key"), Some(present));
        assert_eq!(read(&here, "master.key.old"), None);
        assert!(opens(&here) && opens(&there));
    });
}

#[test]
fn a_key_that_waits_and_is_not_the_one_that_comes_replaces_no_key() {
    on_both(|database| {
        let [here, there] = two_nodes(database);
        write(&here, "master.key.next", &"c3".repeat(32));
        rotate(&there, &[]);
        give(&there, &here);
        let new = read(&here, "master.key");
        rotate(&here, &[]);
        assert_eq!(read(&here, "master.key"), new);
        rotate(&here, &["--finish"]);
        assert_eq!(read(&here, "master.key"), new);
        assert_eq!(read(&here, "master.key.next"), None);
        assert!(opens(&here) && opens(&there));
    });
}

#[test]
fn a_key_that_another_node_made_the_present_one_while_it_waited_here_is_put_in_place() {
    for how in ["--finish", "--abandon"] {
        on_both(|database| {
            let [here, there] = two_nodes(database);
            let old = read(&here, "master.key").unwrap();
            rotate(&here, &[]);
            let new = read(&here, "master.key").unwrap();
            // As after a crash before the files were changed.
            write(&here, "master.key", &old);
            write(&here, "master.key.next", &new);
            write(&there, "master.key", &new);
            rotate(&there, &["--finish"]);
            rotate(&here, &[how]);
            assert_eq!(read(&here, "master.key"), Some(new));
            assert_eq!(read(&here, "master.key.next"), None);
            assert!(opens(&here));
        });
    }
}
