//! Which algorithms are wanted: read off the settings of servers and the clients, and kept in the database so that all nodes agree.

use super::Failure;
use crate::keys::{AlgorithmUse, Demand};
use crate::oauth::{NumericDate, Seconds, SigningAlgorithm};
use crate::storage::Store;

/// How often a node notes that an algorithm is still wanted.
const NOTED_EVERY: Seconds = Seconds::minutes(1);

/// The demand as the database knows it, after noting what is wanted at `now`: by clients, and by this server, which is set to `own`.
pub(super) fn follow(store: &Store, own: SigningAlgorithm, now: NumericDate) -> Result<Demand, Failure> {
    let demand = stored(store)?;
    let wanted = wanted_by_clients(store)?;
    let is_old = |noted: Option<NumericDate>| noted.is_none_or(|noted| noted + NOTED_EVERY <= now);
    let served = is_old(demand.served_at(own));
    if !served && !wanted.iter().any(|algorithm| is_old(demand.wanted_at(*algorithm))) {
        return Ok(demand);
    }
    let names: Vec<&'static str> = wanted.iter().map(|algorithm| algorithm.as_str()).collect();
    store.note_algorithm_uses(&names, own.as_str(), now)?;
    stored(store)
}

/// The demand for who only looks: what clients want is wanted at `now`, whether or not a server has noted it yet.
pub(super) fn look(store: &Store, now: NumericDate) -> Result<Demand, Failure> {
    let (noted, wanted) = (stored(store)?, wanted_by_clients(store)?);
    let uses = SigningAlgorithm::ALL.into_iter().filter_map(|algorithm| {
        let by_client = wanted.contains(&algorithm).then_some(now);
        Some(AlgorithmUse {
            algorithm,
            wanted_at: noted.wanted_at(algorithm).max(by_client)?,
            served_at: noted.served_at(algorithm),
        })
    });
    Ok(Demand::new(uses))
}

fn stored(store: &Store) -> Result<Demand, Failure> {
    let uses = store.algorithm_uses()?.into_iter().filter_map(|stored| {
        // A word of a newer version that was here; none of this version's keys is meant.
        let algorithm = stored.alg.parse().ok()?;
        Some(AlgorithmUse {
            algorithm,
            wanted_at: stored.wanted_at,
            served_at: stored.served_at,
        })
    });
    Ok(Demand::new(uses))
}

fn wanted_by_clients(store: &Store) -> Result<Vec<SigningAlgorithm>, Failure> {
    let names = store.client_algorithms()?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}
