use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::Text;

use super::connection::{Conn, Connections};
use super::error::{Error, Fault};
use super::sqlite::{self, Purpose};
use super::store::Store;

impl Store {
    /// Writes a copy of the whole database, of one moment, to a new file that its owner alone can read, while others go on
    /// writing. SQLite alone: PostgreSQL has `pg_dump`.
    ///
    /// # Errors
    /// [`Error::Settings`] on PostgreSQL and for a file that is there already or cannot be made.
    pub fn back_up(&self, file: &Path) -> Result<(), Error> {
        let Connections::Sqlite { path, busy, statements } = self.connections() else {
            return Err(Error::Settings(format!(
                "a PostgreSQL database is backed up with its own tool: pg_dump --format=custom --file={} \"$DATABASE_URL\"",
                file.display()
            )));
        };
        let refused = |why: String| Error::Settings(format!("the backup {}: {why}", file.display()));
        // SQLite writes into an empty file that is there, and leaves its mode alone.
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
        made.map_err(|error| refused(format!("it cannot be made: {error}")))?;
        let written = copy_into(path, file, *busy, statements).and_then(|()| {
            let synced = File::open(file).and_then(|file| file.sync_all());
            synced.map_err(|error| error.to_string())
        });
        written.map_err(|why| {
            // Half a backup is none.
            drop(std::fs::remove_file(file));
            refused(why)
        })
    }

    /// What the database finds wrong with itself; nothing when it is whole. PostgreSQL checks its pages as it reads them.
    pub fn integrity(&self) -> Result<Vec<String>, Error> {
        self.read(|conn| match conn {
            Conn::Postgres(_) => Ok(Vec::new()),
            Conn::Sqlite(connection) => {
                let mut found: Vec<Finding> =
                    diesel::sql_query("SELECT integrity_check AS finding FROM pragma_integrity_check")
                        .load(&mut **connection)?;
                found.retain(|finding| finding.finding != "ok");
                let broken = "SELECT 'a row of ' || \"table\" || ' refers to one that is not there' AS finding \
                              FROM pragma_foreign_key_check";
                found.extend(diesel::sql_query(broken).load::<Finding>(&mut **connection)?);
                Ok::<_, Fault>(found.into_iter().map(|finding| finding.finding).collect())
            }
        })
    }
}

fn copy_into(
    path: &Path,
    file: &Path,
    busy: Duration,
    statements: &std::sync::Arc<std::sync::atomic::AtomicU64>,
) -> Result<(), String> {
    let mut connection = sqlite::connect(path, Purpose::Writing, busy, statements)?;
    let name = file.to_str().ok_or("the path is not UTF-8")?;
    diesel::sql_query("VACUUM INTO ?")
        .bind::<Text, _>(name)
        .execute(&mut connection)
        .map(drop)
        .map_err(|error| error.to_string())
}

#[derive(QueryableByName)]
struct Finding {
    #[diesel(sql_type = Text)]
    finding: String,
}
