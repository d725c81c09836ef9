//! The stage of the catalogue: one server on each database for all rows, and what every row promises beside its own answer.
//!
//! Rows take turns on it, so that each can say what became of the database. It is gone with the last row that holds it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use keywheel::oauth::{Audiences, ClientMetadata, GrantType, Seconds};

use crate::refresh::{PASSWORD, Session, for_people, session};
use crate::support::http::{Connection, Request, Response};
use crate::support::server::{Credentials, TOKEN, TestServer, metadata};
use crate::support::{Database, naming};
use crate::token::{assert_header_set, assert_refused};

/// What every row finds there.
pub(super) struct Stage {
    // Before the database, so that it ends first.
    pub(super) server: TestServer,
    database: Database,
    /// A query for every row of every table.
    everything: String,
    /// A service.
    pub(super) billing: Credentials,
    /// Signs people in; the user is alice.
    pub(super) shop: Credentials,
    /// The same for others.
    pub(super) rival: Credentials,
    /// May ask about every token.
    pub(super) gateway: Credentials,
}

/// Plays a row on SQLite: where what it says does not depend on the database.
pub(super) fn on_sqlite(row: impl Fn(&Stage)) {
    static STAGE: Mutex<Weak<Mutex<Stage>>> = Mutex::new(Weak::new());
    play(&STAGE, Database::sqlite, row);
}

/// Plays a row on both databases.
pub(super) fn on_both(row: impl Fn(&Stage)) {
    static STAGE: Mutex<Weak<Mutex<Stage>>> = Mutex::new(Weak::new());
    naming("on SQLite", || on_sqlite(&row));
    naming("on PostgreSQL", || play(&STAGE, Database::postgres, &row));
}

fn play(shared: &Mutex<Weak<Mutex<Stage>>>, database: fn() -> Database, row: impl Fn(&Stage)) {
    let stage = {
        let mut shared = lock(shared);
        shared.upgrade().unwrap_or_else(|| {
            let stage = Arc::new(Mutex::new(Stage::set(database())));
            *shared = Arc::downgrade(&stage);
            stage
        })
    };
    let stage = lock(&stage);
    // Failures are counted by the minute, and each row begins with none.
    stage.server.advance(Seconds::new(61));
    stage.server.tick().unwrap();
    row(&stage);
    assert_eq!(stage.good().status, 200, "the server goes on");
}

/// A row that failed says so itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    fn set(database: Database) -> Self {
        let server = TestServer::start(database.url());
        let gateway = ClientMetadata {
            introspect: true,
            audiences: Audiences::default(),
            ..metadata()
        };
        server.user("alice", PASSWORD);
        let all = ClientMetadata {
            grant_types: vec![
                GrantType::ClientCredentials,
                GrantType::Password,
                GrantType::RefreshToken,
            ],
            ..metadata()
        };
        Stage {
            billing: server.client("billing", metadata()),
            shop: server.client("shop", all),
            rival: server.client("rival", for_people()),
            gateway: server.client("gateway", gateway),
            everything: everything(&database),
            server,
            database,
        }
    }

    /// A request that is granted.
    pub(super) fn good_request(&self) -> Request {
        Request::raw_form(TOKEN, "grant_type=client_credentials").basic(&self.billing.id, &self.billing.secret)
    }

    pub(super) fn good(&self) -> Response {
        self.server.send(&self.good_request())
    }

    /// A form for the token endpoint as it stands, with good credentials.
    pub(super) fn form(&self, body: &str) -> Request {
        self.form_of(&self.billing, TOKEN, body)
    }

    /// The same in a client's name.
    pub(super) fn form_of(&self, client: &Credentials, path: &str, body: &str) -> Request {
        Request::raw_form(path, body).basic(&client.id, &client.secret)
    }

    /// Signs alice in.
    pub(super) fn sign_in(&self) -> Session {
        session(&self.server.send(&self.form_of(&self.shop, TOKEN, &alices(PASSWORD))))
    }

    /// A request to exchange a refresh token.
    pub(super) fn refreshing(&self, client: &Credentials, token: &str, more: &str) -> Request {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", token);
        self.form_of(client, TOKEN, &format!("{}{more}", form.finish()))
    }

    /// Asserts that a request is refused as section 1.0 says: the status, the error, the header set, nothing of the request in the
    /// answer; and that the connection goes on, or says that it does not.
    pub(super) fn refuses(&self, request: &Request, status: u16, error: &str) -> Response {
        let mut connection = Connection::open(self.server.address);
        let response = connection.send(request);
        assert_refused(&response, status, error);
        assert_nothing_repeated(request, &response);
        if status == 401 {
            let challenge = Some(r#"Basic realm="keywheel", charset="UTF-8""#);
            assert_eq!(response.header("www-authenticate"), challenge);
            assert_eq!(response.text(), r#"{"error":"invalid_client"}"#);
        }
        if response.header("connection") == Some("close") {
            assert!(connection.is_closed());
        } else {
            assert_eq!(connection.send(&self.good_request()).status, 200, "the connection");
        }
        response
    }

    /// Asserts the same of each body at the token endpoint.
    pub(super) fn refuses_forms(&self, bodies: &[impl AsRef<str>], error: &str) {
        for body in bodies.iter().map(AsRef::as_ref) {
            naming(&body.chars().take(80).collect::<String>(), || {
                self.refuses(&self.form(body), 400, error);
            });
        }
    }

    /// Asserts that a request gets an access token, and returns the answer.
    pub(super) fn grants(&self, request: &Request) -> serde_json::Value {
        let response = self.server.send(request);
        assert_eq!(response.status, 200, "{}", response.text());
        assert_header_set(&response);
        response.json()
    }

    /// Asserts that bytes get this status alone, that the connection is closed then, and that nobody else notices.
    pub(super) fn closes_on(&self, bytes: &[u8], status: u16) -> Response {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        let mut connection = Connection::open(self.server.address);
        let response = connection
            .send_raw(bytes)
            .unwrap_or_else(|| panic!("no answer to {shown:?}"));
        assert_eq!(response.status, status, "{shown:?}");
        assert!(connection.is_closed(), "{shown:?}");
        assert!(!response.text().contains(ECHO), "{}", response.text());
        assert_eq!(self.good().status, 200, "{shown:?}");
        response
    }

    /// Asserts that nothing in the database is changed.
    pub(super) fn unchanged<T>(&self, act: impl FnOnce() -> T) -> T {
        self.changing(&[], act)
    }

    /// Asserts that nothing in the database is changed but in these tables.
    pub(super) fn changing<T>(&self, tables: &[&str], act: impl FnOnce() -> T) -> T {
        let rows = || -> Vec<String> {
            let mut rows = self.database.query(&self.everything);
            rows.retain(|row| !tables.contains(&row.split(": ").next().unwrap_or_default()));
            rows.sort();
            rows
        };
        let before = rows();
        let done = act();
        let after = rows();
        let (gone, new): (Vec<_>, Vec<_>) = (
            before.iter().filter(|row| !after.contains(row)).collect(),
            after.iter().filter(|row| !before.contains(row)).collect(),
        );
        assert!(before == after, "gone: {gone:#?}\nnew: {new:#?}");
        done
    }
}

/// A word in what is sent, which no answer may hold.
pub(super) const ECHO: &str = "zq7echo";

/// A form that signs alice in.
pub(super) fn alices(password: &str) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs([
        ("grant_type", "password"),
        ("username", "alice"),
        ("password", password),
    ]);
    form.finish()
}

/// No value of a request comes back: neither of its body and its query nor of its credentials.
fn assert_nothing_repeated(request: &Request, response: &Response) {
    /// Words that a description may hold by itself.
    const WORDS: [&str; 4] = ["password", "refresh_token", "client_credentials", "keywheel"];
    for value in request.values() {
        let tells = value.len() >= 6 && !WORDS.contains(&value.as_str());
        assert!(!tells || !response.text().contains(&value), "{value} is repeated");
    }
}

/// One query that yields all rows of all tables as texts.
fn everything(database: &Database) -> String {
    let sqlite = database.backend == "SQLite";
    let tables = database.query(if sqlite {
        "SELECT name AS value FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    } else {
        "SELECT tablename AS value FROM pg_tables WHERE schemaname = 'public'"
    });
    assert!(tables.len() > 20, "{tables:?}");
    let rows = |table: &String| {
        let row = if sqlite {
            let columns = format!("SELECT 'quote(\"' || name || '\")' AS value FROM pragma_table_info('{table}')");
            database.query(&columns).join(" || ', ' || ")
        } else {
            "t::text".to_owned()
        };
        format!("SELECT '{table}: ' || {row} AS value FROM {table} t")
    };
    tables.iter().map(rows).collect::<Vec<_>>().join(" UNION ALL ")
}
