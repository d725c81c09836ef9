//! A running server whose calls of the system fail on purpose.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use super::process::{Folder, Served};

/// strace in a running server, which makes calls fail.
pub(crate) struct Injection {
    strace: Child,
    /// It tells of each new thread, and ends when nobody can hear it.
    _said: BufReader<ChildStderr>,
    trace: PathBuf,
}

impl Injection {
    /// `calls` fail as `how` says, in the words of strace. `None` where strace is missing or may not look into other processes.
    pub(crate) fn into(served: &Served, folder: &Folder, calls: &str, how: &str) -> Option<Self> {
        let trace = folder.path().join("trace");
        let mut strace = Command::new("strace")
            .args(["-f", "-p", &served.pid().to_string(), "-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:{how}"), "-o"])
            .arg(&trace)
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut said = BufReader::new(strace.stderr.take()?);
        // It says so when it is in all threads; in those that begin later it is from their beginning.
        let mut first = String::new();
        let heard = said.read_line(&mut first);
        let injection = Injection {
            strace,
            _said: said,
            trace,
        };
        (heard.is_ok() && first.contains("attached")).then_some(injection)
    }

    /// Lets the server go on; returns how many calls failed.
    pub(crate) fn end(mut self) -> usize {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.strace),
            rustix::process::Signal::INT,
        )
        .unwrap();
        self.strace.wait().unwrap();
        injected(&self.trace).unwrap_or_default()
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // A strace that is killed lets go of what it traced.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// How many calls failed on purpose; `None` when nothing was traced.
pub(crate) fn injected(trace: &Path) -> Option<usize> {
    Some(fs::read_to_string(trace).ok()?.matches("(INJECTED)").count())
}
