use serde_json::json;

use crate::app::cli::ConfigCommand;
use crate::app::config::Config;
use crate::app::output::{self, Output};
use crate::app::tls::TlsSource;

/// `keywheel config …`. Reading the configuration has checked it already, but for the files of TLS.
pub(super) fn run(config: &Config, command: &ConfigCommand, format: Output) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check => {
            if let Some(files) = &config.tls {
                TlsSource::open(files)?;
            }
            output::message("the configuration is sound");
            if format == Output::Json {
                output::json(&json!({"ok": true}))
            } else {
                Ok(())
            }
        }
        ConfigCommand::Show => {
            let rows = config.show();
            if format == Output::Json {
                let members = rows
                    .into_iter()
                    .map(|(key, value, source)| (key.to_owned(), json!({"value": value, "source": source})));
                return output::json(&members.collect::<serde_json::Map<_, _>>());
            }
            let rows = rows
                .into_iter()
                .map(|(key, value, source)| vec![key.to_owned(), value, source])
                .collect();
            output::table(&["setting", "value", "from"], rows)
        }
    }
}
