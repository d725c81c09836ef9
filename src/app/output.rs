use std::io::Write;
use std::sync::mpsc::channel;
use std::time::Duration;

use comfy_table::{Table, presets};
use serde::Serialize;

/// How a command prints its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum Output {
    /// Tables and sentences.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// Prints one JSON document on stdout.
pub(super) fn json(data: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, data)?;
    writeln!(out)?;
    Ok(())
}

/// Prints lines on stdout.
pub(super) fn text(lines: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{}", lines.trim_end())?;
    Ok(())
}

/// Prints a table on stdout. Control characters in cells are made visible, and so are those that turn the direction of text: no name
/// can drive a terminal, or look like another.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(header.iter().map(|title| title.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| visible(cell)));
    }
    text(&table.to_string())
}

/// Prints a message for people on stderr.
pub(super) fn message(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", visible_lines(text));
}

/// Prints the last message of the process for people on stderr. Who writes there holds a lock: where nobody reads it, the thread of the
/// log may do so for ever, and the process must end nevertheless.
pub(super) fn last_message(text: &str) {
    let text = text.to_owned();
    let (tell, told) = channel();
    let telling = std::thread::Builder::new()
        .name("keywheel-end".to_owned())
        .spawn(move || {
            message(&text);
            let _ = tell.send(());
        });
    if telling.is_ok() {
        let _ = told.recv_timeout(LAST_WORDS);
    }
}

/// Longest wait for the last message.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// An error and its causes in one line.
pub(super) fn chain<E: AsDynError + ?Sized>(error: &E) -> String {
    let mut text = String::new();
    let mut next = Some(error.as_dyn());
    while let Some(cause) = next {
        let part = cause.to_string();
        // Wrappers often repeat what they wrap.
        if !text.ends_with(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        next = cause.source();
    }
    text
}

/// What can be looked at as a standard error.
pub(super) trait AsDynError {
    /// The error.
    fn as_dyn(&self) -> &(dyn std::error::Error + 'static);
}

impl AsDynError for anyhow::Error {
    fn as_dyn(&self) -> &(dyn std::error::Error + 'static) {
        self.as_ref()
    }
}

impl AsDynError for crate::server::Failure {
    fn as_dyn(&self) -> &(dyn std::error::Error + 'static) {
        self
    }
}

fn visible(text: &str) -> String {
    text.chars().map(|c| if drives(c) { '\u{fffd}' } else { c }).collect()
}

fn visible_lines(text: &str) -> String {
    text.chars()
        .map(|c| if drives(c) && c != '\n' { '\u{fffd}' } else { c })
        .collect()
}

/// Whether a character does something to its neighbours instead of being seen: control characters, and those of Unicode's
/// bidirectional algorithm, by which a name could look like another.
fn drives(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    // D-21, Y-14
    #[test]
    fn a_name_cannot_drive_the_terminal() {
        assert_eq!(visible("a\u{1b}[31mb\nc"), "a\u{fffd}[31mb\u{fffd}c");
        assert_eq!(visible("a\u{202e}nimda\u{2066}b"), "a\u{fffd}nimda\u{fffd}b");
        assert_eq!(visible_lines("a\nb\u{7}"), "a\nb\u{fffd}");
    }

    #[test]
    fn a_process_ends_although_nobody_reads_its_last_message() {
        let begun = Instant::now();
        let held = std::io::stderr().lock();
        last_message("the end");
        drop(held);
        assert!(begun.elapsed() < Duration::from_secs(10), "it waited");
    }

    #[test]
    fn an_error_is_told_with_its_causes_once_each() {
        let error = anyhow::anyhow!("disk full").context("the file could not be written");
        assert_eq!(chain(&error), "the file could not be written: disk full");
    }
}
