//! Members of documents that are words: each is refused by its name.

use std::fmt::Display;
use std::str::FromStr;

use super::problem::{Problem, without_values};
use crate::oauth::{Audience, Audiences, Scope};

/// A word of a member.
pub(super) fn word<T: FromStr<Err: Display>>(member: &str, name: &str) -> Result<T, Problem> {
    name.parse()
        .map_err(|error: T::Err| Problem::invalid(member, without_values(&error.to_string())))
}

/// Words of a member, each once.
pub(super) fn words<T: FromStr<Err: Display> + Ord>(member: &str, names: &[String]) -> Result<Vec<T>, Problem> {
    let mut words: Vec<T> = names.iter().map(|name| word(member, name)).collect::<Result<_, _>>()?;
    words.sort();
    words.dedup();
    Ok(words)
}

/// A scope, which may be empty.
pub(super) fn scope(text: &str) -> Result<Scope, Problem> {
    if text.is_empty() {
        return Ok(Scope::empty());
    }
    Scope::parse(text).map_err(|error| Problem::invalid("scope", error.to_string()))
}

/// Audiences.
pub(super) fn audiences(names: &[String]) -> Result<Audiences, Problem> {
    let parse = |name: &String| Audience::parse(name).map_err(|error| Problem::invalid("audience", error.to_string()));
    names.iter().map(parse).collect()
}
