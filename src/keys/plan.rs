use std::fmt;

use serde::Serialize;

use super::plan_reasons::Reasons;
use super::{CLOCK_SKEW, Demand, HOLD_MARGIN, KeyRing, KeyState, LongestLife, PlanWarning, RotationPolicy};
use crate::oauth::{NumericDate, Seconds, SigningAlgorithm, Thumbprint};

/// What will happen to the keys, if nobody interferes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In order of time.
    pub events: Vec<PlannedEvent>,
    /// The keys that they happen to: those of an algorithm after another, in the order in which they sign.
    pub spans: Vec<KeySpan>,
    /// What an operator should know of.
    pub warnings: Vec<PlanWarning>,
}

/// The life of a key that is published or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpan {
    /// The key; `None` for one that is not made yet.
    pub kid: Option<Thumbprint>,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// When it appears in the JWKS.
    pub published_at: NumericDate,
    /// When it begins to sign; `None` when it never does.
    pub starts: Option<NumericDate>,
    /// When it stops; `None` beyond the plan.
    pub stops: Option<NumericDate>,
    /// When it leaves the JWKS; `None` beyond the plan.
    pub removed_at: Option<NumericDate>,
}

/// One thing that will happen to one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedEvent {
    /// When.
    pub at: NumericDate,
    /// To which key; `None` for one that is not made yet.
    pub kid: Option<Thumbprint>,
    /// What the key signs with.
    #[serde(rename = "alg")]
    pub algorithm: SigningAlgorithm,
    /// What.
    pub what: PlannedChange,
    /// Why then, for people.
    pub reason: String,
}

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlannedChange {
    /// It stops signing.
    StopSigning,
    /// It begins to sign.
    Activate,
    /// It is made and appears in the JWKS.
    Publish,
    /// It leaves the JWKS, and its private half is destroyed.
    Remove,
}

impl fmt::Display for PlannedChange {
    /// For people: `begins to sign`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PlannedChange::StopSigning => "stops signing",
            PlannedChange::Activate => "begins to sign",
            PlannedChange::Publish => "is published",
            PlannedChange::Remove => "leaves the JWK set",
        })
    }
}

/// A key that signs now or later.
pub(super) struct Turn {
    pub(super) kid: Option<Thumbprint>,
    pub(super) algorithm: SigningAlgorithm,
    pub(super) published_at: NumericDate,
    pub(super) starts: NumericDate,
    /// When it stops; `None` beyond the plan.
    stops: Option<NumericDate>,
    /// When it would start, if nobody had put it off or brought it forward; `None` for the key that signs.
    planned: Option<NumericDate>,
    token_life: Seconds,
}

/// How many changes of the active key a plan shows.
const TURNS: usize = 3;

impl RotationPolicy {
    /// What will happen until the active key of each algorithm has changed three times. `longest` is named where it decides.
    pub fn plan(&self, ring: &KeyRing, demand: &Demand, longest: Option<&LongestLife>, now: NumericDate) -> Plan {
        let reasons = Reasons { policy: self, longest };
        let mut events = leaving(ring, &reasons, now);
        let settled_at = self.settled_at(ring, demand, now);
        let mut turns = Vec::new();
        for algorithm in SigningAlgorithm::ALL {
            let end = (!self.wants(demand, algorithm, now)).then_some(settled_at);
            turns.extend(self.turns(ring, algorithm, end, now));
        }
        for turn in &turns {
            if turn.kid.is_none() {
                let reason = reasons.publication(turn.starts.since(turn.published_at));
                events.push(turn.event(turn.published_at, PlannedChange::Publish, reason));
            }
            if turn.starts > now || turn.kid.is_none() {
                let reason = reasons.activation(turn.published_at, turn.starts, turn.planned);
                events.push(turn.event(turn.starts, PlannedChange::Activate, reason));
            }
        }
        for turn in &turns {
            let Some(stops) = turn.stops else { continue };
            let reason = if self.wants(demand, turn.algorithm, now) {
                "its successor takes over".to_owned()
            } else {
                format!("nobody wants {} any more", turn.algorithm)
            };
            events.push(turn.event(stops, PlannedChange::StopSigning, reason));
            let reason = reasons.removal(turn.token_life);
            events.push(turn.event(stops + turn.token_life + HOLD_MARGIN, PlannedChange::Remove, reason));
        }
        events.sort_by_key(|event| (event.at, event.what));
        Plan {
            events,
            spans: spans(ring, &turns, now),
            warnings: self.warnings(ring, demand, &turns, now),
        }
    }

    /// When every algorithm that is wanted has a key that signs: until then the others may have to stand in.
    fn settled_at(&self, ring: &KeyRing, demand: &Demand, now: NumericDate) -> NumericDate {
        let wanted = SigningAlgorithm::ALL
            .into_iter()
            .filter(|algorithm| self.wants(demand, *algorithm, now));
        let begins =
            wanted.filter_map(|algorithm| self.turns(ring, algorithm, None, now).first().map(|turn| turn.starts));
        begins.max().map_or(now, |begins| now.max(begins + CLOCK_SKEW))
    }

    /// The active key of an algorithm and the three after it: those that exist, then those that the policy will make. None begins at
    /// `end` or later.
    fn turns(
        &self,
        ring: &KeyRing,
        algorithm: SigningAlgorithm,
        end: Option<NumericDate>,
        now: NumericDate,
    ) -> Vec<Turn> {
        let active = ring.active(algorithm, now);
        let mut existing: Vec<_> = ring
            .keys()
            .filter(|key| key.record().alg == algorithm && key.can_sign())
            .filter(|key| {
                let state = ring.state(key.kid(), now);
                state == Some(KeyState::Next) || active.is_some_and(|active| active.kid() == key.kid())
            })
            .collect();
        existing.reverse();
        let mut turns: Vec<Turn> = existing
            .into_iter()
            .map(|key| Turn {
                kid: Some(key.kid().clone()),
                algorithm,
                published_at: key.record().published_at,
                starts: ring.starts_at(key.kid()).unwrap_or(key.record().activates_at),
                stops: None,
                planned: active
                    .filter(|active| active.kid() != key.kid())
                    .map(|active| self.activation_after(active.record().activates_at, key.record().published_at)),
                token_life: key.record().longest_token_life,
            })
            .collect();
        let mut activation = active.map(|key| key.record().activates_at);
        if let Some(next) = ring.next(algorithm, now) {
            activation = Some(next.record().activates_at);
        }
        // Of an algorithm that nobody wants no first key is made.
        while turns.len() <= TURNS && (end.is_none() || !turns.is_empty()) {
            // A key is made when the one before it begins to sign.
            let published_at = turns.last().map_or(now, |before| before.starts.max(now));
            let starts = match activation {
                Some(before) => self.activation_after(before, published_at),
                None if self.signs_at_once(ring, algorithm, now) => now,
                None => published_at + self.lead(),
            };
            activation = Some(starts);
            turns.push(Turn {
                kid: None,
                algorithm,
                published_at,
                starts,
                stops: None,
                planned: Some(starts),
                token_life: self.settings().longest_access_ttl,
            });
        }
        turns.retain(|turn| end.is_none_or(|end| turn.starts < end));
        let successors: Vec<_> = turns
            .iter()
            .skip(1)
            .map(|turn| Some(turn.starts))
            .chain([end])
            .collect();
        for (turn, stops) in turns.iter_mut().zip(successors) {
            turn.stops = stops;
        }
        turns
    }
}

impl Turn {
    fn event(&self, at: NumericDate, what: PlannedChange, reason: String) -> PlannedEvent {
        PlannedEvent {
            at,
            kid: self.kid.clone(),
            algorithm: self.algorithm,
            what,
            reason,
        }
    }
}

/// The lives of all keys that are published or will be.
fn spans(ring: &KeyRing, turns: &[Turn], now: NumericDate) -> Vec<KeySpan> {
    let in_turn = |kid: &Thumbprint| turns.iter().any(|turn| turn.kid.as_ref() == Some(kid));
    let of = |algorithm: SigningAlgorithm| {
        let mut held: Vec<KeySpan> = ring
            .published(now)
            .filter(|key| key.record().alg == algorithm && !in_turn(key.kid()))
            .map(|key| KeySpan {
                kid: Some(key.kid().clone()),
                algorithm,
                published_at: key.record().published_at,
                starts: ring.starts_at(key.kid()).filter(|starts| *starts <= now),
                stops: ring.superseded_at(key.kid()),
                removed_at: ring.removed_at(key.kid()),
            })
            .collect();
        held.reverse();
        held
    };
    let to_sign = |turn: &Turn| KeySpan {
        kid: turn.kid.clone(),
        algorithm: turn.algorithm,
        published_at: turn.published_at,
        starts: Some(turn.starts),
        stops: turn.stops,
        removed_at: turn.stops.map(|stops| stops + turn.token_life + HOLD_MARGIN),
    };
    let mut spans = Vec::new();
    for algorithm in SigningAlgorithm::ALL {
        spans.extend(of(algorithm));
        spans.extend(turns.iter().filter(|turn| turn.algorithm == algorithm).map(to_sign));
    }
    spans
}

/// The removal of the keys that are published and sign no more.
fn leaving(ring: &KeyRing, reasons: &Reasons<'_>, now: NumericDate) -> Vec<PlannedEvent> {
    let held = ring.published(now).filter(|key| {
        let state = ring.state(key.kid(), now);
        matches!(state, Some(KeyState::Retiring | KeyState::Tainted))
    });
    held.filter_map(|key| {
        Some(PlannedEvent {
            at: ring.removed_at(key.kid())?,
            kid: Some(key.kid().clone()),
            algorithm: key.record().alg,
            what: PlannedChange::Remove,
            reason: reasons.removal(key.record().longest_token_life),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::AlgorithmUse;
    use super::super::policy::default_settings;
    use super::super::testing::{at, record, ring};
    use super::PlannedChange::{Activate, Publish, Remove, StopSigning};
    use super::*;
    use crate::oauth::Seconds;

    const DAY: i64 = 86_400;

    fn planned(ring: &KeyRing, now: i64) -> Vec<(i64, Option<i64>, PlannedChange)> {
        let plan = RotationPolicy::new(default_settings())
            .unwrap()
            .plan(ring, &Demand::default(), None, at(now));
        plan.events
            .into_iter()
            .map(|event| {
                let slot = event.kid.map(|kid| ring.key(&kid).unwrap().record().slot);
                (event.at.epoch(), slot, event.what)
            })
            .collect()
    }

    #[test]
    fn the_plan_shows_three_turns() {
        let ring = ring([
            record(0, 1, 0, 0),
            record(1, 2, 0, 30 * DAY),
            record(2, 3, 30 * DAY, 60 * DAY),
        ]);
        let hold = 600 + HOLD_MARGIN.get();
        assert_eq!(
            planned(&ring, 30 * DAY + 1),
            [
                (30 * DAY + hold, Some(1), Remove),
                (60 * DAY, Some(2), StopSigning),
                (60 * DAY, Some(3), Activate),
                (60 * DAY, None, Publish),
                (60 * DAY + hold, Some(2), Remove),
                (90 * DAY, Some(3), StopSigning),
                (90 * DAY, None, Activate),
                (90 * DAY, None, Publish),
                (90 * DAY + hold, Some(3), Remove),
                (120 * DAY, None, StopSigning),
                (120 * DAY, None, Activate),
                (120 * DAY + hold, None, Remove),
            ]
        );
    }

    #[test]
    fn the_lives_of_published_keys_and_of_those_to_come_are_told_in_the_order_in_which_they_sign() {
        let ring = ring([
            record(0, 1, 0, 0),
            record(1, 2, 0, 30 * DAY),
            record(2, 3, 30 * DAY, 60 * DAY),
        ]);
        let policy = RotationPolicy::new(default_settings()).unwrap();
        let plan = policy.plan(&ring, &Demand::default(), None, at(30 * DAY + 1));
        let spans: Vec<_> = plan
            .spans
            .iter()
            .map(|span| {
                let epoch = |date: Option<NumericDate>| date.map(|date| date.epoch() / DAY);
                (
                    span.kid.is_some(),
                    span.published_at.epoch() / DAY,
                    epoch(span.starts),
                    epoch(span.stops),
                    epoch(span.removed_at),
                )
            })
            .collect();
        assert_eq!(
            spans,
            [
                (true, 0, Some(0), Some(30), Some(30)),
                (true, 0, Some(30), Some(60), Some(60)),
                (true, 30, Some(60), Some(90), Some(90)),
                (false, 60, Some(90), Some(120), Some(120)),
                (false, 90, Some(120), None, None),
            ]
        );
        assert_eq!(plan.warnings, []);
    }

    #[test]
    fn what_is_close_to_a_bound_or_beyond_it_is_told() {
        let settings = super::super::RotationSettings {
            period: Seconds::new(DAY + 11),
            ..default_settings()
        };
        let policy = RotationPolicy::new(settings).unwrap();
        let told = |ring: &KeyRing, now| {
            let warnings = policy.plan(ring, &Demand::default(), None, at(now)).warnings;
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let said = told(&KeyRing::default(), 0);
        assert!(
            said.contains("no key can sign") && said.contains("no next key"),
            "{said}"
        );
        assert!(said.contains("leaves little"), "{said}");
        let hurried = ring([record(0, 1, 0, 0), record(1, 2, 100, 5_000)]);
        let said = told(&hurried, 200);
        assert!(
            said.contains("begins to sign at") && !said.contains("no next key"),
            "{said}"
        );
    }

    #[test]
    fn the_plan_of_an_empty_ring_begins_with_a_key_that_signs_at_once() {
        let planned = planned(&KeyRing::default(), 100);
        assert_eq!(
            planned[..3],
            [(100, None, Activate), (100, None, Publish), (100, None, Publish)]
        );
        let turns = planned.iter().filter(|(_, _, what)| *what == Activate).count();
        assert_eq!(turns, TURNS + 1);
    }

    // The plan must be what `due` then does.
    #[test]
    fn the_plan_agrees_with_what_becomes_due() {
        let policy = RotationPolicy::new(default_settings()).unwrap();
        let ring = ring([record(0, 1, 0, 0)]);
        let now = at(45 * DAY);
        let [super::super::Step::Create(slot)] = policy.due(&ring, &Demand::default(), now)[..] else {
            panic!("one key is due");
        };
        let plan = policy.plan(&ring, &Demand::default(), None, now).events;
        let event = |what| {
            plan.iter()
                .find(|event| event.kid.is_none() && event.what == what)
                .unwrap()
        };
        assert_eq!(event(Publish).at, slot.published_at);
        assert_eq!(event(Activate).at, slot.activates_at);
        assert!(event(Publish).reason.contains("86410s"), "{}", event(Publish).reason);
    }

    fn by_algorithm(ring: &KeyRing, demand: &Demand, own: SigningAlgorithm, now: i64) -> Plan {
        let settings = super::super::RotationSettings {
            algorithm: own,
            ..default_settings()
        };
        RotationPolicy::new(settings).unwrap().plan(ring, demand, None, at(now))
    }

    #[test]
    fn a_changed_setting_is_planned_as_it_will_be_done() {
        use SigningAlgorithm::{Es256, Rs256};
        let lead = DAY + 10;
        let ring = ring([record(0, 1, 0, 0), record(1, 2, 0, 30 * DAY)]);
        let used = AlgorithmUse {
            algorithm: Rs256,
            wanted_at: at(0),
            served_at: Some(at(0)),
        };
        let plan = by_algorithm(&ring, &Demand::new([used]), Es256, DAY);
        let begins = DAY + lead;
        let told: Vec<_> = plan
            .events
            .iter()
            .filter(|event| event.at <= at(begins + DAY))
            .map(|event| (event.at.epoch(), event.algorithm, event.kid.is_some(), event.what))
            .collect();
        let hold = 600 + HOLD_MARGIN.get();
        assert_eq!(
            told,
            [
                (DAY, Es256, false, Publish),
                (begins, Es256, false, Activate),
                (begins, Es256, false, Publish),
                (begins + 5, Rs256, true, StopSigning),
                (begins + 5 + hold, Rs256, true, Remove),
            ]
        );
        let reason = &plan.events[3].reason;
        assert_eq!(reason, "nobody wants RS256 any more");
        assert!(plan.spans.iter().map(|span| span.algorithm).is_sorted());
        let warned: Vec<_> = plan.warnings.iter().map(ToString::to_string).collect();
        assert!(
            warned.iter().any(|warning| warning.contains("signed with RS256")),
            "{warned:?}"
        );
        // While servers are still set to it, it goes on.
        let lingering = by_algorithm(&ring, &Demand::new([used]), Es256, 3_599);
        assert!(!lingering.events.iter().any(|event| event.reason.contains("any more")));
    }
}
