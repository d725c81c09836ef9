//! Who uses what: reports for who cleans up.

use keywheel::oauth::{ClientMetadata, Seconds};
use keywheel::server::admin::Reports;

use crate::refresh::for_people;
use crate::support::http::Request;
use crate::support::process::Folder;
use crate::support::server::{Credentials, TOKEN, TestServer, metadata};
use crate::support::{Database, on_both};

fn reports(server: &TestServer) -> Reports<'_> {
    Reports::new(&server.store, Seconds::minutes(10), server.now())
}

/// Lets so much time pass, with a tick at its end and one when what was counted is written down.
fn later(server: &TestServer, span: Seconds) {
    server.advance(span);
    server.tick().unwrap();
    server.advance(Seconds::minutes(1));
    server.tick().unwrap();
}

#[test]
fn clients_that_were_not_used_for_a_time_are_told_and_young_or_disabled_ones_are_not() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let busy = server.client("busy", metadata());
        server.client("never", metadata());
        let once = server.client("once", metadata());
        server.client("disabled", metadata());
        let id = keywheel::oauth::ClientId::parse("disabled").unwrap();
        server.admin().set_enabled(&id, false, server.now()).unwrap();
        server.granted(&once, &[]);
        let used_at = server.now();
        later(&server, Seconds::days(100));
        server.granted(&busy, &[]);
        server.client("young", metadata());
        later(&server, Seconds::minutes(1));
        let unused = reports(&server).unused_clients(Seconds::days(90)).unwrap();
        let told: Vec<_> = unused
            .iter()
            .map(|client| (client.client_id.as_str(), client.last_used_at.clone()))
            .collect();
        assert_eq!(told, [("never", None), ("once", Some(used_at.to_string()))]);
        assert_eq!(reports(&server).unused_clients(Seconds::days(200)).unwrap(), []);
    });
}

#[test]
fn secrets_that_end_have_ended_or_are_not_used_are_told_with_the_reason() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("billing", metadata());
        let in_days = |days| Some(server.now() + Seconds::days(days));
        let (soon, _) = server.add_secret("billing", in_days(110));
        let (ended, _) = server.add_secret("billing", in_days(50));
        let (unused, _) = server.add_secret("billing", None);
        later(&server, Seconds::days(100));
        server.granted(&client, &[]);
        let (fresh, _) = server.add_secret("billing", None);
        later(&server, Seconds::minutes(1));
        let notable = reports(&server)
            .notable_secrets(Seconds::days(14), Seconds::days(90))
            .unwrap();
        let mut told: Vec<_> = notable
            .iter()
            .map(|secret| (secret.why, secret.secret_id.clone()))
            .collect();
        told.sort();
        assert_eq!(told, [("expired", ended), ("expires soon", soon), ("not used", unused)]);
        assert!(!told.iter().any(|(_, id)| *id == fresh));
    });
}

#[test]
fn a_client_that_fetches_far_more_tokens_than_their_life_requires_is_told() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let modest = server.client("modest", metadata());
        let long_lived = ClientMetadata {
            access_ttl: Some(Seconds::days(1)),
            ..metadata()
        };
        let greedy = server.client("greedy", long_lived);
        let fetch = |client: &Credentials, times| {
            for _ in 0..times {
                server.granted(client, &[]);
            }
        };
        for _ in 0..2 {
            fetch(&modest, 30);
            fetch(&greedy, 30);
            later(&server, Seconds::days(1));
        }
        server.server.farewell().unwrap();
        let over = reports(&server).over_issuance(Seconds::days(7), 10).unwrap();
        let told: Vec<_> = over
            .iter()
            .map(|usage| (usage.client_id.as_str(), usage.tokens_per_day, usage.alive_at_once))
            .collect();
        assert_eq!(told, [("greedy", 30, 30)]);
        assert_eq!(reports(&server).over_issuance(Seconds::days(7), 30).unwrap(), []);
        // A client that is gone is in no report, and stops no writing.
        fetch(&greedy, 1);
        let id = keywheel::oauth::ClientId::parse("greedy").unwrap();
        server.admin().delete(&id, server.now()).unwrap();
        later(&server, Seconds::minutes(1));
        assert_eq!(reports(&server).over_issuance(Seconds::days(7), 0).unwrap().len(), 0);
        later(&server, Seconds::days(100));
        assert_eq!(server.count("client_usage"), 0, "old days are forgotten");
    });
}

#[test]
fn users_that_were_refused_often_are_told_the_most_often_refused_first() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("shop", for_people());
        server.user("alice", "correct horse battery");
        server.user("bob", "correct horse battery");
        let refused = |name: &str, times| {
            for _ in 0..times {
                let form = [("grant_type", "password"), ("username", name), ("password", "wrong")];
                let answer = server.send(&Request::form(TOKEN, &form).basic(&client.id, &client.secret));
                assert_eq!(answer.status, 400, "{}", answer.text());
            }
        };
        refused("alice", 2);
        refused("bob", 3);
        let id = |name: &str| server.users().show(name).unwrap().user_id.to_string();
        let told = |least| -> Vec<(String, i64)> {
            let often = reports(&server).failed_logins(Seconds::days(7), least).unwrap();
            often.into_iter().map(|user| (user.user_id, user.refused)).collect()
        };
        assert_eq!(told(1), [(id("bob"), 3), (id("alice"), 2)]);
        assert_eq!(told(3), [(id("bob"), 3)]);
        server.advance(Seconds::days(8));
        assert_eq!(told(1), []);
    });
}

#[test]
fn every_report_prints_one_json_document_or_a_table() {
    let folder = Folder::empty();
    folder.create_client("billing");
    for report in ["unused-clients", "secrets", "over-issuance", "failed-logins"] {
        assert_eq!(folder.json(&["report", report]), serde_json::json!([]), "{report}");
        assert!(folder.run(&["report", report]).status.success());
    }
}

#[test]
fn who_only_reads_may_read_from_a_replica() {
    let database = Database::postgres();
    drop(database.store());
    let folder = Folder::empty().with("DATABASE_URL", database.url());
    folder.json(&[
        "client",
        "create",
        "Billing",
        "--id",
        "billing",
        "--grant",
        "client_credentials",
    ]);
    let name = database.query("SELECT current_database()").remove(0);
    // What a session of a replica may do.
    database.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    for reading in [
        &["report", "unused-clients"][..],
        &["report", "over-issuance"],
        &["audit", "export"],
        &["audit", "verify"],
        &["client", "list"],
        &["keys", "list"],
    ] {
        let read = folder.run(reading);
        assert!(
            read.status.success(),
            "{reading:?}: {}",
            String::from_utf8_lossy(&read.stderr)
        );
    }
    let refused = folder.run(&["client", "disable", "billing"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("read-only"));
}
