//! What commands are given, and what they write.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::Play;
use crate::support::server::Credentials;

/// What a command prints on standard output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Prints {
    /// A secret that it has just made, once.
    ItsSecret,
    NoSecret,
}

impl Play<'_> {
    /// Runs a command, and keeps what it wrote: all of it, or what is not meant for whoever it was done for.
    pub(super) fn run(&mut self, words: &[&str], input: &str, prints: Prints) -> Value {
        let mut words = words.to_vec();
        words.extend(["--output", "json"]);
        let mut command = self.folder.command(&words);
        self.output(&mut command, input, prints)
    }

    fn output(&mut self, command: &mut Command, input: &str, prints: Prints) -> Value {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that refuses its arguments reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        self.written.commands.extend(&output.stderr);
        if prints == Prints::NoSecret {
            self.written.commands.extend(&output.stdout);
        }
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    pub(super) fn client(&mut self, id: &str, scope: &str, grants: &[&str]) -> Credentials {
        let mut words = vec!["client", "create", id, "--id", id, "--scope", scope, "--introspect"];
        words.extend(grants.iter().flat_map(|grant| ["--grant", grant]));
        let created = self.run(&words, "", Prints::ItsSecret);
        let secret = created["client_secret"].as_str().unwrap().to_owned();
        self.canaries.keep(&format!("the secret of {id}"), &secret);
        self.canaries.keep(
            &format!("the Basic header of {id}"),
            &BASE64_STANDARD.encode(format!("{id}:{secret}")),
        );
        let added = self.run(&["client", "secret", "add", id], "", Prints::ItsSecret);
        let added = added["client_secret"].as_str().unwrap();
        self.canaries.keep(&format!("another secret of {id}"), added);
        Credentials {
            id: id.to_owned(),
            secret,
        }
    }

    /// Users, and mistakes with their passwords.
    pub(super) fn people(&mut self) {
        for name in ["alice", "bob", "carol"] {
            let password = self.canaries.marked(&format!("the password of {name}"));
            self.run(
                &["user", "create", name, "--password-stdin"],
                &format!("{password}\n"),
                Prints::NoSecret,
            );
        }
        for (words, name) in [
            (
                &["user", "create", "alice", "--password-stdin"][..],
                "a password for a user that exists",
            ),
            (
                &["user", "create", "", "--password-stdin"],
                "a password for a user without a name",
            ),
            (&["user", "create", "dora"], "a password that nobody said would come"),
            (
                &["user", "set-password", "nobody", "--password-stdin"],
                "a password for nobody",
            ),
            (
                &["user", "set-password", "bob", "--password-stdin"],
                "a new password of bob",
            ),
            (
                &["user", "set-password", "bob"],
                "a password that nobody said would be set",
            ),
        ] {
            let password = self.canaries.marked(name);
            self.run(words, &format!("{password}\n"), Prints::NoSecret);
        }
    }

    /// Secrets in files and on standard input, good and bad.
    pub(super) fn keys_and_files(&mut self) {
        let chosen = self.canaries.marked("a chosen secret in the environment");
        let in_file = self.canaries.marked("a chosen secret in a file");
        let refused = self.canaries.marked("a chosen secret of a file that is refused");
        let file = |name: &str, text: &str| fs::write(self.folder.path().join(name), text).unwrap();
        file("secret", &format!("{in_file}\n"));
        let clients = |secret: &str| {
            format!(
                "owner = \"team\"\n[[client]]\nclient_id = \"{secret}\"\nclient_name = \"x\"\n\
                 grant_types = [\"client_credentials\"]\nscope = \"read\"\nsecret = {{ {secret} }}\n"
            )
        };
        let named = |id: &str, secret: &str| {
            clients(secret).replacen(
                &format!("client_id = \"{secret}\""),
                &format!("client_id = \"{id}\""),
                1,
            )
        };
        file("by_env.toml", &named("by-env", "env = \"CHOSEN\""));
        file("by_file.toml", &named("by-file", "file = \"secret\""));
        file("in_clear.toml", &named("in-clear", &format!("text = \"{refused}\"")));
        for (clients, prints) in [
            ("by_env.toml", Prints::NoSecret),
            ("by_file.toml", Prints::NoSecret),
            // What is wrong with a file may be shown with the line, which is the operator's own.
            ("in_clear.toml", Prints::ItsSecret),
        ] {
            let mut command = self.folder.command(&["apply", clients, "--output", "json"]);
            command.env("CHOSEN", &chosen);
            self.output(&mut command, "", prints);
        }
        for name in ["secret", "by_env.toml", "by_file.toml", "in_clear.toml"] {
            fs::remove_file(self.folder.path().join(name)).unwrap();
        }
        // No private key, though it says so.
        let marked = self.canaries.marked("what looks like a private key");
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            BASE64_STANDARD.encode(&marked)
        );
        for input in [pem, marked] {
            self.run(
                &["keys", "import", "key", "--certificate", "/dev/null", "--key", "-"],
                &input,
                Prints::NoSecret,
            );
        }
    }

    /// All commands that show something.
    pub(super) fn look_around(&mut self) {
        for words in [
            "client list",
            "client show shop",
            "client secret list shop",
            "user list",
            "user show alice",
            "registration-token list",
            "keys list",
            "keys plan",
            "keys ca show",
            "audit list",
            "audit export",
            "audit verify",
            "report unused-clients",
            "report secrets",
            "report over-issuance",
            "report failed-logins",
            "db status",
            "master-key status",
            "config show",
            "config check",
            "doctor --offline",
        ] {
            let words: Vec<&str> = words.split(' ').collect();
            self.run(&words, "", Prints::NoSecret);
        }
    }
}
