//! Floor 1: what keywheel remembers, in PostgreSQL or SQLite.
//!
//! [`Store`] speaks in intentions: one method is one transaction, its outcome an enum, absence an `Option`. Schema, rows,
//! connections and every type of diesel stay inside. This floor knows neither clock nor HTTP nor what a sealed key means.

mod access_tokens;
mod algorithm_uses;
mod apply;
mod audit;
mod audit_seals;
mod authorities;
mod backup;
mod breaker;
mod changes;
mod client_rows;
mod clients;
mod connection;
mod couriers;
mod creations;
mod deletion;
mod error;
mod families;
mod fetchers;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod keys;
mod lane;
mod master_key;
mod migrations;
mod pool;
mod postgres;
mod refresh_tokens;
mod registration;
mod restore;
mod schema;
mod secrets;
mod servers;
mod shared_rotation;
mod sqlite;
mod store;
mod sweep;
mod tls;
mod turn;
mod url;
mod usage;
mod users;
mod write_breaker;
mod writer;

pub use access_tokens::{AccessTokenState, EnabledUser, RevokedAccessToken};
pub use algorithm_uses::StoredUse;
pub use apply::{Application, ClientState, ClientWrite, SecretWrite, SeenClient};
pub use audit::{AuditEvent, AuditFilter};
pub use audit_seals::{AuditRecord, AuditSeal};
pub use changes::{Change, ChangeKind};
pub use client_rows::Kept;
pub use clients::{ClientCreation, ClientFilter, ClientUpdate, NewClient};
pub use creations::Creation;
pub use error::{Cause, Error};
pub use families::{FamilyCreation, FamilyEnd, FamilyFilter, FamilyRevocation, NewFamily, Standing, TokenFamily};
pub use fetchers::{Fetcher, Fetches, MOST_FETCHERS};
pub use keys::{Barred, Barring, Insertion, StoredAuthority, StoredDataKey, StoredKey};
pub use master_key::MasterKeyChange;
pub use migrations::Migration;
pub use pool::PoolState;
pub use refresh_tokens::{RefreshTokenRecord, Rotation, RotationOutcome};
pub use registration::{NewRegistration, Registration, RegistrationOutcome};
pub use restore::Position;
pub use secrets::SecretAddition;
pub use store::{PreparedStatements, Settings, Store};
pub use sweep::Swept;
pub use turn::Waiting;
pub use url::{DatabaseUrl, DatabaseUrlError, Session};
pub use usage::{ClientUsage, RefusedLogins, TokensGiven, UsageDay};
pub use users::{NewUser, UserCreation, UserFilter, UserImport};
