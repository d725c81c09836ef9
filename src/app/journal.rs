use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use tracing::warn;

use crate::server::Remembered;

/// The file in `keys_dir` that outlives the database: how far the database was, and which keys were barred.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    written: Option<Remembered>,
    failing: bool,
}

const FILE: &str = "journal.json";
/// In times that it is handed something, once a second or a little more.
const WRITTEN_EVERY: u32 = 10;

impl Journal {
    /// Reads what a process before this one wrote; an absent file is an empty one.
    pub(super) fn open(keys_dir: &Path) -> anyhow::Result<Self> {
        let path = keys_dir.join(FILE);
        let written = match std::fs::read(&path) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "{} is damaged: it says which keys were barred, so look at \"keywheel keys list\" before you delete it",
                    path.display()
                )
            })?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        Ok(Journal {
            path,
            written,
            failing: false,
        })
    }

    /// What was written last.
    pub(super) fn written(&self) -> Option<&Remembered> {
        self.written.as_ref()
    }

    /// Writes what is to be remembered, if it has changed. A directory that cannot be written to is no reason not to serve; it is
    /// told once.
    pub(super) fn keep(&mut self, remembered: &Remembered) {
        if self.written.as_ref() == Some(remembered) {
            return;
        }
        match self.write(remembered) {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                warn!(
                    event = "journal.failed", path = %self.path.display(), %error,
                    "a restoration of the database will not be noticed on this node"
                );
            }
            Err(_) => {}
        }
    }

    /// Writes what is handed over once a second, until nobody does any more. The number of the newest event rises with every login, and is
    /// written down now and then; everything else at once.
    fn follow(&mut self, handed: &Receiver<Remembered>) {
        let (mut pause, mut newest) = (0, None);
        for remembered in handed {
            pause = u32::saturating_sub(pause, 1);
            // What stands still is written, too: the database may be away, and not be what it was when it is back.
            let goes_on = newest.as_ref() != Some(&remembered);
            if pause > 0 && goes_on && self.has_all_but_events(&remembered) {
                newest = Some(remembered);
            } else {
                self.keep(&remembered);
                (pause, newest) = (WRITTEN_EVERY, None);
            }
        }
        if let Some(newest) = newest {
            self.keep(&newest);
        }
    }

    fn has_all_but_events(&self, remembered: &Remembered) -> bool {
        self.written.as_ref().is_some_and(|written| {
            let mut same = remembered.clone();
            (same.position.event, same.position.event_at) = (written.position.event, written.position.event_at);
            same == *written
        })
    }

    /// The same, when it must succeed.
    pub(super) fn write(&mut self, remembered: &Remembered) -> anyhow::Result<()> {
        let text = serde_json::to_vec(remembered)?;
        if let Some(directory) = self.path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        // Whole under another name, and then in its place: a crash leaves the old one or the new one.
        let temporary = self.path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &self.path)?;
        if let Some(directory) = self.path.parent() {
            File::open(directory)?.sync_all()?;
        }
        self.written = Some(remembered.clone());
        Ok(())
    }
}

/// Writes the journal on a thread of its own: a directory that hangs, as one across a network may, holds up nobody but that thread.
#[derive(Debug)]
pub(super) struct Scribe {
    remembered: SyncSender<Remembered>,
    ended: Receiver<()>,
    /// How many times in a row the thread had not come back for what it was handed before.
    waited: u32,
}

/// So many seconds are no slow disk any more.
const HANGING: u32 = 5;

impl Scribe {
    /// Writes what is to be remembered so far, and then starts the thread.
    pub(super) fn start(mut journal: Journal, begun: &Remembered) -> std::io::Result<Self> {
        journal.keep(begun);
        // One that waits is enough, for each is asked again a second later.
        let (remembered, handed) = sync_channel(1);
        let (end, ended) = channel();
        std::thread::Builder::new()
            .name("keywheel-journal".to_owned())
            .spawn(move || {
                journal.follow(&handed);
                // Nobody may be waiting any more.
                let _ = end.send(());
            })?;
        Ok(Scribe {
            remembered,
            ended,
            waited: 0,
        })
    }

    /// To be called once a second. Returns at once.
    pub(super) fn keep(&mut self, remembered: Remembered) {
        match self.remembered.try_send(remembered) {
            Err(TrySendError::Full(_)) => self.waited = self.waited.saturating_add(1),
            Ok(()) | Err(TrySendError::Disconnected(_)) => self.waited = 0,
        }
        if self.waited == HANGING {
            warn!(
                event = "journal.hangs",
                seconds = HANGING,
                "keys_dir does not answer; until it does, a restoration of the database will not be noticed on this node"
            );
        }
    }

    /// Waits until what was handed over is written, but not for long.
    pub(super) fn stop(self) {
        drop(self.remembered);
        let _ = self.ended.recv_timeout(Duration::from_secs(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::BarredKey;
    use crate::storage::{Barring, Position};

    #[test]
    fn what_only_goes_on_is_written_now_and_then_and_at_the_end_and_all_else_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let written = || Journal::open(directory.path()).unwrap().written().cloned();
        let at = |change, event| Remembered {
            position: Position {
                uid: "a".to_owned(),
                finalized: 0,
                change,
                event,
                event_at: Some(event),
            },
            barred: Vec::new(),
        };
        let follow = |handed: &[Remembered]| {
            let (hand, handed_over) = sync_channel(100);
            handed.iter().for_each(|one| hand.send(one.clone()).unwrap());
            drop(hand);
            let mut journal = Journal::open(directory.path()).unwrap();
            journal.follow(&handed_over);
        };
        follow(&[at(1, 1), at(1, 2), at(1, 3)]);
        assert_eq!(written(), Some(at(1, 3)));
        let (hand, handed_over) = sync_channel(100);
        let following = std::thread::spawn({
            let mut journal = Journal::open(directory.path()).unwrap();
            move || journal.follow(&handed_over)
        });
        let soon = |wanted: Remembered| {
            let begun = std::time::Instant::now();
            while written() != Some(wanted.clone()) {
                assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", written());
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        for (handed, then) in [
            (&[at(1, 4)][..], at(1, 4)),
            (&[at(1, 5), at(1, 5)], at(1, 5)),
            (&[at(1, 6), at(2, 7)], at(2, 7)),
        ] {
            handed.iter().for_each(|one| hand.send(one.clone()).unwrap());
            soon(then);
        }
        // One that only went on waits for the tenth, or for the end.
        hand.send(at(2, 8)).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(written(), Some(at(2, 7)));
        drop(hand);
        following.join().unwrap();
        assert_eq!(written(), Some(at(2, 8)));
    }

    #[test]
    fn what_was_kept_is_read_back_and_a_damaged_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path()).unwrap();
        assert_eq!(journal.written(), None);
        let remembered = Remembered {
            position: Position {
                uid: "a".to_owned(),
                finalized: 1,
                change: 2,
                event: 3,
                event_at: Some(4),
            },
            barred: vec![BarredKey {
                kid: "k".repeat(43),
                how: Barring::Revoke,
            }],
        };
        journal.keep(&remembered);
        let path = directory.path().join(FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Journal::open(directory.path()).unwrap().written(), Some(&remembered));
        std::fs::write(&path, "{").unwrap();
        let refusal = Journal::open(directory.path()).unwrap_err().to_string();
        assert!(refusal.contains("journal.json is damaged"), "{refusal}");
    }
}
