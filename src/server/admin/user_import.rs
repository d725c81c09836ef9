//! Users of another system: CSV with a header line, or JSON lines. All of a file, or nothing.

use std::collections::HashMap;
use std::io::Read;

use serde::Deserialize;
use thiserror::Error;

use crate::oauth::{UserId, Username};
use crate::server::password::PasswordHash;

/// One user, checked.
#[derive(Debug)]
pub struct ImportedUser {
    /// The name.
    pub username: String,
    /// The hash that the other system stored.
    pub password_hash: PasswordHash,
    /// The identifier there, kept as `sub`: digits alone.
    pub id: Option<String>,
    /// Whether the user may sign in.
    pub enabled: bool,
}

/// Why a file cannot be imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Read(#[from] std::io::Error),
    /// It is too large.
    #[error("the file has more than 64 MiB or 1000000 users: split it")]
    TooLarge,
    /// Some lines are wrong; the first twenty, with their numbers.
    #[error("{}", .0.join("\n"))]
    Lines(Vec<String>),
}

/// One line as it stands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    username: String,
    password_hash: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    enabled: Option<bool>,
}

const MOST_BYTES: u64 = 64 * 1_024 * 1_024;
const MOST_USERS: usize = 1_000_000;
const MOST_COMPLAINTS: usize = 20;

/// Reads and checks a whole file.
pub fn read(file: impl Read) -> Result<Vec<ImportedUser>, ImportError> {
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(ImportError::TooLarge);
    }
    let is_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let lines = if is_json { json_lines(&bytes) } else { csv_lines(&bytes) };
    let mut users = Vec::new();
    let mut complaints = Vec::new();
    let mut seen: HashMap<String, u64> = HashMap::new();
    for (number, line) in lines {
        match line.and_then(|line| check(line, number, &mut seen)) {
            Ok(user) => users.push(user),
            Err(complaint) => complaints.push(format!("line {number}: {complaint}")),
        }
        if users.len() > MOST_USERS {
            return Err(ImportError::TooLarge);
        }
        if complaints.len() == MOST_COMPLAINTS {
            break;
        }
    }
    if complaints.is_empty() {
        Ok(users)
    } else {
        Err(ImportError::Lines(complaints))
    }
}

fn check(line: Line, number: u64, seen: &mut HashMap<String, u64>) -> Result<ImportedUser, String> {
    let username = Username::parse(&line.username).map_err(|error| error.to_string())?;
    let password_hash = PasswordHash::parse(&line.password_hash).map_err(|error| error.to_string())?;
    let id = line.id.filter(|id| !id.is_empty());
    if let Some(id) = &id {
        UserId::parse(id).map_err(|error| error.to_string())?;
    }
    if let Some(first) = seen.insert(username.canonical().to_owned(), number) {
        return Err(format!(
            "the name \"{}\" stands in line {first} already, perhaps in other letters",
            username
        ));
    }
    Ok(ImportedUser {
        username: line.username,
        password_hash,
        id,
        enabled: line.enabled.unwrap_or(true),
    })
}

type Numbered = Vec<(u64, Result<Line, String>)>;

fn json_lines(bytes: &[u8]) -> Numbered {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    lines
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(index, line)| (index as u64 + 1, serde_json::from_slice(line).map_err(complaint)))
        .collect()
}

fn csv_lines(bytes: &[u8]) -> Numbered {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(bytes);
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => return vec![(1, Err(complaint(error)))],
    };
    let mut lines = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        let number = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(true) => {
                let number = record.position().map_or(number, csv::Position::line);
                lines.push((number, record.deserialize(Some(&headers)).map_err(complaint)));
            }
            Ok(false) => return lines,
            Err(error) => lines.push((number, Err(complaint(error)))),
        }
    }
}

/// What a reader says, without what may be a hash: of a file whose first line is a user, it takes the hash for the name of a column.
fn complaint(error: impl std::fmt::Display) -> String {
    let said = error.to_string();
    let words = said
        .split(' ')
        .map(|word| if word.len() > LONGEST_WORD { "[…]" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// Longest word that is shown; no hash is as short.
const LONGEST_WORD: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "pbkdf2_sha256$10000$seasalt$CWWFdHOWwPnki7HvkcqN9iA2T3KLW1cf2uZ5kvArtVY=";

    fn complaints(file: &str) -> String {
        read(file.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn csv_and_json_lines_are_told_apart_by_their_content() {
        let csv = format!("username,password_hash,id,enabled\nalice,{HASH},7,true\n\"bob, jr\",{HASH},,false\n");
        let users = read(csv.as_bytes()).unwrap();
        assert_eq!(users.len(), 2);
        assert_eq!((users[0].id.as_deref(), users[0].enabled), (Some("7"), true));
        assert_eq!(
            (users[1].username.as_str(), users[1].id.as_deref(), users[1].enabled),
            ("bob, jr", None, false)
        );
        let json = format!(
            "{{\"username\": \"alice\", \"password_hash\": \"{HASH}\"}}\n\n{{\"username\": \"bob\", \"password_hash\": \"{HASH}\", \"id\": \"8\"}}\n"
        );
        assert_eq!(read(json.as_bytes()).unwrap().len(), 2);
        assert_eq!(
            read(format!("username,password_hash\nalice,{HASH}\n").as_bytes())
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn every_bad_line_is_named_with_its_number() {
        let file = format!("username,password_hash\nalice,{HASH}\nbob,plain\n,{HASH}\nALICE,{HASH}\ncarol\n");
        let said = complaints(&file);
        for (line, why) in [
            ("line 3", "not a password hash"),
            ("line 4", "1 to 256"),
            ("line 5", "line 2 already"),
            ("line 6", ""),
        ] {
            assert!(
                said.lines()
                    .any(|complaint| complaint.starts_with(line) && complaint.contains(why)),
                "{line}: {said}"
            );
        }
        assert!(complaints("{\"username\": 1}\n").starts_with("line 1"));
        assert!(
            complaints(&format!(
                "{{\"username\": \"a\", \"password_hash\": \"{HASH}\", \"is_admin\": true}}"
            ))
            .contains("is_admin")
        );
        assert!(complaints("name,hash\nalice,x\n").contains("line 2"));
        assert!(!complaints(&format!("username,password_hash\nbob,{}", "s3cret".repeat(3))).contains("s3cret"));
        // Without its first line, and with a member in the place of another.
        let swapped = format!("{{\"username\": \"a\", \"password_hash\": \"{HASH}\", \"enabled\": \"{HASH}\"}}");
        for file in [format!("alice,{HASH}\nbob,{HASH}\n"), swapped] {
            assert!(!complaints(&file).contains("seasalt"), "{}", complaints(&file));
        }
    }
}
