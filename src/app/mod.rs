//! Floor 4: composition. Configuration, command line, clock, ticker, telemetry, shutdown: what makes a process of the floors.

mod cli;
mod client_file;
mod clock;
mod commands;
mod config;
mod demo;
mod exporter;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod journal;
mod log_lines;
mod master_key;
mod open_files;
mod otlp;
mod output;
mod process_figures;
mod pulse;
mod serve;
mod settings;
mod signals;
mod supervisor;
mod telemetry;
mod ticker;
mod tls;
mod tls_watch;
mod toml_values;
mod web_client;

use std::process::ExitCode;

use clap::Parser;

pub use self::config::{Config, ConfigError};
pub use self::settings::{SETTINGS, Setting};

/// Runs the command line. Exit status 0: done; 1: failed; 2: wrong usage.
pub fn run() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(refused) => {
            // Help and version go to stdout with status 0, wrong usage to stderr with status 2.
            let _ = refused.print();
            return ExitCode::from(u8::try_from(refused.exit_code()).unwrap_or(2));
        }
    };
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::last_message(&format!("error: {}", output::chain(&error)));
            ExitCode::FAILURE
        }
    }
}
