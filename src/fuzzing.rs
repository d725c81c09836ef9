//! What reads the words of others, as functions of bytes, each held to what it promises: the entry points of the programs in `fuzz/`
//! and of `tests/it/fuzzed.rs`. The feature `fuzzing` adds them, and changes nothing that is there without it.

use crate::{app, http, keys, oauth, server, storage};

/// A reader, and what is held against it. It panics when a promise is broken.
pub type Check = fn(&[u8]);

/// Every reader by the name of its program, its corpus and its words.
pub const TARGETS: &[(&str, Check)] = &[
    ("audience", oauth::fuzzing::audience),
    ("basic", server::fuzzing::basic),
    ("certificate", keys::fuzzing::certificate),
    ("claims", oauth::fuzzing::claims),
    ("client_file", app::fuzzing::client_file),
    ("config", app::fuzzing::config),
    ("cursor", server::fuzzing::cursor),
    ("database_url", storage::fuzzing::database_url),
    ("duration", oauth::fuzzing::duration),
    ("entity_tags", http::fuzzing::entity_tags),
    ("envelope", keys::fuzzing::envelope),
    ("form", oauth::fuzzing::form),
    ("headers", http::fuzzing::headers),
    ("identifiers", oauth::fuzzing::identifiers),
    ("jwt", keys::fuzzing::jwt),
    ("key_file", keys::fuzzing::key_file),
    ("password_hash", server::fuzzing::password_hash),
    ("pem", keys::fuzzing::pem_file),
    ("registration", server::fuzzing::registration),
    ("scope", oauth::fuzzing::scope),
    ("user_import", server::fuzzing::user_import),
];
