use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::oauth::{NumericDate, Seconds};
use crate::server::AddressBlock;

/// Failed client authentications of the last minute, by client and by address block (RFC 6749 §2.3.1).
///
/// Only who fails is told to wait. A right secret is accepted whatever was tried before, so nobody can lock a client out; and a
/// request that succeeds never comes here. Secrets have 256 random bits: this is not what keeps them from being guessed, but
/// what keeps an attempt from being worth making.
pub(in crate::server) struct Failures(Cache<String, Arc<Mutex<Minute>>>);

#[derive(Debug, Clone, Copy)]
struct Minute {
    begun: NumericDate,
    failures: u32,
}

/// Failures a minute that are answered as such: of one client, wherever they come from, and of one address block, whatever the
/// client. A library that tries both ways to authenticate fails once each time.
const MOST_OF_A_CLIENT: u32 = 60;
const MOST_OF_A_BLOCK: u32 = 120;
const MINUTE: Seconds = Seconds::minutes(1);
/// Most counters kept.
const MOST_COUNTERS: u64 = 20_000;

impl Default for Failures {
    fn default() -> Self {
        let counters = Cache::builder()
            .max_capacity(MOST_COUNTERS)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Failures(counters)
    }
}

impl Failures {
    /// Counts a failure; how long to wait when there were too many.
    pub(in crate::server) fn count(
        &self,
        client_id: Option<&str>,
        address: Option<IpAddr>,
        now: NumericDate,
    ) -> Option<Seconds> {
        let block = self.counted(format!("{}", AddressBlock::of(address)), MOST_OF_A_BLOCK, now);
        let client = client_id.and_then(|id| self.counted(format!("client {id}"), MOST_OF_A_CLIENT, now));
        block.max(client)
    }

    fn counted(&self, key: String, most: u32, now: NumericDate) -> Option<Seconds> {
        let counter = self.0.get_with(key, || {
            Arc::new(Mutex::new(Minute {
                begun: now,
                failures: 0,
            }))
        });
        let mut minute = counter.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back begins a new minute, too.
        if now < minute.begun || now.since(minute.begun) >= MINUTE {
            *minute = Minute {
                begun: now,
                failures: 0,
            };
        }
        minute.failures = minute.failures.saturating_add(1);
        (minute.failures > most).then(|| (minute.begun + MINUTE).since(now))
    }
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failures({} counters)", self.0.entry_count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> NumericDate {
        NumericDate::from_epoch(1_000_000 + seconds)
    }

    fn address(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4(number.rotate_left(8).into()))
    }

    // C-21
    #[test]
    fn a_client_is_counted_over_all_addresses_and_an_address_over_all_clients_and_a_minute_ends() {
        let failures = Failures::default();
        let waits = |n: u32| failures.count(Some("billing"), address(n), at(7));
        assert!((0..MOST_OF_A_CLIENT).all(|n| waits(n).is_none()));
        assert_eq!(waits(1_000), Some(Seconds::new(60)));
        assert_eq!(
            failures.count(Some("billing"), address(1), at(66)),
            Some(Seconds::new(1))
        );
        assert_eq!(failures.count(Some("billing"), address(1), at(67)), None);
        let waits = |n: u32| failures.count(Some(&format!("client-{n}")), address(9_999), at(7));
        assert!((0..MOST_OF_A_BLOCK).all(|n| waits(n).is_none()));
        assert!(waits(1_000).is_some());
        assert_eq!(failures.count(Some("client-1"), address(8_888), at(7)), None);
        assert_eq!(
            failures.count(None, address(9_999), at(0)),
            None,
            "a clock that was set back"
        );
    }
}
