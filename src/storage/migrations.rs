use std::time::Duration;

use diesel::connection::{Connection, SimpleConnection};
use diesel::migration::{Migration as _, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::connection::{Conn, Connections, on};
use super::error::{Cause, Error, Fault};
use super::schema::{__diesel_schema_migrations as applied_migrations, schema_compat};
use super::sqlite::{self, Purpose};
use super::store::Store;

const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// A step of the schema that this version knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its name, the same on both backends.
    pub name: String,
    /// Whether the database has taken it.
    pub applied: bool,
}

impl Store {
    /// Brings the schema up to this version, all steps or none; the names of those that were missing. Several nodes may do
    /// it at once: one does, the others wait and find nothing left. Where nothing is missing nothing is written, so that a replica will
    /// do for who only reads.
    ///
    /// # Errors
    /// [`Error::SchemaTooNew`], and nothing was done, where a later version has migrated the database beyond what this one can use.
    pub fn migrate(&self) -> Result<Vec<String>, Error> {
        let later = self.later_migrations()?;
        if !later.is_empty() {
            tracing::info!(
                ?later,
                "a later version has migrated the database, and left it so that this one can use it"
            );
        }
        if self.migrations()?.iter().all(|migration| migration.applied) {
            return Ok(Vec::new());
        }
        match self.connections() {
            Connections::Postgres(connector) => {
                let mut link = connector.patient().connect().map_err(Error::unavailable)?;
                let migrated = with_patience(|wait| {
                    link.connection.transaction(|connection| {
                        // Ends with the transaction, unlike a session's lock, which a pooler could leave with somebody else.
                        connection.batch_execute(ONE_MIGRATION)?;
                        connection.batch_execute(&format!("SET LOCAL lock_timeout = {}", wait.as_millis()))?;
                        run(connection, POSTGRES)
                    })
                });
                migrated.map_err(|fault| fault.into_error(link.is_lost()))
            }
            Connections::Sqlite { path, busy, statements } => {
                let mut connection =
                    sqlite::connect(path, Purpose::Writing, *busy, statements).map_err(Error::unavailable)?;
                connection
                    .immediate_transaction(|connection| run(connection, SQLITE))
                    .map_err(|fault| fault.into_error(false))
            }
        }
    }

    /// The migrations that this version knows, in order. Changes nothing.
    pub fn migrations(&self) -> Result<Vec<Migration>, Error> {
        let names = self.known()?;
        let applied = self.read(applied)?;
        Ok(names
            .into_iter()
            .map(|(version, name)| Migration {
                name,
                applied: applied.contains(&version),
            })
            .collect())
    }

    /// The numbers of those that the database has taken and this version does not know, in order. Changes nothing.
    ///
    /// # Errors
    /// [`Error::SchemaTooNew`] where this version cannot use what they left.
    pub fn later_migrations(&self) -> Result<Vec<String>, Error> {
        let known: Vec<String> = self.known()?.into_iter().map(|(version, _)| version).collect();
        let mut later = self.read(applied)?;
        later.retain(|version| !known.contains(version));
        later.sort();
        if later.is_empty() {
            return Ok(later);
        }
        let needs = self.read(needs)?;
        match (known.last(), needs) {
            (Some(newest), Some(needs)) if needs <= *newest => Ok(later),
            (_, needs) => Err(Error::SchemaTooNew {
                needs: needs.or_else(|| later.pop()).unwrap_or_default(),
                knows: known.last().cloned().unwrap_or_default(),
            }),
        }
    }

    /// Number and name of each migration that this version knows, in order.
    fn known(&self) -> Result<Vec<(String, String)>, Error> {
        let mut names = match self.connections() {
            Connections::Postgres(_) => names::<Pg>(POSTGRES)?,
            Connections::Sqlite { .. } => names::<Sqlite>(SQLITE)?,
        };
        names.sort();
        Ok(names)
    }
}

/// "kwmigrat" in ASCII, as a number; nobody else's lock.
const ONE_MIGRATION: &str = "SELECT pg_advisory_xact_lock(7743778383761400180)";

/// Who waits to change a table keeps everybody waiting who comes to it later, such as the nodes that serve meanwhile: so it waits for
/// no longer than nobody notices. Now and then it waits longer than the second after which PostgreSQL has a vacuum give way.
const WAITS: [Duration; 5] = [
    Duration::from_millis(300),
    Duration::from_millis(300),
    Duration::from_millis(300),
    Duration::from_millis(300),
    Duration::from_millis(1_500),
];

/// Tries again as long as others hold what is to be changed. It has no end of its own: whoever has no patience ends the process.
fn with_patience<T>(mut migrate: impl FnMut(Duration) -> Result<T, Fault>) -> Result<T, Fault> {
    let (mut is_told, mut pause) = (false, FIRST_PAUSE);
    let mut waits = WAITS.iter().cycle();
    loop {
        match migrate(*waits.next().unwrap_or(&FIRST_PAUSE)) {
            Err(fault) if fault.says_locked() => {
                if !is_told {
                    tracing::warn!(
                        event = "migration.waits",
                        "others use the tables that are to be changed; trying again until they do not"
                    );
                    is_told = true;
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// In which others do what they waited for. A dump of the database holds its tables for hours.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

fn run<C, B>(connection: &mut C, source: EmbeddedMigrations) -> Result<Vec<String>, Fault>
where
    C: MigrationHarness<B>,
    B: diesel::backend::Backend,
    EmbeddedMigrations: MigrationSource<B>,
{
    let mut applied = Vec::new();
    for migration in connection.pending_migrations(source).map_err(Fault::Migration)? {
        connection.run_migration(&*migration).map_err(Fault::Migration)?;
        applied.push(migration.name().to_string());
    }
    Ok(applied)
}

/// Version and name of each.
fn names<B: diesel::backend::Backend>(source: EmbeddedMigrations) -> Result<Vec<(String, String)>, Error>
where
    EmbeddedMigrations: MigrationSource<B>,
{
    let migrations = MigrationSource::<B>::migrations(&source).map_err(|error| Error::Database(Cause::new(error)))?;
    Ok(migrations
        .iter()
        .map(|migration| (migration.name().version().to_string(), migration.name().to_string()))
        .collect())
}

/// The versions that the database has taken, none when it is empty.
fn applied(conn: &mut Conn) -> Result<Vec<String>, Fault> {
    if !has_table(conn, "__diesel_schema_migrations")? {
        return Ok(Vec::new());
    }
    Ok(on!(conn, c => applied_migrations::table.select(applied_migrations::version).load(c))?)
}

/// The newest migration that a program must know to work with the database, if that says so.
fn needs(conn: &mut Conn) -> Result<Option<String>, Fault> {
    if !has_table(conn, "schema_compat")? {
        return Ok(None);
    }
    Ok(on!(conn, c => schema_compat::table.select(schema_compat::needs).get_result(c).optional())?)
}

fn has_table(conn: &mut Conn, name: &str) -> Result<bool, Fault> {
    let tables = match conn {
        Conn::Postgres(_) => {
            "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = ANY (current_schemas(false))"
        }
        Conn::Sqlite(_) => "SELECT name FROM sqlite_master",
    };
    let found: Vec<TableName> = on!(conn, c => diesel::sql_query(tables).load(c))?;
    Ok(found.iter().any(|table| table.name == name))
}

#[derive(QueryableByName)]
struct TableName {
    #[diesel(sql_type = Text)]
    name: String,
}
