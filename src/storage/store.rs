use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use diesel::RunQueryDsl;
use diesel::dsl::sql;
use diesel::sql_types::{BigInt, Bool, Text};

use super::audit::{self, AuditEvent};
use super::changes::{self, ChangeKind};
use super::client_rows::{self, Kept};
use super::connection::{Conn, Connections};
use super::couriers::Couriers;
use super::creations::{self, Creation};
use super::error::{Error, Fault};
use super::pool::{Pool, PoolState};
use super::postgres::{Connector, Manner};
use super::sqlite;
use super::url::{DatabaseUrl, Session, Target};
use super::writer::Writer;
use crate::oauth::NumericDate;
use crate::timed::{Part, timed};

/// Where the database is and how patiently it is used.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The database.
    pub url: DatabaseUrl,
    /// Most connections at a time: of this process to PostgreSQL, or, up to four of them, for reading from SQLite.
    pub pool_size: u32,
    /// What a PostgreSQL has to be, where the URL does not say. Who decides by what it reads wants no standby.
    pub session: Session,
    /// Longest time to reach one host of PostgreSQL and log in, where the URL does not say.
    pub connect_timeout: Duration,
    /// Longest time that a statement may take, and that a write may wait for its turn on SQLite.
    pub statement_timeout: Duration,
    /// How long a prepared statement of PostgreSQL lives.
    pub prepared_statements: PreparedStatements,
}

/// How long a prepared statement of PostgreSQL lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreparedStatements {
    /// As long as its connection.
    OnConnection,
    /// As long as its transaction, and everything is in one: for a pooler that gives each transaction another connection and keeps no
    /// track of statements. Two more round trips for what is a single statement otherwise.
    InTransaction,
}

impl Settings {
    /// Eight connections to whatever answers, three seconds to connect and five for a statement.
    pub fn new(url: DatabaseUrl) -> Self {
        Settings {
            url,
            pool_size: 8,
            session: Session::Any,
            connect_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(5),
            prepared_statements: PreparedStatements::OnConnection,
        }
    }
}

/// The database. Cloning is cheap; all clones share their connections.
///
/// Every method waits for the database, so it is to be called on a thread that may wait, never on one that runs futures.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// What is made through it, if that must be made once.
    creation: Option<Arc<Creation>>,
    /// Of which clients one has to be left.
    kept: Option<Kept>,
}

struct Inner {
    url: DatabaseUrl,
    connections: Connections,
    pool: Pool,
    company: Company,
    statements: Arc<AtomicU64>,
}

/// Where those who write at the same time meet.
pub(super) enum Company {
    /// All of them, on SQLite.
    Writer(Writer),
    /// Those who rotate refresh tokens, on PostgreSQL.
    Couriers(Couriers),
}

impl Store {
    /// Makes ready to use the database; migrates nothing.
    ///
    /// PostgreSQL need not be there yet: methods are [`Error::Unavailable`] until it is. An SQLite file is created, readable by
    /// its owner alone.
    ///
    /// # Errors
    /// [`Error::Settings`] for root certificates that cannot be read, [`Error::Unavailable`] for an SQLite file that cannot
    /// be opened.
    pub fn open(settings: &Settings) -> Result<Store, Error> {
        let statements = Arc::new(AtomicU64::new(0));
        let Settings {
            url,
            pool_size,
            session,
            connect_timeout,
            statement_timeout: patience,
            prepared_statements,
        } = settings;
        let (connections, pool, company) = match &url.0 {
            Target::Postgres(target) => {
                let manner = Manner {
                    session: *session,
                    connect_timeout: *connect_timeout,
                    statement_timeout: *patience,
                    prepared_statements: *prepared_statements,
                };
                let connector = Connector::new(target, manner, Arc::clone(&statements))?;
                let connections = Connections::Postgres(Box::new(connector));
                let pool = Pool::of(&connections, *pool_size);
                let couriers = Couriers::start(&pool)?;
                (connections, pool, Company::Couriers(couriers))
            }
            Target::Sqlite(path) => {
                sqlite::create_file(path).map_err(Error::unavailable)?;
                let writer = Writer::start(path.clone(), *patience, *patience, Arc::clone(&statements))?;
                let connections = Connections::Sqlite {
                    path: path.clone(),
                    busy: *patience,
                    statements: Arc::clone(&statements),
                };
                let pool = Pool::of(&connections, (*pool_size).min(4));
                (connections, pool, Company::Writer(writer))
            }
        };
        let inner = Arc::new(Inner {
            url: url.clone(),
            connections,
            pool,
            company,
            statements,
        });
        Ok(Store {
            inner,
            creation: None,
            kept: None,
        })
    }

    /// Asks the database for a sign of life.
    pub fn ping(&self) -> Result<(), Error> {
        self.read(|conn| Ok(conn.batch("SELECT 1")?))
    }

    /// Whether statements that were prepared are still there later, which a connection pooler may prevent.
    ///
    /// # Errors
    /// [`Error::StatementsLost`] if they are not. Whatever else goes wrong says nothing about it, and is none.
    pub fn try_prepared_statements(&self) -> Result<(), Error> {
        let Connections::Postgres(connector) = &self.inner.connections else {
            return Ok(());
        };
        match connector.try_prepared_statements() {
            Err(lost @ Error::StatementsLost) => Err(lost),
            Err(error) => {
                tracing::debug!(%error, "whether prepared statements are kept could not be found out");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// What time it is for PostgreSQL, to compare clocks with; `None` on SQLite, which has none of its own.
    pub fn clock(&self) -> Result<Option<NumericDate>, Error> {
        self.read(|conn| match conn {
            Conn::Sqlite(_) => Ok(None),
            Conn::Postgres(link) => {
                let now = diesel::select(sql::<BigInt>("floor(extract(epoch FROM clock_timestamp()))::bigint"));
                let now: i64 = now.get_result(&mut link.connection)?;
                Ok(Some(NumericDate::from_epoch(now)))
            }
        })
    }

    /// The settings of PostgreSQL by which it tells that something is written before it is on disk; none on SQLite, which syncs before
    /// it tells. What a crash of the machine then takes back may be a refresh token's exchange, whose token is good once more.
    pub fn forgetful_settings(&self) -> Result<Vec<String>, Error> {
        self.read(|conn| match conn {
            Conn::Sqlite(_) => Ok(Vec::new()),
            Conn::Postgres(link) => {
                let found: String = diesel::select(sql::<Text>(FORGETFUL)).get_result(&mut link.connection)?;
                Ok(found.split_whitespace().map(str::to_owned).collect())
            }
        })
    }

    /// Statements sent so far on all connections, those that set a connection up excepted. Several in one round trip count once.
    pub fn statements(&self) -> u64 {
        self.inner.statements.load(Ordering::Relaxed)
    }

    /// The pool of connections now; on SQLite, of those that read.
    pub fn pool(&self) -> PoolState {
        self.inner.pool.state()
    }

    /// Whether PostgreSQL did not answer, and nobody is let through to it until it does.
    pub fn is_away(&self) -> bool {
        self.inner.pool.is_away()
    }

    /// Whether it is worth trying to write, as far as is known.
    pub fn takes_writes(&self) -> bool {
        !self.is_away() && !self.leaves_writes()
    }

    /// Looks whether a commit of this role, from whatever node, waits for PostgreSQL's synchronous standby for long: then nobody who
    /// writes is answered, and this node need not find out by itself. Costs nothing on SQLite.
    pub fn look_for_waiting_commits(&self) -> Result<(), Error> {
        if self.leaves_writes() || matches!(self.inner.connections, Connections::Sqlite { .. }) {
            return Ok(());
        }
        let is_one = self.read(|conn| match conn {
            Conn::Sqlite(_) => Ok(false),
            Conn::Postgres(link) => Ok(diesel::select(sql::<Bool>(A_COMMIT_WAITS)).get_result(&mut link.connection)?),
        });
        match is_one {
            Ok(true) => self.inner.pool.found_waiting(),
            Err(error @ Error::Unavailable { .. }) => return Err(error),
            // A role that may not look finds out when it writes.
            Ok(false) | Err(_) => {}
        }
        Ok(())
    }

    /// Whether PostgreSQL left what was written without an answer, as it does while its synchronous standby is away, and nobody writes
    /// until it does not.
    pub fn leaves_writes(&self) -> bool {
        self.inner.pool.leaves_writes()
    }

    /// The same database; whatever an administrator makes through it is this creation. [`Error::Repeated`], and nothing was done,
    /// when there was one of that name already.
    #[must_use]
    pub fn creating(&self, creation: Creation) -> Store {
        Store {
            creation: Some(Arc::new(creation)),
            ..self.clone()
        }
    }

    /// The same database; an administrator who changes a client through it leaves one of that kind. [`Error::LastOfItsKind`], and nothing
    /// was done, where there would be none.
    #[must_use]
    pub fn keeping(&self, kept: Kept) -> Store {
        Store {
            kept: Some(kept),
            ..self.clone()
        }
    }

    pub(super) fn company(&self) -> &Company {
        &self.inner.company
    }

    pub(super) fn connections(&self) -> &Connections {
        &self.inner.connections
    }

    /// One statement that reads, or several that need not see the same moment.
    pub(super) fn read<T>(&self, intention: impl FnOnce(&mut Conn) -> Result<T, Fault>) -> Result<T, Error> {
        timed(self.part("read"), || self.inner.pool.read(intention))
    }

    /// A part of a request that is done here.
    pub(crate) fn part(&self, operation: &'static str) -> Part {
        let system = match &self.inner.company {
            Company::Writer(_) => "sqlite",
            Company::Couriers(_) => "postgresql",
        };
        Part::Database { system, operation }
    }

    /// One statement that writes. It needs no transaction of its own on PostgreSQL, which saves two round trips.
    pub(super) fn write<T: Send + 'static>(
        &self,
        statement: impl FnOnce(&mut Conn) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        timed(self.part("write"), || match &self.inner.company {
            Company::Writer(writer) => writer.submit(statement),
            Company::Couriers(_) => self.inner.pool.write(statement),
        })
    }

    /// The same for a statement that may be run again after a rollback, which many ask for at once: on SQLite it is cheaper.
    pub(super) fn write_repeatable<T: Send + 'static>(
        &self,
        statement: impl Fn(&mut Conn) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        timed(self.part("write"), || match &self.inner.company {
            Company::Writer(writer) => writer.submit_repeatable(statement),
            Company::Couriers(_) => self.inner.pool.write(statement),
        })
    }

    /// A transaction of an administrator, or of the key wheel: whatever it changes is announced to all nodes and, with its
    /// audit events, becomes visible at once or not at all.
    pub(super) fn administer<T: Send + 'static>(
        &self,
        intention: impl FnOnce(&mut Conn) -> Result<Effect<T>, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        self.transact(ONE_ADMINISTRATOR, intention)
    }

    /// A transaction of an administrator that ends the token families of a client or a user. Once it is answered, nobody is
    /// given a token of those families any more.
    pub(super) fn end_families<T: Send + 'static>(
        &self,
        intention: impl FnOnce(&mut Conn) -> Result<Effect<T>, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        self.transact(&format!("{ONE_ADMINISTRATOR}; {CLOSED_GATE}"), intention)
    }

    /// A transaction that lets somebody who has signed in have tokens. See [`end_families`](Self::end_families).
    pub(super) fn begin_family<T: Send + 'static>(
        &self,
        intention: impl FnOnce(&mut Conn) -> Result<Effect<T>, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        self.transact(OPEN_GATE, intention)
    }

    /// A transaction of a client that adds to what nodes follow by number.
    pub(super) fn enumerate<T: Send + 'static>(
        &self,
        intention: impl FnOnce(&mut Conn) -> Result<Effect<T>, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        self.transact(ONE_AT_A_TIME, intention)
    }

    /// A transaction of a client or a user. It changes rows of theirs alone, so it waits for nobody else and is not announced.
    pub(super) fn act<T: Send + 'static>(
        &self,
        intention: impl FnOnce(&mut Conn) -> Result<Effect<T>, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        self.transact("", intention)
    }

    fn transact<T: Send + 'static>(
        &self,
        first: &str,
        intention: impl FnOnce(&mut Conn) -> Result<Effect<T>, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        let (creation, kept) = (self.creation.clone(), self.kept.clone());
        let transaction = move |conn: &mut Conn| {
            let effect = intention(conn)?;
            if let Some(creation) = creation {
                match effect.events.is_empty() {
                    false => creations::insert(conn, &creation)?,
                    // What stands in its way may be what the same request has made.
                    true => creations::must_be_new(conn, &creation)?,
                }
            }
            if let Some(kept) = kept
                && !client_rows::is_any(conn, &kept)?
            {
                return Err(Fault::LastOfItsKind);
            }
            changes::insert(conn, &effect.changes)?;
            audit::insert(conn, &effect.events)?;
            Ok(effect.outcome)
        };
        timed(self.part("transaction"), || match &self.inner.company {
            Company::Writer(writer) => writer.submit(transaction),
            Company::Couriers(_) => self.inner.pool.write(|conn| conn.transaction(first, transaction)),
        })
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.inner.url)
    }
}

/// Administrative transactions of PostgreSQL wait for each other ("keywheel" in ASCII, as a number).
///
/// A row's id is drawn when it is inserted and the row becomes visible when its transaction commits. Did two transactions
/// overlap, the one with the higher id could commit first; whoever reads the feed in between would go on from there and never
/// see the lower one. The lock is taken before any id is drawn and let go after the commit, so ids become visible in order.
/// It also lets a transaction read before it writes without anything changing in between. SQLite has one writer anyway.
const ONE_ADMINISTRATOR: &str = "SELECT pg_advisory_xact_lock(7738725088465610092)";

/// The same for those who revoke access tokens ("kwrevoke" in ASCII, as a number), so that administrators and they do not wait
/// for each other.
const ONE_AT_A_TIME: &str = "SELECT pg_advisory_xact_lock(7743783864391134053)";

/// Waits until no transaction is under way that gives out a refresh token, and keeps others from beginning.
///
/// Whether client and user allow a rotation is read in the rotation's own statement, by its snapshot of the database. A snapshot
/// from before the end of a family must not give out a token after it; and if each rotation locked the rows of client and user,
/// all of a busy client's would contend for one row and the administrator might wait for ever. But a statement locks the tables
/// that it names before it takes its snapshot, and table locks queue in order. So all of them name an empty table, which costs
/// next to nothing: whoever holds it exclusively has waited for the earlier ones, and the later ones see what the holder
/// committed.
///
/// The two modes conflict with each other and not with that of a mere reader, such as a backup.
const CLOSED_GATE: &str = "LOCK TABLE family_gate IN EXCLUSIVE MODE";
/// Longer than any standby takes that is there. A role sees what its own sessions do.
const A_COMMIT_WAITS: &str = "EXISTS (SELECT FROM pg_stat_activity WHERE usename = current_user AND wait_event = 'SyncRep' \
    AND state_change < clock_timestamp() - interval '3 seconds')";
/// Those of three settings that are off.
const FORGETFUL: &str = "concat_ws(' ', CASE current_setting('fsync') WHEN 'off' THEN 'fsync' END, \
    CASE current_setting('full_page_writes') WHEN 'off' THEN 'full_page_writes' END, \
    CASE current_setting('synchronous_commit') WHEN 'off' THEN 'synchronous_commit' END)";

/// Names the gate in a statement, or before others in a transaction, that gives out a refresh token. Yields no row.
pub(super) const OPEN_GATE: &str = "SELECT id FROM family_gate FOR KEY SHARE";

/// What a transaction did.
pub(super) struct Effect<T> {
    outcome: T,
    changes: Vec<changes::NewChange>,
    events: Vec<AuditEvent>,
}

impl<T> Effect<T> {
    /// Nothing: nobody needs to be told.
    pub(super) fn none(outcome: T) -> Self {
        Effect {
            outcome,
            changes: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Something, of which `event` speaks.
    pub(super) fn of(outcome: T, event: AuditEvent) -> Self {
        Effect {
            events: vec![event],
            ..Effect::none(outcome)
        }
    }

    /// Several things, each with its event.
    pub(super) fn all_of(outcome: T, events: Vec<AuditEvent>) -> Self {
        Effect {
            events,
            ..Effect::none(outcome)
        }
    }

    /// Further events.
    pub(super) fn telling(mut self, events: Vec<AuditEvent>) -> Self {
        self.events.extend(events);
        self
    }

    /// Announces a change to all nodes.
    pub(super) fn changing(mut self, kind: ChangeKind, subject: impl Into<String>, at: i64) -> Self {
        self.changes.push(changes::NewChange::new(kind, subject.into(), at));
        self
    }

    /// Announces a change of each of several keys.
    pub(super) fn changing_keys(self, kids: Vec<String>, at: i64) -> Self {
        kids.into_iter()
            .fold(self, |effect, kid| effect.changing(ChangeKind::SigningKey, kid, at))
    }
}
