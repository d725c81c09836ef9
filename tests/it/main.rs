//! The integration tests, in one binary: what only shows with a database, a socket or a process.

#[cfg(test)]
mod algorithms;
#[cfg(test)]
mod api;
#[cfg(test)]
mod api_clients;
#[cfg(test)]
mod api_others;
#[cfg(test)]
mod apply;
#[cfg(test)]
mod asvs;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod canaries;
#[cfg(test)]
mod catalogue;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod client_auth;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod connections;
#[cfg(test)]
#[cfg(feature = "failpoints")]
mod crashes;
#[cfg(test)]
mod deployment;
#[cfg(test)]
mod disk_errors;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod fetchers;
#[cfg(test)]
mod flood;
#[cfg(test)]
mod floors;
#[cfg(test)]
#[cfg(feature = "fuzzing")]
mod fuzzed;
#[cfg(test)]
mod interop;
#[cfg(test)]
mod introspection;
#[cfg(test)]
mod key_compromise;
#[cfg(test)]
#[cfg(feature = "failpoints")]
mod key_crashes;
#[cfg(test)]
mod key_damage;
#[cfg(test)]
mod key_import;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod live;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod lost_answers;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod master_key;
#[cfg(test)]
#[cfg(feature = "failpoints")]
mod master_key_crashes;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod model;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod password;
#[cfg(test)]
mod pipelining;
#[cfg(test)]
mod pooler;
#[cfg(test)]
mod power;
#[cfg(test)]
mod private_bytes;
#[cfg(test)]
mod process;
#[cfg(test)]
mod quotas;
#[cfg(test)]
mod races;
#[cfg(test)]
mod randomness;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod refresh;
#[cfg(test)]
mod registration;
#[cfg(test)]
mod remembered;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod storage;
#[cfg(test)]
mod supply_chain;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod token;
#[cfg(test)]
mod token_reuse;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod transport;
#[cfg(test)]
mod upgrade;
