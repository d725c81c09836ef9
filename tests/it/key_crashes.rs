//! A crash at each step of the keys: afterwards one key signs, every published key is usable, and nothing is left over.
//!
//! The real program stays at a failpoint while it makes, turns, moves, bars or destroys a key, and is killed there. Then a server
//! starts, which opens every private half and signs with it, and finishes what is due.

use std::cell::OnceCell;

use crate::support::http::{Request, send};
use crate::support::jwt::{part, verify_with};
use crate::support::process::{Folder, Served};
use crate::support::server::{JWKS, TOKEN};
use crate::support::{Database, naming};

use Act::{Begin, Revoke, Rotate, Turn};
use After::{Done, Undone};

/// What is under way when it crashes; where it is then; and whether it is done.
pub(crate) const STEPS: [(Act, &str, After); 12] = [
    (Begin, "key.made", Undone),
    (Begin, "key.sealed", Undone),
    (Begin, "key.inserted", Undone),
    (Begin, "key.published", Done),
    (Turn, "key.destroying", Undone),
    (Turn, "key.emptied", Undone),
    (Turn, "key.destroyed", Done),
    (Rotate, "activation.moved", Undone),
    (Rotate, "activation.answered", Done),
    (Revoke, "barring.begun", Undone),
    (Revoke, "barring.marked", Undone),
    (Revoke, "barring.answered", Done),
];

/// Where a server is that takes the key of an algorithm out of use, which nobody wants any more.
pub(crate) const WITHDRAWAL: [(&str, After); 2] = [("key.withdrawing", Undone), ("key.withdrawn", Done)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// A server starts on an empty database, and makes the first key. The same steps are taken in every [`Turn`].
    Begin,
    /// A server starts when the next key signs and the last one is to be destroyed.
    Turn,
    /// `keys rotate --now`, while a server runs.
    Rotate,
    /// `keys revoke` of the key that signs, while a server runs.
    Revoke,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Undone,
    Done,
}

/// Crashes in a row at each step.
const ROUNDS: usize = 2;
const SERVE: [&str; 3] = ["serve", "--issuer", "https://auth.example"];

//
#[test]
fn a_crash_at_any_step_of_a_key_leaves_one_that_signs_and_nothing_over_on_sqlite() {
    crash_at_each_step(Database::sqlite);
}

//
#[test]
fn a_crash_at_any_step_of_a_key_leaves_one_that_signs_and_nothing_over_on_postgresql() {
    crash_at_each_step(Database::postgres);
}

//
#[test]
fn a_crash_while_a_key_is_withdrawn_leaves_it_to_be_withdrawn_once_and_no_other() {
    for database in [Database::sqlite, Database::postgres] {
        for (step, after) in WITHDRAWAL {
            let stage = Stage::new(database());
            stage.prepare();
            let wishing = [
                "client",
                "create",
                "Other",
                "--id",
                "other",
                "--grant",
                "client_credentials",
            ];
            stage.folder.json(&[&wishing[..], &["--signing-alg", "ES256"]].concat());
            drop(stage.serve());
            let es256 = "signing_keys WHERE alg = 'ES256'";
            assert_eq!(stage.database.count(es256), 1);
            assert!(stage.folder.run(&["client", "delete", "other"]).status.success());
            // Longer ago than it lingers.
            stage
                .database
                .execute("UPDATE algorithm_uses SET wanted_at = wanted_at - 7200 WHERE alg = 'ES256'");
            stage.folder.crash_at(&SERVE, step);
            let withdrawn = || stage.database.count("signing_keys WHERE withdrawn_at IS NOT NULL");
            assert_eq!(withdrawn(), usize::from(after == Done), "{step}");
            let server = stage.serve();
            assert_eq!(withdrawn(), 1);
            assert_eq!(
                stage.database.count(&format!("{es256} AND withdrawn_at IS NOT NULL")),
                1
            );
            assert_eq!(stage.database.count("audit_events WHERE event = 'key.withdrawn'"), 1);
            let secret = stage.secret.get().unwrap();
            let request = Request::raw_form(TOKEN, "grant_type=client_credentials").basic("shop", secret);
            assert_eq!(send(server.address, &request).status, 200);
        }
    }
}

fn crash_at_each_step(database: impl Fn() -> Database) {
    let shared = Stage::new(database());
    shared.prepare();
    for (act, step, after) in STEPS {
        naming(&format!("{act:?} at {step}"), || {
            if act == Begin {
                let stage = Stage::new(database());
                for _ in 0..ROUNDS {
                    stage.folder.crash_at(&SERVE, step);
                }
                let made = stage.database.count("signing_keys");
                // The first start makes one key before it comes to the point again, and the second the next.
                assert_eq!(made, if after == Done { ROUNDS } else { 0 });
                stage.prepare();
                return;
            }
            for _ in 0..ROUNDS {
                shared.play(act, step, after);
            }
        });
    }
    // A turn makes a key by the same steps.
    let stage = Stage::new(database());
    stage.prepare();
    for (_, step, after) in STEPS.iter().filter(|(act, _, _)| *act == Begin) {
        naming(&format!("Turn at {step}"), || {
            let before = stage.database.count("signing_keys");
            stage.age();
            // Once it is published, nothing more is due.
            for _ in 0..if *after == Done { 1 } else { ROUNDS } {
                stage.folder.crash_at(&SERVE, step);
            }
            let made = stage.database.count("signing_keys") - before;
            assert_eq!(made, usize::from(*after == Done));
            stage.check(&stage.serve());
        });
    }
}

struct Stage {
    folder: Folder,
    secret: OnceCell<String>,
    database: Database,
}

impl Stage {
    fn new(database: Database) -> Self {
        let folder = Folder::empty().with("DATABASE_URL", database.url());
        Stage {
            folder,
            secret: OnceCell::new(),
            database,
        }
    }

    /// A server, whose keys are in order, and a client.
    fn prepare(&self) {
        let client = ["client", "create", "Shop", "--id", "shop", "--scope", "read"];
        let created = self
            .folder
            .json(&[&client[..], &["--grant", "client_credentials"]].concat());
        self.secret
            .set(created["client_secret"].as_str().unwrap().to_owned())
            .unwrap();
        self.check(&self.serve());
    }

    fn serve(&self) -> Served {
        self.folder.serve(&SERVE[1..])
    }

    /// A period and the longest hold go by.
    fn age(&self) {
        let period = 31 * 86_400;
        self.database.execute(&format!(
            "UPDATE signing_keys SET published_at = published_at - {period}, activates_at = activates_at - {period}"
        ));
    }

    fn play(&self, act: Act, step: &str, after: After) {
        let before = self.signing();
        match act {
            Begin => unreachable!("it is played on its own"),
            Turn => {
                self.age();
                let halves = self.database.count("signing_keys WHERE sealed_private_key IS NOT NULL");
                self.folder.crash_at(&SERVE, step);
                let left = self.database.count("signing_keys WHERE sealed_private_key IS NOT NULL");
                assert_eq!(left, halves - usize::from(after == Done));
                self.check(&self.serve());
            }
            Rotate | Revoke => {
                let server = self.serve();
                let arguments = match act {
                    Rotate => vec!["keys", "rotate", "--now"],
                    _ => vec!["keys", "revoke", &before],
                };
                self.folder.crash_at(&arguments, step);
                std::thread::sleep(std::time::Duration::from_millis(2_500));
                self.check(&server);
                assert_eq!(self.signing() != before, after == Done);
                let states = self.states("revoked");
                assert_eq!(act == Revoke && after == Done, states.contains(&before), "{states:?}");
            }
        }
    }

    /// The key that signs, as the command line says.
    fn signing(&self) -> String {
        match &self.states("active")[..] {
            [one] => one.clone(),
            other => panic!("{other:?} sign"),
        }
    }

    fn states(&self, state: &str) -> Vec<String> {
        let listed = self.folder.json(&["keys", "list"]);
        let keys = listed.as_array().unwrap().iter().filter(|key| key["state"] == state);
        keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    /// Exactly one key signs and one is next; what is published is what should be; private halves are where they should be, and
    /// the audit trail tells of each key once.
    fn check(&self, server: &Served) {
        let active = self.signing();
        assert_eq!(self.states("next").len(), 1);
        let jwks = send(server.address, &Request::get(JWKS)).json();
        let mut published: Vec<String> = jwks["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect();
        let mut expected: Vec<String> = ["active", "next", "retiring"]
            .into_iter()
            .flat_map(|state| self.states(state))
            .collect();
        published.sort();
        expected.sort();
        assert_eq!(published, expected);
        let secret = self.secret.get().unwrap();
        let request = Request::raw_form(TOKEN, "grant_type=client_credentials").basic("shop", secret);
        let answer = send(server.address, &request);
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        assert_eq!(part(&token, 0)["kid"], active.as_str());
        verify_with(&jwks, &token).unwrap();
        let sealed = self.database.count("signing_keys WHERE sealed_private_key IS NOT NULL");
        assert_eq!(
            sealed,
            expected.len(),
            "private halves of what is published, and no others"
        );
        let keys = self.database.count("signing_keys");
        assert_eq!(
            self.database.query("SELECT max(slot) AS value FROM signing_keys"),
            [keys.to_string()],
            "no slot is lost"
        );
        let told = |event: &str| self.database.count(&format!("audit_events WHERE event = '{event}'"));
        assert_eq!(told("key.published"), keys);
        assert_eq!(told("key.destroyed") + told("key.revoked"), keys - sealed);
    }
}
