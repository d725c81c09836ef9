use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::{HttpRequest, web};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::response::Refusal;
use crate::oauth::ErrorCode;

/// The line of those who want a signature of one worker. Every few signatures the worker looks after whatever else came, so that a
/// key set or a health check does not wait for everybody who wants a token.
///
/// The line is bounded: who comes when it is full is told so.
#[derive(Debug)]
pub(super) struct Line {
    turns: Semaphore,
    /// Written by the worker alone.
    waiting: Arc<AtomicUsize>,
    /// Turns since the worker looked at its connections.
    since: Cell<u32>,
}

/// The line is full: worth trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Line {
    /// An empty line, for one worker. How many are in it can be seen from elsewhere.
    pub(super) fn new(waiting: Arc<AtomicUsize>) -> Self {
        Line {
            turns: Semaphore::new(1),
            waiting,
            since: Cell::new(0),
        }
    }

    /// The line of the worker that has the request; every worker has one.
    pub(super) fn of(request: &HttpRequest) -> Result<&Self, Refusal> {
        let line = request.app_data::<web::Data<Line>>();
        line.map(|line| &***line).ok_or(Refusal::failed(ErrorCode::ServerError))
    }

    /// Refuses a request for which there is no place, before anything is done for it: what a refusal costs is taken from signatures.
    pub(super) async fn has_room(&self) -> Result<(), Full> {
        if self.waiting.load(Ordering::Relaxed) < MOST_WAITING {
            return Ok(());
        }
        sleep(REFUSED_AFTER).await;
        Err(Full)
    }

    /// Waits until it is this request's turn, which lasts until the answer is dropped. Who has waited for too long gets none: by then
    /// nobody may be there any more, and the others come the sooner.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, Full> {
        let Some(_place) = Place::take(&self.waiting) else {
            return self.has_room().await.and(Err(Full));
        };
        let turn = match self.turns.try_acquire() {
            Ok(turn) => turn,
            Err(_taken) => {
                let came = Instant::now();
                let turn = self.turns.acquire().await.map_err(|_closed| Full)?;
                if came.elapsed() > LONGEST_WAIT {
                    return Err(Full);
                }
                turn
            }
        };
        if self.since.get() >= TURNS_AT_ONCE {
            yield_now().await;
            self.since.set(0);
        }
        self.since.set(self.since.get() + 1);
        Ok(turn)
    }
}

/// Most requests in the line of one worker. With RSA 2048 the last of them waits an eighth of a second.
const MOST_WAITING: usize = 512;
/// Longest wait for a turn, which longer keys and slower processors come to.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Signatures after which the worker looks at its connections.
const TURNS_AT_ONCE: u32 = 4;
/// Refused at once, a client that tries again at once would keep the worker from signing.
const REFUSED_AFTER: Duration = Duration::from_millis(20);

/// A place in the line; given back however the wait ends.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        // Nobody else writes: reading and writing apart costs less than an addition in one.
        let before = waiting.load(Ordering::Relaxed);
        (before < MOST_WAITING).then(|| {
            waiting.store(before + 1, Ordering::Relaxed);
            Place(waiting)
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.saturating_sub(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::rc::Rc;
    use std::task::{Context, Poll, Waker};

    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    fn run<F: Future>(test: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(LocalSet::new().run_until(test))
    }

    //
    #[test]
    fn a_full_line_refuses_and_a_place_given_back_is_taken() {
        run(async {
            let line = Line::new(Arc::default());
            let turn = line.turn().await.unwrap();
            let mut nobody = Context::from_waker(Waker::noop());
            let mut waiting: Vec<_> = (0..MOST_WAITING).map(|_| Box::pin(line.turn())).collect();
            for request in &mut waiting {
                assert!(matches!(request.as_mut().poll(&mut nobody), Poll::Pending));
            }
            assert_eq!(line.turn().await.unwrap_err(), Full);
            // Somebody hangs up.
            waiting.pop();
            let mut next = Box::pin(line.turn());
            assert!(matches!(next.as_mut().poll(&mut nobody), Poll::Pending));
            drop(turn);
            drop(waiting);
            assert!(next.await.is_ok());
            assert_eq!(line.waiting.load(Ordering::Relaxed), 0);
        });
    }

    #[test]
    fn who_has_waited_for_too_long_gets_no_turn_and_the_next_one_does() {
        run(async {
            let line = Line::new(Arc::default());
            let turn = line.turn().await.unwrap();
            let mut nobody = Context::from_waker(Waker::noop());
            let mut late = Box::pin(line.turn());
            assert!(matches!(late.as_mut().poll(&mut nobody), Poll::Pending));
            std::thread::sleep(LONGEST_WAIT + Duration::from_millis(10));
            let mut early = Box::pin(line.turn());
            assert!(matches!(early.as_mut().poll(&mut nobody), Poll::Pending));
            drop(turn);
            assert_eq!(late.await.unwrap_err(), Full);
            assert!(early.await.is_ok());
        });
    }

    //
    #[test]
    fn others_are_served_after_a_few_turns_and_not_after_all() {
        run(async {
            let (line, signed, seen) = (
                Rc::new(Line::new(Arc::default())),
                Rc::new(Cell::new(0)),
                Rc::new(Cell::new(None)),
            );
            let turns: Vec<_> = (0..100)
                .map(|_| {
                    let (line, signed) = (Rc::clone(&line), Rc::clone(&signed));
                    spawn_local(async move {
                        let _turn = line.turn().await.unwrap();
                        signed.set(signed.get() + 1);
                    })
                })
                .collect();
            let other = (Rc::clone(&signed), Rc::clone(&seen));
            spawn_local(async move { other.1.set(Some(other.0.get())) });
            for turn in turns {
                turn.await.unwrap();
            }
            assert_eq!((signed.get(), seen.get()), (100, Some(TURNS_AT_ONCE)));
        });
    }
}
