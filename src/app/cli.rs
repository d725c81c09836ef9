mod clients;
mod observing;
mod registering;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(super) use self::clients::{ClientCommand, CreateArgs, MetadataArgs, SecretCommand, UpdateArgs};
pub(super) use self::observing::{AuditCommand, ReportCommand};
pub(super) use self::registering::{CreateTokenArgs, RegistrationTokenCommand};
use super::output::Output;
use crate::oauth::{ClientId, Seconds, SigningAlgorithm};
use crate::server::admin::Activation;

/// An OAuth 2 token service whose keys turn by themselves.
#[derive(Debug, Parser)]
#[command(name = "keywheel", version, about, propagate_version = true)]
pub(super) struct Cli {
    /// Configuration file [default: keywheel.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// How data is printed; messages go to stderr either way
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) output: Output,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve tokens and keys
    Serve(ServeArgs),
    /// Register clients and change them
    #[command(subcommand)]
    Client(ClientCommand),
    /// Let others register clients themselves, within bounds (RFC 7591)
    #[command(subcommand)]
    RegistrationToken(RegistrationTokenCommand),
    /// Make clients as a file declares them: all of it or nothing
    Apply(ApplyArgs),
    /// Make users and change them
    #[command(subcommand)]
    User(UserCommand),
    /// Look at the signing keys and turn them
    #[command(subcommand)]
    Keys(KeysCommand),
    /// The key outside of the database, under which everything in it is sealed
    #[command(subcommand)]
    MasterKey(MasterKeyCommand),
    /// Prepare the database, and back it up
    #[command(subcommand)]
    Db(DbCommand),
    /// Look at a backup
    #[command(subcommand)]
    Backup(BackupCommand),
    /// After the database was restored from a backup
    #[command(subcommand)]
    Restore(RestoreCommand),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at the audit trail
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Who uses what: for cleaning up
    #[command(subcommand)]
    Report(ReportCommand),
    /// Look for what is wrong, or will be, and say how to mend it; the exit status is 1 when something is
    Doctor {
        /// Where the server is reached, if not at the issuer
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// Do not look at the server from outside
        #[arg(long, conflicts_with = "url")]
        offline: bool,
    },
    /// Ask a server on this machine whether it is ready; the exit status is 1 when it is not
    Healthcheck {
        /// Ask /livez instead, which says yes also while the database is away
        #[arg(long, conflicts_with = "url")]
        live: bool,
        /// What to ask [default: /readyz of the management listener]
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Make a demo client and print how to use it; for trying out, on this machine alone
    #[arg(long)]
    pub(super) dev: bool,
    /// Address of the public listener
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) listen: Option<String>,
    /// Address of the management listener
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) management_listen: Option<String>,
    /// The issuer URL
    #[arg(long, value_name = "URL")]
    pub(super) issuer: Option<String>,
    /// Accept an http issuer that is not this machine; tokens and secrets then travel in clear
    #[arg(long)]
    pub(super) allow_insecure_issuer: bool,
}

#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// A TOML file that names an owner and declares clients
    pub(super) file: PathBuf,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Remove clients of the file's owner that the file does not name
    #[arg(long)]
    pub(super) prune: bool,
    /// Take over clients that the file names and that were made by hand, or for another owner
    #[arg(long)]
    pub(super) adopt: bool,
}

/// A user is named by the username or the id.
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Make a user; the password is asked for
    Create {
        /// The username, in whatever case: one person is one user
        name: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// List all users
    List,
    /// Show one user
    Show { user: String },
    /// Refuse a user from now on, and end what it has signed in to
    Disable { user: String },
    /// Accept a disabled user again
    Enable { user: String },
    /// Remove a user for good
    Delete { user: String },
    /// Set a password, and end what the user has signed in to
    SetPassword {
        user: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Take over users with their hashed passwords: CSV or JSON lines, hashes of Django, bcrypt and argon2
    Import { file: PathBuf },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// List all signing keys and their states
    List,
    /// Show when keys turn, and why then
    Plan,
    /// Turn to the next key, as soon as every verifier can know it
    Rotate {
        /// Turn at once, even if some verifiers may not know the key yet
        #[arg(long)]
        now: bool,
        /// Whose keys: those that sign with RS256, PS256 or ES256 [default: the server's signing.alg]
        #[arg(long, value_name = "ALG")]
        alg: Option<SigningAlgorithm>,
    },
    /// Stop a key from signing, on every node within a second; its tokens stay good
    Taint {
        // One in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Why, for the audit trail
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Show what would follow, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Withdraw a key for good: its tokens are refused by whoever reads the JWK set
    Revoke {
        // One in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Why, for the audit trail
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Show what would follow, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the public half of a key in PEM
    Export {
        // One in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// The public half; private halves are never exported
        #[arg(long, required = true)]
        public: bool,
    },
    /// Certify a key anew; the key and its kid stay
    Renew {
        // One in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
    /// Take over an authority or a signing key that was made elsewhere
    #[command(subcommand)]
    Import(ImportCommand),
    /// The certificate authorities that certify signing keys
    #[command(subcommand)]
    Ca(CaCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum ImportCommand {
    /// Have your own authority certify signing keys from now on
    Ca(PairArgs),
    /// Publish a signing key of your own, which signs when its turn comes
    Key {
        #[command(flatten)]
        pair: PairArgs,
        /// What it signs with: RS256, PS256 or ES256 [default: the server's signing.alg]
        #[arg(long, value_name = "ALG")]
        alg: Option<SigningAlgorithm>,
        /// When it begins to sign: "now", or a time from now such as 48h [default: as soon as every verifier can know it]
        #[arg(long, value_name = "WHEN")]
        activate_at: Option<ActivationArg>,
    },
}

/// A certificate and its private key. The key is in a file or on standard input, never an argument.
#[derive(Debug, Args)]
pub(super) struct PairArgs {
    /// PEM file of the certificate, followed by those of its issuers
    #[arg(long, value_name = "FILE")]
    pub(super) certificate: PathBuf,
    /// PEM file of its unencrypted key (PKCS#8, or PKCS#1 for RSA), or - for standard input
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
}

/// `now`, or a time from now.
#[derive(Debug, Clone, Copy)]
pub(super) struct ActivationArg(pub(super) Activation);

impl std::str::FromStr for ActivationArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "now" {
            return Ok(ActivationArg(Activation::Now));
        }
        let span = text.parse().map(Activation::After).map(ActivationArg);
        span.map_err(|error: <Seconds as std::str::FromStr>::Err| format!("give \"now\", or a time: {error}"))
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum CaCommand {
    /// Show those on which published keys hang, the one that certifies new keys first
    Show,
    /// Print their certificates in PEM, for verifiers to pin
    Export,
}

#[derive(Debug, Subcommand)]
pub(super) enum MasterKeyCommand {
    /// Change the master key while servers run: begin, give every node the new one, then finish
    Rotate {
        /// File of the new master key, - for standard input [default: a new one in keys_dir]
        #[arg(long, value_name = "FILE")]
        new: Option<PathBuf>,
        /// The second step: from now on the new master key alone opens the database
        #[arg(long, conflicts_with_all = ["new", "abandon"])]
        finish: bool,
        /// Instead of the second step: go back to the old one
        #[arg(long, conflicts_with = "new")]
        abandon: bool,
    },
    /// Show which master keys open the database
    Status,
}

#[derive(Debug, Subcommand)]
pub(super) enum DbCommand {
    /// Bring the database's tables up to date
    Migrate,
    /// Show which migrations are applied
    Status,
    /// Write a consistent copy to a new file while servers run (SQLite; PostgreSQL has pg_dump)
    Backup { file: PathBuf },
}

#[derive(Debug, Subcommand)]
pub(super) enum BackupCommand {
    /// Open everything in a backup with the master key, and have every key sign
    Verify {
        /// An SQLite file, or the URL of a PostgreSQL database into which the backup was restored; - reads it from standard input
        backup: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum RestoreCommand {
    /// Make a restored database safe: end every login, and bar the keys again that had been barred since the backup
    Finalize {
        /// Also where nothing remembers how far the database was, or it seems not to have been restored
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the effective configuration, secrets redacted
    Show,
    /// Check the configuration and exit
    Check,
}

/// A client_id on the command line.
#[derive(Debug, Clone)]
pub(super) struct ClientIdArg(pub(super) ClientId);

impl std::str::FromStr for ClientIdArg {
    type Err = crate::oauth::ClientIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ClientId::parse(text).map(ClientIdArg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Of a random kid or identifier in base64url one in 64 begins with a hyphen.
    #[test]
    fn an_identifier_that_begins_with_a_hyphen_is_no_option() {
        for command in [
            "keys taint -id",
            "keys revoke -id --reason lost",
            "keys export -id --public",
            "keys renew -id",
            "client secret revoke billing -id --force",
            "registration-token revoke -id",
        ] {
            let words = std::iter::once("keywheel").chain(command.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{command}");
        }
    }
}
