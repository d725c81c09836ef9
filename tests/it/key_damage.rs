//! What is stored of keys and was altered behind the server's back: it does not start, says which row is wrong, and starts again
//! once that is mended. Row Q-11 of the catalogue.

use crate::support::process::Folder;
use crate::support::{Database, naming, on_both};

const SERVE: [&str; 3] = ["serve", "--issuer", "https://auth.example"];

/// A column with something sealed, and what the message must name.
#[derive(Clone, Copy)]
struct Column {
    table: &'static str,
    name: &'static str,
    /// A condition that finds one row.
    row: &'static str,
    names: &'static str,
}

const COLUMNS: [Column; 3] = [
    column(
        "signing_keys",
        "sealed_private_key",
        "slot = 1",
        "a signing key cannot be used",
    ),
    column(
        "certificate_authorities",
        "sealed_private_key",
        "id = 1",
        "the certificate authority cannot be used",
    ),
    column("data_keys", "wrapped", "id = 1", "data key"),
];

const fn column(table: &'static str, name: &'static str, row: &'static str, names: &'static str) -> Column {
    Column {
        table,
        name,
        row,
        names,
    }
}

//
#[test]
fn a_stored_key_that_was_flipped_truncated_or_emptied_refuses_to_start_and_names_what_is_wrong() {
    on_both(|database| {
        let folder = served_once(database);
        for column in COLUMNS {
            let sound = column.read(database);
            let mut flips: Vec<Vec<u8>> = Vec::new();
            for at in [0, sound.len() / 2, sound.len() - 1] {
                let mut flipped = sound.clone();
                flipped[at] ^= 1;
                flips.push(flipped);
            }
            let truncated = [&sound[..sound.len() - 1], &sound[..1], &[]].map(<[u8]>::to_vec);
            for damaged in flips.into_iter().chain(truncated) {
                naming(
                    &format!("{}.{}, {} bytes", column.table, column.name, damaged.len()),
                    || {
                        column.write(database, &damaged);
                        refuses_to_start(&folder, column.names);
                    },
                );
            }
            column.write(database, &sound);
        }
        drop(folder.serve(&SERVE[1..]));
    });
}

//
#[test]
fn a_sealed_private_half_or_a_certificate_of_another_key_refuses_to_start() {
    on_both(|database| {
        let folder = served_once(database);
        for name in ["sealed_private_key", "certificate"] {
            let of = |row| column("signing_keys", name, row, "a signing key cannot be used");
            let [one, other] = [of("slot = 1"), of("slot = 2")];
            let (first, second) = (one.read(database), other.read(database));
            naming(name, || {
                one.write(database, &second);
                other.write(database, &first);
                refuses_to_start(&folder, one.names);
            });
            one.write(database, &first);
            other.write(database, &second);
        }
        drop(folder.serve(&SERVE[1..]));
    });
}

// J-04
#[test]
fn a_certificate_that_was_altered_refuses_to_start() {
    on_both(|database| {
        let folder = served_once(database);
        let certificate = column(
            "signing_keys",
            "certificate",
            "slot = 1",
            "the authority that it names did not sign it",
        );
        let sound = certificate.read(database);
        // The signature is the end of a certificate.
        let mut altered = sound.clone();
        *altered.last_mut().unwrap() ^= 1;
        certificate.write(database, &altered);
        refuses_to_start(&folder, certificate.names);
        certificate.write(database, &sound);
        drop(folder.serve(&SERVE[1..]));
    });
}

fn served_once(database: &Database) -> Folder {
    let folder = Folder::empty().with("DATABASE_URL", database.url());
    let (status, log) = folder.serve(&SERVE[1..]).terminate();
    assert!(status.success(), "{log}");
    folder
}

fn refuses_to_start(folder: &Folder, names: &str) {
    let said = folder.refused(&SERVE);
    assert!(said.contains(names), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

impl Column {
    fn read(self, database: &Database) -> Vec<u8> {
        let Column { table, name, row, .. } = self;
        let hex = match database.backend {
            "SQLite" => format!("hex({name})"),
            _ => format!("encode({name}, 'hex')"),
        };
        let found = database.query(&format!("SELECT {hex} AS value FROM {table} WHERE {row}"));
        let digits = found[0].as_bytes().chunks(2);
        digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn write(self, database: &Database, bytes: &[u8]) {
        let Column { table, name, row, .. } = self;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let value = match database.backend {
            "SQLite" => format!("X'{hex}'"),
            _ => format!("decode('{hex}', 'hex')"),
        };
        database.execute(&format!("UPDATE {table} SET {name} = {value} WHERE {row}"));
    }
}
