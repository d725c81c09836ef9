use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::window::Window;
use crate::oauth::{Client, NumericDate, Seconds, TokenQuota};

/// How many tokens of their quotas this node gave to clients that have one. Others never come here.
///
/// There are as many as clients with a quota that asked within a day. By the number of their row, so that no change of a client
/// begins its quota anew.
#[derive(Debug, Default)]
pub(super) struct Quotas(RwLock<HashMap<i64, Arc<Window>>>);

/// What is left of a client's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaLeft {
    /// The quota.
    pub quota: TokenQuota,
    /// Tokens that the client may still be given.
    pub tokens: u32,
    /// How long until it may be given all of them again.
    pub resets_in: Seconds,
}

/// A token that was taken from a quota. Dropped before it [was given](Self::given), it is given back: what comes in between may fail,
/// and nobody is to pay for what they did not get.
#[derive(Debug)]
pub(super) struct Spent {
    window: Arc<Window>,
    begun: NumericDate,
    left: QuotaLeft,
    is_given: bool,
}

impl Spent {
    /// What is left of the quota without it.
    pub(super) fn left(&self) -> QuotaLeft {
        self.left
    }

    /// The client has it now.
    pub(super) fn given(mut self) {
        self.is_given = true;
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        if !self.is_given {
            self.window.uncount(self.begun);
        }
    }
}

impl Quotas {
    /// Refuses a client that has nothing left.
    pub(super) fn look(&self, client: &Client, now: NumericDate) -> Result<(), QuotaLeft> {
        let Some(quota) = client.metadata.token_quota else {
            return Ok(());
        };
        let given = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = given.get(&client.row).map(|window| window.look(quota.period(), now)) else {
            return Ok(());
        };
        if count.times < quota.tokens() {
            return Ok(());
        }
        Err(QuotaLeft {
            quota,
            tokens: 0,
            resets_in: count.left,
        })
    }

    /// Takes a token from what is left; `None` for a client without a quota.
    pub(super) fn spend(&self, client: &Client, now: NumericDate) -> Result<Option<Spent>, QuotaLeft> {
        let Some(quota) = client.metadata.token_quota else {
            return Ok(None);
        };
        let known = {
            let given = self.0.read().unwrap_or_else(PoisonError::into_inner);
            given.get(&client.row).map(Arc::clone)
        };
        let window = known.unwrap_or_else(|| {
            let mut given = self.0.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(given.entry(client.row).or_default())
        });
        let count = window.count(quota.period(), now);
        let spent = Spent {
            window,
            begun: count.begun,
            left: QuotaLeft {
                quota,
                tokens: quota.tokens().saturating_sub(count.times),
                resets_in: count.left,
            },
            is_given: false,
        };
        if count.times > quota.tokens() {
            Err(spent.left)
        } else {
            Ok(Some(spent))
        }
    }

    /// Makes room: clients that were given nothing for so long that no quota asks about it.
    pub(super) fn forget_old(&self, now: NumericDate) {
        let mut given = self.0.write().unwrap_or_else(PoisonError::into_inner);
        given.retain(|_, window| window.look(TokenQuota::LONGEST_PERIOD, now).times > 0);
    }
}
