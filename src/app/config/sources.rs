use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::super::settings::{SETTINGS, nearest};
use super::ConfigError;

/// Where settings come from. Each is read once, here.
#[derive(Debug, Default)]
pub struct Sources {
    /// The file named with `--config`; without it `keywheel.toml`, if that exists.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// Flags, as key and value.
    pub flags: Vec<(&'static str, String)>,
}

/// The text of every setting that has one, by key.
pub(super) type Values = BTreeMap<&'static str, Value>;

/// A setting's value and where it came from.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) text: SecretString,
    pub(super) source: String,
}

/// The file that is read when no other is named.
const DEFAULT_FILE: &str = "keywheel.toml";

impl Sources {
    /// What each setting is: the default, the file, the environment, flags, the later ones winning.
    pub(super) fn values(&self) -> Result<Values, ConfigError> {
        let mut values = defaults();
        read_file(self.file.as_deref(), &mut values)?;
        read_environment(&self.environment, &mut values);
        for (key, text) in &self.flags {
            values.insert(key, value(text, "command line"));
        }
        Ok(values)
    }
}

/// The settings that are something when nobody says anything.
pub(super) fn defaults() -> Values {
    let set = SETTINGS.iter().filter(|setting| !setting.default.is_empty());
    set.map(|setting| (setting.key, value(setting.default, "default")))
        .collect()
}

fn value(text: &str, source: &str) -> Value {
    Value {
        text: SecretString::from(text),
        source: source.to_owned(),
    }
}

fn read_file(named: Option<&Path>, values: &mut Values) -> Result<(), ConfigError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ConfigError::File(path.to_owned(), error)),
    };
    read_text(path, &text, values)
}

/// Reads the text of the file `path`.
pub(super) fn read_text(path: &Path, text: &str, values: &mut Values) -> Result<(), ConfigError> {
    let table: toml::Table = text.parse().map_err(|error| not_toml(path, text, &error))?;
    for (name, entry) in table {
        match entry {
            toml::Value::Table(section) => {
                for (inner, entry) in section {
                    accept(path, format!("{name}.{inner}"), &entry, values)?;
                }
            }
            entry => accept(path, name, &entry, values)?,
        }
    }
    Ok(())
}

fn not_toml(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    let (line, column) = (before.matches('\n').count() + 1, line.chars().count() + 1);
    ConfigError::Toml(path.to_owned(), line, column, error.message().to_owned())
}

fn accept(path: &Path, key: String, entry: &toml::Value, values: &mut Values) -> Result<(), ConfigError> {
    let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
        let hint = nearest(&key).map_or_else(
            || ": \"keywheel config show\" lists all settings".to_owned(),
            |near| format!(": did you mean \"{near}\"?"),
        );
        return Err(ConfigError::Unknown(path.to_owned(), key, hint));
    };
    let unreadable = || ConfigError::Value {
        key: setting.key,
        source_name: path.display().to_string(),
        why: "write a text in quotes, a number, true or false, or a list of texts".to_owned(),
    };
    let text = match entry {
        toml::Value::Array(entries) => entries
            .iter()
            .map(scalar)
            .collect::<Option<Vec<_>>>()
            .map(|entries| entries.join(",")),
        single => scalar(single),
    };
    let text = text.ok_or_else(unreadable)?;
    values.insert(setting.key, value(&text, &path.display().to_string()));
    Ok(())
}

fn scalar(entry: &toml::Value) -> Option<String> {
    match entry {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// Names that are not settings are left alone: container platforms put `KEYWHEEL_SERVICE_HOST` and the like into the environment
/// of every process once a service is called keywheel.
fn read_environment(environment: &BTreeMap<String, String>, values: &mut Values) {
    let set = |name: &str| environment.get(name).filter(|text| !text.is_empty());
    if let Some(port) = set("PORT") {
        values.insert("listen", value(&format!("0.0.0.0:{port}"), "environment PORT"));
    }
    if let Some(directives) = set("RUST_LOG") {
        values.insert("log", value(directives, "environment RUST_LOG"));
    }
    for setting in SETTINGS {
        if let Some((name, text)) = setting
            .environment
            .iter()
            .find_map(|name| set(name).map(|text| (name, text)))
        {
            values.insert(setting.key, value(text, &format!("environment {name}")));
        }
    }
}
