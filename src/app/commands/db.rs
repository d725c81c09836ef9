use serde_json::json;

use super::Process;
use crate::app::cli::DbCommand;
use crate::app::output::{self, Output};

/// `keywheel db …`
pub(super) fn run(process: &Process, command: &DbCommand, format: Output) -> anyhow::Result<()> {
    let store = process.open_store()?;
    match command {
        DbCommand::Migrate => {
            let applied = store.migrate()?;
            if format == Output::Json {
                return output::json(&json!({"applied": applied}));
            }
            output::message(&match applied.as_slice() {
                [] => "the database is up to date".to_owned(),
                names => format!("applied {}", names.join(", ")),
            });
            Ok(())
        }
        DbCommand::Backup { file } => {
            store.back_up(file)?;
            output::message(&format!(
                "wrote {}: keep it apart from the master key, and try it with \"keywheel backup verify {}\"",
                file.display(),
                file.display()
            ));
            if format == Output::Json {
                return output::json(&json!({"backup": file}));
            }
            Ok(())
        }
        DbCommand::Status => {
            let migrations = store.migrations()?;
            let later = store.later_migrations()?;
            if format == Output::Json {
                let rows: Vec<_> = migrations
                    .iter()
                    .map(|m| json!({"name": m.name, "applied": m.applied}))
                    .collect();
                return output::json(&json!({
                    "database": process.config.database_url.to_string(),
                    "migrations": rows,
                    "later_migrations": later,
                }));
            }
            if !later.is_empty() {
                output::message(&format!(
                    "a later version has migrated the database ({}), and this one can use it",
                    later.join(", ")
                ));
            }
            let row = |m: &crate::storage::Migration| {
                vec![
                    m.name.clone(),
                    (if m.applied { "applied" } else { "pending" }).to_owned(),
                ]
            };
            output::table(&["migration", "state"], migrations.iter().map(row).collect())
        }
    }
}
