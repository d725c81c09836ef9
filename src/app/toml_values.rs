//! Values of a TOML file, read one by one, so that all that is wrong with them can be told at once, with line and column.

use std::fmt::{self, Display};
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// Something that is wrong, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) file: String,
    pub(super) why: String,
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.why)
    }
}

/// Reads values, and remembers what is wrong with them.
#[derive(Debug)]
pub(super) struct Values<'a> {
    pub(super) path: &'a Path,
    text: &'a str,
    pub(super) faults: Vec<Fault>,
}

impl<'a> Values<'a> {
    /// Those of the text of the file `path`.
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        let faults = Vec::new();
        Values { path, text, faults }
    }

    /// The entries of a list; a single value is a list of one.
    pub(super) fn list<'v, 'i>(&mut self, value: Option<&'v Value<'i>>) -> Vec<&'v Value<'i>> {
        match value.map(|value| (value, value.get_ref())) {
            None => Vec::new(),
            Some((_, DeValue::Array(entries))) => entries.iter().collect(),
            Some((value, _)) => vec![value],
        }
    }

    pub(super) fn words<T: FromStr<Err: Display>>(&mut self, value: Option<&Value<'_>>) -> Vec<T> {
        let values = self.list(value);
        values.into_iter().filter_map(|value| self.word(Some(value))).collect()
    }

    pub(super) fn word<T: FromStr<Err: Display>>(&mut self, value: Option<&Value<'_>>) -> Option<T> {
        value.and_then(|value| self.parsed(value, T::from_str))
    }

    pub(super) fn parsed<T, E: Display>(
        &mut self,
        value: &Value<'_>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(value)?;
        parse(&text)
            .map_err(|why| self.refuse(value.span(), why.to_string()))
            .ok()
    }

    pub(super) fn text(&mut self, value: &Value<'_>) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.refuse(value.span(), "a text is needed here, in quotes");
        }
        text
    }

    pub(super) fn truth(&mut self, value: &Value<'_>) -> Option<bool> {
        let truth = value.get_ref().as_bool();
        if truth.is_none() {
            self.refuse(value.span(), "write true or false");
        }
        truth
    }

    pub(super) fn known_keys(&mut self, table: &DeTable<'_>, known: &[&str], whose: &str) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let near = nearest(key.get_ref(), known).map_or_else(
                || format!("{whose} has {}", known.join(", ")),
                |near| format!("did you mean \"{near}\"?"),
            );
            self.refuse(
                key.span(),
                format!("unknown key \"{}\" of {whose}: {near}", key.get_ref()),
            );
        }
    }

    pub(super) fn refuse(&mut self, span: Range<usize>, why: impl Into<String>) {
        let fault = self.fault(span, why);
        self.faults.push(fault);
    }

    pub(super) fn fault(&self, span: Range<usize>, why: impl Into<String>) -> Fault {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        Fault {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            file: self.path.display().to_string(),
            why: why.into(),
        }
    }
}

/// The value of a key.
pub(super) fn member<'v, 'i>(table: &'v DeTable<'i>, name: &str) -> Option<&'v Value<'i>> {
    let found = table.iter().find(|(key, _)| key.get_ref() == name);
    found.map(|(_, value)| value)
}

/// The known key nearest to `unknown`, when one is near enough to be meant.
fn nearest<'k>(unknown: &str, known: &[&'k str]) -> Option<&'k str> {
    let closeness = |key: &str| {
        let part = key.contains(unknown) || unknown.contains(key);
        strsim::jaro_winkler(unknown, key).max(if part { 0.9 } else { 0.0 })
    };
    let best = known
        .iter()
        .map(|key| (closeness(key), *key))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(closeness, _)| *closeness > 0.7).map(|(_, key)| key)
}
