//! Lines of the log on their way to stderr, which may be a pipe that nobody reads or a file on a full disk.
//!
//! A thread of its own writes them. Who logs never waits: where the queue is full the line is left out, and counted. So a log that
//! stands still holds up no answer.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Most lines that wait to be written.
const MOST_WAITING: usize = 2_048;
/// Longest wait for those that are left when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The front of the thread. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct LogLines {
    queue: SyncSender<Vec<u8>>,
    figures: Arc<Figures>,
}

#[derive(Debug, Default)]
struct Figures {
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

impl LogLines {
    /// Starts the thread, which writes to `sink` whole lines one after the other.
    pub(super) fn to(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = sync_channel(MOST_WAITING);
        let figures = Arc::new(Figures::default());
        let counting = Arc::clone(&figures);
        Builder::new()
            .name("keywheel-log".to_owned())
            .spawn(move || write(&lines, sink, &counting))?;
        Ok(LogLines { queue, figures })
    }

    /// How many lines were left out so far, because nobody read those before or because they could not be written.
    pub(super) fn dropped(&self) -> u64 {
        self.figures.dropped.load(Ordering::Relaxed)
    }

    /// Whether what is logged now can be expected to be written.
    pub(super) fn flows(&self) -> bool {
        self.figures.waiting.load(Ordering::Acquire) < MOST_WAITING / 2
    }

    /// Waits until what was logged is written, but not for ever.
    pub(super) fn finish(&self) {
        let begun = Instant::now();
        while self.figures.waiting.load(Ordering::Acquire) > 0 && begun.elapsed() < LAST_WORDS {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn write(lines: &Receiver<Vec<u8>>, mut sink: impl Write, figures: &Figures) {
    while let Ok(line) = lines.recv() {
        // There is nobody to tell but a counter.
        if sink.write_all(&line).and_then(|()| sink.flush()).is_err() {
            figures.dropped.fetch_add(1, Ordering::Relaxed);
        }
        figures.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Write for &LogLines {
    /// Takes a whole line, as the subscriber hands it over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.figures.waiting.fetch_add(1, Ordering::AcqRel);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.queue.try_send(line.to_vec()) {
            self.figures.waiting.fetch_sub(1, Ordering::AcqRel);
            self.figures.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = &'a LogLines;

    fn make_writer(&'a self) -> &'a LogLines {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Hands lines on, each once it is allowed to.
    struct Gate(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Gate {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(line.to_vec()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    // N-01
    #[test]
    fn who_logs_never_waits_and_what_does_not_fit_is_counted() {
        let (allow, allowed) = channel();
        let (written, reads) = channel();
        let lines = LogLines::to(Gate(allowed, written)).unwrap();
        let begun = Instant::now();
        for number in 0..MOST_WAITING + 100 {
            (&lines).write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "it waited");
        // The thread holds one beside the queue.
        assert!(lines.dropped() >= 99, "{}", lines.dropped());
        assert!(!lines.flows());
        for _ in 0..MOST_WAITING + 1 {
            let _ = allow.send(());
        }
        lines.finish();
        assert!(lines.flows());
        assert_eq!(reads.try_iter().next().unwrap(), b"0\n");
    }

    // N-02
    #[test]
    fn lines_that_cannot_be_written_are_counted_and_the_thread_lives_on() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = LogLines::to(Full).unwrap();
        for _ in 0..3 {
            (&lines).write_all(b"line\n").unwrap();
        }
        lines.finish();
        assert_eq!(lines.dropped(), 3);
    }
}
