//! The one thread that writes to SQLite.
//!
//! SQLite has one writer at a time however many ask, and most of a write is waiting for the disk. So intentions queue here,
//! and one commit carries all that wait (group commit). A failing one takes nobody with it: each has a savepoint of its own, or
//! those that can be run twice have none and are run again with one, should any of them fail.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::connection::Conn;
use super::error::{Cause, Error, Fault};
use super::sqlite::{self, Purpose};
use super::turn::Turn;

/// Most intentions in one commit.
const BATCH: usize = 128;
/// Most intentions that wait; more is [`Error::Unavailable`] at once.
const QUEUE: usize = 1_024;

/// The writer thread's front. Dropping it ends the thread after what is queued.
pub(super) struct Writer {
    queue: Option<SyncSender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    deadline: Duration,
}

impl Writer {
    /// Opens the database and starts the thread. `busy` is how long a lock of another process is waited for, `deadline` how
    /// long an intention may wait for its turn.
    pub(super) fn start(
        path: PathBuf,
        busy: Duration,
        deadline: Duration,
        statements: Arc<AtomicU64>,
    ) -> Result<Self, Error> {
        let open =
            move || sqlite::connect(&path, Purpose::Writing, busy, &statements).map(|c| Conn::Sqlite(Box::new(c)));
        let first = open().map_err(Error::unavailable)?;
        let (queue, jobs) = sync_channel(QUEUE);
        let thread = Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || serve(&jobs, Some(first), &open))
            .map_err(Error::unavailable)?;
        Ok(Writer {
            queue: Some(queue),
            thread: Some(thread),
            deadline,
        })
    }

    /// Has `intention` run by the thread and waits until it is committed. An intention that was given up is never run.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        intention: impl FnOnce(&mut Conn) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        let mut once = Some(intention);
        let intention = move |conn: &mut Conn| {
            let intention = once
                .take()
                .ok_or_else(|| Fault::corrupt("sqlite-writer", "an intention ran twice".to_owned()))?;
            intention(conn)
        };
        self.wait_for(intention, Repeatable::No)
    }

    /// The same for what can be run a second time after the first was rolled back. SQLite copies every page that is changed in a
    /// savepoint, which for a few rows is a tenth of the work.
    pub(super) fn submit_repeatable<T: Send + 'static>(
        &self,
        intention: impl Fn(&mut Conn) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        self.wait_for(intention, Repeatable::Yes)
    }

    /// The same without waiting: `done` is told the outcome, on the thread.
    pub(super) fn submit_soon<T: Send + 'static>(
        &self,
        intention: impl Fn(&mut Conn) -> Result<T, Fault> + Send + 'static,
        done: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) -> Arc<Turn> {
        self.queue(intention, Repeatable::Yes, done)
    }

    fn wait_for<T: Send + 'static>(
        &self,
        intention: impl FnMut(&mut Conn) -> Result<T, Fault> + Send + 'static,
        repeatable: Repeatable,
    ) -> Result<T, Error> {
        let (reply, answer) = sync_channel(1);
        // A caller that no longer listens needs no answer.
        let turn = self.queue(intention, repeatable, move |outcome| drop(reply.send(outcome)));
        match answer.recv_timeout(self.deadline) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) if turn.give_up() => {
                Err(Error::unavailable("the write waited too long for its turn"))
            }
            // Its turn has come: whether it happened is known soon, and must be known.
            Err(RecvTimeoutError::Timeout) => answer.recv().unwrap_or_else(|_ended| Err(gone())),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }

    fn queue<T: Send + 'static>(
        &self,
        intention: impl FnMut(&mut Conn) -> Result<T, Fault> + Send + 'static,
        repeatable: Repeatable,
        done: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) -> Arc<Turn> {
        let turn = Arc::new(Turn::default());
        let job = Box::new(Intention {
            intention,
            repeatable,
            outcome: None,
            turn: Arc::clone(&turn),
            done,
        });
        let (job, why): (Box<dyn Job>, _) = match self.queue.as_ref().map(|queue| queue.try_send(job)) {
            Some(Err(TrySendError::Full(job))) => (job, Error::unavailable("too many writes are waiting")),
            Some(Err(TrySendError::Disconnected(job))) => (job, gone()),
            Some(Ok(())) | None => return turn,
        };
        job.answer(&Err(why));
        turn
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the SQLite writer thread had panicked");
        }
    }
}

fn gone() -> Error {
    Error::unavailable("the SQLite writer thread has ended")
}

/// What the thread sees of an intention, whatever its type.
trait Job: Send {
    /// Whether the caller still waits; from now on it does until it is answered.
    fn begin(&self) -> bool;
    /// Whether it may be run again after a rollback.
    fn repeatable(&self) -> Repeatable;
    /// Runs the intention; returns whether its changes are to be kept.
    fn run(&mut self, conn: &mut Conn) -> bool;
    /// Tells the caller: its own outcome, or why the batch was not committed.
    fn answer(self: Box<Self>, committed: &Result<(), Error>);
}

/// Whether an intention may be run a second time. Those that may come first in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Repeatable {
    Yes,
    No,
}

struct Intention<T, F, D> {
    intention: F,
    repeatable: Repeatable,
    outcome: Option<Result<T, Error>>,
    turn: Arc<Turn>,
    done: D,
}

impl<T: Send, F, D> Job for Intention<T, F, D>
where
    F: FnMut(&mut Conn) -> Result<T, Fault> + Send,
    D: FnOnce(Result<T, Error>) + Send,
{
    fn begin(&self) -> bool {
        self.turn.begin()
    }

    fn repeatable(&self) -> Repeatable {
        self.repeatable
    }

    fn run(&mut self, conn: &mut Conn) -> bool {
        let outcome = catch_unwind(AssertUnwindSafe(|| conn.run(&mut self.intention)))
            .unwrap_or_else(|_panic| Err(Error::Database(Cause::new("the intention panicked"))));
        let keep = outcome.is_ok();
        self.outcome = Some(outcome);
        keep
    }

    fn answer(self: Box<Self>, committed: &Result<(), Error>) {
        let outcome = match (self.outcome, committed) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error.clone()),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(gone()),
        };
        (self.done)(outcome);
    }
}

fn serve(jobs: &Receiver<Box<dyn Job>>, first: Option<Conn>, open: &dyn Fn() -> Result<Conn, String>) {
    let mut connection = first;
    while let Ok(job) = jobs.recv() {
        let waiting = std::iter::once(job).chain(jobs.try_iter().take(BATCH - 1));
        let mut batch: Vec<Box<dyn Job>> = waiting.filter(|job| job.begin()).collect();
        if batch.is_empty() {
            continue;
        }
        let committed = match connection.take().map_or_else(open, Ok) {
            Ok(mut conn) => {
                let committed = commit(&mut conn, &mut batch);
                match &committed {
                    Ok(()) => connection = Some(conn),
                    // A connection in an unknown state is not used again.
                    Err(error) => tracing::warn!(%error, writes = batch.len(), "a batch of writes was not committed"),
                }
                committed
            }
            Err(reason) => Err(Error::unavailable(reason)),
        };
        for job in batch {
            job.answer(&committed);
        }
    }
    // The process may end before those that read have closed: so that the file is whole without its log. PASSIVE waits for nobody
    // and keeps nobody waiting: another process may be serving.
    if let Some(Err(error)) = connection.map(|mut conn| conn.batch("PRAGMA wal_checkpoint(PASSIVE)")) {
        tracing::debug!(%error, "the write-ahead log was left beside the database");
    }
}

/// Runs the batch in one transaction. An error means that nothing of it happened. Those who wait at the same time do not mind in
/// which order.
fn commit(conn: &mut Conn, batch: &mut [Box<dyn Job>]) -> Result<(), Error> {
    batch.sort_by_key(|job| job.repeatable());
    let repeatable = batch.partition_point(|job| job.repeatable() == Repeatable::Yes);
    conn.run(|conn| Ok(conn.batch("BEGIN IMMEDIATE")?))?;
    let committed = conn.run(|conn| {
        let (repeatable, once) = batch.split_at_mut(repeatable);
        if !repeatable.iter_mut().all(|job| job.run(conn)) {
            conn.batch("ROLLBACK")?;
            conn.batch("BEGIN IMMEDIATE")?;
            one_by_one(conn, repeatable)?;
        }
        one_by_one(conn, once)?;
        Ok(conn.batch("COMMIT")?)
    });
    if committed.is_err() && conn.batch("ROLLBACK").is_err() {
        tracing::debug!("SQLite had rolled the batch back already");
    }
    committed
}

fn one_by_one(conn: &mut Conn, jobs: &mut [Box<dyn Job>]) -> Result<(), Fault> {
    for job in jobs {
        conn.batch("SAVEPOINT intention")?;
        if !job.run(conn) {
            conn.batch("ROLLBACK TO intention")?;
        }
        conn.batch("RELEASE intention")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use diesel::prelude::*;

    use super::*;

    fn writer(deadline: Duration) -> (tempfile::TempDir, Writer) {
        counting_writer(deadline, Arc::default())
    }

    fn counting_writer(deadline: Duration, statements: Arc<AtomicU64>) -> (tempfile::TempDir, Writer) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("w.db");
        let writer = Writer::start(path, Duration::from_millis(100), deadline, statements).unwrap();
        writer
            .submit(|conn| Ok(conn.batch("CREATE TABLE t (n INTEGER NOT NULL, data TEXT)")?))
            .unwrap();
        (directory, writer)
    }

    fn rows(writer: &Writer) -> i64 {
        let count = |conn: &mut Conn| {
            let sum = diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT count(*) FROM t");
            Ok(super::super::connection::on!(conn, c => sum.get_result(c))?)
        };
        writer.submit(count).unwrap()
    }

    fn insert(writer: &Writer) -> Result<(), Error> {
        writer.submit(|conn| Ok(conn.batch("INSERT INTO t VALUES (1, 'one')")?))
    }

    /// Has the thread stay in an intention until it is released, so that others queue behind it.
    fn hold_up<'scope>(scope: &'scope std::thread::Scope<'scope, '_>, writer: &'scope Writer) -> SyncSender<()> {
        let (entered, has_entered) = sync_channel(1);
        let (release, is_released) = sync_channel::<()>(1);
        scope.spawn(move || {
            writer.submit(move |_| {
                entered.send(()).unwrap();
                is_released.recv().unwrap();
                Ok(())
            })
        });
        has_entered.recv().unwrap();
        release
    }

    #[test]
    fn an_intention_that_fails_or_panics_leaves_nothing_behind_and_the_thread_lives_on() {
        let (_directory, writer) = writer(Duration::from_secs(5));
        let failing = writer.submit(|conn| {
            conn.batch("INSERT INTO t VALUES (1, '')")?;
            Ok(conn.batch("INSERT INTO t VALUES (NULL, '')")?)
        });
        assert!(matches!(failing, Err(Error::Database(_))), "{failing:?}");
        let panicking = writer.submit::<()>(|conn| {
            conn.batch("INSERT INTO t VALUES (1, '')")?;
            panic!("on purpose")
        });
        assert!(matches!(panicking, Err(Error::Database(_))), "{panicking:?}");
        assert_eq!(rows(&writer), 0);
        insert(&writer).unwrap();
        assert_eq!(rows(&writer), 1);
    }

    #[test]
    fn what_can_be_run_twice_needs_no_savepoint_and_is_run_again_alone_when_one_of_them_fails() {
        let statements = Arc::new(AtomicU64::new(0));
        let (_directory, writer) = counting_writer(Duration::from_secs(5), Arc::clone(&statements));
        let batch = |fails: &[i64]| {
            std::thread::scope(|scope| {
                let writer = &writer;
                let release = hold_up(scope, writer);
                let before = statements.load(Ordering::Relaxed);
                let waiting = [1, 2, 3].map(|n| {
                    let value = if fails.contains(&n) {
                        "NULL".to_owned()
                    } else {
                        n.to_string()
                    };
                    let sql = format!("INSERT INTO t VALUES ({value}, '')");
                    // One of those that cannot be run twice is among them, and is run once.
                    scope.spawn(move || match n {
                        1 => writer.submit(move |conn| Ok(conn.batch(&sql)?)),
                        _ => writer.submit_repeatable(move |conn| Ok(conn.batch(&sql)?)),
                    })
                });
                std::thread::sleep(Duration::from_millis(200));
                release.send(()).unwrap();
                let answers = waiting.map(|answer| answer.join().unwrap().is_ok());
                assert_eq!(answers, [1, 2, 3].map(|n| !fails.contains(&n)));
                statements.load(Ordering::Relaxed) - before
            })
        };
        // The end of the batch before; then a transaction, two inserts and one with its savepoint.
        assert_eq!(batch(&[]), 2 + (2 + 2 + 3));
        assert_eq!(rows(&writer), 3);
        // The first of the two may be the one that fails, and is then the only one that was tried.
        let told = batch(&[2]);
        let again = 2 + 3 + 4;
        assert!(
            [2 + (2 + 1 + again + 3), 2 + (2 + 2 + again + 3)].contains(&told),
            "{told}"
        );
        assert_eq!(rows(&writer), 5);
        batch(&[1, 2, 3]);
        assert_eq!(rows(&writer), 5);
    }

    #[test]
    fn those_who_wait_together_share_one_commit_and_each_gets_its_own_answer() {
        let statements = Arc::new(AtomicU64::new(0));
        let (_directory, writer) = counting_writer(Duration::from_secs(5), Arc::clone(&statements));
        let before = statements.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            let writer = &writer;
            let release = hold_up(scope, writer);
            let waiting: Vec<_> = (0..20)
                .map(|n| {
                    scope.spawn(move || {
                        writer.submit(move |conn| {
                            let value = if n % 5 == 0 { "NULL" } else { "1" };
                            Ok(conn.batch(&format!("INSERT INTO t VALUES ({value}, '')")).map(|()| n)?)
                        })
                    })
                })
                .collect();
            // All are queued behind the one that is held up; how long that takes does not matter for the outcome.
            std::thread::sleep(Duration::from_millis(200));
            release.send(()).unwrap();
            for (n, answer) in waiting.into_iter().enumerate() {
                match answer.join().unwrap() {
                    Ok(answered) => assert!(answered == n && n % 5 != 0),
                    Err(_) => assert_eq!(n % 5, 0),
                }
            }
        });
        // Each has its savepoint, its insert and its release, four have a rollback; the first and the twenty each have one
        // transaction between them.
        assert_eq!(statements.load(Ordering::Relaxed) - before, (2 + 2) + (2 + 20 * 3 + 4));
        assert_eq!(rows(&writer), 16);
    }

    // N-02
    #[test]
    fn a_full_database_is_unavailable_and_works_again_when_there_is_room() {
        let (_directory, writer) = writer(Duration::from_secs(5));
        insert(&writer).unwrap();
        // Of this connection alone; the writer opens another one after the failure, and then there is room.
        writer
            .submit(|conn| Ok(conn.batch("PRAGMA max_page_count = 1")?))
            .unwrap();
        let full =
            writer.submit(|conn| Ok(conn.batch(&format!("INSERT INTO t VALUES (1, '{}')", "x".repeat(100_000)))?));
        assert!(matches!(full, Err(Error::Unavailable { .. })), "{full:?}");
        insert(&writer).unwrap();
        assert_eq!(rows(&writer), 2);
    }

    #[test]
    fn who_waited_too_long_is_told_so_and_the_intention_is_never_run() {
        let (_directory, writer) = writer(Duration::from_millis(50));
        let (entered, has_entered) = sync_channel(1);
        std::thread::scope(|scope| {
            let writer = &writer;
            let slow = scope.spawn(move || {
                writer.submit(move |_| {
                    entered.send(()).unwrap();
                    std::thread::sleep(Duration::from_millis(300));
                    Ok(())
                })
            });
            has_entered.recv().unwrap();
            assert!(matches!(insert(writer), Err(Error::Unavailable { .. })));
            assert!(
                slow.join().unwrap().is_ok(),
                "whose turn has come gets the true outcome, however late"
            );
        });
        assert_eq!(rows(&writer), 0);
    }

    #[test]
    fn dropping_the_writer_finishes_what_is_queued_and_ends_the_thread() {
        let (directory, writer) = writer(Duration::from_secs(5));
        insert(&writer).unwrap();
        drop(writer);
        // The last connection to close removes the log.
        assert!(!directory.path().join("w.db-wal").exists());
    }
}
