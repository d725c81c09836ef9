use std::fmt;

use serde::Serialize;
use thiserror::Error;

use super::plan_reasons::{Reasons, too_slow};
use super::{HOLD_MARGIN, KeyRing, KeyState, LongestLife, RotationPolicy};
use crate::oauth::{NumericDate, Seconds, Thumbprint};

/// What will happen to the keys, if nobody interferes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In order of time.
    pub events: Vec<PlannedEvent>,
    /// The keys that they happen to, in the order in which they sign.
    pub spans: Vec<KeySpan>,
    /// What an operator should know of.
    pub warnings: Vec<PlanWarning>,
}

/// The life of a key that is published or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpan {
    /// The key; `None` for one that is not made yet.
    pub kid: Option<Thumbprint>,
    /// When it appears in the JWKS.
    pub published_at: NumericDate,
    /// When it begins to sign; `None` when it never does.
    pub starts: Option<NumericDate>,
    /// When it stops; `None` beyond the plan.
    pub stops: Option<NumericDate>,
    /// When it leaves the JWKS; `None` beyond the plan.
    pub removed_at: Option<NumericDate>,
}

/// Something about the keys that is close to a bound, or beyond it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanWarning {
    /// Nothing can sign.
    #[error("no key can sign: start a server, it makes one at once")]
    NothingSigns,
    /// The next key is missing: the turn that comes will be late.
    #[error(
        "no next key is published: start a server, it makes one; the next turn waits until every verifier knows it"
    )]
    NoNextKey,
    /// A key begins to sign before every verifier knows it.
    #[error(
        "{kid} begins to sign at {starts}, but the slowest verifier knows it only at {known_at}: verifiers may refuse its tokens until \
         then. It was brought forward by hand, or signing.slowest_verifier was raised since"
    )]
    TooSoon {
        /// The key.
        kid: Thumbprint,
        /// When it begins to sign.
        starts: NumericDate,
        /// When the slowest verifier has fetched it.
        known_at: NumericDate,
    },
    /// Libraries are slower by their defaults than the settings allow for.
    #[error(
        "by their defaults these refuse a new key for longer than signing.slowest_verifier and signing.jwks_max_age allow for: {0}. If one of \
         them verifies your tokens, raise signing.slowest_verifier to that, or have it fetch the JWK set sooner"
    )]
    SlowVerifiers(String),
    /// The period is hardly longer than it has to be.
    #[error(
        "signing.period ({period}) leaves little beyond what verifiers need to learn of a key ({lead}): a server that is away for longer \
         than {spare} turns late. Set it to {advised} or more"
    )]
    ShortPeriod {
        /// `signing.period`.
        period: Seconds,
        /// How long a key is published at least before it signs.
        lead: Seconds,
        /// The difference.
        spare: Seconds,
        /// A period that leaves room.
        advised: Seconds,
    },
}

/// One thing that will happen to one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedEvent {
    /// When.
    pub at: NumericDate,
    /// To which key; `None` for one that is not made yet.
    pub kid: Option<Thumbprint>,
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
struct Turn {
    kid: Option<Thumbprint>,
    published_at: NumericDate,
    starts: NumericDate,
    /// When it would start, if nobody had put it off or brought it forward; `None` for the key that signs.
    planned: Option<NumericDate>,
    token_life: Seconds,
}

/// How many changes of the active key a plan shows.
const TURNS: usize = 3;

impl RotationPolicy {
    /// What will happen until the active key has changed three times. `longest` is named where it decides.
    pub fn plan(&self, ring: &KeyRing, longest: Option<&LongestLife>, now: NumericDate) -> Plan {
        let reasons = Reasons { policy: self, longest };
        let mut events = leaving(ring, &reasons, now);
        let turns = self.turns(ring, now);
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
        for (turn, successor) in turns.iter().zip(turns.iter().skip(1)) {
            let stops = successor.starts;
            events.push(turn.event(stops, PlannedChange::StopSigning, "its successor takes over".to_owned()));
            let reason = reasons.removal(turn.token_life);
            events.push(turn.event(stops + turn.token_life + HOLD_MARGIN, PlannedChange::Remove, reason));
        }
        events.sort_by_key(|event| (event.at, event.what));
        Plan {
            events,
            spans: spans(ring, &turns, now),
            warnings: self.warnings(ring, &turns, now),
        }
    }

    fn warnings(&self, ring: &KeyRing, turns: &[Turn], now: NumericDate) -> Vec<PlanWarning> {
        let mut warnings = Vec::new();
        if ring.active(now).is_none() {
            warnings.push(PlanWarning::NothingSigns);
        }
        if ring.next(now).is_none() {
            warnings.push(PlanWarning::NoNextKey);
        }
        let coming = turns.iter().filter(|turn| turn.starts > now);
        warnings.extend(coming.filter_map(|turn| {
            let known_at = turn.published_at + self.lead();
            let kid = turn.kid.clone()?;
            let starts = turn.starts;
            (starts < known_at).then_some(PlanWarning::TooSoon { kid, starts, known_at })
        }));
        let slow: Vec<String> = too_slow(self)
            .into_iter()
            .map(|(name, span)| format!("{name} ({span})"))
            .collect();
        if !slow.is_empty() {
            warnings.push(PlanWarning::SlowVerifiers(slow.join(", ")));
        }
        let (period, lead) = (self.settings().period, self.lead());
        if period < lead + lead / 4 {
            warnings.push(PlanWarning::ShortPeriod {
                period,
                lead,
                spare: Seconds::new(period.get() - lead.get()),
                advised: lead + lead / 4,
            });
        }
        warnings
    }

    /// The active key and the three after it: those that exist, then those that the policy will make.
    fn turns(&self, ring: &KeyRing, now: NumericDate) -> Vec<Turn> {
        let active = ring.active(now);
        let mut existing: Vec<_> = ring
            .keys()
            .filter(|key| key.can_sign())
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
                published_at: key.record().published_at,
                starts: ring.starts_at(key.kid()).unwrap_or(key.record().activates_at),
                planned: active
                    .filter(|active| active.kid() != key.kid())
                    .map(|active| self.activation_after(active.record().activates_at, key.record().published_at)),
                token_life: key.record().longest_token_life,
            })
            .collect();
        let mut activation = active.map(|key| key.record().activates_at);
        if let Some(next) = ring.next(now) {
            activation = Some(next.record().activates_at);
        }
        while turns.len() <= TURNS {
            // A key is made when the one before it begins to sign.
            let published_at = turns.last().map_or(now, |before| before.starts.max(now));
            let starts = activation.map_or(now, |before| self.activation_after(before, published_at));
            activation = Some(starts);
            turns.push(Turn {
                kid: None,
                published_at,
                starts,
                planned: Some(starts),
                token_life: self.settings().longest_access_ttl,
            });
        }
        turns
    }
}

impl Turn {
    fn event(&self, at: NumericDate, what: PlannedChange, reason: String) -> PlannedEvent {
        PlannedEvent {
            at,
            kid: self.kid.clone(),
            what,
            reason,
        }
    }
}

/// The lives of all keys that are published or will be.
fn spans(ring: &KeyRing, turns: &[Turn], now: NumericDate) -> Vec<KeySpan> {
    let in_turn = |kid: &Thumbprint| turns.iter().any(|turn| turn.kid.as_ref() == Some(kid));
    let mut held: Vec<KeySpan> = ring
        .published(now)
        .filter(|key| !in_turn(key.kid()))
        .map(|key| KeySpan {
            kid: Some(key.kid().clone()),
            published_at: key.record().published_at,
            starts: ring.starts_at(key.kid()).filter(|starts| *starts <= now),
            stops: ring.superseded_at(key.kid()),
            removed_at: ring.removed_at(key.kid()),
        })
        .collect();
    held.reverse();
    let successors = turns.iter().skip(1).map(Some).chain([None]);
    let to_sign = turns.iter().zip(successors).map(|(turn, successor)| {
        let stops = successor.map(|successor| successor.starts);
        KeySpan {
            kid: turn.kid.clone(),
            published_at: turn.published_at,
            starts: Some(turn.starts),
            stops,
            removed_at: stops.map(|stops| stops + turn.token_life + HOLD_MARGIN),
        }
    });
    held.into_iter().chain(to_sign).collect()
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
            what: PlannedChange::Remove,
            reason: reasons.removal(key.record().longest_token_life),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::policy::default_settings;
    use super::super::testing::{at, record, ring};
    use super::PlannedChange::{Activate, Publish, Remove, StopSigning};
    use super::*;

    const DAY: i64 = 86_400;

    fn planned(ring: &KeyRing, now: i64) -> Vec<(i64, Option<i64>, PlannedChange)> {
        let plan = RotationPolicy::new(default_settings())
            .unwrap()
            .plan(ring, None, at(now));
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
        let plan = policy.plan(&ring, None, at(30 * DAY + 1));
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
            let warnings = policy.plan(ring, None, at(now)).warnings;
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
        let [super::super::Step::Create(slot)] = policy.due(&ring, now)[..] else {
            panic!("one key is due");
        };
        let plan = policy.plan(&ring, None, now).events;
        let event = |what| {
            plan.iter()
                .find(|event| event.kid.is_none() && event.what == what)
                .unwrap()
        };
        assert_eq!(event(Publish).at, slot.published_at);
        assert_eq!(event(Activate).at, slot.activates_at);
        assert!(event(Publish).reason.contains("86410s"), "{}", event(Publish).reason);
    }
}
