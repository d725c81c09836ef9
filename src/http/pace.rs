//! A pace for the other end of a connection. By itself actix gives time to the head of the first request alone, in steps of half a second,
//! so that many are cut off at once and hold up everybody else, and to a connection on which nothing goes on, which is left to it. Whoever
//! sends half of a second head, or never reads an answer, it would wait for for ever.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::crowd::{Crowd, Place, Progress};
use super::listener::{HEAD_DEADLINE, WRITE_DEADLINE};
use super::one_by_one::OneByOne;

/// A connection that breaks off when the other end does not keep pace: a head that has begun arrives within five seconds, and what is
/// sent is taken within thirty. While a request waits for its answer there is no hurry here; its body has a deadline of its own.
///
/// It looks at its deadlines with a timer that is set at most once in five seconds, however many requests there are.
pub(super) struct Paced<T> {
    stream: T,
    requests: OneByOne,
    place: Place,
    /// Since when there is something to be sent that the other end does not take.
    unsent_since: Option<Instant>,
    look: Option<Pin<Box<Sleep>>>,
    is_look_due: bool,
}

impl<T> Paced<T> {
    /// A connection that was just accepted.
    pub(super) fn new(stream: T, crowd: Rc<Crowd>) -> Self {
        Paced {
            stream,
            requests: OneByOne::default(),
            place: crowd.join(Instant::now()),
            unsent_since: None,
            look: None,
            is_look_due: false,
        }
    }

    /// By which whoever answers its requests says so.
    pub(super) fn progress(&self) -> Rc<Progress> {
        Rc::clone(self.place.progress())
    }

    /// An error when the other end is too slow, or has to make room for others.
    fn is_in_time(&mut self, cx: &mut Context<'_>) -> Result<()> {
        let progress = self.place.progress();
        if progress.has_to_leave() && progress.is_waiting_for_others() {
            if self.look.as_ref().is_some_and(|look| look.is_elapsed()) {
                self.is_look_due = false;
            }
            let patience = self.unsent_since.map(|since| since + LEAVE_UNSENT);
            match patience.filter(|patience| *patience > Instant::now()) {
                None => return Err(Error::new(ErrorKind::TimedOut, "idle for longest, and others wait")),
                Some(patience) => {
                    self.look_at(patience, cx);
                    return Ok(());
                }
            }
        }
        if let (None, Some(since)) = (&self.look, progress.head_since()) {
            progress.is_served_by(cx.waker());
            self.look_at(since + HEAD_DEADLINE, cx);
            return Ok(());
        }
        if !self.is_look_due || !self.look.as_ref().is_some_and(|look| look.is_elapsed()) {
            return Ok(());
        }
        self.is_look_due = false;
        let deadline = match (self.unsent_since, progress.head_since()) {
            (Some(since), _) => since + WRITE_DEADLINE,
            // Not while an answer is on its way: nobody may have looked whether the head is there.
            (None, Some(since)) => since + HEAD_DEADLINE,
            (None, None) => return Ok(()),
        };
        if deadline <= Instant::now() {
            return Err(Error::new(ErrorKind::TimedOut, "the other end is too slow"));
        }
        self.look_at(deadline, cx);
        Ok(())
    }

    /// Has the connection looked at then, unless it is looked at before.
    fn look_at(&mut self, deadline: Instant, cx: &mut Context<'_>) {
        if self.is_look_due && self.look.as_ref().is_some_and(|look| look.deadline() <= deadline) {
            return;
        }
        self.is_look_due = true;
        let look = self.look.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        look.as_mut().reset(deadline);
        if look.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    /// Looks whether a head has begun, as far as bytes were handed on.
    fn sees_to_head(&mut self, cx: &mut Context<'_>) {
        let progress = self.place.progress();
        if progress.head_since().is_none() && !progress.is_under_way() && self.requests.has_begun() {
            let now = Instant::now();
            progress.head_begins(now);
            progress.is_served_by(cx.waker());
            self.look_at(now + HEAD_DEADLINE, cx);
        }
    }

    /// What came of sending: nothing is lost of what was sent, and what cannot be has its deadline.
    fn in_time_unless(&mut self, sent: Poll<Result<()>>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if sent.is_pending() {
            self.has_to_wait(cx);
            self.is_in_time(cx)?;
        }
        sent
    }

    fn has_to_wait(&mut self, cx: &mut Context<'_>) {
        if self.unsent_since.is_none() {
            let now = Instant::now();
            self.unsent_since = Some(now);
            self.look_at(now + WRITE_DEADLINE, cx);
        }
    }
}

/// So long whoever has to make room for others may take to read what was sent.
const LEAVE_UNSENT: Duration = Duration::from_secs(2);

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        this.is_in_time(cx)?;
        let standing = (&**this.place.progress(), this.unsent_since.is_some());
        let read = ready!(this.requests.poll_read(&mut this.stream, standing, cx, into))?;
        if read > 0 {
            this.place.progress().has_taken(read);
            this.sees_to_head(cx);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        this.is_in_time(cx)?;
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        if polled.is_pending() {
            this.has_to_wait(cx);
        }
        polled
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        this.is_in_time(cx)?;
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, bytes);
        if polled.is_pending() {
            this.has_to_wait(cx);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        // TLS takes what it cannot send.
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        ready!(this.in_time_unless(flushed, cx))?;
        if this.unsent_since.take().is_some() && this.place.progress().has_to_leave() {
            cx.waker().wake_by_ref();
        }
        // actix flushes after it has looked at what it has read.
        let goes_on = this.requests.goes_on(this.place.progress());
        this.sees_to_head(cx);
        if goes_on {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.in_time_unless(shut, cx)
    }
}
