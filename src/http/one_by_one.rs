use std::io::Result;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::crowd::{Coming, Progress};
use super::pieces::Pieces;

/// Reads a connection so that one request is answered, and its answer taken, before the next is looked at. What came too early is kept:
/// it is no more than was read at once, and while there is some, nothing is read.
#[derive(Default)]
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
            let length = self.cut(fresh, &admitted, progress);
            let (_, early) = fresh.split_at(length);
            self.early.extend_from_slice(early);
            into.set_filled(before + length);
            length
        } else {
            let early = std::mem::take(&mut self.early);
            let some = early.len().min(into.remaining());
            let (some, _) = early.split_at(some);
            let length = self.cut(some, &admitted, progress);
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

    /// Whether a head has begun, among what was handed on.
    pub(super) fn has_begun(&self) -> bool {
        self.pieces.has_begun()
    }

    /// What was handed on was looked at. Whether more of what came early may be.
    pub(super) fn goes_on(&mut self, progress: &Progress) -> bool {
        // All behind that end was of a body, and no head. Of an unknown length it ends with an empty line, as a head does.
        if std::mem::take(&mut self.has_head)
            && let Coming::Bytes(length) = progress.last_body()
            && self.behind_head <= length
        {
            self.pieces.begin_anew();
        }
        if let Some(Coming::Bytes(length)) = progress.coming() {
            progress.owes_body(length > self.behind_head);
        }
        !self.early.is_empty() && !matches!(self.admitted(progress, false), Admitted::Nothing)
    }

    fn admitted(&self, progress: &Progress, is_unsent: bool) -> Admitted {
        if is_unsent || self.has_head {
            return Admitted::Nothing;
        }
        match progress.coming() {
            None => Admitted::Piece,
            // As soon as whoever reads it has all that there was.
            Some(Coming::Unknown) if progress.is_owed_body() => Admitted::Piece,
            Some(Coming::Unknown) => Admitted::Nothing,
            Some(Coming::Bytes(length)) if length > self.behind_head => {
                Admitted::Bytes(usize::try_from(length - self.behind_head).unwrap_or(usize::MAX))
            }
            Some(Coming::Bytes(_)) => Admitted::Nothing,
        }
    }

    /// How many of the bytes may be handed on.
    fn cut(&mut self, bytes: &[u8], admitted: &Admitted, progress: &Progress) -> usize {
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
                    // Of a chunked body this may have been the end.
                    progress.owes_body(false);
                }
                piece.length
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::time::Instant;

    use super::super::crowd::Crowd;
    use std::sync::Arc;

    use super::*;

    /// What is handed on before somebody has to look at it.
    fn handed(requests: &mut OneByOne, from: &mut &[u8], progress: &Progress) -> String {
        let (mut bytes, mut cx) = ([0; 256], Context::from_waker(Waker::noop()));
        let mut into = ReadBuf::new(&mut bytes);
        while let Poll::Ready(Ok(1..)) = requests.poll_read(from, (progress, false), &mut cx, &mut into) {}
        String::from_utf8_lossy(into.filled()).into_owned()
    }

    // H-21
    #[test]
    fn behind_a_body_of_unknown_length_nothing_is_handed_on_while_nobody_waits_for_it() {
        let place = Crowd::of(8, Arc::default()).join(Instant::now());
        let progress = place.progress();
        let mut requests = OneByOne::default();
        let mut sent: &[u8] = b"POST\r\n\r\n0\r\n\r\nGET 1\r\n\r\nGET 2\r\n\r\n";
        assert_eq!(handed(&mut requests, &mut sent, progress), "POST\r\n\r\n0\r\n\r");
        progress.has_request(Coming::Unknown);
        for _ in 0..3 {
            requests.goes_on(progress);
            assert_eq!(
                handed(&mut requests, &mut sent, progress),
                "",
                "whoever answers does something else"
            );
        }
        progress.owes_body(true);
        assert!(requests.goes_on(progress));
        assert_eq!(handed(&mut requests, &mut sent, progress), "\nGET 1\r\n\r");
        // It was the end of the body.
        assert!(!requests.goes_on(progress));
        assert_eq!(handed(&mut requests, &mut sent, progress), "");
        progress.is_answered();
        for rest in ["\nGET 2\r\n\r", "\n"] {
            assert!(requests.goes_on(progress));
            assert_eq!(handed(&mut requests, &mut sent, progress), rest);
            progress.has_request(Coming::Bytes(0));
            assert!(!requests.goes_on(progress));
            progress.is_answered();
        }
        assert!(!requests.has_begun());
    }

    #[test]
    fn a_body_is_no_head_and_a_head_behind_it_has_begun() {
        for (sent, length, has_begun) in [
            (&b"POST\r\n\r\na=b"[..], 3, false),
            (b"POST\r\n\r\na=bGET", 3, true),
            (b"POST\r\n\r\na", 3, false),
            (b"GET\r\n\r\n", 0, false),
            (b"GET\r\n\r\n\r\n", 0, true),
            (b"POST\r\n\r\na=b\r\n", 3, true),
            (b"GET\r\n\r\nG", 0, true),
        ] {
            let place = Crowd::of(8, Arc::default()).join(Instant::now());
            let (progress, mut requests, mut from) = (place.progress(), OneByOne::default(), sent);
            handed(&mut requests, &mut from, progress);
            progress.has_request(Coming::Bytes(length));
            requests.goes_on(progress);
            assert_eq!(
                progress.is_owed_body(),
                length + 8 > sent.len() as u64 && length > 0,
                "{sent:?}"
            );
            progress.is_answered();
            requests.goes_on(progress);
            assert_eq!(requests.has_begun(), has_begun, "{sent:?}");
        }
    }
}
