use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use actix_web::rt::spawn;
use tokio::time::{Instant, sleep};
use tracing::warn;

/// The connections of one worker. When there is hardly room for more, those on which nothing has happened for longest are closed: else
/// whoever holds connections without using them would keep everybody else out.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    /// How many there are on all workers together.
    everywhere: Arc<AtomicUsize>,
    here: RefCell<HashMap<u64, Weak<Progress>>>,
    last: Cell<u64>,
    /// Whether somebody sees to it that there is room.
    is_watched: Cell<bool>,
    /// When the log was told last.
    told_at: Cell<Option<Instant>>,
}

/// How far a connection has come: what those who serve it, those who answer its requests, and those who want its place know of it.
#[derive(Debug)]
pub(super) struct Progress {
    /// Requests that were handed on and have no answer yet.
    under_way: Cell<u32>,
    /// What the last of them has coming.
    coming: Cell<Coming>,
    /// Whether it waits for more of that.
    owes_body: Cell<bool>,
    /// How many bytes came since the last request was handed on, and how many belong to that one.
    came: Cell<usize>,
    belongs: Cell<usize>,
    /// Whether there was a request, or an answer, since somebody looked for those who may leave.
    is_fresh: Cell<bool>,
    /// Since when the head of a request is arriving.
    head_since: Cell<Option<Instant>>,
    /// When the last one began to.
    seen_at: Cell<Instant>,
    has_to_leave: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// The body of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Coming {
    /// Of so many bytes. It may have arrived.
    Bytes(u64),
    /// Nobody knows where it ends before it does.
    Unknown,
}

/// In bytes. actix keeps the room that it has made for a request for as long as the connection lasts.
const BULKY: usize = 16 * 1024;
/// Of the room, what may be taken before others have to leave, and how much room is made then.
const CROWDED: (usize, usize) = (7, 8);
const LEAVE_AT_ONCE: usize = 16;
/// Nobody has to leave who was seen within this time: a request may be on its way.
const LEFT_ALONE: Duration = Duration::from_secs(1);
/// Time between two looks for those who may leave. Each costs a look at all.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const TELL_EVERY: Duration = Duration::from_secs(60);

impl Crowd {
    /// Nobody, and room for `most`. Those who come are counted `everywhere`, too.
    pub(super) fn of(most: usize, everywhere: Arc<AtomicUsize>) -> Rc<Self> {
        Rc::new(Crowd {
            most,
            everywhere,
            here: RefCell::default(),
            last: Cell::new(0),
            is_watched: Cell::new(false),
            told_at: Cell::new(None),
        })
    }

    /// One more connection at `now`, when its first head begins to be due.
    pub(super) fn join(self: Rc<Self>, now: Instant) -> Place {
        let progress = Rc::new(Progress {
            under_way: Cell::new(0),
            coming: Cell::new(Coming::Bytes(0)),
            owes_body: Cell::new(false),
            came: Cell::new(0),
            belongs: Cell::new(0),
            is_fresh: Cell::new(false),
            head_since: Cell::new(Some(now)),
            seen_at: Cell::new(now),
            has_to_leave: Cell::new(false),
            waker: RefCell::new(None),
        });
        let number = self.last.get() + 1;
        self.last.set(number);
        self.here.borrow_mut().insert(number, Rc::downgrade(&progress));
        self.everywhere.fetch_add(1, Ordering::Relaxed);
        Place {
            crowd: self,
            number,
            progress,
        }
    }

    /// Has room made, and goes on until there is enough, if nobody does already.
    pub(super) fn watch(self: &Rc<Self>) {
        if self.is_crowded() && !self.is_watched.replace(true) {
            let crowd = Rc::clone(self);
            spawn(async move {
                while crowd.is_crowded() {
                    crowd.make_room(Instant::now());
                    sleep(LOOK_EVERY).await;
                }
                crowd.is_watched.set(false);
            });
        }
    }

    fn is_crowded(&self) -> bool {
        self.here.borrow().len() >= (self.most * CROWDED.0 / CROWDED.1).max(1)
    }

    /// Asks those to leave on which nothing has happened for longest.
    fn make_room(&self, now: Instant) {
        let here = self.here.borrow();
        let mut idle: Vec<(Instant, Rc<Progress>)> = here
            .values()
            .filter_map(Weak::upgrade)
            .filter(|progress| progress.is_idle(now))
            .map(|progress| (progress.seen_at.get(), progress))
            .collect();
        idle.sort_unstable_by_key(|(seen_at, _)| *seen_at);
        idle.truncate((self.most / LEAVE_AT_ONCE).max(1));
        for (_, progress) in &idle {
            progress.ask_to_leave();
        }
        let is_told = |told_at| now.saturating_duration_since(told_at) < TELL_EVERY;
        if !self.told_at.get().is_some_and(is_told) {
            self.told_at.set(Some(now));
            let (connections, closed) = (here.len(), idle.len());
            warn!(
                event = "connections.crowded",
                connections, closed, "a worker has hardly room for more connections: idle ones are closed"
            );
        }
    }
}

impl Progress {
    /// The head of a request has arrived, and the request is handed on.
    pub(super) fn has_request(&self, body: Coming) {
        self.under_way.set(self.under_way.get() + 1);
        self.belongs.set(self.came.take());
        self.coming.set(body);
        self.owes_body.set(false);
        self.head_since.set(None);
        self.is_fresh.set(true);
    }

    /// There is an answer to a request that was handed on.
    pub(super) fn is_answered(&self) {
        self.under_way.set(self.under_way.get().saturating_sub(1));
        self.owes_body.set(false);
        self.is_fresh.set(true);
    }

    /// Whether whoever answers waits for more of the body. Until there was an answer, nothing more of it is taken otherwise.
    pub(super) fn owes_body(&self, owes_body: bool) {
        self.owes_body.set(owes_body);
    }

    /// Whether more of the body is waited for.
    pub(super) fn is_owed_body(&self) -> bool {
        self.owes_body.get()
    }

    /// The body of the last request that was handed on.
    pub(super) fn last_body(&self) -> Coming {
        self.coming.get()
    }

    /// The body of the request that waits for its answer, if one does.
    pub(super) fn coming(&self) -> Option<Coming> {
        self.is_under_way().then(|| self.coming.get())
    }

    /// Whether a request waits for its answer.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.get() > 0
    }

    /// Whether it is for the other end to go on: it may be asked to leave.
    pub(super) fn is_waiting_for_others(&self) -> bool {
        !self.is_under_way() || self.is_owed_body()
    }

    /// So many bytes arrived, of a head or of a body.
    pub(super) fn has_taken(&self, bytes: usize) {
        let count = if self.is_under_way() { &self.belongs } else { &self.came };
        count.set(count.get().saturating_add(bytes));
    }

    /// Whether the request was so long that the room which was made for it should not be kept.
    pub(super) fn is_bulky(&self) -> bool {
        self.belongs.get() > BULKY
    }

    /// The head of a request begins to arrive.
    pub(super) fn head_begins(&self, now: Instant) {
        self.head_since.set(Some(now));
        self.seen_at.set(now);
    }

    /// Whom to wake when it has to leave.
    pub(super) fn is_served_by(&self, waker: &Waker) {
        let mut own = self.waker.borrow_mut();
        if !own.as_ref().is_some_and(|own| own.will_wake(waker)) {
            *own = Some(waker.clone());
        }
    }

    /// Since when the head of a request is arriving, if one is.
    pub(super) fn head_since(&self) -> Option<Instant> {
        self.head_since.get()
    }

    /// Whether others want its place.
    pub(super) fn has_to_leave(&self) -> bool {
        self.has_to_leave.get()
    }

    /// Who was asked already leaves by itself, as soon as its answer is taken.
    fn is_idle(&self, now: Instant) -> bool {
        if self.is_fresh.take() {
            self.seen_at.set(now);
        }
        let since = now.saturating_duration_since(self.seen_at.get());
        self.is_waiting_for_others() && !self.has_to_leave() && since >= LEFT_ALONE
    }

    fn ask_to_leave(&self) {
        self.has_to_leave.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// A connection among the others; given back however it ends.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Rc<Crowd>,
    number: u64,
    progress: Rc<Progress>,
}

impl Place {
    /// What is known of the connection.
    pub(super) fn progress(&self) -> &Rc<Progress> {
        &self.progress
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.here.borrow_mut().remove(&self.number);
        self.crowd.everywhere.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(begun: Instant, seconds: u64) -> Instant {
        begun + Duration::from_secs(seconds)
    }

    // H-22
    #[test]
    fn those_that_were_seen_longest_ago_leave_and_nobody_who_is_answered_or_was_just_seen() {
        let (crowd, begun) = (Crowd::of(16, Arc::default()), Instant::now());
        let join = |n| Rc::clone(&crowd).join(after(begun, n));
        let places: Vec<Place> = (0..14).map(join).collect();
        let leaving = || -> Vec<usize> { (0..14).filter(|n| places[*n].progress.has_to_leave()).collect() };
        assert!(crowd.is_crowded());
        places[0].progress.has_request(Coming::Bytes(0));
        crowd.make_room(after(begun, 1));
        assert!(leaving().is_empty(), "a request may be on its way");
        crowd.make_room(after(begun, 2));
        assert_eq!(leaving(), [1]);
        places[0].progress.is_answered();
        crowd.make_room(after(begun, 20));
        assert_eq!(leaving(), [1, 2], "who was answered lately was seen lately");
        places[13].progress.has_request(Coming::Bytes(8));
        places[13].progress.owes_body(true);
        for seconds in 21..40 {
            crowd.make_room(after(begun, seconds));
        }
        assert_eq!(
            leaving(),
            (0..14).collect::<Vec<_>>(),
            "who owes a body is waited for no longer than others"
        );
        drop(places);
        assert!(crowd.here.borrow().is_empty() && !crowd.is_crowded());
    }
}
