use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Process, actor};
use crate::app::cli::UserCommand;
use crate::app::output::{self, Output};
use crate::oauth::User;
use crate::server::admin::{UserAdmin, UserDocument, user_import};

/// `keywheel user …`
pub(super) fn run(process: &Process, command: UserCommand, format: Output) -> anyhow::Result<()> {
    let store = process.migrated_store()?;
    let actor = actor();
    let admin = UserAdmin::new(&store, &actor);
    let now = process.edge.now();
    match command {
        UserCommand::Create { name, password_stdin } => {
            let password = password(password_stdin)?;
            let user = process.with_context(|cx| admin.create(&name, &password, cx))?;
            show(&user, format)
        }
        UserCommand::List => list(&admin.list()?, format),
        UserCommand::Show { user } => show(&admin.show(&user)?, format),
        UserCommand::Disable { user } => {
            let user = admin.show(&user)?;
            admin.set_enabled(&user, false, now)?;
            done(
                &format!(
                    "disabled {}: everything that it had signed in to has ended",
                    user.username
                ),
                format,
            )
        }
        UserCommand::Enable { user } => {
            let user = admin.show(&user)?;
            admin.set_enabled(&user, true, now)?;
            done(&format!("enabled {}", user.username), format)
        }
        UserCommand::Delete { user } => {
            let user = admin.show(&user)?;
            admin.delete(&user, now)?;
            done(&format!("deleted {}", user.username), format)
        }
        UserCommand::SetPassword { user, password_stdin } => {
            let user = admin.show(&user)?;
            let password = password(password_stdin)?;
            process.with_context(|cx| admin.set_password(&user, &password, cx))?;
            done(
                &format!(
                    "set the password of {}: everything that it had signed in to has ended",
                    user.username
                ),
                format,
            )
        }
        UserCommand::Import { file } => import(process, &admin, &file, format),
    }
}

fn import(process: &Process, admin: &UserAdmin<'_>, file: &Path, format: Output) -> anyhow::Result<()> {
    let opened = std::fs::File::open(file).with_context(|| format!("{} cannot be opened", file.display()))?;
    let users = user_import::read(opened).with_context(|| format!("nothing was imported from {}", file.display()))?;
    let count = process.with_context(|cx| admin.import(users, cx))?;
    output::message(&format!(
        "imported {count} users; each hash is replaced by a present one at the next login"
    ));
    if format == Output::Json {
        output::json(&json!({"imported": count}))
    } else {
        Ok(())
    }
}

/// A password from standard input: its first line when asked for, else typed twice at the terminal, unseen.
fn password(from_stdin: bool) -> anyhow::Result<Zeroizing<String>> {
    if from_stdin {
        let mut line = Zeroizing::new(String::new());
        std::io::stdin().lock().read_line(&mut line)?;
        return Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned()));
    }
    if !std::io::stdin().is_terminal() {
        bail!("a password is read from a terminal, or with --password-stdin from standard input");
    }
    let password = unseen("Password: ")?;
    if *password != *unseen("Once more: ")? {
        bail!("the two passwords differ: nothing was changed");
    }
    Ok(password)
}

/// Reads a line from the terminal without showing it, and puts the terminal back whatever happens.
fn unseen(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let terminal = std::io::stdin();
    let before = tcgetattr(&terminal)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    write!(std::io::stderr(), "{prompt}")?;
    tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
    let mut line = Zeroizing::new(String::new());
    let read = terminal.lock().read_line(&mut line);
    tcsetattr(&terminal, OptionalActions::Flush, &before)?;
    writeln!(std::io::stderr())?;
    read?;
    Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned()))
}

fn list(users: &[User], format: Output) -> anyhow::Result<()> {
    if format == Output::Json {
        return output::json(&users.iter().map(UserDocument::from).collect::<Vec<_>>());
    }
    output::table(
        &["user_id", "username", "enabled", "created"],
        users.iter().map(row).collect(),
    )
}

fn show(user: &User, format: Output) -> anyhow::Result<()> {
    if format == Output::Json {
        return output::json(&UserDocument::from(user));
    }
    output::table(&["user_id", "username", "enabled", "created"], vec![row(user)])
}

fn row(user: &User) -> Vec<String> {
    let enabled = if user.enabled { "yes" } else { "no" };
    vec![
        user.user_id.to_string(),
        user.username.to_string(),
        enabled.to_owned(),
        user.created_at.to_string(),
    ]
}

fn done(sentence: &str, format: Output) -> anyhow::Result<()> {
    output::message(sentence);
    if format == Output::Json {
        output::json(&json!({}))
    } else {
        Ok(())
    }
}
