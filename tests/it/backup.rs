//! Backups: made while the server runs, proved before they are needed, and of no use without the master key.

use std::os::unix::fs::PermissionsExt;

use crate::support::Database;
use crate::support::http::{Request, send};
use crate::support::process::Folder;
use crate::support::server::{JWKS, TOKEN};

const SERVE: [&str; 2] = ["--issuer", "https://auth.example"];

#[test]
fn a_backup_of_a_running_server_is_whole_and_can_be_restored() {
    let folder = Folder::empty();
    let secret = folder.client_secret("billing");
    let served = folder.serve(&SERVE);
    let file = folder.path().join("backup.db");
    let path = file.to_str().unwrap();
    std::thread::scope(|scope| {
        // Others write meanwhile.
        let writing = scope.spawn(|| {
            for n in 0..10 {
                folder.json(&["client", "create", &format!("c{n}"), "--grant", "client_credentials"]);
            }
        });
        folder.json(&["db", "backup", path]);
        writing.join().unwrap();
    });
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let before: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let report = folder.json(&["backup", "verify", path]);
    assert_eq!(
        (&report["whole"], &report["holds"]["signing_keys"]),
        (&true.into(), &2.into()),
        "{report}"
    );
    assert_eq!(report["holds"]["private_halves"], 2);
    let after: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(before, after, "to verify a backup leaves nothing behind");
    let said = folder.refused(&["db", "backup", path]);
    assert!(
        said.contains("cannot be made"),
        "an earlier backup is not overwritten: {said}"
    );

    let keys = send(served.address, &Request::get(JWKS)).body;
    drop(served.terminate());
    let elsewhere = Folder::empty().with("KEYWHEEL_MASTER_KEY_FILE", folder.master_key().to_str().unwrap());
    std::fs::copy(&file, elsewhere.path().join("keywheel.db")).unwrap();
    assert!(
        elsewhere
            .refused(&["restore", "finalize"])
            .contains("there is no journal in")
    );
    elsewhere.json(&["restore", "finalize", "--force"]);
    let served = elsewhere.serve(&SERVE);
    assert_eq!(send(served.address, &Request::get(JWKS)).body, keys, "the same keys");
    let form = Request::form(TOKEN, &[("grant_type", "client_credentials")]).basic("billing", &secret);
    assert_eq!(send(served.address, &form).status, 200);
}

//
#[test]
fn a_damaged_backup_and_one_without_its_master_key_are_refused_with_the_reason() {
    let folder = Folder::empty();
    folder.create_client("billing");
    drop(folder.serve(&SERVE).terminate());
    let good = folder.path().join("good.db");
    folder.json(&["db", "backup", good.to_str().unwrap()]);
    let bytes = std::fs::read(&good).unwrap();
    let bad = folder.path().join("bad.db");
    let refused = |bytes: &[u8], sql: Option<&str>| {
        std::fs::write(&bad, bytes).unwrap();
        if let Some(sql) = sql {
            use diesel::connection::{Connection, SimpleConnection};
            let mut connection = diesel::SqliteConnection::establish(bad.to_str().unwrap()).unwrap();
            connection.batch_execute(sql).unwrap();
        }
        folder.refused(&["backup", "verify", bad.to_str().unwrap()])
    };
    assert!(refused(b"not a database", None).contains("backup"));
    assert!(refused(&bytes[..bytes.len() / 2], None).contains("backup"));
    for (sql, reason) in [
        (
            "UPDATE signing_keys SET sealed_private_key = substr(sealed_private_key, 1, 40)",
            "does not open",
        ),
        (
            "UPDATE signing_keys SET sealed_private_key = (SELECT k.sealed_private_key FROM signing_keys k WHERE k.slot <> signing_keys.slot)",
            "does not open",
        ),
        ("UPDATE data_keys SET wrapped = substr(wrapped, 1, 20)", "damaged"),
        (
            "UPDATE certificate_authorities SET sealed_private_key = x'01'",
            "cut short",
        ),
        ("DELETE FROM data_keys", "holds no keys"),
        (
            "DELETE FROM __diesel_schema_migrations WHERE version = '0004'",
            "0004_database_identity",
        ),
    ] {
        let said = refused(&bytes, Some(sql));
        assert!(said.contains(reason), "{sql}: {said}");
    }
    let other = [(
        "KEYWHEEL_MASTER_KEY",
        "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1",
    )];
    let said = folder.refused_with(&["backup", "verify", good.to_str().unwrap()], &other);
    assert!(said.contains("sealed under master key"), "{said}");
}

#[test]
fn a_postgresql_database_is_backed_up_by_its_own_tool_and_verified_where_it_was_restored() {
    let database = Database::postgres();
    let folder = Folder::empty().with("DATABASE_URL", database.url());
    folder.create_client("billing");
    drop(folder.serve(&SERVE).terminate());
    let said = folder.refused(&["db", "backup", "x.dump"]);
    assert!(said.contains("pg_dump --format=custom"), "{said}");
    let restored = database.copy();
    let report = folder.json(&["backup", "verify", restored.url()]);
    assert_eq!(
        (&report["whole"], &report["holds"]["clients"]),
        (&true.into(), &1.into()),
        "{report}"
    );
    restored.execute("UPDATE signing_keys SET sealed_private_key = substring(sealed_private_key from 1 for 40)");
    let said = folder.refused(&["backup", "verify", restored.url()]);
    assert!(said.contains("does not open"), "{said}");
}
