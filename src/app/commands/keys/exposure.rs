use crate::app::output::{self, Output};
use crate::oauth::Seconds;
use crate::server::admin::{Exposure, VerifierExposure};
use crate::storage::Barring;

/// Says what barring a key means for those who trust it, and what to do next.
pub(super) fn print(exposure: &Exposure, how: Barring, dry_run: bool, format: Output) -> anyhow::Result<()> {
    if format == Output::Json {
        return output::json(exposure);
    }
    output::message(&told(exposure, how, dry_run).join("\n"));
    if exposure.verifiers.is_empty() {
        return Ok(());
    }
    let or_restarted =
        |span: Option<Seconds>| span.map_or_else(|| "until restarted".to_owned(), |span| span.to_string());
    let row = |known: &VerifierExposure| {
        vec![
            known.name.to_owned(),
            or_restarted(known.trusts_for),
            or_restarted(known.refuses_for),
        ]
    };
    output::table(
        &[
            "verifier, by its defaults",
            "trusts the key for",
            "refuses an unknown successor for",
        ],
        exposure.verifiers.iter().map(row).collect(),
    )
}

fn told(exposure: &Exposure, how: Barring, dry_run: bool) -> Vec<String> {
    let (done, would) = match how {
        Barring::Taint => (
            "signs never again, on any node after a second",
            "would sign never again",
        ),
        Barring::Revoke => (
            "signs never again and leaves the JWK set of every node within a second",
            "would sign never again and leave the JWK set of every node within a second",
        ),
    };
    let mut lines = vec![format!(
        "{} (it was {}) {}.",
        exposure.kid,
        exposure.state,
        if dry_run { would } else { done }
    )];
    match (&exposure.successor, exposure.successor_known_at) {
        (Some(successor), None) => lines.push(format!("{successor} signs; every verifier knows it.")),
        (Some(successor), Some(known_at)) => lines.push(format!(
            "{successor} signs from now on. It was published lately: verifiers that have not read the JWK set since may refuse its \
             tokens until they do, at the latest at {known_at}."
        )),
        (None, _) => lines.push("No other key can sign: a server makes one within a second, and verifiers have to fetch it.".to_owned()),
    }
    match (how, exposure.tokens_until) {
        (_, None) => lines.push("It has signed nothing.".to_owned()),
        (Barring::Taint, Some(until)) => lines.push(format!(
            "Its tokens stay good until {until}. If it may be in foreign hands, revoke it: \"keywheel keys revoke {}\".",
            exposure.kid
        )),
        (Barring::Revoke, Some(until)) => {
            lines.push(format!(
                "Introspection refuses its tokens at once. Caches that obey max-age trust it until {}, verifiers within \
                 signing.slowest_verifier until {}; whoever holds the private half can make tokens for them until then.",
                exposure.caches_until, exposure.verifiers_until
            ));
            lines.push(format!(
                "Clients whose tokens it signed are refused and have to ask again; the last of those tokens would have lived until \
                 {until}."
            ));
            lines.push(
                "Next: restart or purge verifiers and proxies that keep the set for longer; find out how the key got out; look at \
                 \"keywheel audit list\". Who has the database alone can guess passwords: have new ones set. Who may have the master \
                 key alone could open backups: \"keywheel master-key rotate\", and destroy them. Who has both has every key: start \
                 with a new database (SECURITY.md)."
                    .to_owned(),
            );
        }
    }
    lines
}
