//! What the integration tests share: fresh databases on both backends.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use keywheel::storage::{AuditEvent, DatabaseUrl, Settings, Store};
use tempfile::TempDir;

pub(crate) mod api;
pub(crate) mod certificates;
pub(crate) mod collector;
pub(crate) mod http;
pub(crate) mod jwt;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod server;
pub(crate) mod strace;
pub(crate) mod tls;

/// A fresh, empty database.
pub(crate) struct Database {
    /// The backend's name, for messages.
    pub(crate) backend: &'static str,
    url: String,
    /// Where the SQLite file is.
    directory: Option<TempDir>,
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("keywheel.db").display());
        Database {
            backend: "SQLite",
            url,
            directory: Some(directory),
        }
    }

    pub(crate) fn postgres() -> Self {
        Database {
            backend: "PostgreSQL",
            url: postgres::shared().create_database(),
            directory: None,
        }
    }

    /// Another one in the same state, as a backup has it. Nobody may be connected.
    pub(crate) fn copy(&self) -> Self {
        if self.directory.is_some() {
            let copy = Database::sqlite();
            let file = |database: &Database| database.url.trim_start_matches("sqlite://").to_owned();
            // Connections may close a moment later, and until then the newest pages are in the log.
            self.execute(&format!("VACUUM INTO '{}'", file(&copy)));
            return copy;
        }
        Database {
            backend: self.backend,
            url: postgres::shared().copy_database(&self.url),
            directory: None,
        }
    }

    /// As users write it, password included.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::new(DatabaseUrl::parse(&self.url).unwrap())
    }

    /// Opened, not migrated.
    pub(crate) fn open(&self) -> Store {
        Store::open(&self.settings()).unwrap()
    }

    /// Opened and migrated.
    pub(crate) fn store(&self) -> Store {
        let store = self.open();
        store.migrate().unwrap();
        store
    }

    /// Runs SQL behind the store's back.
    pub(crate) fn execute(&self, sql: &str) {
        if self.directory.is_some() {
            use diesel::connection::SimpleConnection;
            self.sqlite_connection().batch_execute(sql).unwrap();
        } else {
            postgres::execute(&self.url, sql).unwrap();
        }
    }

    /// The first column of what a query yields, behind the store's back.
    pub(crate) fn query(&self, sql: &str) -> Vec<String> {
        if self.directory.is_some() {
            use diesel::prelude::*;
            #[derive(QueryableByName)]
            struct Row {
                #[diesel(sql_type = diesel::sql_types::Text)]
                value: String,
            }
            let sql = format!("SELECT CAST(value AS TEXT) AS value FROM ({sql})");
            let rows: Vec<Row> = diesel::sql_query(sql).load(&mut self.sqlite_connection()).unwrap();
            rows.into_iter().map(|row| row.value).collect()
        } else {
            postgres::execute(&self.url, sql).unwrap()
        }
    }

    /// It waits for locks: whoever closes a file last copies the log into it, and that may be a server that was just dropped.
    fn sqlite_connection(&self) -> diesel::SqliteConnection {
        use diesel::connection::{Connection, SimpleConnection};
        let path = self.url.trim_start_matches("sqlite://");
        let mut connection = diesel::SqliteConnection::establish(path).unwrap();
        connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
        connection
    }

    /// Everything in it, as it is stored.
    pub(crate) fn dump(&self) -> Vec<u8> {
        if let Some(directory) = &self.directory {
            let files = std::fs::read_dir(directory.path()).unwrap();
            return files
                .flat_map(|file| std::fs::read(file.unwrap().path()).unwrap())
                .collect();
        }
        let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'";
        let rows = |table: String| self.query(&format!("SELECT t::text FROM {table} t"));
        self.query(tables)
            .into_iter()
            .flat_map(rows)
            .collect::<String>()
            .into_bytes()
    }

    /// How many rows there are.
    pub(crate) fn count(&self, of: &str) -> usize {
        self.query(&format!("SELECT count(*) AS value FROM {of}"))[0]
            .parse()
            .unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.directory.is_none() {
            postgres::shared().drop_database(&self.url);
        }
    }
}

/// One fresh database of each backend.
pub(crate) fn databases() -> [Database; 2] {
    [Database::sqlite(), Database::postgres()]
}

/// Runs a test on both backends, and says on which one it failed.
pub(crate) fn on_both(test: impl Fn(&Database)) {
    for database in databases() {
        naming(&format!("on {}", database.backend), || test(&database));
    }
}

/// Runs a part of a test, and names it when it fails.
pub(crate) fn naming(part: &str, test: impl FnOnce()) {
    if let Err(failure) = catch_unwind(AssertUnwindSafe(test)) {
        let text = failure
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| failure.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        match text {
            Some(text) => panic!("{part}: {text}"),
            None => resume_unwind(failure),
        }
    }
}

/// Runs a test on SQLite alone: where what is tested does not reach the database.
pub(crate) fn on_sqlite(test: impl Fn(&Database)) {
    test(&Database::sqlite());
}

/// Runs a test of the program in an empty folder, once with each backend.
pub(crate) fn on_both_processes(test: impl Fn(&process::Folder)) {
    on_both(|database| test(&process::Folder::empty().with("DATABASE_URL", database.url())));
}

/// An event for acts whose event does not matter to the test.
pub(crate) fn audit_event(name: &str) -> AuditEvent {
    AuditEvent {
        at: server::START,
        event: name.to_owned(),
        actor: "test".to_owned(),
        client_id: None,
        kid: None,
        detail: serde_json::json!({}),
    }
}

/// How many rows a table has, counted behind the store's back.
pub(crate) fn count(url: &str, table: &str) -> i64 {
    let sql = format!("SELECT count(*) AS n FROM {table}");
    if url.starts_with("sqlite") {
        use diesel::prelude::*;
        #[derive(QueryableByName)]
        struct Count {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            n: i64,
        }
        let mut connection = diesel::SqliteConnection::establish(url.trim_start_matches("sqlite://")).unwrap();
        diesel::sql_query(sql).get_result::<Count>(&mut connection).unwrap().n
    } else {
        postgres::execute(url, &sql).unwrap()[0].parse().unwrap()
    }
}

/// Every file of the language below a directory.
pub(crate) fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
