//! keywheel: an OAuth 2 token service.
//!
//! The modules are floors; a lower one never imports an upper one (`docs/architecture.md`, checked by `tests/it/floors.rs`).

pub mod app;
mod failpoint;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod http;
pub mod keys;
pub mod oauth;
pub mod server;
pub mod storage;
mod timed;
