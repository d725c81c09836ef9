//! `keywheel doctor`: what is wrong, or will be, each with its mend. It changes nothing.

mod inside;
mod outside;

use anyhow::bail;
use serde::Serialize;

use super::Process;
use crate::app::output::{self, Output};

/// What a look at one thing found.
#[derive(Debug, Serialize)]
struct Finding {
    /// What was looked at: `database`, `keys`, `issuer` …
    check: &'static str,
    state: State,
    /// What was found, in a sentence.
    found: String,
    /// What to do about it; absent when there is nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// It works, and will not for ever, or not as well as it could.
    Warning,
    /// It does not work.
    Failed,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Finding {
            check,
            state: State::Ok,
            found: found.into(),
            mend: None,
        }
    }

    fn warning(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Finding {
            state: State::Warning,
            mend: Some(mend.into()),
            ..Finding::ok(check, found)
        }
    }

    fn failed(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Finding {
            state: State::Failed,
            ..Finding::warning(check, found, mend)
        }
    }
}

/// `keywheel doctor`. The configuration was read and checked before.
pub(super) fn run(process: &Process, url: Option<&str>, offline: bool, format: Output) -> anyhow::Result<()> {
    let mut findings = vec![Finding::ok("configuration", "it is sound")];
    let published = inside::examine(process, &mut findings);
    if !offline {
        outside::examine(process, url, published.as_ref(), &mut findings);
    }
    print(&findings, format)?;
    let failed = findings.iter().filter(|finding| finding.state == State::Failed).count();
    if failed > 0 {
        bail!(
            "{failed} of {} looks found something that does not work",
            findings.len()
        );
    }
    Ok(())
}

/// Why something failed, in one line.
fn told(error: impl Into<anyhow::Error>) -> String {
    output::chain(&error.into())
}

fn print(findings: &[Finding], format: Output) -> anyhow::Result<()> {
    if format == Output::Json {
        return output::json(&findings);
    }
    let row = |finding: &Finding| {
        let state = match finding.state {
            State::Ok => "ok",
            State::Warning => "WARNING",
            State::Failed => "FAILED",
        };
        let mend = finding.mend.clone().unwrap_or_default();
        vec![state.to_owned(), finding.check.to_owned(), finding.found.clone(), mend]
    };
    output::table(&["", "looked at", "found", "mend"], findings.iter().map(row).collect())
}
