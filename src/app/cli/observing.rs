use clap::Subcommand;

use super::ClientIdArg;
use crate::oauth::Seconds;

#[derive(Debug, Subcommand)]
pub(in crate::app) enum ReportCommand {
    /// Clients that were not used for a time
    UnusedClients {
        /// For how long
        #[arg(long = "for", value_name = "DURATION", default_value = "90d")]
        span: Seconds,
    },
    /// Secrets that end soon, have ended, or are not used
    Secrets {
        /// Those that end within this time
        #[arg(long, value_name = "DURATION", default_value = "14d")]
        within: Seconds,
        /// Those that were not used for this time
        #[arg(long, value_name = "DURATION", default_value = "90d")]
        unused: Seconds,
    },
    /// Clients that fetch tokens more often than their life requires
    OverIssuance {
        /// On the days of this time
        #[arg(long, value_name = "DURATION", default_value = "7d")]
        since: Seconds,
        /// Those that had more tokens alive at a time than this, on average: more than they have replicas
        #[arg(long, value_name = "NUMBER", default_value_t = 10)]
        more_than: i64,
    },
    /// Users that were refused often
    FailedLogins {
        /// Within this time
        #[arg(long, value_name = "DURATION", default_value = "7d")]
        since: Seconds,
        /// So often or more
        #[arg(long, value_name = "NUMBER", default_value_t = 10)]
        least: i64,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::app) enum AuditCommand {
    /// List audit events, the newest first
    List {
        /// Only of this client
        #[arg(long, value_name = "CLIENT_ID")]
        client: Option<ClientIdArg>,
        /// Only of the last such time, such as 24h
        #[arg(long, value_name = "DURATION")]
        since: Option<Seconds>,
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Write all events as JSON lines to stdout, the oldest first
    Export {
        /// Only those after the event with this id: the last one of an export before
        #[arg(long, value_name = "ID", default_value_t = 0)]
        after: i64,
    },
    /// Verify that nobody altered, removed or added an event since it was sealed
    Verify {
        /// A seal that an earlier run told and that must be there still
        #[arg(long, value_name = "NUMBER:CODE")]
        noted: Option<String>,
    },
}
