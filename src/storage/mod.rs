//! Floor 1: what keywheel remembers, in PostgreSQL or SQLite.
//!
//! [`Store`] speaks in intentions: one method is one transaction, its outcome an enum, absence an `Option`. Schema, rows,
//! connections and every type of diesel stay inside. This floor knows neither clock nor HTTP nor what a sealed key means.

mod audit;
mod changes;
mod clients;
mod connection;
mod error;
mod keys;
mod migrations;
mod postgres;
mod schema;
mod secrets;
mod sqlite;
mod store;
mod url;
mod writer;

pub use audit::{AuditEvent, AuditFilter};
pub use changes::{Change, ChangeKind};
pub use clients::{ClientCreation, NewClient};
pub use error::{Cause, Error};
pub use keys::{Insertion, StoredAuthority, StoredDataKey, StoredKey};
pub use migrations::Migration;
pub use secrets::SecretAddition;
pub use store::{PoolState, Settings, Store};
pub use url::{DatabaseUrl, DatabaseUrlError};
