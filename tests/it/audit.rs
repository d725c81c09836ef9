//! The audit trail: whoever alters it, removes from it or adds to it without the master key is found out.

use keywheel::oauth::Seconds;
use keywheel::server::{BrokenTrail, SealName, VerifiedTrail, verify_trail};

use crate::support::process::Folder;
use crate::support::server::{TestServer, metadata};
use crate::support::{Database, naming, on_both};

/// A trail of some seals: clients are made, and each time it settles and is sealed.
fn sealed(database: &Database) -> TestServer {
    let server = TestServer::start(database.url());
    for name in ["one", "two", "three"] {
        server.client(name, metadata());
        server.add_secret(name, None);
        settle(&server);
    }
    server
}

/// Lets the node see what is there, and a while later seal it.
fn settle(server: &TestServer) {
    for _ in 0..2 {
        server.advance(Seconds::minutes(1));
        server.tick().unwrap();
    }
}

fn verified(server: &TestServer) -> Result<VerifiedTrail, BrokenTrail> {
    noted(server, None)
}

fn noted(server: &TestServer, noted: Option<&SealName>) -> Result<VerifiedTrail, BrokenTrail> {
    verify_trail(&server.store, server.vault(), noted)
}

#[test]
fn an_untouched_trail_is_whole_and_what_is_new_is_sealed_once_it_has_settled() {
    on_both(|database| {
        let server = sealed(database);
        let trail = verified(&server).unwrap();
        assert_eq!(
            (trail.sealed, trail.unsealed, trail.begins),
            (server.audit().len() as u64, 0, None)
        );
        assert_eq!(trail.head.as_ref().unwrap().number, 3);
        server.client("four", metadata());
        server.tick().unwrap();
        let later = verified(&server).unwrap();
        assert_eq!((later.sealed, later.unsealed), (trail.sealed, 1));
        // Another node seals nothing twice.
        let other = TestServer::with(database.url(), server.options());
        settle(&server);
        other.tick().unwrap();
        let last = verified(&server).unwrap();
        assert_eq!((last.sealed, last.unsealed), (trail.sealed + 1, 0));
        assert_eq!(last.head.unwrap().number, 4);
        noted(&server, trail.head.as_ref()).unwrap();
    });
}

#[test]
fn whatever_is_done_to_the_trail_behind_the_servers_back_breaks_it() {
    let third = "(SELECT id FROM audit_events WHERE client_id = 'two' AND event = 'client.created')";
    for (act, broken) in [
        (
            format!("UPDATE audit_events SET actor = 'nobody' WHERE id = {third}"),
            "broken at seal 2",
        ),
        (
            format!("UPDATE audit_events SET detail = '{{}}' WHERE id = {third}"),
            "broken at seal 2",
        ),
        (
            format!("UPDATE audit_events SET at = at + 1 WHERE id = {third}"),
            "broken at seal 2",
        ),
        (
            format!("DELETE FROM audit_events WHERE id = {third}"),
            "broken at seal 2",
        ),
        (
            format!("DELETE FROM audit_events WHERE id IN {third}; DELETE FROM audit_seals WHERE number = 2"),
            "2 is missing",
        ),
        ("DELETE FROM audit_seals WHERE number = 1".to_owned(), "1 is missing"),
        (
            "DELETE FROM audit_events WHERE id = (SELECT max(id) FROM audit_events)".to_owned(),
            "broken at seal 3",
        ),
        (
            "UPDATE audit_seals SET events = events - 1 WHERE number = 3".to_owned(),
            "seal 3 of the audit trail was altered",
        ),
        (
            "UPDATE audit_seals SET sealed_at = 1 WHERE number = 1".to_owned(),
            "seal 1 of the audit trail was altered",
        ),
        (
            "DELETE FROM audit_events WHERE id < (SELECT max(id) FROM audit_events); DELETE FROM audit_seals WHERE number < 3; \
             UPDATE audit_seals SET pruned = TRUE, sealed_at = 1"
                .to_owned(),
            "seal 3 of the audit trail was altered",
        ),
        (
            "UPDATE audit_events SET id = -5 WHERE id = (SELECT max(id) FROM audit_events)".to_owned(),
            "broken at seal",
        ),
        (
            "INSERT INTO audit_events (id, at, event, actor, detail) VALUES (0, 1, 'made.up', 'x', '{}')".to_owned(),
            "broken at seal 1",
        ),
    ] {
        on_both(|database| {
            naming(&act, || {
                let server = sealed(database);
                verified(&server).unwrap();
                database.execute(&act);
                let found = verified(&server).unwrap_err().to_string();
                assert!(found.contains(broken), "{found}");
            });
        });
    }
}

#[test]
fn a_trail_that_was_cut_off_lacks_the_seal_that_was_noted() {
    on_both(|database| {
        let server = sealed(database);
        let head = verified(&server).unwrap().head;
        database.execute(
            "DELETE FROM audit_events WHERE id > (SELECT last_id FROM audit_seals WHERE number = 2); \
             DELETE FROM audit_seals WHERE number > 2",
        );
        verified(&server).unwrap();
        let found = noted(&server, head.as_ref()).unwrap_err().to_string();
        assert!(found.contains("cut off"), "{found}");
    });
}

#[test]
fn a_long_trail_is_sealed_in_the_ticks_that_follow_each_other() {
    on_both(|database| {
        let server = sealed(database);
        let after = server.store.newest_audit_event().unwrap().unwrap();
        let at = server.now().epoch();
        database.execute(&format!(
            "INSERT INTO audit_events (id, at, event, actor, detail) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
             WHERE i < 45000) SELECT {after} + i, {at}, 'made.up', 'x', '{{}}' FROM n"
        ));
        settle(&server);
        for _ in 0..2 {
            server.advance(Seconds::new(1));
            server.tick().unwrap();
        }
        let trail = verified(&server).unwrap();
        assert_eq!((trail.unsealed, trail.head.unwrap().number), (0, 3 + 5));
    });
}

#[test]
fn what_is_older_than_the_retention_goes_with_its_seals_and_the_rest_can_be_verified() {
    on_both(|database| {
        let server = sealed(database);
        let first = verified(&server).unwrap().head;
        server.advance(Seconds::days(200));
        server.client("later", metadata());
        settle(&server);
        assert!(server.audit().contains(&"client.secret_added".to_owned()));
        server.advance(Seconds::days(170));
        server.client("last", metadata());
        settle(&server);
        settle(&server);
        assert!(
            !server.audit().contains(&"client.secret_added".to_owned()),
            "they are of the first days"
        );
        let trail = verified(&server).unwrap();
        assert!(
            trail.begins.is_some() && trail.sealed >= 2 && trail.unverifiable == 0,
            "{trail:?}"
        );
        let seals = server.store.audit_seals_after(0, 1).unwrap();
        assert_eq!(
            (seals[0].number, seals[0].pruned),
            (3, true),
            "the last of the old ones stays"
        );
        assert!(
            noted(&server, first.as_ref()).is_ok(),
            "it is the one that the trail begins after"
        );
        let earlier = SealName {
            number: 1,
            code: "x".to_owned(),
        };
        assert!(matches!(noted(&server, Some(&earlier)), Err(BrokenTrail::Outlived(_))));
        // Nobody slips an event of yesterday in among those that are gone.
        let yesterday = server.now().epoch() - 86_400;
        let slip = |id: i64, at: i64| {
            let values = format!("({id}, {at}, 'made.up', 'x', '{{}}')");
            database.execute(&format!(
                "INSERT INTO audit_events (id, at, event, actor, detail) VALUES {values}"
            ));
        };
        slip(-2, 1);
        assert_eq!(verified(&server).unwrap().unverifiable, 1);
        slip(-1, yesterday);
        assert!(matches!(verified(&server), Err(BrokenTrail::Added(-1))));
        // Nor does anybody pass a removal off as old age.
        database.execute("DELETE FROM audit_seals WHERE number < (SELECT max(number) FROM audit_seals)");
        assert!(matches!(verified(&server), Err(BrokenTrail::Missing(_))));
    });
}

#[test]
fn the_trail_is_exported_as_json_lines_and_verified_by_command() {
    on_both(|database| {
        let folder = Folder::empty().with("DATABASE_URL", database.url());
        for name in ["one", "two"] {
            folder.create_client(name);
        }
        let lines = |arguments: &[&str]| -> Vec<serde_json::Value> {
            let output = folder.run(arguments);
            assert!(output.status.success(), "{output:?}");
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        if database.backend == "PostgreSQL" {
            // Ids do not become visible in order there, so the youngest are left for the next time.
            assert_eq!(lines(&["audit", "export"]).len(), 0);
            database.execute("UPDATE audit_events SET at = at - 200");
        }
        let all = lines(&["audit", "export"]);
        let clients: Vec<&str> = all.iter().filter_map(|event| event["client_id"].as_str()).collect();
        assert_eq!(clients, ["one", "two"]);
        let first = all[0]["id"].to_string();
        assert_eq!(lines(&["audit", "export", "--after", &first]), all[1..]);
        let verified = folder.json(&["audit", "verify"]);
        assert_eq!(
            (&verified["whole"], &verified["unsealed"]),
            (&true.into(), &(all.len()).into())
        );
        let said = folder.refused(&["audit", "verify", "--noted", "1:abc"]);
        assert!(said.contains("cut off"), "{said}");
        let said = folder.refused(&["audit", "verify", "--noted", "abc"]);
        assert!(said.contains("NUMBER:CODE"), "{said}");
    });
}
