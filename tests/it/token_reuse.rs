//! Tokens that replicas of a service share, black box over HTTP on both databases: who gets the same one, and when not.

use std::collections::BTreeSet;

use keywheel::keys::Urgency;
use keywheel::oauth::{ClaimProfile, ClientId, ClientMetadata, GrantType, Scope, Seconds, TokenType};
use keywheel::server::admin::{ClientChange, KeyAdmin, Reports};
use serde_json::json;

use crate::refresh::{PASSWORD, refresh, sign_in};
use crate::support::http::{Connection, Request, Response};
use crate::support::jwt::{part, verify};
use crate::support::server::{Credentials, Options, START, TOKEN, TestServer, metadata};
use crate::support::{naming, on_both};
use crate::token::{assert_header_set, assert_refused};

/// A service whose replicas may share a token for half a minute.
fn sharing() -> ClientMetadata {
    ClientMetadata {
        token_reuse_window: Some(Seconds::new(30)),
        ..metadata()
    }
}

fn with_service(metadata: &ClientMetadata, test: impl Fn(&TestServer, &Credentials)) {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let service = server.client("service", metadata.clone());
        // So that no news of what the test made comes later, and ends what is shared.
        server.tick().unwrap();
        test(&server, &service);
    });
}

fn id(name: &str) -> ClientId {
    ClientId::parse(name).unwrap()
}

/// Moves the clock to so many seconds after the beginning, with a tick: what nobody told this node lately is not relied on.
fn at(server: &TestServer, seconds: i64) {
    server.set_clock(START.epoch() + seconds);
    server.tick().unwrap();
}

fn life(response: &Response) -> i64 {
    response.json()["expires_in"].as_i64().unwrap()
}

fn counted(server: &TestServer, metric: &str) -> i64 {
    let all = server.metrics();
    let line = all.lines().find(|line| line.starts_with(&format!("{metric} ")));
    line.unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn who_asks_for_the_same_within_the_window_gets_the_same_token_with_the_life_that_is_left() {
    with_service(&sharing(), |server, service| {
        let first = server.token(service, &[]);
        assert_eq!(life(&first), 600);
        for seconds in [0, 1, 10, 29] {
            at(server, seconds);
            let again = server.token(service, &[]);
            assert_header_set(&again);
            let (mut expected, answer) = (first.json(), again.json());
            expected["expires_in"] = json!(600 - seconds);
            assert_eq!(answer, expected);
            let claims = verify(server, answer["access_token"].as_str().unwrap()).claims;
            assert_eq!(claims["exp"].as_i64().unwrap() - server.now().epoch(), life(&again));
        }
        at(server, 30);
        let next = server.token(service, &[]);
        assert_eq!(life(&next), 600);
        assert_ne!(next.json()["access_token"], first.json()["access_token"]);
        // The window begins anew with the new one.
        at(server, 59);
        assert_eq!(
            server.token(service, &[]).json()["access_token"],
            next.json()["access_token"]
        );
    });
}

#[test]
fn without_a_window_every_request_gets_a_token_of_its_own() {
    with_service(&metadata(), |server, service| {
        let jtis: BTreeSet<String> = (0..5)
            .map(|_| verify(server, &server.granted(service, &[])).claims["jti"].to_string())
            .collect();
        assert_eq!(jtis.len(), 5);
        assert_eq!(counted(server, "keywheel_tokens_reused_total"), 0);
    });
}

#[test]
fn no_token_is_given_again_past_half_of_its_life() {
    let short = ClientMetadata {
        access_ttl: Some(Seconds::new(100)),
        token_reuse_window: Some(Seconds::hours(1)),
        ..metadata()
    };
    with_service(&short, |server, service| {
        let first = server.granted(service, &[]);
        at(server, 49);
        assert_eq!(server.granted(service, &[]), first);
        at(server, 50);
        assert_ne!(server.granted(service, &[]), first);
    });
}

#[test]
fn who_asks_for_anything_else_or_with_another_secret_gets_another_token() {
    with_service(&sharing(), |server, service| {
        let (_, secret) = server.add_secret("service", None);
        let other_secret = Credentials {
            secret,
            ..service.clone()
        };
        let other_client = server.client("other", sharing());
        server.tick().unwrap();
        let (audience, other_audience) = (("audience", "orders"), ("audience", "https://api.example"));
        let asked: [(&Credentials, &[(&str, &str)]); 8] = [
            (service, &[]),
            (service, &[("scope", "read")]),
            (service, &[("scope", "write")]),
            (service, &[audience]),
            (service, &[other_audience]),
            (service, &[audience, other_audience, ("scope", "read")]),
            (&other_secret, &[]),
            (&other_client, &[]),
        ];
        let fetch = || asked.map(|(client, parameters)| server.granted(client, parameters));
        let tokens = fetch();
        assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), asked.len());
        assert_eq!(fetch(), tokens, "each its own again");
        // What is asked for is checked as ever.
        assert_refused(&server.token(service, &[("scope", "admin")]), 400, "invalid_scope");
        assert_refused(&server.token(service, &[("audience", "nobody")]), 400, "invalid_target");
        let stranger = Credentials {
            secret: "wrong".to_owned(),
            ..service.clone()
        };
        assert_refused(&server.token(&stranger, &[]), 401, "invalid_client");
    });
}

#[test]
fn tokens_of_people_are_never_shared() {
    let all_grants = ClientMetadata {
        grant_types: GrantType::ALL.to_vec(),
        ..sharing()
    };
    with_service(&all_grants, |server, service| {
        server.user("alice", PASSWORD);
        let own = server.granted(service, &[]);
        let (first, second) = (sign_in(server, service, &[]), sign_in(server, service, &[]));
        let refreshed = refresh(server, service, &second.refresh, &[]).json()["access_token"].to_string();
        let all = [&own, &first.access, &second.access, &refreshed];
        assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), 4);
        assert_eq!(server.granted(service, &[]), own);
    });
}

#[test]
fn a_secret_that_was_revoked_or_has_expired_takes_its_tokens_with_it() {
    with_service(&sharing(), |server, service| {
        let until = START + Seconds::new(10);
        let [(a, a_secret), (b, b_secret), (_, until_then)] =
            [None, None, Some(until)].map(|expires_at| server.add_secret("service", expires_at));
        server.tick().unwrap();
        let with = |secret: &str| {
            let secret = secret.to_owned();
            server.token(
                &Credentials {
                    secret,
                    ..service.clone()
                },
                &[],
            )
        };
        let token = |response: &Response| response.json()["access_token"].to_string();
        let before = [&a_secret, &b_secret, &until_then].map(|secret| token(&with(secret)));
        server
            .admin()
            .revoke_secret(&id("service"), &a, true, server.now())
            .unwrap();
        server.tick().unwrap();
        assert_refused(&with(&a_secret), 401, "invalid_client");
        let after = token(&with(&b_secret));
        assert!(!before.contains(&after), "the client changed");
        at(server, 10);
        assert_refused(&with(&until_then), 401, "invalid_client");
        assert_eq!(
            token(&with(&b_secret)),
            after,
            "one that ends by itself changes nothing about others"
        );
        server
            .admin()
            .revoke_secret(&id("service"), &b, true, server.now())
            .unwrap();
        server.tick().unwrap();
        assert_refused(&with(&b_secret), 401, "invalid_client");
    });
}

#[test]
fn whatever_changes_about_a_client_ends_what_it_shared() {
    with_service(&sharing(), |server, service| {
        let change = |change: ClientChange| {
            server.admin().update(&id("service"), change, server.now()).unwrap();
        };
        let other = ClientChange::default;
        let mut seen = BTreeSet::from([server.granted(service, &[])]);
        let changes: [&dyn Fn(); 8] = [
            &|| {
                change(ClientChange {
                    name: Some("Other".to_owned()),
                    ..other()
                })
            },
            &|| {
                change(ClientChange {
                    access_ttl: Some(Some(Seconds::minutes(5))),
                    ..other()
                })
            },
            &|| {
                change(ClientChange {
                    token_type: Some(TokenType::Jwt),
                    ..other()
                })
            },
            &|| {
                change(ClientChange {
                    claim_profile: Some(ClaimProfile::Simplejwt),
                    ..other()
                })
            },
            &|| {
                change(ClientChange {
                    scope: Some(Scope::parse("read").unwrap()),
                    ..other()
                })
            },
            &|| drop(server.add_secret("service", None)),
            &|| {
                for enabled in [false, true] {
                    server
                        .admin()
                        .set_enabled(&id("service"), enabled, server.now())
                        .unwrap();
                }
            },
            &|| {
                change(ClientChange {
                    token_reuse_window: Some(None),
                    ..other()
                })
            },
        ];
        for (number, change) in changes.iter().enumerate() {
            naming(&format!("change {number}"), || {
                change();
                server.tick().unwrap();
            });
            let next = server.granted(service, &[]);
            assert!(seen.insert(next.clone()), "change {number}");
            let shared = server.granted(service, &[]) == next;
            assert_eq!(shared, number < 7, "the last one takes the window away");
        }
        server.admin().set_enabled(&id("service"), false, server.now()).unwrap();
        server.tick().unwrap();
        assert_refused(&server.token(service, &[]), 401, "invalid_client");
        // Nor does another client of the same name inherit anything.
        server.admin().delete(&id("service"), server.now()).unwrap();
        let again = server.client("service", sharing());
        server.tick().unwrap();
        assert!(seen.insert(server.granted(&again, &[])));
    });
}

#[test]
fn a_key_that_signs_no_more_takes_the_tokens_that_it_signed_out_of_use() {
    on_both(|database| {
        let longest = ClientMetadata {
            token_reuse_window: Some(Seconds::hours(1)),
            access_ttl: Some(Seconds::hours(3)),
            ..metadata()
        };
        let server = TestServer::with(database.url(), crate::rotation::options());
        let service = server.client("service", longest);
        server.tick().unwrap();
        let policy = crate::rotation::policy();
        let admin = KeyAdmin::new(&server.store, server.vault(), &policy, "test");
        let kid = |token: &str| part(token, 0)["kid"].as_str().unwrap().to_owned();
        let mut seen = BTreeSet::new();
        let mut next = || {
            let token = server.granted(&service, &[]);
            assert_eq!(server.granted(&service, &[]), token);
            assert!(seen.insert(kid(&token)), "a token of a key that signed before");
            kid(&token)
        };
        // In time for every verifier to know the next key.
        let settle = || {
            server.advance(Seconds::hours(30));
            server.tick().unwrap();
        };
        let first = next();
        settle();
        admin.taint(&first, None, server.now()).unwrap();
        server.tick().unwrap();
        let second = next();
        settle();
        admin.revoke(&second, None, server.now()).unwrap();
        server.tick().unwrap();
        let third = next();
        settle();
        admin.rotate(None, Urgency::Now, server.now()).unwrap();
        server.tick().unwrap();
        assert_ne!(next(), third);
        // A planned turn, with nothing but the time: between two ticks.
        let keys = server.store.signing_keys().unwrap();
        let turn = keys.into_iter().map(|key| key.activates_at).max().unwrap();
        server.set_clock(turn.epoch() - 2);
        server.tick().unwrap();
        let before = server.granted(&service, &[]);
        server.set_clock(turn.epoch() - 1);
        assert_eq!(server.granted(&service, &[]), before);
        server.set_clock(turn.epoch());
        next();
    });
}

#[test]
fn a_token_that_was_revoked_is_given_to_nobody_here_at_once_and_elsewhere_within_a_tick() {
    on_both(|database| {
        let one = TestServer::start(database.url());
        let two = TestServer::with(database.url(), one.options());
        let service = one.client("service", sharing());
        let tokens = [&one, &two].map(|node| node.granted(&service, &[]));
        assert_ne!(tokens[0], tokens[1], "each node has its own");
        for token in &tokens {
            let form = Request::form("/oauth2/revoke", &[("token", token)]);
            assert_eq!(one.send(&form.basic(&service.id, &service.secret)).status, 200);
        }
        let after = one.granted(&service, &[]);
        assert_ne!(after, tokens[0]);
        assert_eq!(one.granted(&service, &[]), after);
        two.tick().unwrap();
        assert!(!tokens.contains(&two.granted(&service, &[])));
    });
}

#[test]
fn a_node_that_may_not_know_of_revocations_signs() {
    with_service(&sharing(), |server, service| {
        let first = server.granted(service, &[]);
        server.advance(Seconds::new(5));
        assert_eq!(server.granted(service, &[]), first);
        server.advance(Seconds::new(1));
        let (second, third) = (server.granted(service, &[]), server.granted(service, &[]));
        assert!(first != second && second != third);
        server.tick().unwrap();
        assert_eq!(server.granted(service, &[]), third);
    });
}

#[test]
fn a_clock_that_is_set_back_makes_no_token_younger() {
    with_service(&sharing(), |server, service| {
        let first = server.granted(service, &[]);
        at(server, 40);
        // Nobody asked meanwhile: the token is still remembered, and too old.
        at(server, 5);
        let second = server.token(service, &[]);
        assert_ne!(second.json()["access_token"], first);
        assert_eq!(life(&second), 600);
        at(server, 41);
        let third = server.granted(service, &[]);
        at(server, 40);
        let fourth = server.token(service, &[]);
        assert_ne!(fourth.json()["access_token"], third, "it is not from the future");
        // Its life is counted from the latest time that was seen: rather too short than too long.
        let again = server.token(service, &[]);
        assert_eq!((life(&fourth), life(&again)), (600, 599));
        assert_eq!(again.json()["access_token"], fourth.json()["access_token"]);
    });
}

#[test]
fn what_was_signed_and_what_was_given_again_is_counted_apart() {
    let long = ClientMetadata {
        access_ttl: Some(Seconds::days(1)),
        ..sharing()
    };
    with_service(&long, |server, service| {
        let before = counted(server, "keywheel_signatures_total");
        for seconds in [0, 30] {
            at(server, seconds);
            for _ in 0..10 {
                server.granted(service, &[]);
            }
        }
        assert_eq!(counted(server, "keywheel_signatures_total") - before, 2);
        assert_eq!(counted(server, "keywheel_tokens_reused_total"), 18);
        server.server.farewell().unwrap();
        let reports = Reports::new(&server.store, Seconds::minutes(10), server.now());
        let over = reports.over_issuance(Seconds::days(7), 1).unwrap();
        let told: Vec<_> = over
            .iter()
            .map(|usage| (usage.tokens_per_day, usage.reused_per_day, usage.alive_at_once))
            .collect();
        assert_eq!(
            told,
            [(2, 18, 2)],
            "two tokens are alive, however often they were given"
        );
        assert_eq!(reports.over_issuance(Seconds::days(7), 2).unwrap(), []);
    });
}

/// Rounds of the race, on each database.
const ROUNDS: usize = 10;

#[test]
fn of_many_that_ask_at_once_few_are_signed_for_and_none_gets_what_a_revoked_secret_got() {
    on_both(|database| {
        let server = TestServer::with(database.url(), Options::default());
        let first = server.client("service", sharing());
        let (_, second) = server.add_secret("service", None);
        let second = Credentials {
            secret: second,
            ..first.clone()
        };
        for round in 0..ROUNDS {
            let (revoked, secret) = server.add_secret("service", None);
            server.tick().unwrap();
            let third = Credentials {
                secret,
                ..first.clone()
            };
            let fetch = |client: &Credentials, times: usize| -> Vec<Option<String>> {
                let mut connection = Connection::open(server.address);
                let form = Request::raw_form(TOKEN, "grant_type=client_credentials");
                let request = form.basic(&client.id, &client.secret);
                let mut one = || {
                    let answer = connection.send(&request);
                    assert!([200, 401, 429].contains(&answer.status), "{}", answer.text());
                    answer.json()["access_token"].as_str().map(str::to_owned)
                };
                (0..times).map(|_| one()).collect()
            };
            let [of_first, of_second, of_third] = std::thread::scope(|scope| {
                let fetch = &fetch;
                let all =
                    [&first, &second, &third].map(|client| [(); 4].map(|()| scope.spawn(move || fetch(client, 50))));
                server
                    .admin()
                    .revoke_secret(&id("service"), &revoked, true, server.now())
                    .unwrap();
                server.tick().unwrap();
                assert_eq!(fetch(&third, 1), [None], "round {round}: the revocation was answered");
                all.map(|threads| {
                    let answers = threads.into_iter().flat_map(|thread| thread.join().unwrap());
                    answers.collect::<Vec<_>>()
                })
            });
            let distinct = |answers: &[Option<String>]| answers.iter().flatten().cloned().collect::<BTreeSet<_>>();
            assert!(of_first.iter().chain(&of_second).all(Option::is_some), "round {round}");
            let sets = [&of_first, &of_second, &of_third].map(|answers| distinct(answers));
            let all: BTreeSet<_> = sets.iter().flatten().collect();
            assert_eq!(
                all.len(),
                sets.iter().map(BTreeSet::len).sum::<usize>(),
                "round {round}: nobody shares across secrets"
            );
            // The client changed once: a few are signed until all see the same record of it, of two hundred.
            assert!(
                sets[..2].iter().all(|set| set.len() <= 50),
                "round {round}: {}",
                sets[0].len()
            );
            sets.iter().flatten().for_each(|token| drop(verify(&server, token)));
        }
    });
}
