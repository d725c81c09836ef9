//! Client secrets as records: from when until when each is accepted, when it was last used, and that none in use is removed by
//! mistake.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use keywheel::oauth::{ClientId, ClientSecretRecord, NumericDate, Seconds};
use keywheel::server::admin::ClientError;

use crate::support::http::{Request, send};
use crate::support::on_both;
use crate::support::server::{Credentials, TestServer, metadata};
use crate::token::assert_refused;

/// The client's secrets, its first one first.
fn secrets(server: &TestServer, client: &Credentials) -> Vec<ClientSecretRecord> {
    let id = ClientId::parse(&client.id).unwrap();
    let mut secrets = server.store.client_secrets(&id).unwrap().unwrap();
    secrets.sort_by_key(|secret| !client.secret.ends_with(&secret.hint));
    secrets
}

fn used(server: &TestServer, client: &Credentials) -> Vec<Option<NumericDate>> {
    secrets(server, client)
        .iter()
        .map(|secret| secret.last_used_at)
        .collect()
}

/// Lets so much time pass, with a tick at its end.
fn later(server: &TestServer, span: Seconds) {
    server.advance(span);
    server.tick().unwrap();
}

// C-23
#[test]
fn when_a_secret_was_used_last_is_written_down_once_in_a_while_and_by_itself() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("billing", metadata());
        let (_, second) = server.add_secret("billing", None);
        server.tick().unwrap();
        assert_eq!(used(&server, &client), [None, None]);
        let first_use = server.now();
        server.granted(&client, &[]);
        later(&server, Seconds::minutes(1));
        assert_eq!(
            used(&server, &client),
            [Some(first_use), None],
            "the other one is not disturbed"
        );
        // In constant use it is written every ten minutes, and not with each token.
        for _ in 0..9 {
            server.granted(&client, &[]);
            later(&server, Seconds::minutes(1));
        }
        assert_eq!(used(&server, &client)[0], Some(first_use));
        server.granted(&client, &[]);
        later(&server, Seconds::minutes(1));
        assert_eq!(used(&server, &client)[0], Some(first_use + Seconds::minutes(10)));
        // A wrong secret is no use of any, and a second node that was earlier takes nothing back.
        let other = Credentials {
            id: client.id.clone(),
            secret: second,
        };
        server.granted(&other, &[]);
        server.server.farewell().unwrap();
        assert_eq!(used(&server, &client)[1], Some(server.now()));
        let id = secrets(&server, &client)[1].id.clone();
        server.store.note_secret_uses(&[(id, first_use)]).unwrap();
        assert_eq!(used(&server, &client)[1], Some(server.now()));
    });
}

#[test]
fn a_secret_is_accepted_from_its_beginning_until_its_end() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let first = server.client("billing", metadata());
        let (begins, ends) = (server.now() + Seconds::hours(1), server.now() + Seconds::hours(2));
        let (_, secret) = server.add_secret_for("billing", (Some(begins), Some(ends)));
        server.tick().unwrap();
        let second = Credentials {
            id: first.id.clone(),
            secret,
        };
        for (at, accepted) in [
            (begins - Seconds::new(1), false),
            (begins, true),
            (ends - Seconds::new(1), true),
            (ends, false),
        ] {
            server.set_clock(at.epoch());
            server.tick().unwrap();
            let answer = server.token(&second, &[]);
            if accepted {
                assert_eq!(answer.status, 200, "{at}");
            } else {
                assert_refused(&answer, 401, "invalid_client");
            }
            server.granted(&first, &[]);
        }
        let refused = server.with_context(|cx| {
            let id = ClientId::parse("billing").unwrap();
            server
                .admin()
                .add_secret(&id, (Some(ends), Some(begins)), server.vault(), cx)
        });
        assert!(matches!(refused, Err(ClientError::NeverAccepted(..))), "{refused:?}");
    });
}

#[test]
fn a_secret_in_use_is_revoked_by_force_alone_and_others_are_as_they_were() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("billing", metadata());
        server.add_secret("billing", None);
        server.granted(&client, &[]);
        later(&server, Seconds::minutes(1));
        let id = ClientId::parse("billing").unwrap();
        let [first, second] = secrets(&server, &client).try_into().unwrap();
        let revoke =
            |secret: &ClientSecretRecord, force| server.admin().revoke_secret(&id, &secret.id, force, server.now());
        let refusal = revoke(&first, false).unwrap_err().to_string();
        assert!(
            refusal.contains("--force") && refusal.contains("was used at"),
            "{refusal}"
        );
        revoke(&second, false).unwrap();
        server.granted(&client, &[]);
        revoke(&first, true).unwrap();
        server.tick().unwrap();
        assert_refused(&server.token(&client, &[]), 401, "invalid_client");
    });
}

// C-23
#[test]
fn while_a_secret_is_replaced_under_load_no_token_is_refused() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let first = server.client("billing", metadata());
        // Services read the secret anew for each token, as from a mounted file.
        let secret = RwLock::new(first.secret.clone());
        let (fetched, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        // A token is under way with the secret that is held, so a replacement waits for it.
                        let secret = secret.read().unwrap();
                        let client = Credentials {
                            id: "billing".to_owned(),
                            secret: secret.clone(),
                        };
                        assert_eq!(server.token(&client, &[]).status, 200);
                        fetched.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let so_many_more = |more| {
                let until = fetched.load(Ordering::Relaxed) + more;
                while fetched.load(Ordering::Relaxed) < until {
                    std::thread::yield_now();
                }
            };
            for _ in 0..5 {
                so_many_more(20);
                let old = secrets(&server, &first).remove(0).id;
                let (_, new) = server.add_secret("billing", None);
                // Known everywhere within a second.
                server.tick().unwrap();
                so_many_more(20);
                *secret.write().unwrap() = new;
                let id = ClientId::parse("billing").unwrap();
                server.admin().revoke_secret(&id, &old, true, server.now()).unwrap();
                server.tick().unwrap();
            }
            so_many_more(20);
            done.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn a_secret_that_was_used_long_ago_is_revoked_without_force() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("billing", metadata());
        server.granted(&client, &[]);
        later(&server, Seconds::minutes(1));
        later(&server, Seconds::days(8));
        let id = ClientId::parse("billing").unwrap();
        let secret = secrets(&server, &client).remove(0).id;
        server.admin().revoke_secret(&id, &secret, false, server.now()).unwrap();
    });
}

#[test]
fn clients_whose_last_secret_ends_soon_show_in_the_metrics() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        for (name, days, lasts) in [
            ("this-week", vec![3, 2], false),
            ("next-week", vec![3, 10], false),
            ("later", vec![3, 100], false),
            ("never", vec![3], true),
            ("disabled", vec![3], false),
        ] {
            let client = server.client(name, metadata());
            let first = secrets(&server, &client).remove(0).id;
            for days in days {
                server.add_secret(name, Some(server.now() + Seconds::days(days)));
            }
            let id = ClientId::parse(name).unwrap();
            if !lasts {
                server.admin().revoke_secret(&id, &first, true, server.now()).unwrap();
            }
        }
        let disabled = ClientId::parse("disabled").unwrap();
        server.admin().set_enabled(&disabled, false, server.now()).unwrap();
        later(&server, Seconds::minutes(2));
        let text = send(server.management, &Request::get("/metrics")).text().to_owned();
        for line in [
            r#"keywheel_client_secrets_expiring{days="1"} 0"#,
            r#"keywheel_client_secrets_expiring{days="7"} 1"#,
            r#"keywheel_client_secrets_expiring{days="14"} 2"#,
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    });
}
