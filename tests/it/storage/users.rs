//! Users and their passwords' hashes.

use keywheel::oauth::{User, UserId, Username};
use keywheel::storage::{AuditFilter, ChangeKind, Error, NewUser, Store, UserCreation, UserFilter, UserImport};

use super::races::at_once;
use super::{at, event, subjects};
use crate::support::on_both;

pub(super) fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

pub(super) fn user_id(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

pub(super) fn new_user(id: &str, username: &str) -> NewUser {
    NewUser {
        user_id: user_id(id),
        username: name(username),
        password_hash: format!("hash of {username}"),
        enabled: true,
        created_at: at(500),
    }
}

pub(super) fn create_user(store: &Store, id: &str, username: &str) -> User {
    match store
        .create_user(&new_user(id, username), &event("user.created"))
        .unwrap()
    {
        UserCreation::Created(user) => user,
        UserCreation::Exists => panic!("{username} exists"),
    }
}

// P-05
#[test]
fn a_user_is_found_by_whatever_form_of_the_name_and_has_one_row() {
    on_both(|database| {
        let store = database.store();
        assert!(store.user_by_name(&name("alice")).unwrap().is_none());
        assert!(store.user(&user_id("1")).unwrap().is_none());
        let created = create_user(&store, "1", "Älice");
        assert!(created.enabled);
        assert_eq!((created.created_at, created.updated_at), (at(500), at(500)));
        for form in ["älice", "ÄLICE", "A\u{308}lice", "Äｌｉｃｅ"] {
            let before = store.statements();
            let (user, hash) = store.user_by_name(&name(form)).unwrap().unwrap();
            assert_eq!(store.statements() - before, 1);
            assert_eq!((user.username.as_str(), hash.as_str()), ("Älice", "hash of Älice"));
            assert_eq!(user, created);
        }
        assert_eq!(store.user(&user_id("1")).unwrap().unwrap(), created);
        for taken in [new_user("2", "ÄLICE"), new_user("1", "bob")] {
            let outcome = store.create_user(&taken, &event("user.created")).unwrap();
            assert_eq!(outcome, UserCreation::Exists);
        }
        assert_eq!(database.count("users"), 1);
        assert!(!format!("{:?}", new_user("1", "bob")).contains("hash of"));
    });
}

#[test]
fn of_many_that_take_one_name_one_gets_it() {
    on_both(|database| {
        let store = database.store();
        let outcomes = at_once(16, |n| {
            let username = if n % 2 == 0 { "Alice" } else { "aLICE" };
            store
                .create_user(&new_user(&n.to_string(), username), &event("user.created"))
                .unwrap()
        });
        let created = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, UserCreation::Created(_)));
        assert_eq!(created.count(), 1);
    });
}

#[test]
fn users_are_paged_in_the_order_of_their_canonical_names() {
    on_both(|database| {
        let store = database.store();
        for (id, username) in [("1", "Zoë"), ("2", "adam"), ("3", "Bob"), ("4", "éva"), ("5", "ADA")] {
            create_user(&store, id, username);
        }
        let page = |after: Option<&str>, limit| -> Vec<String> {
            let users = page_of(&store, after.map(name), limit);
            users.iter().map(|user| user.username.to_string()).collect()
        };
        assert_eq!(page(None, 9), ["ADA", "adam", "Bob", "Zoë", "éva"]);
        assert_eq!(page(Some("Adam"), 2), ["Bob", "Zoë"]);
        assert!(page(Some("éva"), 2).is_empty());
    });
}

#[test]
fn a_user_is_changed_as_of_the_event_and_only_what_ends_families_raises_the_epoch() {
    on_both(|database| {
        let store = database.store();
        let id = user_id("1");
        let created = create_user(&store, "1", "alice");
        let facts = |user: Option<User>| {
            let user = user.unwrap();
            (user.enabled, user.epoch - created.epoch, user.updated_at)
        };
        let disabled = store.set_user_enabled(&id, false, &event("user.disabled")).unwrap();
        assert_eq!(facts(disabled), (false, 1, at(1_000)));
        let enabled = store.set_user_enabled(&id, true, &event("user.enabled")).unwrap();
        assert_eq!(facts(enabled), (true, 1, at(1_000)));
        let changed = store.set_password(&id, "new", &event("user.password_set")).unwrap();
        assert_eq!(facts(changed), (true, 2, at(1_000)));
        assert_eq!(store.user_by_name(&name("alice")).unwrap().unwrap().1, "new");

        assert!(store.delete_user(&id, &event("user.deleted")).unwrap());
        let changes = store.changes_after(0, 9).unwrap();
        assert_eq!(subjects(&changes), vec![(ChangeKind::User, "1"); 5]);
        let events = store.audit_events(&AuditFilter::default()).unwrap();
        let events: Vec<&str> = events.iter().rev().map(|event| event.event.as_str()).collect();
        assert_eq!(
            events,
            [
                "user.created",
                "user.disabled",
                "user.enabled",
                "user.password_set",
                "user.deleted"
            ]
        );

        assert!(!store.delete_user(&id, &event("x")).unwrap());
        assert!(store.set_user_enabled(&id, false, &event("x")).unwrap().is_none());
        assert!(store.set_password(&id, "x", &event("x")).unwrap().is_none());
        assert_eq!(store.changes_after(0, 9).unwrap().len(), 5);
        let again = create_user(&store, "1", "alice");
        assert!(again.epoch >= 2 << 20, "it is another user");
    });
}

#[test]
fn a_hash_is_upgraded_only_while_it_is_the_one_that_was_verified() {
    on_both(|database| {
        let store = database.store();
        let id = user_id("1");
        let created = create_user(&store, "1", "alice");
        let upgrade = |old: &str, new: &str| store.upgrade_password_hash(&id, old, new).unwrap();
        assert!(upgrade("hash of alice", "better"));
        assert!(!upgrade("hash of alice", "other"), "somebody else was first");
        store.set_password(&id, "changed", &event("user.password_set")).unwrap();
        assert!(!upgrade("better", "best"), "an upgrade never undoes a change");
        let (user, hash) = store.user_by_name(&name("alice")).unwrap().unwrap();
        assert_eq!((hash.as_str(), user.epoch), ("changed", created.epoch + 1));
        assert!(!store.upgrade_password_hash(&user_id("2"), "a", "b").unwrap());

        let wins = at_once(16, |n| upgrade("changed", &format!("by {n}")));
        assert_eq!(wins.into_iter().filter(|won| *won).count(), 1);
    });
}

#[test]
fn users_are_imported_all_or_none_and_those_that_clash_are_named() {
    on_both(|database| {
        let store = database.store();
        create_user(&store, "7", "Alice");
        create_user(&store, "8", "bob");
        let import = |new: &[NewUser]| store.import_users(new, &event("user.imported")).unwrap();
        let many: Vec<NewUser> = (100..2_600)
            .map(|n| new_user(&n.to_string(), &format!("User-{n}")))
            .collect();
        for (clash, named) in [
            (vec![new_user("9", "ALICE")], vec!["alice"]),
            (vec![new_user("7", "carol")], vec!["7"]),
            (vec![new_user("9", "carol"), new_user("9", "dave")], vec!["9"]),
            (vec![new_user("9", "carol"), new_user("10", "Carol")], vec!["carol"]),
            (vec![new_user("7", "Bob")], vec!["bob", "7"]),
        ] {
            let mut new = many.clone();
            new.extend(clash);
            let named: Vec<String> = named.into_iter().map(str::to_owned).collect();
            assert_eq!(import(&new), UserImport::Exists(named));
            assert_eq!(database.count("users"), 2);
        }
        // A name of digits is not an identifier.
        let digits = [new_user("9", "10"), new_user("10", "9")];
        assert_eq!(import(&digits), UserImport::Imported(2));
        let disabled = NewUser {
            enabled: false,
            ..new_user("11", "erin")
        };
        assert_eq!(import(&[disabled]), UserImport::Imported(1));
        assert!(!store.user(&user_id("11")).unwrap().unwrap().enabled);

        let before = store.changes_after(0, 99).unwrap().len();
        assert_eq!(import(&many), UserImport::Imported(2_500));
        assert_eq!(import(&[]), UserImport::Imported(0));
        assert_eq!(
            store.user_by_name(&name("uSER-2599")).unwrap().unwrap().1,
            "hash of User-2599"
        );
        let changes = store.changes_after(0, 99).unwrap();
        assert_eq!(subjects(&changes[before..]), [(ChangeKind::User, "*")]);
    });
}

// N-09
#[test]
fn a_user_that_cannot_be_is_named_and_never_taken_for_an_absent_one() {
    on_both(|database| {
        let store = database.store();
        create_user(&store, "1", "alice");
        database.execute("UPDATE users SET username = ' '");
        let outcome = store.user_by_name(&name("alice"));
        assert!(
            matches!(outcome, Err(Error::Corrupt { table: "users", .. })),
            "{outcome:?}"
        );
        database.execute("UPDATE users SET username = 'alice', user_id = 'alice'");
        assert!(matches!(
            store.users(&UserFilter::default()),
            Err(Error::Corrupt { table: "users", .. })
        ));
    });
}

// P-04
#[test]
fn a_sample_of_hashes_is_spread_over_all_users_and_never_large() {
    on_both(|database| {
        let store = database.store();
        assert!(store.sample_password_hashes(10).unwrap().is_empty());
        let users: Vec<NewUser> = (0..250)
            .map(|n| NewUser {
                password_hash: format!("hash {n}"),
                ..new_user(&n.to_string(), &format!("user-{n}"))
            })
            .collect();
        store.import_users(&users, &event("x")).unwrap();
        let sample = store.sample_password_hashes(10).unwrap();
        let numbers: Vec<i32> = sample.iter().map(|hash| hash[5..].parse().unwrap()).collect();
        assert!((9..=10).contains(&numbers.len()), "{numbers:?}");
        assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] == 25), "{numbers:?}");
        assert_eq!(store.sample_password_hashes(1_000).unwrap().len(), 250);
    });
}

fn page_of(store: &Store, after: Option<Username>, limit: u32) -> Vec<User> {
    let filter = UserFilter {
        after,
        limit,
        ..UserFilter::default()
    };
    store.users(&filter).unwrap()
}
