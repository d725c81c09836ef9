//! A database that is put back to an earlier state.

use keywheel::keys::KeyState;
use keywheel::oauth::Seconds;
use keywheel::server::admin::KeyAdmin;
use keywheel::storage::Store;

use crate::refresh::{PASSWORD, for_people, refresh, session, sign_in};
use crate::support::api::{Bearer, refused};
use crate::support::http::{Request, send};
use crate::support::jwt::part;
use crate::support::process::Folder;
use crate::support::server::{Options, TestServer, metadata};
use crate::support::{Database, audit_event, on_both};
use crate::token::assert_refused;

/// Why a server does not start.
fn why_refused(url: &str, options: Options) -> String {
    TestServer::try_with(url, options).err().unwrap().with_causes()
}

fn finalize(store: &Store, remembered: &keywheel::server::Remembered) {
    let event = audit_event("restore.finalized");
    store.finalize_restore(&remembered.barred_keys(), &event).unwrap();
}

//
#[test]
fn a_restored_database_is_refused_until_it_is_finalized_and_then_no_token_of_before_is_good() {
    on_both(|database| {
        let (client, exchanged, access, backup) = {
            let server = TestServer::start(database.url());
            let client = server.client("shop", for_people());
            server.user("alice", PASSWORD);
            let first = sign_in(&server, &client, &[]);
            let second = session(&refresh(&server, &client, &first.refresh, &[]));
            drop(server);
            (client, second.refresh, second.access, database.copy())
        };
        // Life goes on after the backup: the token is exchanged, and a key is revoked.
        let (remembered, revoked) = {
            let server = TestServer::start(database.url());
            session(&refresh(&server, &client, &exchanged, &[]));
            let kid = part(&access, 0)["kid"].as_str().unwrap().to_owned();
            let policy = crate::rotation::policy();
            let admin = KeyAdmin::new(&server.store, server.vault(), &policy, "test");
            admin.revoke(&kid, None, server.now()).unwrap();
            server.tick().unwrap();
            server.advance(Seconds::new(10));
            server.tick().unwrap();
            (server.remembered(), kid)
        };
        let options = || Options {
            before: Some(remembered.clone()),
            ..Options::default()
        };
        let refusal = TestServer::try_with(backup.url(), options())
            .err()
            .expect("it is refused");
        let chain = format!("{refusal}: {}", std::error::Error::source(&refusal).unwrap());
        assert!(chain.contains("keywheel restore finalize"), "{chain}");

        finalize(&backup.open(), &remembered);
        let server = TestServer::with(backup.url(), options());
        assert_refused(&refresh(&server, &client, &exchanged, &[]), 400, "invalid_grant");
        let form = Request::form("/oauth2/introspect", &[("token", &access)]);
        let answer = server.send(&form.basic(&client.id, &client.secret)).json();
        assert_ne!(answer["active"], true, "{answer}");
        let policy = crate::rotation::policy();
        let ring = KeyAdmin::new(&server.store, server.vault(), &policy, "test")
            .ring()
            .unwrap();
        let revoked = keywheel::oauth::Thumbprint::parse(&revoked).unwrap();
        assert_eq!(ring.state(&revoked, server.now()), Some(KeyState::Revoked));
        session(&refresh(&server, &client, &sign_in(&server, &client, &[]).refresh, &[]));
        // What was remembered before the finalization stands in the way of no other node; the backup once more is refused.
        let finalized = server.remembered();
        drop(server);
        drop(TestServer::with(backup.url(), options()));
        backup.execute("UPDATE database_identity SET finalized = 0");
        let options = Options {
            before: Some(finalized),
            ..Options::default()
        };
        assert!(why_refused(backup.url(), options).contains("keywheel restore finalize"));
    });
}

//
#[test]
fn a_running_server_notices_and_gives_out_no_refresh_token_until_it_is_finalized() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("shop", for_people());
        let service = server.client("service", metadata());
        let admin = Bearer::admin(&server);
        server.user("alice", PASSWORD);
        let first = sign_in(&server, &client, &[]);
        let later = |seconds| {
            server.advance(Seconds::new(seconds));
            server.tick().unwrap();
        };
        later(10);
        let asked = |path| send(server.management, &Request::get(path)).status;
        let ready = || asked("/readyz");
        assert_eq!(ready(), 200);
        // As if the last login had never been recorded.
        database.execute("DELETE FROM audit_events WHERE id = (SELECT max(id) FROM audit_events)");
        later(10);
        assert_eq!(ready(), 503);
        assert_eq!(asked("/readyz?exclude=database"), 200, "it is so for every node");
        assert_refused(
            &refresh(&server, &client, &first.refresh, &[]),
            503,
            "temporarily_unavailable",
        );
        assert_eq!(server.token(&service, &[]).status, 200, "services are not concerned");
        // Nobody administrates it either: who may not any more is back in it.
        refused(&admin.get("/clients"), 503);
        finalize(&server.store, &server.server.remembered());
        later(10);
        assert_eq!(ready(), 200);
        assert_refused(&refresh(&server, &client, &first.refresh, &[]), 400, "invalid_grant");
        session(&refresh(&server, &client, &sign_in(&server, &client, &[]).refresh, &[]));
    });
}

//
#[test]
fn a_server_notices_what_a_fail_over_lost_also_when_others_have_gone_on_since() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("shop", for_people());
        server.user("alice", PASSWORD);
        let first = sign_in(&server, &client, &[]);
        let later = || {
            server.advance(Seconds::new(2));
            server.tick().unwrap();
        };
        later();
        let ready = || send(server.management, &Request::get("/readyz")).status;
        assert_eq!(ready(), 200);
        // The login is lost, and others came in its place.
        database.execute(
            "UPDATE audit_events SET at = at - 1 WHERE id = (SELECT max(id) FROM audit_events); \
             INSERT INTO audit_events (at, event, actor, detail) VALUES (1, 'x', 'x', '{}'), (1, 'x', 'x', '{}')",
        );
        later();
        assert_eq!(ready(), 503);
        assert_refused(
            &refresh(&server, &client, &first.refresh, &[]),
            503,
            "temporarily_unavailable",
        );
        let options = Options {
            before: Some(server.remembered()),
            ..server.options()
        };
        assert!(
            why_refused(database.url(), options).contains("keywheel restore finalize"),
            "a node that starts remembers"
        );
        finalize(&server.store, &server.server.remembered());
        later();
        assert_eq!(ready(), 200);
        // Nor is it there any more, though others are that were there before it.
        later();
        database.execute("DELETE FROM audit_events WHERE id = (SELECT max(id) FROM audit_events)");
        database.execute("INSERT INTO audit_events (id, at, event, actor, detail) SELECT max(id) + 7, 1, 'x', 'x', '{}' FROM audit_events");
        later();
        assert_eq!(ready(), 503);
    });
}

#[test]
fn the_command_line_finalizes_what_a_fail_over_lost_though_others_have_gone_on() {
    let database = Database::postgres();
    let folder = Folder::empty()
        .with("KEYWHEEL_ISSUER", "https://auth.example")
        .with("DATABASE_URL", database.url());
    folder.create_client("billing");
    // The second time nothing is made any more, so that it has seen the newest event.
    for _ in 0..2 {
        folder.serve(&[]).terminate();
    }
    let said = folder.refused(&["restore", "finalize"]);
    assert!(said.contains("nothing was restored"), "{said}");
    database.execute(
        "UPDATE audit_events SET at = at - 1 WHERE id = (SELECT max(id) FROM audit_events); \
         INSERT INTO audit_events (at, event, actor, detail) VALUES (1, 'x', 'x', '{}')",
    );
    let said = folder.refused(&["serve"]);
    assert!(said.contains("keywheel restore finalize"), "{said}");
    folder.json(&["restore", "finalize"]);
    folder.serve(&[]).terminate();
}

#[test]
fn the_command_line_finalizes_a_restored_file() {
    let folder = Folder::empty().with("KEYWHEEL_ISSUER", "https://auth.example");
    drop(folder.serve(&[]).terminate());
    let said = folder.refused(&["restore", "finalize"]);
    assert!(said.contains("--force"), "{said}");
    let database = folder.path().join("keywheel.db");
    let backup = std::fs::read(&database).unwrap();
    folder.json(&["client", "create", "Later", "--grant", "client_credentials"]);
    drop(folder.serve(&[]).terminate());
    std::fs::write(&database, backup).unwrap();
    // What a server leaves behind that did not close its files last.
    for log in ["keywheel.db-wal", "keywheel.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(log));
    }
    let said = folder.refused(&["serve"]);
    assert!(said.contains("keywheel restore finalize"), "{said}");
    let done = folder.json(&["restore", "finalize"]);
    assert_eq!(done["barred"], 0, "{done}");
    drop(folder.serve(&[]).terminate());
    let events = folder.json(&["audit", "list"]);
    assert!(events.to_string().contains("restore.finalized"), "{events}");
}
