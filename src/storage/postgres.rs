//! PostgreSQL by a synchronous diesel connection over tokio-postgres and rustls, so that nothing must be installed.
//!
//! Each connection has a runtime of its own that runs only while a statement is under way: no thread and no hop per query.

use std::cell::RefCell;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::{Connection, InstrumentationEvent, SimpleConnection};
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::{AsyncConnectionWrapper, BlockOn};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{Error, in_words};
use super::url::PostgresTarget;

/// Makes connections to one PostgreSQL.
#[derive(Clone)]
pub(super) struct Connector {
    target: PostgresTarget,
    tls: MakeRustlsConnect,
    connect_timeout: Duration,
    statement_timeout: Duration,
    statements: Arc<AtomicU64>,
}

/// A connection and what is needed to know whether it still is one.
pub(super) struct Link {
    pub(super) connection: AsyncConnectionWrapper<AsyncPgConnection, Lane>,
    /// Whether a transaction began and has not ended, for whatever reason: such a connection must not be used again.
    pub(super) in_transaction: bool,
    begin: Arc<str>,
    driver: AbortHandle,
    lane: Lane,
    /// When it was last looked at.
    seen_at: Instant,
}

impl Connector {
    /// Reads the root certificates once; connects to nothing.
    pub(super) fn new(
        target: &PostgresTarget,
        connect_timeout: Duration,
        statement_timeout: Duration,
        statements: Arc<AtomicU64>,
    ) -> Result<Self, Error> {
        let mut target = target.clone();
        target
            .config
            .connect_timeout(connect_timeout)
            // A host that vanished without a word is noticed by the kernel.
            .tcp_user_timeout(statement_timeout + GRACE)
            .keepalives_idle(Duration::from_secs(30));
        let roots = match (target.ssl_mode, &target.root_certificates) {
            (SslMode::Disable, _) => RootCertStore::empty(),
            (_, Some(file)) => roots_from(file)?,
            (_, None) => system_roots()?,
        };
        // The process may have no default provider, or another one.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Settings(format!("TLS to PostgreSQL cannot be set up: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Connector {
            target,
            tls: MakeRustlsConnect::new(tls),
            connect_timeout,
            statement_timeout,
            statements,
        })
    }

    /// A connector whose statements may take an hour, for migrations.
    pub(super) fn patient(&self) -> Self {
        Connector {
            statement_timeout: Duration::from_secs(3_600),
            ..self.clone()
        }
    }

    /// A new connection; the error says why there is none, in words and without the password.
    pub(super) fn connect(&self) -> Result<Link, String> {
        self.connect_bare()
            .map_err(|reason| format!("cannot connect to {}: {reason}", self.target))
    }

    fn connect_bare(&self) -> Result<Link, String> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let lane = Lane {
            runtime: Some(Arc::new(runtime)),
            driver: None,
            limit: self.statement_timeout + GRACE,
        };
        // Name lookup and the server's first words included, which `Config::connect_timeout` does not cover.
        let (client, driver) = lane.run(async {
            match timeout(self.connect_timeout, self.target.config.connect(self.tls.clone())).await {
                Err(_) => Err(format!("no answer within {:?}", self.connect_timeout)),
                Ok(Err(error)) => Err(in_words(&error)),
                Ok(Ok((client, connection))) => {
                    let driver = tokio::spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(error = in_words(&error), "a connection to PostgreSQL ended");
                        }
                    });
                    Ok((client, driver.abort_handle()))
                }
            }
        })?;
        let lane = lane.with_driver(driver.clone());
        let connection = lane
            .run(AsyncPgConnection::try_from(client))
            .map_err(|error| in_words(&error))?;
        HANDED_OVER.set(Some(lane.clone()));
        let mut connection = AsyncConnectionWrapper::<AsyncPgConnection, Lane>::from(connection);

        // Set by statements, because poolers refuse them as startup options. A pooler in transaction mode gives the session
        // to others between transactions: hence they are repeated in `BEGIN`, at no further round trip, and hence `Lane` ends
        // a statement that outlives its limit whatever the server believes. Such a pooler must keep track of prepared
        // statements (PgBouncer does from 1.21 on); the locks used here end with their transaction.
        let statement = self.statement_timeout.as_millis();
        let lock = statement.div_ceil(2);
        let set = |scope| format!("SET {scope}statement_timeout = {statement}; SET {scope}lock_timeout = {lock}");
        connection
            .batch_execute(&format!("{}; {PLANS}", set("")))
            .map_err(|error| in_words(&error))?;
        let statements = Arc::clone(&self.statements);
        connection.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if matches!(event, InstrumentationEvent::StartQuery { .. }) {
                statements.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(Link {
            connection,
            in_transaction: false,
            begin: format!("BEGIN; {}", set("LOCAL ")).into(),
            driver,
            lane,
            seen_at: Instant::now(),
        })
    }
}

impl Link {
    /// Whether the connection is known to have ended.
    pub(super) fn is_over(&self) -> bool {
        self.driver.is_finished()
    }

    /// Whether the connection has ended, as far as one can know without asking the server. One that was in use a moment ago is
    /// believed to live: the look costs four system calls, and if it is wrong the statement fails as any under way does.
    pub(super) fn is_lost_meanwhile(&mut self) -> bool {
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
/// Between two looks whether a connection in use lives.
const A_MOMENT: Duration = Duration::from_millis(100);
/// How much longer than the server a statement's caller waits.
const GRACE: Duration = Duration::from_secs(1);

thread_local! {
    /// `AsyncConnectionWrapper` asks for its runtime through a function without arguments.
    static HANDED_OVER: RefCell<Option<Lane>> = const { RefCell::new(None) };
}

/// The runtime of one connection. It waits for nothing longer than `limit`.
#[derive(Clone)]
pub(super) struct Lane {
    runtime: Option<Arc<Runtime>>,
    driver: Option<AbortHandle>,
    limit: Duration,
}

impl Lane {
    fn with_driver(&self, driver: AbortHandle) -> Self {
        let mut lane = self.clone();
        lane.driver = Some(driver);
        lane
    }

    fn run<F: Future>(&self, future: F) -> F::Output {
        let Some(runtime) = &self.runtime else {
            unreachable!("a lane without a runtime is never handed out")
        };
        runtime.block_on(async {
            let mut future = pin!(future);
            let Some(driver) = &self.driver else {
                return future.await;
            };
            match timeout(self.limit, future.as_mut()).await {
                Ok(output) => output,
                Err(_too_slow) => {
                    // Without its driver the connection is closed, and whatever waits for it ends with an error.
                    driver.abort();
                    future.await
                }
            }
        })
    }
}

impl BlockOn for Lane {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.run(future)
    }

    fn get_runtime() -> Self {
        let Some(lane) = HANDED_OVER.take() else {
            unreachable!("Connector::connect hands a lane over before it makes a connection")
        };
        lane
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // A runtime must not be dropped where it would block, and connections are dropped anywhere.
        if let Some(runtime) = self.runtime.take().and_then(Arc::into_inner) {
            runtime.shutdown_background();
        }
    }
}

fn roots_from(file: &Path) -> Result<RootCertStore, Error> {
    let refused = |why: String| Error::Settings(format!("sslrootcert {}: {why}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| refused(error.to_string()))? {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refused("there is no PEM certificate in it".to_owned()));
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Error::Settings(
            "the system has no root certificates to verify PostgreSQL with: install ca-certificates, or name the \
             authority's certificate with sslrootcert=FILE in the database URL"
                .to_owned(),
        ));
    }
    Ok(roots)
}
