use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use argon2::Block;
use rand::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use super::hash::new_salt;
use super::{PasswordHash, PasswordHashError};
use crate::timed::{Part, timed};

/// The bulkhead around password hashes: a few threads, each with its own 19 MiB, and a short queue. More threads than
/// processors would make no hash faster, and every one of them would take memory.
pub struct PasswordHasher {
    queue: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

/// What a password is compared with.
#[derive(Debug)]
pub enum Compared {
    /// The user's own hash.
    WithUser(PasswordHash),
    /// There is no such user, or no hash that can be read: nothing matches this one.
    WithDecoy(PasswordHash),
}

/// What came of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The password is the user's.
    Right {
        /// Whether its hash should be replaced by one of today's.
        upgrade: bool,
    },
    /// It is not, or there is no such user.
    Wrong,
}

/// More passwords wait than can be checked in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the queue of passwords is full")]
pub struct Overloaded;

/// A piece of work with a thread's memory, and until when somebody waits for it.
struct Job {
    work: Box<dyn Work>,
    until: Instant,
}

/// What a thread is asked to do, with the memory that it keeps.
trait Work: FnOnce(&mut Vec<Block>) + Send {}

impl<F: FnOnce(&mut Vec<Block>) + Send> Work for F {}

/// Passwords that wait.
const QUEUE: usize = 64;
/// Longest wait, its own hash included.
const DEADLINE: Duration = Duration::from_secs(2);
/// Longest password that is looked at, in bytes; a longer one is wrong, at the usual cost.
const LONGEST: usize = 1_024;

impl PasswordHasher {
    /// Starts so many threads.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let spawn = |number| {
            let jobs = Arc::clone(&jobs);
            std::thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || serve(&jobs))
        };
        let threads = (0..threads.max(1)).map(spawn).collect::<Result<_, _>>()?;
        Ok(PasswordHasher {
            queue: Some(queue),
            threads,
        })
    }

    /// Compares a password with a user's hash, or with a decoy when there is no such user; the work is the same.
    pub fn verify(&self, compared: Compared, password: &str) -> Result<Verdict, Overloaded> {
        let presented = if password.len() > LONGEST { "" } else { password };
        let given = Zeroizing::new(presented.to_owned());
        let (hash, right) = match compared {
            Compared::WithUser(hash) => {
                let upgrade = hash.needs_upgrade();
                (hash, (!presented.is_empty()).then_some(Verdict::Right { upgrade }))
            }
            Compared::WithDecoy(hash) => (hash, None),
        };
        let verify = move |memory: &mut Vec<Block>| hash.verify(&given, memory);
        let matched = timed(Part::PasswordHash, || self.submit(verify))?;
        Ok(right.filter(|_| matched).unwrap_or(Verdict::Wrong))
    }

    /// Hashes a password that is to be stored.
    pub fn hash(
        &self,
        password: &str,
        rng: &mut dyn CryptoRng,
    ) -> Result<Result<PasswordHash, PasswordHashError>, Overloaded> {
        let (password, salt) = (Zeroizing::new(password.to_owned()), new_salt(rng));
        let hash = move |_: &mut Vec<Block>| PasswordHash::with_salt(&password, salt);
        timed(Part::PasswordHash, || self.submit(hash))
    }

    fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T, Overloaded> {
        let (reply, answer) = sync_channel(1);
        // Whoever gave up is not told.
        let work = Box::new(move |memory: &mut Vec<Block>| drop(reply.send(work(memory))));
        let job = Job {
            work,
            until: Instant::now() + DEADLINE,
        };
        self.queue
            .as_ref()
            .ok_or(Overloaded)?
            .try_send(job)
            .map_err(|_full| Overloaded)?;
        answer.recv_timeout(DEADLINE).map_err(|_too_late| Overloaded)
    }
}

impl Drop for PasswordHasher {
    fn drop(&mut self) {
        drop(self.queue.take());
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to end.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for PasswordHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHasher({} threads)", self.threads.len())
    }
}

fn serve(jobs: &Mutex<Receiver<Job>>) {
    let mut memory: Vec<Block> = Vec::new();
    loop {
        // The lock is held while waiting: whoever has it takes the next job.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // Whoever asked has given up: the work would be for nobody.
        if Instant::now() < job.until {
            (job.work)(&mut memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn only_the_right_password_of_a_known_user_is_right() {
        let mut rng = StdRng::seed_from_u64(1);
        let hasher = PasswordHasher::start(2).unwrap();
        let hash = PasswordHash::create("correct horse", &mut rng).unwrap();
        let user = || Compared::WithUser(hash.clone());
        let decoy = || Compared::WithDecoy(hash.clone());
        assert_eq!(
            hasher.verify(user(), "correct horse"),
            Ok(Verdict::Right { upgrade: false })
        );
        for (compared, password) in [
            (user(), "wrong"),
            (user(), ""),
            (decoy(), "correct horse"),
            (decoy(), ""),
        ] {
            assert_eq!(hasher.verify(compared, password), Ok(Verdict::Wrong));
        }
        // P-04: compared, and wrong, whatever the hash.
        let empty = Compared::WithUser(PasswordHash::create("", &mut rng).unwrap());
        assert_eq!(hasher.verify(empty, &"x".repeat(10_000)), Ok(Verdict::Wrong));
    }

    // P-04
    #[test]
    fn nobody_is_told_wrong_before_a_hash_was_made() {
        let hash = PasswordHash::create("correct horse", &mut StdRng::seed_from_u64(1)).unwrap();
        // It has nobody who would make one.
        let idle = PasswordHasher {
            queue: None,
            threads: Vec::new(),
        };
        for password in ["correct horse", "wrong", "", &"x".repeat(10_000)] {
            for compared in [Compared::WithUser(hash.clone()), Compared::WithDecoy(hash.clone())] {
                assert_eq!(
                    idle.verify(compared, password),
                    Err(Overloaded),
                    "{} bytes",
                    password.len()
                );
            }
        }
    }

    // P-09
    #[test]
    fn a_flood_is_turned_away_and_everybody_is_answered() {
        let mut rng = StdRng::seed_from_u64(1);
        let hasher = PasswordHasher::start(1).unwrap();
        let hash = PasswordHash::create("correct horse", &mut rng).unwrap();
        let answers: Vec<Result<Verdict, Overloaded>> = std::thread::scope(|scope| {
            let ask = || scope.spawn(|| hasher.verify(Compared::WithUser(hash.clone()), "correct horse"));
            let threads: Vec<_> = (0..200).map(|_| ask()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(
            answers
                .iter()
                .all(|answer| matches!(answer, Ok(Verdict::Right { .. }) | Err(Overloaded)))
        );
        assert!(answers.iter().any(Result::is_ok) && answers.iter().any(Result::is_err));
    }
}
