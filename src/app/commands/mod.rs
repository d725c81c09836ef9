//! The commands, a file for each group. They work on the database directly; running servers follow within a second.

mod apply;
mod audit;
mod backup;
mod client;
mod config;
mod db;
mod doctor;
mod healthcheck;
mod keys;
mod master_keys;
mod registration_token;
mod report;
mod restore;
mod user;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::CommandFactory;
#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::cli::{Cli, Command, ServeArgs};
use super::clock::SteadyClock;
use super::config::{Config, Sources};
use super::supervisor::Supervisor;
use super::{clock, master_key, serve, telemetry};
use crate::oauth::{IssuerUrl, Seconds};
use crate::server::{Context, Edge, Reach, Vault};
use crate::storage::{self, PreparedStatements, Store};

/// Runs one command.
pub(super) fn run(cli: Cli) -> anyhow::Result<()> {
    if let Command::Completions { shell } = cli.command {
        clap_complete::generate(shell, &mut Cli::command(), "keywheel", &mut std::io::stdout());
        return Ok(());
    }
    let environment = environment();
    let credentials_directory = environment.get("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let supervisor = Supervisor::of(&environment);
    let flags = match &cli.command {
        Command::Serve(args) => flags(args),
        _ => Vec::new(),
    };
    // Secrets may be among it, so nobody else keeps it.
    let variables = match &cli.command {
        Command::Apply(_) => environment.clone(),
        _ => BTreeMap::new(),
    };
    let config = Config::load(&Sources {
        file: cli.config,
        environment,
        flags,
    })?;
    let serves = matches!(cli.command, Command::Serve(_));
    let voice = if serves {
        telemetry::Voice::Server
    } else {
        telemetry::Voice::Command
    };
    let log = telemetry::start(&config.log, voice);
    if !config.core_dumps {
        keep_memory_private();
    }
    let clock = Arc::new(SteadyClock::start());
    let process = Process {
        config,
        credentials_directory,
        edge: clock::system_edge(&clock),
        clock,
        log,
        // A standby that is a moment behind would call good refresh tokens invalid. For a report it will do.
        session: if serves {
            storage::Session::Primary
        } else {
            storage::Session::Any
        },
    };
    match cli.command {
        Command::Serve(args) => serve::serve(&process, &args, &supervisor),
        Command::Client(command) => client::run(&process, command, cli.output),
        Command::RegistrationToken(command) => registration_token::run(&process, command, cli.output),
        Command::Apply(args) => apply::run(&process, &args, &variables, cli.output),
        Command::User(command) => user::run(&process, command, cli.output),
        Command::Keys(command) => keys::run(&process, command, cli.output),
        Command::MasterKey(command) => master_keys::run(&process, &command, cli.output),
        Command::Db(command) => db::run(&process, &command, cli.output),
        Command::Backup(command) => backup::run(&process, &command, cli.output),
        Command::Restore(command) => restore::run(&process, &command, cli.output),
        Command::Config(command) => config::run(&process.config, &command, cli.output),
        Command::Audit(command) => audit::run(&process, command, cli.output),
        Command::Report(command) => report::run(&process, &command, cli.output),
        Command::Doctor { url, offline } => doctor::run(&process, url.as_deref(), offline, cli.output),
        Command::Healthcheck { live, url } => {
            let path = if live { healthcheck::LIVE } else { healthcheck::READY };
            healthcheck::run(&process.config, url.as_deref(), path)
        }
        Command::Completions { .. } => Ok(()),
    }
}

/// From here on there are private keys in memory. The limit for core dumps cannot be raised again, by nobody but root; and other
/// processes of the same user can neither read the memory nor attach to the process.
fn keep_memory_private() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "a crash may leave a core dump, and private keys in it");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "other processes of this user may read private keys in memory");
    }
}

/// Flags of `serve` that are settings.
fn flags(args: &ServeArgs) -> Vec<(&'static str, String)> {
    let flags = [
        ("listen", &args.listen),
        ("management_listen", &args.management_listen),
        ("issuer", &args.issuer),
    ];
    // Nobody balances load to a server that somebody tries out.
    let at_once = args.dev.then(|| ("shutdown_delay", "0s".to_owned()));
    flags
        .into_iter()
        .filter_map(|(key, text)| text.clone().map(|text| (key, text)))
        .chain(at_once)
        .collect()
}

/// The environment, read once. Variables that are not Unicode are no settings.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
        .collect()
}

/// What every command starts from.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) config: Config,
    pub(super) credentials_directory: Option<PathBuf>,
    pub(super) edge: Edge,
    pub(super) clock: Arc<SteadyClock>,
    pub(super) log: telemetry::Log,
    pub(super) session: storage::Session,
}

impl Process {
    /// Runs `work` with the present time and a generator.
    pub(super) fn with_context<T, E: Into<anyhow::Error>>(
        &self,
        work: impl FnOnce(&mut Context<'_>) -> Result<T, E>,
    ) -> anyhow::Result<T> {
        let mut rng = self.edge.rng()?;
        work(&mut Context {
            now: self.edge.now(),
            rng: &mut rng,
            reach: Reach::Storage,
        })
        .map_err(Into::into)
    }

    /// The database, whether or not its tables are there.
    pub(super) fn open_store(&self) -> anyhow::Result<Store> {
        let mut settings = storage::Settings::new(self.config.database_url.clone());
        settings.pool_size = self.config.database_connections;
        settings.session = self.session;
        if !self.config.database_prepared_statements {
            settings.prepared_statements = PreparedStatements::InTransaction;
        }
        Store::open(&settings).with_context(|| format!("the database {} cannot be opened", self.config.database_url))
    }

    /// The database with its tables up to date; a command on an empty folder makes them, like `serve`.
    pub(super) fn migrated_store(&self) -> anyhow::Result<Store> {
        let store = self.open_store()?;
        store
            .migrate()
            .with_context(|| format!("the tables of {} cannot be made", self.config.database_url))?;
        Ok(store)
    }

    /// Refuses to go by a clock that is off from the database's: a key would turn, or leave the set, at another time than is told here.
    pub(super) fn wants_the_right_time(&self, store: &Store, tolerated: Seconds) -> anyhow::Result<()> {
        let Some(database) = store.clock()? else {
            return Ok(());
        };
        let ahead = self.edge.now().epoch().saturating_sub(database.epoch());
        if ahead.saturating_abs() > tolerated.get() {
            let (off, side) = (
                Seconds::new(ahead.saturating_abs()),
                if ahead > 0 { "ahead of" } else { "behind" },
            );
            bail!(
                "this machine's clock is {off} {side} the database's, and keys turn by it: set it (NTP), or use another machine"
            );
        }
        Ok(())
    }

    /// The database and its opened keys.
    pub(super) fn open_vault(&self) -> anyhow::Result<(Store, Vault)> {
        let store = self.migrated_store()?;
        let vault = self.with_context(|cx| {
            let master_keys =
                master_key::load_or_create(&self.config, self.credentials_directory.as_deref(), &store, cx)?;
            Ok::<_, anyhow::Error>(Vault::open(&store, &master_keys, cx)?)
        })?;
        Ok((store, vault))
    }
}

/// Who acts, for the audit trail: the command line, and the user that runs it.
pub(super) fn actor() -> String {
    format!("cli:uid={}", rustix::process::getuid().as_raw())
}

/// The issuer that a server runs with: configured, or in `--dev` the address it listens on.
pub(super) fn issuer(process: &Process, args: &ServeArgs, mut listening: SocketAddr) -> anyhow::Result<IssuerUrl> {
    let issuer = match &process.config.issuer {
        Some(issuer) => issuer.clone(),
        None if args.dev => {
            if listening.ip().is_unspecified() {
                listening.set_ip(Ipv4Addr::LOCALHOST.into());
            }
            let scheme = if process.config.tls.is_some() { "https" } else { "http" };
            IssuerUrl::parse(&format!("{scheme}://{listening}"))?
        }
        None => bail!(
            "no issuer is configured: set KEYWHEEL_ISSUER (or issuer in keywheel.toml) to the URL under which clients reach this \
             server, such as https://auth.example.com; to just try it out, use \"serve --dev\""
        ),
    };
    if !issuer.is_https() && !issuer.is_loopback() && !args.allow_insecure_issuer {
        bail!(
            "the issuer {issuer} is not https: tokens and secrets would travel in clear. Put a proxy with TLS in front, or set \
             tls.certificate and tls.private_key, and use the https URL, or accept the risk with --allow-insecure-issuer"
        );
    }
    if !issuer.is_https() && process.config.tls.is_some() && !args.allow_insecure_issuer {
        bail!(
            "the issuer {issuer} is http, but with tls.certificate the listener speaks TLS alone: clients that go by the issuer would \
             get no answer. Write it with https"
        );
    }
    if issuer.ends_in_slash() {
        tracing::warn!(%issuer, "the issuer ends in a slash: many verifiers compare it with one that does not");
    }
    Ok(issuer)
}
