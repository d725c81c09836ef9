//! A TOML file that declares clients. Everything that is wrong with it is told at once, each with line and column.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::toml_values::{Fault, Value, Values, member};
use crate::oauth::{Audience, Audiences, ChosenSecret, ClientAuthMethod, ClientId, ClientMetadata, Owner, Scope};
use crate::server::admin::{Declaration, DeclaredClient, DeclaredSecret, Member, broken_rules};

/// What a file declares, and where.
#[derive(Debug)]
pub(super) struct ClientFile {
    pub(super) declaration: Declaration,
    /// Where each client's identifier stands.
    places: BTreeMap<ClientId, Fault>,
}

/// Why a file cannot be used. No message holds a secret.
#[derive(Debug, Error)]
pub(super) enum ClientFileError {
    #[error("the file {0} cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    #[error("{0} is {1}: clients are declared in TOML alone (see \"Clients in a file\" in the README)")]
    NotToml(PathBuf, &'static str),
    #[error("the file {} is refused, and nothing was changed\n{}", .0.display(), lines(.1))]
    Refused(PathBuf, Vec<Fault>),
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

impl ClientFile {
    /// Reads the file and every secret that it refers to: variables from `environment`, files beside the file.
    pub(super) fn read(path: &Path, environment: &BTreeMap<String, String>) -> Result<Self, ClientFileError> {
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default();
        if ["yaml", "yml"].contains(&extension) {
            return Err(ClientFileError::NotToml(path.to_owned(), "YAML"));
        }
        let text =
            std::fs::read_to_string(path).map_err(|error| ClientFileError::Unreadable(path.to_owned(), error))?;
        Self::of_text(path, &text, environment, &|path| std::fs::read_to_string(path))
    }

    /// Reads the text of the file `path`; secrets that stand in files are asked for.
    pub(super) fn of_text(
        path: &Path,
        text: &str,
        environment: &BTreeMap<String, String>,
        secret_file: &dyn Fn(&Path) -> std::io::Result<String>,
    ) -> Result<Self, ClientFileError> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if let (false, Some(other)) = (errors.is_empty(), other_format(text)) {
            return Err(ClientFileError::NotToml(path.to_owned(), other));
        }
        let mut reader = Reader {
            values: Values::new(path, text),
            environment,
            secret_file,
        };
        for error in &errors {
            // The message alone: the whole error shows the line, which may hold a secret.
            reader.values.refuse(error.span().unwrap_or_default(), error.message());
        }
        let declaration = if errors.is_empty() { reader.file(&table) } else { None };
        match declaration {
            Some((declaration, places)) if reader.values.faults.is_empty() => Ok(ClientFile { declaration, places }),
            _ => {
                let mut faults = reader.values.faults;
                faults.sort();
                Err(ClientFileError::Refused(path.to_owned(), faults))
            }
        }
    }

    /// Says with line and column what is wrong with clients that the file names.
    pub(super) fn refusal(&self, path: &Path, wrong: impl IntoIterator<Item = (ClientId, String)>) -> ClientFileError {
        let place = |(id, why): (ClientId, String)| {
            let place = self.places.get(&id).cloned();
            place.map(|place| Fault { why, ..place })
        };
        let mut faults: Vec<Fault> = wrong.into_iter().filter_map(place).collect();
        faults.sort();
        ClientFileError::Refused(path.to_owned(), faults)
    }
}

/// What a text that is not TOML seems to be instead.
fn other_format(text: &str) -> Option<&'static str> {
    let is_comment = |line: &&str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let first = text.lines().find(|line| !is_comment(line))?.trim();
    if first.starts_with('{') {
        return Some("JSON");
    }
    let is_yaml = first.starts_with("---") || first.starts_with("- ") || first.ends_with(':') || first.contains(": ");
    (is_yaml && !first.contains('=')).then_some("YAML")
}

/// Keys of the file itself.
const FILE_KEYS: [&str; 2] = ["owner", "client"];
/// Keys of a client besides its metadata.
const CLIENT_KEYS: [&str; 3] = ["client_id", "enabled", "secret"];
/// Keys of a secret that is referred to.
const SECRET_KEYS: [&str; 3] = ["env", "file", "overlap"];

struct Reader<'a> {
    values: Values<'a>,
    environment: &'a BTreeMap<String, String>,
    secret_file: &'a dyn Fn(&Path) -> std::io::Result<String>,
}

type Places = BTreeMap<ClientId, Fault>;

impl Reader<'_> {
    fn file(&mut self, table: &Spanned<DeTable<'_>>) -> Option<(Declaration, Places)> {
        self.values.known_keys(table.get_ref(), &FILE_KEYS, "the file");
        let owner = match member(table.get_ref(), "owner") {
            Some(value) => self.values.parsed(value, Owner::parse),
            None => {
                self.values.refuse(
                    0..0,
                    "owner is missing: say whose clients these are, owner = \"platform-team\"",
                );
                None
            }
        };
        let mut clients = Vec::new();
        let mut places = Places::new();
        for value in self.values.list(member(table.get_ref(), "client")) {
            let Some(table) = value.get_ref().as_table() else {
                self.values
                    .refuse(value.span(), "write each client as a table: [[client]]");
                continue;
            };
            if let Some(client) = self.client(value.span(), table, &mut places) {
                clients.push(client);
            }
        }
        Some((Declaration { owner: owner?, clients }, places))
    }

    fn client(&mut self, span: Range<usize>, table: &DeTable<'_>, places: &mut Places) -> Option<DeclaredClient> {
        let keys: Vec<&str> = CLIENT_KEYS.into_iter().chain(Member::ALL.map(Member::as_str)).collect();
        let faults_before = self.values.faults.len();
        self.values.known_keys(table, &keys, "a client");
        let client_id = self.client_id(&span, table, places);
        let of = |member_of: Member| member(table, member_of.as_str());
        if of(Member::Name).is_none() {
            self.values
                .refuse(span.clone(), "client_name is missing: a name for people");
        }
        let metadata = ClientMetadata {
            name: of(Member::Name)
                .and_then(|value| self.values.text(value))
                .unwrap_or_default(),
            grant_types: self.values.words(of(Member::GrantTypes)),
            auth_methods: match of(Member::AuthMethods) {
                Some(methods) => self.values.words(Some(methods)),
                None => ClientAuthMethod::ALL.to_vec(),
            },
            scope: self.scope(of(Member::Scope)),
            audiences: self.audiences(of(Member::Audiences)),
            access_ttl: self.values.word(of(Member::AccessTtl)),
            token_reuse_window: self.values.word(of(Member::TokenReuseWindow)),
            token_quota: self.values.word(of(Member::TokenQuota)),
            refresh_ttl: self.values.word(of(Member::RefreshTtl)),
            refresh_absolute_ttl: self.values.word(of(Member::RefreshAbsoluteTtl)),
            refresh_retry_window: self.values.word(of(Member::RefreshRetryWindow)),
            token_type: self.values.word(of(Member::TokenType)).unwrap_or_default(),
            claim_profile: self.values.word(of(Member::ClaimProfile)).unwrap_or_default(),
            signing_alg: self.values.word(of(Member::SigningAlg)),
            introspect: of(Member::Introspect)
                .and_then(|value| self.values.truth(value))
                .unwrap_or(false),
        };
        // Only once each value is what was meant.
        if self.values.faults.len() == faults_before {
            for broken in broken_rules(&metadata) {
                let place = of(broken.member).map_or(span.clone(), Spanned::span);
                self.values.refuse(place, format!("{}: {broken}", broken.member));
            }
        }
        let enabled = member(table, "enabled").and_then(|value| self.values.truth(value));
        let secret = member(table, "secret").map_or(Some(DeclaredSecret::ByHand), |value| self.secret(value));
        Some(DeclaredClient {
            client_id: client_id?,
            metadata,
            enabled,
            secret: secret?,
        })
    }

    fn client_id(&mut self, span: &Range<usize>, table: &DeTable<'_>, places: &mut Places) -> Option<ClientId> {
        let Some(value) = member(table, "client_id") else {
            self.values.refuse(
                span.clone(),
                "client_id is missing: the public identifier of the client",
            );
            return None;
        };
        let client_id = self.values.parsed(value, ClientId::parse)?;
        if let Some(first) = places.get(&client_id) {
            let why = format!(
                "client_id \"{client_id}\" is declared twice, first in line {}",
                first.line
            );
            self.values.refuse(value.span(), why);
            return None;
        }
        places.insert(client_id.clone(), self.values.fault(value.span(), ""));
        Some(client_id)
    }

    fn scope(&mut self, value: Option<&Value<'_>>) -> Scope {
        let Some(value) = value else {
            return Scope::empty();
        };
        // One text as on the wire, or a list.
        let words: Vec<String> = self
            .values
            .list(Some(value))
            .iter()
            .filter_map(|word| self.values.text(word))
            .collect();
        match Scope::parse(&words.join(" ")) {
            Ok(scope) => scope,
            Err(why) => {
                self.values.refuse(value.span(), why.to_string());
                Scope::empty()
            }
        }
    }

    fn audiences(&mut self, value: Option<&Value<'_>>) -> Audiences {
        let values = self.values.list(value);
        values
            .into_iter()
            .filter_map(|value| self.values.parsed(value, Audience::parse))
            .collect()
    }

    fn secret(&mut self, value: &Value<'_>) -> Option<DeclaredSecret> {
        match value.get_ref() {
            DeValue::String(text) if text == "generated" => return Some(DeclaredSecret::Generated),
            DeValue::Table(table) => {
                self.values.known_keys(table, &SECRET_KEYS, "a secret");
                let overlap = self.values.word(member(table, "overlap"));
                let secret = match (member(table, "env"), member(table, "file")) {
                    (Some(name), None) => self.secret_of_variable(name),
                    (None, Some(path)) => self.secret_of_file(path),
                    _ => {
                        self.values.refuse(value.span(), REFERENCE);
                        None
                    }
                };
                return secret.map(|secret| DeclaredSecret::Chosen { secret, overlap });
            }
            _ => self.values.refuse(value.span(), REFERENCE),
        }
        None
    }

    fn secret_of_variable(&mut self, value: &Value<'_>) -> Option<ChosenSecret> {
        let name = self.values.text(value)?;
        match self.environment.get(&name) {
            Some(secret) => self.chosen(value, SecretString::from(secret.as_str())),
            None => {
                // Not what stands here: it may be the secret, in the wrong place.
                self.values
                    .refuse(value.span(), "there is no variable of this name in the environment");
                None
            }
        }
    }

    fn secret_of_file(&mut self, value: &Value<'_>) -> Option<ChosenSecret> {
        let path = self
            .values
            .path
            .parent()
            .unwrap_or(Path::new(""))
            .join(self.values.text(value)?);
        match (self.secret_file)(&path).map(Zeroizing::new) {
            Ok(text) => {
                let line = text.strip_suffix('\n').unwrap_or(&text);
                let line = line.strip_suffix('\r').unwrap_or(line);
                self.chosen(value, SecretString::from(line))
            }
            Err(error) => {
                self.values.refuse(
                    value.span(),
                    format!(
                        "this file, as seen from the folder of {}, cannot be read: {error}",
                        self.values.path.display()
                    ),
                );
                None
            }
        }
    }

    fn chosen(&mut self, value: &Value<'_>, secret: SecretString) -> Option<ChosenSecret> {
        let chosen = ChosenSecret::parse(secret);
        chosen
            .map_err(|why| self.values.refuse(value.span(), why.to_string()))
            .ok()
    }
}

/// A secret in the file would be in its history and in every copy for ever.
const REFERENCE: &str = "a secret never stands in this file, only where it is found: write { env = \"NAME\" } for a variable of the \
                         environment, { file = \"PATH\" }, or \"generated\"";
