use std::io::Result;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::crowd::{Coming, Progress};
use super::pieces::Pieces;

/// Reads a connection so that one request is answered, and its answer taken, before the next is looked at. What came too early is kept:
/// it is no more than was read at once, and while there is some, nothing is read.
#[derive(Debug, Default)]
pub(super) struct OneByOne {
    early: Vec<u8>,
    pieces: Pieces,
    /// Whether the end of a head was handed on, and nobody has had the time to look at it.
    has_head: bool,
    /// How many bytes were handed on behind that end.
    behind_head: u64,
}

/// What may be handed on.
enum Admitted {
    Nothing,
    /// Of a body.
    Bytes(usize),
    Piece,
}

impl OneByOne {
    /// Reads what may be read now. Pending also when there is more, but too early: [`Self::goes_on`] then tells when.
    pub(super) fn poll_read<T: AsyncRead + Unpin>(
        &mut self,
        stream: &mut T,
        (progress, is_unsent): (&Progress, bool),
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<usize>> {
        let admitted = self.admitted(progress, is_unsent);
        let handed = if self.early.is_empty() {
            let before = into.filled().len();
            ready!(Pin::new(stream).poll_read(cx, into))?;
            let (_, fresh) = into.filled().split_at(before);
            if fresh.is_empty() {
                return Poll::Ready(Ok(0));
            }
            let length = self.cut(fresh, &admitted);
            let (_, early) = fresh.split_at(length);
            self.early.extend_from_slice(early);
            into.set_filled(before + length);
            length
        } else {
            let early = std::mem::take(&mut self.early);
            let some = early.len().min(into.remaining());
            let (some, _) = early.split_at(some);
            let length = self.cut(some, &admitted);
            into.put_slice(some.split_at(length).0);
            self.early = early;
            self.early.drain(..length);
            length
        };
        if handed > 0 {
            return Poll::Ready(Ok(handed));
        }
        if self.has_head && !is_unsent {
            // As soon as it was looked at.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Everything that was handed on was looked at. Whether more of what came early may be.
    pub(super) fn goes_on(&mut self, progress: &Progress) -> bool {
        self.has_head = false;
        !self.early.is_empty() && !matches!(self.admitted(progress, false), Admitted::Nothing)
    }

    fn admitted(&self, progress: &Progress, is_unsent: bool) -> Admitted {
        if is_unsent || self.has_head {
            return Admitted::Nothing;
        }
        match progress.coming() {
            None | Some(Coming::Unknown) => Admitted::Piece,
            Some(Coming::Bytes(length)) if length > self.behind_head => {
                Admitted::Bytes(usize::try_from(length - self.behind_head).unwrap_or(usize::MAX))
            }
            Some(Coming::Bytes(_)) => Admitted::Nothing,
        }
    }

    /// How many of the bytes may be handed on.
    fn cut(&mut self, bytes: &[u8], admitted: &Admitted) -> usize {
        match admitted {
            Admitted::Nothing => 0,
            Admitted::Bytes(most) => {
                let length = bytes.len().min(*most);
                self.behind_head += length as u64;
                self.pieces.begin_anew();
                length
            }
            Admitted::Piece => {
                let piece = self.pieces.first(bytes);
                if let Some(behind_head) = piece.behind_head {
                    self.has_head = true;
                    self.behind_head = behind_head as u64;
                }
                piece.length
            }
        }
    }
}
