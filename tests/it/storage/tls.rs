//! PostgreSQL over TLS and over a Unix socket.

use keywheel::storage::{DatabaseUrl, Error, Settings, Store};

use crate::support::postgres::{TestPostgres, authority, execute};

fn open(url: &str) -> Result<Store, Error> {
    Store::open(&Settings::new(DatabaseUrl::parse(url).unwrap()))
}

/// Whether the store's connection is encrypted, as the server sees it.
fn is_encrypted(server: &TestPostgres) -> String {
    let rows = execute(
        &server.url("postgres"),
        "SELECT DISTINCT ssl::text || ' ' || coalesce(version, '-') FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'keywheel'",
    );
    rows.unwrap().join(",")
}

// S-10
#[test]
fn the_server_is_verified_whatever_the_kind_of_encryption_is_called() {
    let server = TestPostgres::start_with_tls();
    let root = server.root().display().to_string();
    for mode in ["require", "verify-ca", "verify-full", "prefer"] {
        let store = open(&server.url_by_name(&format!("sslmode={mode}&sslrootcert={root}"))).unwrap();
        store.ping().unwrap();
        assert_eq!(is_encrypted(&server), "true TLSv1.3", "{mode}");
        drop(store);
        // The server takes a moment to notice that a connection is gone.
        while !is_encrypted(&server).is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    let stranger = server.root().with_file_name("stranger.pem");
    std::fs::write(&stranger, authority("stranger").pem()).unwrap();
    for (why, url) in [
        (
            "UnknownIssuer",
            server.url_by_name(&format!("sslmode=require&sslrootcert={}", stranger.display())),
        ),
        (
            "not valid for name",
            format!("{}?sslmode=require&sslrootcert={root}", server.url("postgres")),
        ),
    ] {
        let store = open(&url).unwrap();
        let Err(Error::Unavailable { reason }) = store.migrate() else {
            panic!("{url} was accepted")
        };
        assert!(reason.contains(why) && reason.contains("certificate"), "{reason}");
        assert!(matches!(store.ping(), Err(Error::Unavailable { .. })));
    }
}

#[test]
fn a_server_without_tls_is_refused_when_encryption_is_required_and_taken_when_it_is_preferred() {
    let server = TestPostgres::start();
    let file = server.root();
    std::fs::write(&file, authority("stranger").pem()).unwrap();
    let with =
        |mode: &str| open(&server.url_by_name(&format!("sslmode={mode}&sslrootcert={}", file.display()))).unwrap();
    assert!(matches!(with("require").migrate(), Err(Error::Unavailable { .. })));
    with("prefer").ping().unwrap();
}

#[test]
fn root_certificates_that_cannot_be_read_are_named_when_the_store_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    for file in [empty.display().to_string(), "/nonexistent.pem".to_owned()] {
        let error = open(&format!("postgres://db.example/k?sslrootcert={file}")).unwrap_err();
        assert!(
            matches!(error, Error::Settings(_)) && error.to_string().contains(&file),
            "{error}"
        );
    }
}

#[test]
fn a_unix_socket_is_reached_by_its_directory() {
    let server = TestPostgres::start();
    for encoded in [false, true] {
        open(&server.socket_url(encoded)).unwrap().ping().unwrap();
    }
}
