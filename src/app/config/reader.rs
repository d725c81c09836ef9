use std::fmt::Display;
use std::str::FromStr;

use secrecy::ExposeSecret;

use super::ConfigError;
use super::sources::Values;

/// Reads typed values, and says which setting is wrong and where it stands.
pub(super) struct Reader<'a> {
    values: &'a Values,
}

impl<'a> Reader<'a> {
    pub(super) fn of(values: &'a Values) -> Self {
        Reader { values }
    }

    pub(super) fn text(&self, key: &'static str) -> Option<&str> {
        self.values
            .get(key)
            .map(|value| value.text.expose_secret())
            .filter(|text| !text.is_empty())
    }

    pub(super) fn with<T, E: Display>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        self.text(key)
            .map(parse)
            .transpose()
            .map_err(|why| self.refused(key, &why.to_string()))
    }

    pub(super) fn optional<T: FromStr<Err: Display>>(&self, key: &'static str) -> Result<Option<T>, ConfigError> {
        self.with(key, T::from_str)
    }

    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, key: &'static str) -> Result<T, ConfigError> {
        self.required(key, self.optional(key)?)
    }

    /// A number that is not too small.
    pub(super) fn at_least(&self, key: &'static str, least: usize) -> Result<usize, ConfigError> {
        match self.parsed(key)? {
            number if number >= least => Ok(number),
            _ => Err(self.refused(key, &format!("at least {least} is needed"))),
        }
    }

    pub(super) fn required<T>(&self, key: &'static str, value: Option<T>) -> Result<T, ConfigError> {
        value.ok_or_else(|| self.refused(key, "a value is needed"))
    }

    pub(super) fn list<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        let words = self
            .text(key)
            .unwrap_or_default()
            .split([',', ' '])
            .filter(|word| !word.is_empty());
        words
            .map(|word| parse(word).map_err(|why| self.refused(key, &why)))
            .collect()
    }

    pub(super) fn refused(&self, key: &'static str, why: &str) -> ConfigError {
        let source_name = self
            .values
            .get(key)
            .map_or_else(|| "not set".to_owned(), |value| value.source.clone());
        ConfigError::Value {
            key,
            source_name,
            why: why.to_owned(),
        }
    }
}
