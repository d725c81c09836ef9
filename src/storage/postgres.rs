//! PostgreSQL by a synchronous diesel connection over tokio-postgres and rustls, so that nothing must be installed.
//!
//! Each connection has a runtime of its own, its [`Lane`]: no thread and no hop per query.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::{CacheSize, Connection, InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_types::Integer;
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{ConnectError, Error, Fault, in_words, lost_a_statement};
use super::lane::{Lane, Silences};
use super::servers::{Server, Servers};
use super::store::PreparedStatements;
use super::tls;
use super::url::{PostgresTarget, Session};

/// Makes connections to one PostgreSQL.
#[derive(Clone)]
pub(super) struct Connector {
    target: PostgresTarget,
    servers: Arc<Servers>,
    session: Session,
    tls: MakeRustlsConnect,
    connect_timeout: Duration,
    statement_timeout: Duration,
    prepared_statements: PreparedStatements,
    statements: Arc<AtomicU64>,
    silences: Silences,
}

/// How patiently a PostgreSQL is used, and which.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// What a server has to be, where the URL does not say.
    pub(super) session: Session,
    /// Longest time to reach a host and log in, where the URL does not say.
    pub(super) connect_timeout: Duration,
    /// Longest time that a statement may take.
    pub(super) statement_timeout: Duration,
    /// How long prepared statements live.
    pub(super) prepared_statements: PreparedStatements,
}

/// A connection and what is needed to know whether it still is one.
pub(super) struct Link {
    pub(super) connection: AsyncConnectionWrapper<AsyncPgConnection, Lane>,
    /// Whether a transaction began and has not ended, for whatever reason: such a connection must not be used again.
    pub(super) in_transaction: bool,
    /// Whether it was found to take no writes: the next one may lead to a server that does.
    pub(super) is_read_only: bool,
    pub(super) prepared_statements: PreparedStatements,
    begin: Arc<str>,
    driver: AbortHandle,
    lane: Lane,
    silences: Silences,
    /// How often servers had fallen silent when it was made.
    made_after: u64,
    /// When it was last looked at.
    seen_at: Instant,
}

/// What came of writing what changes nothing.
pub(super) enum Written {
    /// The server said something to it.
    Answered,
    /// It said nothing in time, or ended the session.
    Unanswered,
    /// There is no further connection for this, as the server says.
    NoRoom,
    /// There is no server, or it was not waited for.
    Pointless,
}

impl Connector {
    /// Reads the root certificates once; connects to nothing.
    pub(super) fn new(target: &PostgresTarget, manner: Manner, statements: Arc<AtomicU64>) -> Result<Self, Error> {
        let connect_timeout = target.connect_timeout.unwrap_or(manner.connect_timeout);
        let servers = Servers::of(target, connect_timeout, manner.statement_timeout + GRACE);
        Ok(Connector {
            target: target.clone(),
            servers: Arc::new(servers),
            session: target.session.unwrap_or(manner.session),
            tls: tls::to(target)?,
            connect_timeout,
            statement_timeout: manner.statement_timeout,
            prepared_statements: manner.prepared_statements,
            statements,
            silences: Silences::default(),
        })
    }

    fn are_in_transactions(&self) -> bool {
        self.prepared_statements == PreparedStatements::InTransaction
    }

    /// Prepares a statement, has somebody else take the connection that it is on, if a pooler gives it away, and runs it again.
    pub(super) fn try_prepared_statements(&self) -> Result<(), Error> {
        if self.are_in_transactions() {
            return Ok(());
        }
        let mut mine = self.connect().map_err(Error::unavailable)?;
        let mut other = self.connect().map_err(Error::unavailable)?;
        let mut ask = || diesel::select(1.into_sql::<Integer>()).get_result::<i32>(&mut mine.connection);
        let asked = ask().and_then(|_| other.begin("SELECT 1")).and_then(|()| ask());
        asked.map(drop).map_err(|error| Fault::from(error).into_error(false))
    }

    /// A connector whose statements may take an hour, for migrations.
    pub(super) fn patient(&self) -> Self {
        Connector {
            statement_timeout: Duration::from_secs(3_600),
            ..self.clone()
        }
    }

    /// A new connection.
    pub(super) fn connect(&self) -> Result<Link, ConnectError> {
        alone(|| self.connect_bare()).map_err(|ConnectError { words, is_full }| ConnectError {
            words: format!("cannot connect to {}: {words}", self.target),
            is_full,
        })
    }

    fn connect_bare(&self) -> Result<Link, ConnectError> {
        let made_after = self.silences.number();
        let lane = Lane::new(self.statement_timeout + GRACE, self.silences.clone())?;
        let (client, driver) = lane.run(self.enter_one())?;
        let lane = lane.with_driver(driver.clone());
        let connection = lane
            .run(AsyncPgConnection::try_from(client))
            .map_err(|error| of_statements(in_words(&error)))?;
        lane.hand_over();
        let mut connection = AsyncConnectionWrapper::<AsyncPgConnection, Lane>::from(connection);
        if self.are_in_transactions() {
            connection.set_prepared_statement_cache_size(CacheSize::Disabled);
            connection.batch_execute("COMMIT").map_err(|error| in_words(&error))?;
        }
        let statements = Arc::clone(&self.statements);
        connection.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if matches!(event, InstrumentationEvent::StartQuery { .. }) {
                statements.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(Link {
            connection,
            in_transaction: false,
            is_read_only: false,
            prepared_statements: self.prepared_statements,
            begin: format!("BEGIN ISOLATION LEVEL READ COMMITTED; {}", self.limits("LOCAL ")).into(),
            driver,
            lane,
            silences: self.silences.clone(),
            made_after,
            seen_at: Instant::now(),
        })
    }

    /// Writes what changes nothing, on a connection of its own, and waits for the answer as long as there is patience and a point in it:
    /// as for a commit, no limit of the server's ends that.
    pub(super) fn write_nothing(&self, patience: Duration, is_pointless: impl FnMut() -> bool) -> Written {
        let written = alone(|| {
            let lane = Lane::new(patience, Silences::default())?;
            let (client, _driver) = lane.run(self.enter_one())?;
            Ok(lane.run(self.answer_to_nothing(&client, patience, is_pointless)))
        });
        match written {
            Ok(written) => written,
            Err(error) if error.is_full => Written::NoRoom,
            Err(_) => Written::Pointless,
        }
    }

    async fn answer_to_nothing(
        &self,
        client: &Client,
        patience: Duration,
        mut is_pointless: impl FnMut() -> bool,
    ) -> Written {
        let begun = Instant::now();
        let end = if self.are_in_transactions() { "; COMMIT" } else { "" };
        let statement = format!("{NOTHING}{end}");
        let mut answer = pin!(client.simple_query(&statement));
        loop {
            match timeout(A_MOMENT, answer.as_mut()).await {
                Ok(Ok(_)) => return Written::Answered,
                // A refusal of the statement is an answer, and the end of the session none.
                Ok(Err(error)) => {
                    let severity = error.as_db_error().and_then(DbError::parsed_severity);
                    return match severity {
                        Some(Severity::Error) => Written::Answered,
                        _ => Written::Unanswered,
                    };
                }
                Err(_elapsed) if is_pointless() => return Written::Pointless,
                Err(_elapsed) if begun.elapsed() >= patience => return Written::Unanswered,
                Err(_elapsed) => {}
            }
        }
    }

    /// The first of the servers that is what is wanted. Each has its own time: one that keeps silent must not use up the others'.
    async fn enter_one(&self) -> Result<(Client, AbortHandle), ConnectError> {
        let (mut reasons, mut is_full) = (Vec::new(), false);
        for server in self.servers.in_turn() {
            // Name lookup and the server's first words included, which `Config::connect_timeout` does not cover.
            let reason = match timeout(self.connect_timeout, self.enter(server)).await {
                Ok(Ok(entered)) => {
                    self.servers.found(server);
                    return Ok(entered);
                }
                Ok(Err(error)) => {
                    is_full |= error.is_full;
                    error.words
                }
                Err(_elapsed) => format!("no answer within {:?}", self.connect_timeout),
            };
            reasons.push(match self.servers.are_several() {
                true => format!("{}: {reason}", server.name),
                false => reason,
            });
        }
        Err(ConnectError {
            words: reasons.join("; "),
            is_full,
        })
    }

    async fn enter(&self, server: &Server) -> Result<(Client, AbortHandle), ConnectError> {
        let entered = server.config.connect(self.tls.clone()).await;
        let (client, connection) = entered.map_err(|error| ConnectError {
            words: in_words(&error),
            is_full: error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS),
        })?;
        // It ends by itself when the client is dropped.
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = in_words(&error), "a connection to PostgreSQL ended");
            }
        });
        self.prepare(&client).await?;
        Ok((client, driver.abort_handle()))
    }

    /// Sets the session up and, in the same round trip, asks whether the server is what is wanted.
    async fn prepare(&self, client: &Client) -> Result<(), String> {
        // What is made of the client prepares statements, too: the transaction ends after that.
        let begin = if self.are_in_transactions() { "BEGIN; " } else { "" };
        let settings = format!("{begin}{}; {ISOLATION}; {PLANS}", self.limits(""));
        let questions = match self.session {
            Session::Any => "",
            Session::Primary | Session::ReadWrite => "; SELECT pg_is_in_recovery(); SHOW transaction_read_only",
        };
        let said = client.simple_query(&format!("{settings}{questions}")).await;
        let said = said.map_err(|error| in_words(&error))?;
        let mut answers = said.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        match (answers.next(), answers.next()) {
            (Some("t"), _) => Err("it is a standby, and a primary is wanted".to_owned()),
            (_, Some("on")) if self.session == Session::ReadWrite => Err("it is read-only".to_owned()),
            _ => Ok(()),
        }
    }

    /// Set by statements, because poolers refuse them as startup options. A pooler in transaction mode gives the session to others
    /// between transactions: hence they are repeated in `BEGIN`, at no further round trip, and hence [`Lane`] ends a statement that
    /// outlives its limit whatever the server believes. Such a pooler must keep track of prepared statements (PgBouncer does from
    /// 1.21 on), or each is prepared anew in its transaction and closed before that ends, for its name is unique in this process
    /// alone; the locks used here end with their transaction.
    fn limits(&self, scope: &str) -> String {
        let statement = self.statement_timeout.as_millis();
        let lock = statement.div_ceil(2);
        // A node that is gone without a word, or stands still, holds what its transaction locked no longer than one that lives.
        let idle = format!("SET {scope}idle_in_transaction_session_timeout = {statement}");
        format!("SET {scope}statement_timeout = {statement}; SET {scope}lock_timeout = {lock}; {idle}")
    }
}

/// A panic is this connection's alone. A runtime panics where the system gives it no thread to look a name up, and of those who connect
/// in the background the pool would take the place for used, and the breaker stay open, for ever.
fn alone<T>(connect: impl FnOnce() -> Result<T, ConnectError>) -> Result<T, ConnectError> {
    let connected = catch_unwind(AssertUnwindSafe(connect));
    connected.unwrap_or_else(|_panic| Err("it panicked; the lines before say where".to_owned().into()))
}

/// What an error means, where it is that a statement was lost.
fn of_statements(words: String) -> String {
    if lost_a_statement(&words) {
        return Error::StatementsLost.to_string();
    }
    words
}

impl Link {
    /// Whether a statement on it got no answer in time.
    pub(super) fn was_silent(&self) -> bool {
        self.lane.was_silent()
    }

    /// Whether the connection is known to have ended.
    pub(super) fn is_over(&self) -> bool {
        self.driver.is_finished()
    }

    /// Whether the connection has ended, as far as one can know without asking the server, or is older than the last silence. One that
    /// was in use a moment ago is believed to live: the look costs four system calls, and if it is wrong the statement fails as any
    /// under way does.
    pub(super) fn is_lost_meanwhile(&mut self) -> bool {
        if self.made_after != self.silences.number() {
            return true;
        }
        let now = Instant::now();
        if now.duration_since(self.seen_at) < A_MOMENT {
            return self.is_over();
        }
        self.seen_at = now;
        self.is_lost()
    }

    /// Whether the connection has ended, as far as one can know without asking the server.
    pub(super) fn is_lost(&self) -> bool {
        // The driver must run to see that the server hung up: once to be woken by the socket, once to read from it.
        for _ in 0..4 {
            if self.driver.is_finished() {
                return true;
            }
            self.lane.run(tokio::task::yield_now());
        }
        self.driver.is_finished()
    }

    /// Begins a transaction and, in the same round trip, runs `first` in it.
    pub(super) fn begin(&mut self, first: &str) -> diesel::QueryResult<()> {
        self.in_transaction = true;
        let begin = format!("{}; {first}", self.begin);
        self.connection.batch_execute(&begin)
    }

    /// Ends the transaction with `COMMIT` or `ROLLBACK`.
    pub(super) fn end(&mut self, how: &str) -> diesel::QueryResult<()> {
        self.connection.batch_execute(how)?;
        self.in_transaction = false;
        Ok(())
    }
}

/// A statement is planned once for a connection, often when the tables are empty, and its plan is kept while they grow a millionfold,
/// until PostgreSQL analyzes them. All of keywheel's statements find their rows by an index, so no plan is made that is good for
/// small tables alone. The cost that stands for "not so" must not pass for that of a long query, which is worth compiling.
const PLANS: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off";
/// Whoever waits for a lock has to see what its holder wrote, whatever a database or a role asks for when nothing is said.
const ISOLATION: &str = "SET default_transaction_isolation = 'read committed'";
/// A record in PostgreSQL's log that nobody reads. A transaction without one commits without waiting for anybody.
const NOTHING: &str = "SELECT pg_logical_emit_message(true, 'keywheel', '')";
/// Between two looks whether a connection in use lives, and whether it is still worth waiting for an answer.
const A_MOMENT: Duration = Duration::from_millis(100);
/// How much longer than the server a statement's caller waits.
const GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_while_connecting_is_a_connection_that_could_not_be_made() {
        let error = alone::<()>(|| panic!("OS can't spawn worker thread")).unwrap_err();
        assert!(!error.is_full && error.words.contains("panicked"), "{error}");
    }
}
