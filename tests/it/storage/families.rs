//! Token families, refresh tokens and revoked access tokens, one after the other. For many at once see `rotations`.

use keywheel::oauth::{Audiences, Client, FamilyId, NumericDate, Scope, SecretHash, SecretHasher, User, UserId};
use keywheel::storage::{
    AuditFilter, FamilyCreation, FamilyEnd, FamilyFilter, FamilyRevocation, NewFamily, RefreshTokenRecord, Rotation,
    RotationOutcome, Standing, Store,
};

use super::users::{create_user, user_id};
use super::{at, create, event, id};
use crate::support::{Database, on_both};

pub(super) fn hash(of: &str) -> SecretHash {
    SecretHasher::new(&[9; 32]).hash(of)
}

pub(super) fn family_id(name: &str) -> FamilyId {
    FamilyId::parse(&format!("{name:_>22}")).unwrap()
}

/// A family that lives from 1 000 to 9 000.
pub(super) fn new_family(name: &str, client: &Client, user: Option<&User>) -> NewFamily {
    NewFamily {
        id: family_id(name),
        client: Standing::from(client),
        user: user.map(Standing::from),
        scope: Scope::parse("read write").unwrap(),
        audiences: Audiences::parse("https://api.example urn:other").unwrap(),
        created_at: at(1_000),
        expires_at: at(9_000),
    }
}

/// Opens a family whose first token has the hash of `name`-0 and is accepted until 5 000.
pub(super) fn open(store: &Store, name: &str, client: &Client, user: Option<&User>) -> FamilyCreation {
    let family = new_family(name, client, user);
    store
        .open_family(&family, &hash(&format!("{name}-0")), at(5_000), &event("token.issued"))
        .unwrap()
}

pub(super) fn rotation(from: &str, to: &str, now: NumericDate) -> Rotation {
    Rotation {
        hash: hash(from),
        successor_hash: hash(to),
        at: now,
        successor_expires_at: at(6_000),
    }
}

fn rotate(store: &Store, from: &str, to: &str) -> RotationOutcome {
    store
        .rotate(&rotation(from, to, at(2_000)), &event("token.refreshed"))
        .unwrap()
}

fn read(store: &Store, of: &str) -> RefreshTokenRecord {
    store.refresh_token(&hash(of)).unwrap().unwrap()
}

/// A client, a user, and a family `f` of both.
fn ground(database: &Database) -> (Store, Client, User) {
    let store = database.store();
    let client = create(&store, "billing");
    let user = create_user(&store, "1", "alice");
    assert_eq!(open(&store, "f", &client, Some(&user)), FamilyCreation::Opened);
    (store, client, user)
}

//
#[test]
fn a_login_without_a_family_is_written_down_while_client_and_user_stand() {
    on_both(|database| {
        let (store, client, user) = ground(database);
        let logins = || database.count("audit_events WHERE event = 'login'");
        let sign_in = |client: &Client, user: &User| {
            let (client, user) = (Standing::from(client), Standing::from(user));
            store.sign_in(client, user, &event("login")).unwrap()
        };
        assert!(sign_in(&client, &user));
        assert_eq!(logins(), 1);
        let disabled = |user: &User| store.set_user_enabled(&user.user_id, false, &event("x")).unwrap();
        disabled(&user);
        assert!(!sign_in(&client, &user));
        let bob = create_user(&store, "2", "bob");
        assert!(sign_in(&client, &bob));
        store.set_password(&bob.user_id, "new", &event("x")).unwrap();
        assert!(!sign_in(&client, &bob), "the password was another");
        let carol = create_user(&store, "3", "carol");
        for enabled in [false, true] {
            store
                .set_client_enabled(&client.client_id, enabled, &event("x"))
                .unwrap();
            assert!(!sign_in(&client, &carol), "the client was disabled in the meantime");
        }
        assert_eq!(logins(), 2);
    });
}

#[test]
fn a_family_is_read_as_it_was_opened_with_client_and_user_in_one_statement() {
    on_both(|database| {
        let (store, client, user) = ground(database);
        let before = store.statements();
        let record = read(&store, "f-0");
        assert_eq!(store.statements() - before, 1);
        let new = new_family("f", &client, Some(&user));
        let family = &record.family;
        assert_eq!(
            (&family.id, &family.scope, &family.audiences),
            (&new.id, &new.scope, &new.audiences)
        );
        assert_eq!((family.client_row, &family.client_id), (client.row, &client.client_id));
        assert_eq!(family.user_id.as_ref(), Some(&user.user_id));
        assert_eq!((family.created_at, family.expires_at), (at(1_000), at(9_000)));
        assert_eq!(
            (record.generation, record.issued_at, record.expires_at),
            (0, at(1_000), at(5_000))
        );
        assert_eq!((record.rotated_at, record.successor_rotated), (None, None));
        assert_eq!(family.end(at(8_999)), None);
        assert_eq!(family.end(at(9_000)), Some(FamilyEnd::Expired));
        assert!(store.refresh_token(&hash("other")).unwrap().is_none());
    });
}

#[test]
fn a_client_has_families_of_its_own_too() {
    on_both(|database| {
        let (store, client, _) = ground(database);
        assert_eq!(open(&store, "own", &client, None), FamilyCreation::Opened);
        let record = read(&store, "own-0");
        assert_eq!(
            (record.family.user_id.as_ref(), record.family.end(at(1_000))),
            (None, None)
        );
        assert_eq!(rotate(&store, "own-0", "own-1"), RotationOutcome::Rotated);
        store
            .set_user_enabled(&user_id("1"), false, &event("user.disabled"))
            .unwrap();
        assert_eq!(rotate(&store, "own-1", "own-2"), RotationOutcome::Rotated);
        assert_eq!(rotate(&store, "f-0", "f-1"), RotationOutcome::Ended);
    });
}

#[test]
fn no_refresh_token_outlives_its_family() {
    on_both(|database| {
        let (store, client, _) = ground(database);
        let family = NewFamily {
            expires_at: at(3_000),
            ..new_family("short", &client, None)
        };
        store
            .open_family(&family, &hash("short-0"), at(5_000), &event("token.issued"))
            .unwrap();
        assert_eq!(read(&store, "short-0").expires_at, at(3_000));
        assert_eq!(rotate(&store, "short-0", "short-1"), RotationOutcome::Rotated);
        assert_eq!(read(&store, "short-1").expires_at, at(3_000));
    });
}

//
#[test]
fn a_token_is_used_once_and_its_successor_takes_its_place() {
    on_both(|database| {
        let (store, ..) = ground(database);
        rotate(&store, "f-0", "f-1");
        let before = store.statements();
        assert_eq!(rotate(&store, "f-1", "f-2"), RotationOutcome::Rotated);
        if database.backend == "PostgreSQL" {
            assert_eq!(store.statements() - before, 1, "one round trip");
        }
        for (token, generation, rotated_at, successor_rotated) in [
            ("f-0", 0, Some(at(2_000)), Some(true)),
            ("f-1", 1, Some(at(2_000)), Some(false)),
            ("f-2", 2, None, None),
        ] {
            let record = read(&store, token);
            assert_eq!((record.generation, record.rotated_at), (generation, rotated_at));
            assert_eq!(record.successor_rotated, successor_rotated, "{token}");
        }
        let newest = read(&store, "f-2");
        assert_eq!((newest.issued_at, newest.expires_at), (at(2_000), at(6_000)));
        // Within the same second, and with whatever successor.
        assert_eq!(rotate(&store, "f-0", "f-1"), RotationOutcome::Replayed);
        assert_eq!(rotate(&store, "f-1", "g"), RotationOutcome::Replayed);
        assert_eq!(database.count("refresh_tokens"), 3);
        let events = store.audit_events(&AuditFilter::default()).unwrap();
        let refreshed = events.iter().filter(|event| event.event == "token.refreshed");
        assert_eq!(
            refreshed.clone().count(),
            2,
            "an event of what happened, none of what did not"
        );
        assert!(refreshed.clone().all(|recorded| *recorded == event("token.refreshed")));
    });
}

//
#[test]
fn neither_an_unknown_nor_an_expired_token_is_rotated() {
    on_both(|database| {
        let (store, client, _) = ground(database);
        let at_instant = |from: &str, to: &str, now| store.rotate(&rotation(from, to, at(now)), &event("x")).unwrap();
        assert_eq!(at_instant("other", "next", 2_000), RotationOutcome::Ended);
        assert_eq!(
            at_instant("f-0", "f-1", 5_000),
            RotationOutcome::Ended,
            "idle for too long"
        );
        assert_eq!(at_instant("f-0", "f-1", 4_999), RotationOutcome::Rotated);
        assert_eq!(open(&store, "g", &client, None), FamilyCreation::Opened);
        database.execute("UPDATE token_families SET expires_at = 4000");
        assert_eq!(
            at_instant("g-0", "g-1", 4_000),
            RotationOutcome::Ended,
            "its family's time is over"
        );
        assert_eq!(at_instant("g-0", "g-1", 3_999), RotationOutcome::Rotated);
    });
}

// R-26, G-03, P-08
#[test]
fn whatever_ends_a_family_ends_it_for_good() {
    type Act<'a> = &'a dyn Fn(&Store);
    let (client, user) = (id("billing"), user_id("1"));
    let revoke: Act = &|store| {
        assert!(
            store
                .revoke_family(&family_id("f"), at(1_500), "logout", &event("x"))
                .unwrap()
        )
    };
    let disable_client: Act = &|store| drop(store.set_client_enabled(&client, false, &event("x")).unwrap());
    let enable_client: Act = &|store| drop(store.set_client_enabled(&client, true, &event("x")).unwrap());
    let disable_user: Act = &|store| drop(store.set_user_enabled(&user, false, &event("x")).unwrap());
    let enable_user: Act = &|store| drop(store.set_user_enabled(&user, true, &event("x")).unwrap());
    let set_password: Act = &|store| drop(store.set_password(&user, "new", &event("x")).unwrap());
    let cases: [(&[Act], FamilyEnd); 6] = [
        (&[revoke], FamilyEnd::Revoked),
        (&[disable_client], FamilyEnd::Client),
        (&[disable_client, enable_client], FamilyEnd::Client),
        (&[disable_user], FamilyEnd::User),
        (&[disable_user, enable_user], FamilyEnd::User),
        (&[set_password], FamilyEnd::User),
    ];
    on_both(|database| {
        for (n, (acts, end)) in cases.iter().enumerate() {
            let database = if database.backend == "SQLite" {
                Database::sqlite()
            } else {
                Database::postgres()
            };
            let (store, ..) = ground(&database);
            rotate(&store, "f-0", "f-1");
            for act in *acts {
                act(&store);
            }
            for (from, to) in [("f-1", "f-2"), ("f-0", "f-1")] {
                assert_eq!(rotate(&store, from, to), RotationOutcome::Ended, "case {n}");
            }
            assert_eq!(read(&store, "f-1").family.end(at(2_000)), Some(*end), "case {n}");
            let state = store.access_token_state("jti", Some(&family_id("f")), None).unwrap();
            assert!(state.family_ended, "case {n}");
        }
    });
}

#[test]
fn deleting_a_client_or_a_user_deletes_their_families_however_many() {
    on_both(|database| {
        for by_client in [true, false] {
            let (store, client, user) = ground(database);
            let other = create(&store, "other");
            let another = create_user(&store, "2", "bob");
            open(&store, "other", &other, Some(&another));
            let (series, number) = if database.backend == "SQLite" {
                let series = "WITH RECURSIVE s (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM s WHERE n < 2200)";
                (series, "printf('%022d', n)")
            } else {
                (
                    "WITH s AS (SELECT generate_series(1, 2200) AS n)",
                    "lpad(n::text, 22, '0')",
                )
            };
            database.execute(&format!(
                "{series} INSERT INTO token_families (id, client, client_epoch, owner, owner_epoch, scope, audiences, \
                 created_at, expires_at) SELECT {number}, {}, 0, {}, 0, '', '', 1, 9000 FROM s",
                client.row, user.row
            ));
            let deleted = if by_client {
                store.delete_client(&client.client_id, &event("gone")).unwrap()
            } else {
                store.delete_user(&user.user_id, &event("gone")).unwrap()
            };
            assert!(deleted);
            assert_eq!(database.count("token_families"), 1);
            assert!(store.refresh_token(&hash("f-0")).unwrap().is_none());
            assert_eq!(rotate(&store, "f-0", "f-1"), RotationOutcome::Ended);
            assert_eq!(rotate(&store, "other-0", "other-1"), RotationOutcome::Rotated);
            let events = store.audit_events(&AuditFilter::default()).unwrap();
            assert_eq!(events.iter().filter(|event| event.event == "gone").count(), 1);
            for table in ["refresh_tokens", "token_families", "clients", "users", "audit_events"] {
                database.execute(&format!("DELETE FROM {table}"));
            }
        }
    });
}

#[test]
fn a_family_is_not_opened_for_a_client_or_user_who_changed_since_they_were_read() {
    on_both(|database| {
        let (store, client, user) = ground(database);
        let (client_id, user_id) = (&client.client_id, &user.user_id);
        assert_eq!(open(&store, "a", &client, Some(&user)), FamilyCreation::Opened);
        store.set_password(user_id, "new", &event("x")).unwrap();
        assert_eq!(open(&store, "b", &client, Some(&user)), FamilyCreation::Gone);
        let user = store.user(user_id).unwrap().unwrap();
        assert_eq!(open(&store, "b", &client, Some(&user)), FamilyCreation::Opened);

        let disabled = store.set_user_enabled(user_id, false, &event("x")).unwrap().unwrap();
        assert_eq!(open(&store, "c", &client, Some(&user)), FamilyCreation::Gone);
        assert_eq!(open(&store, "c", &client, Some(&disabled)), FamilyCreation::Gone);
        let disabled = store
            .set_client_enabled(client_id, false, &event("x"))
            .unwrap()
            .unwrap();
        assert_eq!(open(&store, "c", &client, None), FamilyCreation::Gone);
        assert_eq!(open(&store, "c", &disabled, None), FamilyCreation::Gone);
        let enabled = store.set_client_enabled(client_id, true, &event("x")).unwrap().unwrap();
        assert_eq!(open(&store, "c", &client, None), FamilyCreation::Gone);
        assert_eq!(open(&store, "c", &enabled, None), FamilyCreation::Opened);

        store.delete_user(user_id, &event("x")).unwrap();
        assert_eq!(open(&store, "d", &enabled, Some(&user)), FamilyCreation::Gone);
        store.delete_client(client_id, &event("x")).unwrap();
        assert_eq!(open(&store, "d", &enabled, None), FamilyCreation::Gone);
        assert_eq!(
            (database.count("token_families"), database.count("refresh_tokens")),
            (0, 0)
        );
    });
}

// R-03, W-11
#[test]
fn a_family_is_revoked_once_and_the_first_reason_stays() {
    on_both(|database| {
        let (store, ..) = ground(database);
        let revoke = |name: &str, now, reason: &str| {
            store
                .revoke_family(&family_id(name), at(now), reason, &event("family.revoked"))
                .unwrap()
        };
        assert!(revoke("f", 2_000, "reuse"));
        assert!(!revoke("f", 3_000, "logout"));
        assert!(!revoke("unknown", 3_000, "logout"));
        let revoked = FamilyRevocation {
            at: at(2_000),
            reason: "reuse".to_owned(),
        };
        assert_eq!(read(&store, "f-0").family.revoked, Some(revoked));
        let events = store.audit_events(&AuditFilter::default()).unwrap();
        assert_eq!(events.iter().filter(|event| event.event == "family.revoked").count(), 1);
    });
}

#[test]
fn administrators_see_the_families_of_a_client_or_a_user_newest_first() {
    on_both(|database| {
        let (store, client, user) = ground(database);
        let other = create(&store, "other");
        let another = create_user(&store, "2", "bob");
        for (n, name, client, user) in [
            (1, "a", &client, &another),
            (2, "b", &other, &user),
            (3, "c", &other, &another),
        ] {
            let family = NewFamily {
                created_at: at(1_000 + n),
                ..new_family(name, client, Some(user))
            };
            store.open_family(&family, &hash(name), at(5_000), &event("x")).unwrap();
        }
        store.set_user_enabled(&another.user_id, false, &event("x")).unwrap();
        let listed = |client: Option<&Client>, user: Option<&User>, limit| -> Vec<(FamilyId, Option<FamilyEnd>)> {
            let filter = FamilyFilter {
                client_id: client.map(|client| client.client_id.clone()),
                user_id: user.map(|user| user.user_id.clone()),
                limit,
                ..FamilyFilter::default()
            };
            let families = store.families(&filter).unwrap();
            families
                .into_iter()
                .map(|family| (family.end(at(2_000)), family.id))
                .map(|(end, id)| (id, end))
                .collect()
        };
        let (f, a) = ((family_id("f"), None), (family_id("a"), Some(FamilyEnd::User)));
        let (b, c) = ((family_id("b"), None), (family_id("c"), Some(FamilyEnd::User)));
        assert_eq!(listed(None, None, 9), [c.clone(), b.clone(), a.clone(), f.clone()]);
        assert_eq!(listed(None, None, 2), [c.clone(), b.clone()]);
        assert_eq!(listed(Some(&client), None, 9), [a.clone(), f.clone()]);
        assert_eq!(listed(None, Some(&user), 9), [b, f.clone()]);
        assert_eq!(listed(Some(&client), Some(&user), 9), [f]);
        assert_eq!(listed(Some(&other), Some(&another), 9), [c]);
    });
}

// W-08, W-11, R-04
#[test]
fn a_revoked_access_token_is_remembered_once_and_its_family_and_user_are_asked_about_in_the_same_statement() {
    on_both(|database| {
        let (store, _, user) = ground(database);
        let with_user = |jti: &str, family: Option<&str>, user: Option<&UserId>| {
            let before = store.statements();
            let state = store.access_token_state(jti, family.map(family_id).as_ref(), user);
            assert_eq!(store.statements() - before, 1);
            state.unwrap()
        };
        let state = |jti: &str, family: Option<&str>| {
            let state = with_user(jti, family, Some(&user.user_id));
            let known = state.user.unwrap();
            assert_eq!(
                (known.username.as_str(), known.epoch),
                (user.username.as_str(), user.epoch)
            );
            let without = with_user(jti, family, None);
            assert_eq!(
                (without.revoked, without.family_ended),
                (state.revoked, state.family_ended)
            );
            (state.revoked, state.family_ended)
        };
        assert_eq!(state("j", None), (false, false));
        assert_eq!(state("j", Some("f")), (false, false));
        let revoke = || {
            store
                .revoke_access_token("j", at(1_600), &event("token.revoked"))
                .unwrap()
        };
        assert!(revoke());
        assert!(!revoke());
        assert_eq!(state("j", None), (true, false));
        assert_eq!(state("j", Some("f")), (true, false));
        assert_eq!(state("J", Some("f")), (false, false));
        assert_eq!(
            state("i", Some("unknown")),
            (false, true),
            "a family that is gone has ended"
        );
        store
            .revoke_family(&family_id("f"), at(1_500), "logout", &event("x"))
            .unwrap();
        assert_eq!(state("i", Some("f")), (false, true));
        let events = store.audit_events(&AuditFilter::default()).unwrap();
        assert_eq!(events.iter().filter(|event| event.event == "token.revoked").count(), 1);
        store.set_user_enabled(&user.user_id, false, &event("x")).unwrap();
        assert_eq!(with_user("i", None, Some(&user.user_id)).user, None);
    });
}
