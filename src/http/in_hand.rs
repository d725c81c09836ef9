use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the workers of the public listener have in hand, for whoever asks how busy the node is.
#[derive(Debug, Default)]
pub(super) struct InHand {
    pub(super) connections: Arc<AtomicUsize>,
    /// Refresh tokens that are on their way to be exchanged.
    pub(super) exchanges: AtomicUsize,
    lines: Mutex<Vec<Arc<AtomicUsize>>>,
}

impl InHand {
    /// What a worker is to tell in how many are in its line.
    pub(super) fn line(&self) -> Arc<AtomicUsize> {
        let line = Arc::default();
        self.locked().push(Arc::clone(&line));
        line
    }

    /// How many are in the lines of all workers.
    pub(super) fn in_lines(&self) -> usize {
        self.locked().iter().map(|line| line.load(Ordering::Relaxed)).sum()
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Arc<AtomicUsize>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One more of them for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    pub(super) fn among(number: &'a AtomicUsize) -> Self {
        number.fetch_add(1, Ordering::Relaxed);
        Counted(number)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
