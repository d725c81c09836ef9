//! Many families with a token each, put into the database behind keywheel's back, because one login after the other would
//! take hours.

use std::fmt::Write;

use diesel::SqliteConnection;
use diesel::connection::{Connection, SimpleConnection};
use keywheel::oauth::{Client, User};
use keywheel::storage::DatabaseUrl;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::NoTls;

use super::Outcome;
use super::store::{END, NOW, family, hash};

/// Whose families they are.
pub(super) struct Holders {
    pub(super) client: Client,
    pub(super) user: User,
}

/// Families in one statement.
const AT_ONCE: usize = 500;
/// From so many on, PostgreSQL is told how many there are. Of a table that it knows to be tiny it would go on reading all,
/// however much it grows meanwhile.
const MANY: u64 = 10_000;

/// What is added: families with the numbers from 0 on, and how often the token of each was exchanged. Those from number `living` on
/// have expired.
pub(super) struct Crowd {
    pub(super) families: u64,
    pub(super) living: u64,
    pub(super) exchanged: u64,
}

/// Adds them.
pub(super) fn fill(url: &str, parsed: &DatabaseUrl, holders: &Holders, crowd: &Crowd) -> Outcome<()> {
    let mut link = Link::open(url, parsed)?;
    for sql in link.before() {
        link.run(sql)?;
    }
    let numbers: Vec<u64> = (0..crowd.families).collect();
    for some in numbers.chunks(AT_ONCE) {
        let sql = rows(some, holders, crowd, link.hexadecimal())?;
        link.run(&sql)?;
    }
    link.run("COMMIT")?;
    if crowd.families >= MANY {
        // One by one: PostgreSQL takes several in one message for one transaction.
        for sql in link.after() {
            link.run(sql)?;
        }
    }
    Ok(())
}

fn rows(numbers: &[u64], holders: &Holders, crowd: &Crowd, (open, close): (&str, &str)) -> Outcome<String> {
    let Holders { client, user } = holders;
    let (mut families, mut tokens) = (String::new(), String::new());
    let mut between = "";
    for number in numbers {
        let family = family(*number);
        let end = if *number < crowd.living { END } else { NOW - 86_400 };
        write!(
            families,
            "{between}('{family}',{},{},{},{},'read write','',{NOW},{end})",
            client.row, client.epoch, user.row, user.epoch
        )?;
        for generation in 0..=crowd.exchanged {
            write!(tokens, "{between}({open}")?;
            for byte in hash(&family, generation).as_bytes() {
                write!(tokens, "{byte:02x}")?;
            }
            let rotated = if generation < crowd.exchanged { "1" } else { "NULL" };
            write!(tokens, "{close},'{family}',{generation},{NOW},{end},{rotated})")?;
            between = ",";
        }
    }
    Ok(format!(
        "INSERT INTO token_families (id, client, client_epoch, owner, owner_epoch, scope, audiences, created_at, expires_at) \
         VALUES {families}; \
         INSERT INTO refresh_tokens (hash, family, generation, issued_at, expires_at, rotated_at) VALUES {tokens}"
    ))
}

/// A connection that may do everything.
enum Link {
    Sqlite(SqliteConnection),
    Postgres(Runtime, tokio_postgres::Client),
}

impl Link {
    fn open(url: &str, parsed: &DatabaseUrl) -> Outcome<Self> {
        if let Some(path) = parsed.sqlite_path() {
            let path = path.to_str().ok_or("the path is not UTF-8")?;
            return Ok(Link::Sqlite(SqliteConnection::establish(path)?));
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(connection);
            Outcome::Ok(client)
        })?;
        Ok(Link::Postgres(runtime, client))
    }

    fn run(&mut self, sql: &str) -> Outcome<()> {
        match self {
            Link::Sqlite(connection) => Ok(connection.batch_execute(sql)?),
            Link::Postgres(runtime, client) => Ok(runtime.block_on(client.batch_execute(sql))?),
        }
    }

    /// One transaction, without asking for each row whether what it refers to is there.
    fn before(&self) -> &'static [&'static str] {
        match self {
            Link::Sqlite(_) => &[
                "PRAGMA busy_timeout = 5000",
                // Three gigabytes, if so much is written: hashes come in no order.
                "PRAGMA cache_size = -3000000",
                // Each page that a statement changes is copied first, in case the statement fails in its middle.
                "PRAGMA temp_store = MEMORY",
                "BEGIN IMMEDIATE",
            ],
            Link::Postgres(..) => &["SET session_replication_role = replica", "BEGIN"],
        }
    }

    /// PostgreSQL would count the rows by itself after a minute, in the middle of a measurement.
    fn after(&self) -> &'static [&'static str] {
        match self {
            Link::Sqlite(_) => &["PRAGMA wal_checkpoint(TRUNCATE)"],
            Link::Postgres(..) => &["VACUUM ANALYZE", "CHECKPOINT"],
        }
    }

    /// What is in front of and behind the hexadecimal digits of bytes.
    fn hexadecimal(&self) -> (&'static str, &'static str) {
        match self {
            Link::Sqlite(_) => ("x'", "'"),
            Link::Postgres(..) => ("'\\x", "'"),
        }
    }
}
