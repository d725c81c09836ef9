//! Whatever stops it: the whole file is in force afterwards, or nothing of it.

use serde_json::Value;

#[cfg(feature = "failpoints")]
use super::{STEPS, write};
use super::{TWO_CLIENTS, actions, apply, clients, events, one, refused, with_secret};
#[cfg(feature = "failpoints")]
use crate::support::naming;
use crate::support::on_both_processes;

#[test]
fn when_one_client_cannot_be_written_none_is() {
    with_secret(|folder, database| {
        apply(folder, TWO_CLIENTS, &[]);
        let before = (clients(folder), events(folder).len(), database.count("changes"));
        database.execute(match database.backend {
            "SQLite" => {
                "CREATE TRIGGER no_shop BEFORE UPDATE ON clients WHEN NEW.client_id = 'shop' \
                 BEGIN SELECT RAISE(ABORT, 'not this one'); END"
            }
            _ => "ALTER TABLE clients ADD CONSTRAINT no_shop CHECK (client_id <> 'shop' OR scope <> 'z') NOT VALID",
        });
        let changed = TWO_CLIENTS
            .replace("invoices:read", "x")
            .replace("[\"orders:read\", \"orders:write\"]", "\"z\"");
        refused(folder, &changed, &[]);
        assert_eq!(
            (clients(folder), events(folder).len(), database.count("changes")),
            before
        );
    });
}

#[test]
fn many_clients_are_one_transaction() {
    on_both_processes(|folder| {
        let mut text = "owner = \"platform-team\"\n".to_owned();
        for n in 0..1_200 {
            text += one(&format!("c{n}"), "secret = \"generated\"")
                .split_once('\n')
                .unwrap()
                .1;
        }
        assert_eq!(apply(folder, &text, &[])["clients"].as_array().unwrap().len(), 1_200);
        assert_eq!(apply(folder, &text, &[])["changed"], false);
        apply(folder, "owner = \"platform-team\"\n", &["--prune"]);
        assert_eq!(clients(folder), Vec::<Value>::new());
    });
}

#[test]
fn a_client_with_very_many_logins_is_not_pruned_and_nothing_else_is_done() {
    with_secret(|folder, database| {
        apply(folder, TWO_CLIENTS, &[]);
        database.execute(
            "INSERT INTO token_families (id, client, client_epoch, scope, audiences, created_at, expires_at) \
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1100) \
             SELECT 'a-family-of-22-cha' || (i + 1000), (SELECT id FROM clients WHERE client_id = 'shop'), 0, '', '', 1, 2000000000 FROM n",
        );
        let before = clients(folder);
        let said = refused(folder, &one("new", ""), &["--prune"]);
        assert!(
            said.contains("client \"shop\" has more logins") && said.contains("client delete shop"),
            "{said}"
        );
        assert_eq!(clients(folder), before);
        folder.json(&["client", "delete", "shop"]);
        assert_eq!(
            actions(&apply(folder, &one("new", ""), &["--prune"])),
            ["create new", "delete billing"]
        );
    });
}

#[test]
fn clients_whose_logins_are_too_many_together_are_not_pruned_together() {
    with_secret(|folder, database| {
        apply(folder, TWO_CLIENTS, &[]);
        database.execute(
            "INSERT INTO token_families (id, client, client_epoch, scope, audiences, created_at, expires_at) \
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) \
             SELECT 'a-family-of-22-cha' || (i + 1000 * clients.id), clients.id, 0, '', '', 1, 2000000000 FROM n, clients",
        );
        let before = clients(folder);
        let said = refused(folder, &one("new", ""), &["--prune"]);
        assert!(said.contains("client \"shop\" has more logins"), "{said}");
        assert_eq!(clients(folder), before);
        folder.json(&["client", "delete", "shop"]);
        assert_eq!(
            actions(&apply(folder, &one("new", ""), &["--prune"])),
            ["create new", "delete billing"]
        );
    });
}

#[cfg(feature = "failpoints")]
#[test]
fn a_run_that_is_killed_half_way_leaves_nothing_changed() {
    with_secret(|folder, _| {
        apply(folder, TWO_CLIENTS, &[]);
        let before = (clients(folder), events(folder).len());
        write(
            folder,
            &TWO_CLIENTS.replace("invoices:read", "x").replace("orders:read", "y"),
        );
        for step in STEPS {
            folder.crash_at(&["apply", "clients.toml"], step);
            assert_eq!((clients(folder), events(folder).len()), before, "{step}");
        }
        let applied = folder.json(&["apply", "clients.toml"]);
        assert_eq!(actions(&applied), ["update billing", "update shop"]);
    });
}

#[cfg(feature = "failpoints")]
#[test]
fn an_edit_between_plan_and_write_aborts_everything() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    with_secret(|folder, _| {
        apply(folder, TWO_CLIENTS, &[]);
        for edit in [
            &["client", "update", "shop", "--scope", "mine"][..],
            &["client", "secret", "add", "shop"],
            &["client", "delete", "shop"],
        ] {
            naming(&edit.join(" "), || {
                write(
                    folder,
                    &TWO_CLIENTS.replace("invoices:read", "x").replace("orders:read", "y"),
                );
                let mut command = folder.command(&["apply", "clients.toml"]);
                command.env("KEYWHEEL_FAILPOINT", "apply.planned");
                command
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped());
                let mut child = command.spawn().unwrap();
                let mut said = BufReader::new(child.stderr.take().unwrap())
                    .lines()
                    .map_while(Result::ok);
                assert!(said.by_ref().any(|line| line == "failpoint apply.planned"));
                folder.json(edit);
                let edited = (clients(folder), events(folder).len());
                drop(child.stdin.take());
                let said: Vec<String> = said.collect();
                assert_eq!(child.wait().unwrap().code(), Some(1));
                assert!(
                    said.join("\n").contains("client \"shop\" was changed by somebody else"),
                    "{said:?}"
                );
                assert_eq!((clients(folder), events(folder).len()), edited);
            });
        }
    });
}
