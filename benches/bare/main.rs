//! What keywheel is measured against: the work of a request with nothing around it. `scripts/bench` runs it.
//!
//! `bare serve ADDRESS FILE` serves the bytes of a file, whatever the path, with one worker; without FILE it answers that nothing
//! has changed. `bare offer …` is a load generator (see offer.rs). Everything else takes orders from its input, a line each, and
//! answers each with a line of JSON:
//!
//! - `bare sign`, `bare verify` and `bare hash`, which hashes passwords: SECONDS;
//! - `bare store URL`, on a database in which it has not been: `fill FAMILIES EXCHANGED EXPIRED`, with tokens that were exchanged so
//!   often and so many families more that have expired; then `find`, `rotate`, `refresh`, `bar` or `revoke` with THREADS and SECONDS,
//!   or `sweep SECONDS`.

mod exchange;
mod fill;
mod offer;
mod password;
mod repeated;
mod serve;
mod signature;
mod store;

use std::error::Error;
use std::io::{BufRead, Write};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["sign"] => signature::sign(),
        ["verify"] => signature::verify(),
        ["hash"] => password::hash(),
        ["store", url] => store::obey(url),
        ["serve", address, file] => serve::serve(address, Some(std::fs::read(file)?.into())),
        ["serve", address] => serve::serve(address, None),
        ["offer", arguments @ ..] => {
            let answer = offer::offer(arguments)?;
            Ok(writeln!(std::io::stdout(), "{answer}")?)
        }
        // `cargo bench` and `cargo test --benches` run every bench; alone this one measures nothing.
        _ => writeln!(
            std::io::stderr(),
            "run scripts/bench, which drives: bare sign | bare verify | bare hash | bare store URL | bare serve ADDRESS [FILE] | bare offer …"
        )
        .map_err(Into::into),
    }
}

/// Has each line of the input obeyed and answers it with what came of it. Between two lines it sleeps, so that its processor
/// time can be read from outside, in the way it is read of a server.
fn answer_each(mut order: impl FnMut(&[&str]) -> Outcome<serde_json::Value>) -> Outcome<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = order(&line.split_whitespace().collect::<Vec<_>>())?;
        writeln!(std::io::stdout(), "{answer}")?;
    }
    Ok(())
}
