//! A crash at each step of a change of the master key: afterwards everything opens, by the keys that are right by then and by no
//! other, the same command again goes on from there, and in the end no key and no file is left over.
//!
//! The command stays at a failpoint and is killed there, while a server runs that was started before the first of the changes.

use serde_json::Value;

use crate::key_crashes::After;
use crate::support::http::{Request, send};
use crate::support::jwt::verify_with;
use crate::support::process::{Folder, Served};
use crate::support::server::{JWKS, TOKEN};
use crate::support::{Database, naming, on_both_processes};

use Act::{Abandon, Begin, Finish, Make};
use After::{Done, Undone};

/// What is under way when it crashes; where it is then; what the database was told by then; and how often in a row it comes there.
pub(crate) const STEPS: [(Act, &str, After, usize); 19] = [
    (Make, "master.written", Undone, 2),
    (Make, "master.linked", Undone, 1),
    (Begin, "master.written", Undone, 2),
    (Begin, "master.linked", Undone, 1),
    (Begin, "master.waiting", Undone, 2),
    (Begin, "master.inserted", Undone, 2),
    (Begin, "master.begun", Done, 1),
    (Begin, "master.kept", Done, 2),
    (Begin, "master.placed", Done, 1),
    (Finish, "master.finishing", Undone, 2),
    (Finish, "master.rewrapped", Undone, 2),
    (Finish, "master.complete", Undone, 2),
    (Finish, "master.finished", Done, 1),
    (Finish, "master.removed", Done, 2),
    (Abandon, "master.abandoning", Undone, 2),
    (Abandon, "master.deleted", Undone, 2),
    (Abandon, "master.abandoned", Done, 2),
    (Abandon, "master.settled", Done, 1),
    (Abandon, "master.removed", Done, 2),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// A server starts on an empty database, and makes the first master key.
    Make,
    /// `master-key rotate`
    Begin,
    /// `master-key rotate --finish`
    Finish,
    /// `master-key rotate --abandon`
    Abandon,
}

impl Act {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Make => &SERVE,
            Begin => &["master-key", "rotate"],
            Finish => &["master-key", "rotate", "--finish"],
            Abandon => &["master-key", "rotate", "--abandon"],
        }
    }
}

/// Whole changes with a crash at each step.
const ROUNDS: usize = 2;
const SERVE: [&str; 3] = ["serve", "--issuer", "https://auth.example"];

//
#[test]
fn a_crash_at_any_step_of_a_change_of_the_master_key_loses_no_key_and_leaves_none_over_on_sqlite() {
    crash_at_each_step(Database::sqlite);
}

//
#[test]
fn a_crash_at_any_step_of_a_change_of_the_master_key_loses_no_key_and_leaves_none_over_on_postgresql() {
    crash_at_each_step(Database::postgres);
}

#[test]
fn whoever_ends_a_change_that_another_ended_meanwhile_says_so_and_removes_no_key() {
    on_both_processes(|folder| {
        folder.json(Begin.arguments());
        let [old, new] = ["master.key.old", "master.key"].map(|name| file(folder, name).unwrap());
        let finishing = folder.command(Finish.arguments());
        let (status, said) = folder.meanwhile(finishing, "master.finishing", || {
            let mut command = folder.command(Abandon.arguments());
            command.env("KEYWHEEL_MASTER_KEY", old.trim());
            assert!(command.output().unwrap().status.success());
        });
        assert!(!status.success() && said.contains("given up meanwhile"), "{said}");
        assert_eq!(
            file(folder, "master.key.old"),
            Some(old.clone()),
            "it alone opens the database"
        );
        folder.json(Abandon.arguments());
        assert_eq!(file(folder, "master.key"), Some(old));

        folder.json(Begin.arguments());
        let new = [new, file(folder, "master.key").unwrap()];
        let abandoning = folder.command(Abandon.arguments());
        let (status, said) = folder.meanwhile(abandoning, "master.abandoning", || {
            let mut command = folder.command(Finish.arguments());
            command.env("KEYWHEEL_MASTER_KEY", new[1].trim());
            assert!(command.output().unwrap().status.success());
        });
        assert!(!status.success() && said.contains("finished meanwhile"), "{said}");
        assert_eq!(
            file(folder, "master.key").as_ref(),
            Some(&new[1]),
            "it alone opens the database"
        );
        assert_ne!(new[0], new[1], "a key that was given up does not come back");
    });
}

#[test]
fn whoever_has_the_new_master_key_alone_opens_the_database_while_the_change_is_finished() {
    on_both_processes(|folder| {
        folder.json(Begin.arguments());
        let mut command = folder.command(&["keys", "list"]);
        command.env("KEYWHEEL_MASTER_KEY", file(folder, "master.key").unwrap().trim());
        let (status, said) = folder.meanwhile(command, "vault.half_read", || drop(folder.json(Finish.arguments())));
        assert!(status.success(), "{said}");
    });
}

fn file(folder: &Folder, name: &str) -> Option<String> {
    std::fs::read_to_string(folder.path().join("keys").join(name)).ok()
}

fn crash_at_each_step(database: impl Fn() -> Database) {
    let shared = Stage::new(database());
    for (act, step, after, times) in STEPS {
        naming(&format!("{act:?} at {step}"), || {
            if act == Make {
                let folder = Folder::empty();
                let database = database();
                let folder = folder.with("DATABASE_URL", database.url());
                for _ in 0..times {
                    folder.crash_at(&SERVE, step);
                }
                let stage = Stage::with(folder, database);
                stage.run(Begin);
                stage.run(Finish);
                stage.check_settled();
                return;
            }
            for _ in 0..ROUNDS {
                shared.play(act, step, after, times);
            }
        });
    }
}

/// A server that runs all the time, and the folder in which the master key changes.
struct Stage {
    folder: Folder,
    database: Database,
    secret: String,
    running: Served,
}

impl Stage {
    fn new(database: Database) -> Self {
        Stage::with(Folder::empty().with("DATABASE_URL", database.url()), database)
    }

    fn with(folder: Folder, database: Database) -> Self {
        let client = [
            "client",
            "create",
            "Shop",
            "--id",
            "shop",
            "--grant",
            "client_credentials",
        ];
        let created = folder.json(&client);
        let secret = created["client_secret"].as_str().unwrap().to_owned();
        let running = folder.serve(&SERVE[1..]);
        Stage {
            folder,
            database,
            secret,
            running,
        }
    }

    fn play(&self, act: Act, step: &str, after: After, times: usize) {
        let old = file(&self.folder, "master.key").unwrap();
        if act != Begin {
            self.run(Begin);
        }
        for _ in 0..times {
            self.folder.crash_at(act.arguments(), step);
        }
        let files = ["master.key", "master.key.next"].map(|name| file(&self.folder, name));
        let new = files.into_iter().flatten().find(|key| *key != old);
        // Exactly those open everything that should by then.
        assert_eq!(self.opens(&old), (act, after) != (Finish, Done), "the old one");
        if let Some(new) = &new {
            let should = (act, after) != (Begin, Undone) && (act, after) != (Abandon, Done);
            assert_eq!(self.opens(new), should, "the new one");
        }
        self.check();
        self.run(act);
        self.check();
        if act == Begin {
            self.run(Finish);
        }
        self.check_settled();
        let left = file(&self.folder, "master.key").unwrap();
        assert_eq!(left == old, act == Abandon);
        assert_eq!(self.opens(&old), act == Abandon, "the old one, in the end");
    }

    fn run(&self, act: Act) -> Value {
        self.folder.json(act.arguments())
    }

    /// Whether a command that has this master key and no other opens every signing key.
    fn opens(&self, master_key: &str) -> bool {
        let mut command = self.folder.command(&["keys", "list"]);
        let output = command.env("KEYWHEEL_MASTER_KEY", master_key.trim()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() || said.contains("sealed under master key"),
            "{said}"
        );
        output.status.success()
    }

    /// The server that runs, and one that starts now, give out tokens that verify; and whatever is sealed opens.
    fn check(&self) {
        for server in [&self.running, &self.folder.serve(&SERVE[1..])] {
            let request = Request::raw_form(TOKEN, "grant_type=client_credentials").basic("shop", &self.secret);
            let answer = send(server.address, &request).json();
            let jwks = send(server.address, &Request::get(JWKS)).json();
            verify_with(&jwks, answer["access_token"].as_str().unwrap()).unwrap();
        }
        let verified = self.folder.json(&["backup", "verify", self.database.url()]);
        let sealed = self.database.count("signing_keys WHERE sealed_private_key IS NOT NULL");
        assert_eq!(verified["holds"]["private_halves"], sealed);
        assert_eq!(verified["holds"]["authority"], true);
    }

    /// The same, no change is under way, there is one master key, and the audit trail tells of each change once.
    fn check_settled(&self) {
        self.check();
        assert_eq!(self.database.count("coming_data_key"), 0);
        assert_eq!(self.database.count("data_keys"), 1);
        let files = std::fs::read_dir(self.folder.path().join("keys")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let keys: Vec<String> = names.filter(|name| name.contains("master")).collect();
        assert_eq!(keys, ["master.key"]);
        let told = |event: &str| {
            self.database
                .count(&format!("audit_events WHERE event = 'master_key.{event}'"))
        };
        assert_eq!(told("change_begun"), told("changed") + told("change_abandoned"));
    }
}
