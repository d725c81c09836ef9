use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use crate::oauth::{ClientSecretRecord, NumericDate, Seconds};
use crate::server::Failure;
use crate::server::admin::ClientError;
use crate::storage::{ClientFilter, Store};

/// Answers questions about who uses what, for who cleans up.
#[derive(Debug)]
pub struct Reports<'a> {
    store: &'a Store,
    /// Life of access tokens whose client has none of its own.
    access_ttl: Seconds,
    now: NumericDate,
}

/// A client that nobody seems to need. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UnusedClient {
    /// The client.
    pub client_id: String,
    /// When it was registered.
    pub created_at: String,
    /// When one of its secrets was used last; absent for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

/// A secret to look after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NotableSecret {
    /// Whose it is.
    pub client_id: String,
    /// Which it is.
    pub secret_id: String,
    /// `expires soon`, `expired` or `not used`.
    pub why: &'static str,
    /// When it ends; absent for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When it was used last; absent for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
}

/// A client that fetches tokens more often than their life requires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OverIssuance {
    /// The client.
    pub client_id: String,
    /// How many were signed for it on a day on which it was given any, on average.
    pub tokens_per_day: i64,
    /// How often it was given one of them again on such a day, on average.
    pub reused_per_day: i64,
    /// How long each lives, in seconds.
    #[schemars(with = "i64")]
    pub access_ttl: Seconds,
    /// How many were alive at a time, on average: as many as it has replicas, if each fetches one when the one before ends.
    pub alive_at_once: i64,
}

/// A user whose password was wrong often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OftenRefused {
    /// The user's id; `unknown` stands for all names that are no user's.
    pub user_id: String,
    /// How often.
    pub refused: i64,
    /// When last.
    pub last: String,
}

impl<'a> Reports<'a> {
    /// Reports as of `now`.
    pub fn new(store: &'a Store, access_ttl: Seconds, now: NumericDate) -> Self {
        Reports { store, access_ttl, now }
    }

    /// Enabled clients that are older than `span` and were not used for so long.
    pub fn unused_clients(&self, span: Seconds) -> Result<Vec<UnusedClient>, ClientError> {
        let since = self.now - span;
        // A secret that was replaced took its last use with it; the client's tokens are counted as well.
        let usage = self.store.usage_since(since)?;
        let given: BTreeSet<String> = usage.into_iter().map(|usage| usage.client_id).collect();
        let mut unused = Vec::new();
        self.each_client(|client_id, created_at, secrets| {
            let last_used = secrets.iter().filter_map(|secret| secret.last_used_at).max();
            if created_at < since && last_used.is_none_or(|used| used < since) && !given.contains(&client_id) {
                unused.push(UnusedClient {
                    client_id,
                    created_at: created_at.to_string(),
                    last_used_at: last_used.map(|used| used.to_string()),
                });
            }
        })?;
        Ok(unused)
    }

    /// Secrets that end within `soon`, have ended, or were not used for `unused`.
    pub fn notable_secrets(&self, soon: Seconds, unused: Seconds) -> Result<Vec<NotableSecret>, ClientError> {
        let (now, until, since) = (self.now, self.now + soon, self.now - unused);
        let mut notable = Vec::new();
        self.each_client(|client_id, _, secrets| {
            for secret in secrets {
                let used_or_made = secret.last_used_at.unwrap_or(secret.created_at);
                let why = match secret.expires_at {
                    Some(ends) if ends <= now => "expired",
                    Some(ends) if ends <= until => "expires soon",
                    _ if used_or_made < since => "not used",
                    _ => continue,
                };
                notable.push(NotableSecret {
                    client_id: client_id.clone(),
                    secret_id: secret.id,
                    why,
                    expires_at: secret.expires_at.map(|ends| ends.to_string()),
                    last_used_at: secret.last_used_at.map(|used| used.to_string()),
                });
            }
        })?;
        Ok(notable)
    }

    /// Clients that had more than `most` tokens alive at a time on average, on the days of the last `span` on which they were given
    /// any; the worst first.
    pub fn over_issuance(&self, span: Seconds, most: i64) -> Result<Vec<OverIssuance>, Failure> {
        let usage = self.store.usage_since(self.now - span)?;
        let mut over: Vec<OverIssuance> = usage
            .into_iter()
            .map(|usage| {
                let access_ttl = usage.access_ttl.unwrap_or(self.access_ttl);
                let tokens_per_day = usage.tokens / usage.days.max(1);
                OverIssuance {
                    client_id: usage.client_id,
                    tokens_per_day,
                    reused_per_day: usage.reused / usage.days.max(1),
                    access_ttl,
                    alive_at_once: tokens_per_day.saturating_mul(access_ttl.get()) / Seconds::days(1).get(),
                }
            })
            .filter(|usage| usage.alive_at_once > most)
            .collect();
        over.sort_by_key(|usage| std::cmp::Reverse(usage.alive_at_once));
        Ok(over)
    }

    /// Users that were refused `least` times or more within the last `span`, the most often refused first.
    pub fn failed_logins(&self, span: Seconds, least: i64) -> Result<Vec<OftenRefused>, Failure> {
        let refused = self.store.refused_logins(self.now - span, least)?;
        let line = |refused: crate::storage::RefusedLogins| OftenRefused {
            user_id: refused.user_id,
            refused: refused.refused,
            last: refused.last.to_string(),
        };
        Ok(refused.into_iter().map(line).collect())
    }

    fn each_client(
        &self,
        mut look: impl FnMut(String, NumericDate, Vec<ClientSecretRecord>),
    ) -> Result<(), ClientError> {
        let mut filter = ClientFilter {
            enabled: Some(true),
            ..ClientFilter::default()
        };
        loop {
            let page = self.store.clients_with_secrets(&filter)?;
            let is_last = page.len() < filter.limit as usize;
            filter.after = page.last().map(|(client, _)| client.client_id.clone());
            for (client, secrets) in page {
                look(client.client_id.to_string(), client.created_at, secrets);
            }
            if is_last {
                return Ok(());
            }
        }
    }
}
