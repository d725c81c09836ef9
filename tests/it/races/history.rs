//! What was asked in a race, when, and what was answered; and whether that may be. The judgement is pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Client;

/// A request and its answer. `began` and `ended` are ticks of one counter, so what ended at a lower tick than another began was
/// over before it.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) ask: Ask,
    pub(super) answer: Answer,
    pub(super) began: u64,
    pub(super) ended: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// A refresh token is presented.
    Refresh(String),
    /// Whether an access token of the family is active.
    Introspect,
    /// The family is ended, one way or another.
    End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200, with this refresh token.
    Granted(String),
    InvalidGrant,
    /// 503: it may have happened or not.
    Unavailable,
    Active,
    Inactive,
    /// The end is acknowledged.
    Ended,
    /// What nobody may be answered.
    Other(String),
}

/// What must never be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wrong {
    /// One token was exchanged for two that differ.
    Fork,
    /// A strict client was answered twice, or more successors are stored than tokens were exchanged.
    SecondSuccessor,
    /// A token was granted or found active by a request that began after an end was acknowledged.
    OutlivedItsEnd,
    /// A token was refused though nothing had ended its family, and though nobody else had exchanged it.
    LoggedOut,
    /// An answer that no rule gives.
    Unexpected(String),
}

/// Judges what happened to one family: `stored` is by how many its refresh tokens in the database became more.
pub(super) fn judge(client: Client, history: &[Event], stored: usize) -> BTreeSet<Wrong> {
    let mut wrong = BTreeSet::new();
    let mut presented: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in history {
        match (&event.ask, &event.answer) {
            (Ask::Refresh(token), Answer::Granted(_) | Answer::InvalidGrant | Answer::Unavailable) => {
                presented.entry(token).or_default().push(event);
            }
            (Ask::Introspect, Answer::Active | Answer::Inactive | Answer::Unavailable) => {}
            (Ask::End, Answer::Ended | Answer::Unavailable) => {}
            (ask, answer) => {
                wrong.insert(Wrong::Unexpected(format!("{answer:?} to {ask:?}")));
            }
        }
        if matches!(event.answer, Answer::Granted(_) | Answer::Active) && is_ended_before(event, history) {
            wrong.insert(Wrong::OutlivedItsEnd);
        }
    }
    let mut exchanged = 0;
    for requests in presented.values() {
        let granted: Vec<&Answer> = (requests.iter().map(|event| &event.answer))
            .filter(|answer| matches!(answer, Answer::Granted(_)))
            .collect();
        exchanged += usize::from(!granted.is_empty());
        if granted.iter().any(|answer| *answer != granted[0]) {
            wrong.insert(Wrong::Fork);
        }
        if client == Client::Strict && granted.len() > 1 {
            wrong.insert(Wrong::SecondSuccessor);
        }
        for refused in requests.iter().filter(|event| event.answer == Answer::InvalidGrant) {
            let is_late = client == Client::Strict && requests.iter().any(|other| may_be_first(other, refused));
            if !is_late && !may_be_ended(refused, history) {
                wrong.insert(Wrong::LoggedOut);
            }
        }
    }
    let unknown = history.iter().any(|event| event.answer == Answer::Unavailable);
    if stored > presented.len() || (!unknown && stored != exchanged) {
        wrong.insert(Wrong::SecondSuccessor);
    }
    wrong
}

fn is_ended_before(event: &Event, history: &[Event]) -> bool {
    history
        .iter()
        .any(|end| end.answer == Answer::Ended && end.ended < event.began)
}

fn may_be_ended(event: &Event, history: &[Event]) -> bool {
    history.iter().any(|end| end.ask == Ask::End && end.began < event.ended)
}

/// Whether another request may have exchanged the token before this one came.
fn may_be_first(other: &Event, refused: &Event) -> bool {
    matches!(other.answer, Answer::Granted(_) | Answer::Unavailable) && other.began < refused.ended
}

/// Each rule is shown to notice when it is broken.
mod tests {
    use super::*;

    fn event(began: u64, ended: u64, ask: Ask, answer: Answer) -> Event {
        Event {
            ask,
            answer,
            began,
            ended,
        }
    }

    fn refresh(began: u64, ended: u64, token: &str, answer: Answer) -> Event {
        event(began, ended, Ask::Refresh(token.to_owned()), answer)
    }

    fn granted(token: &str) -> Answer {
        Answer::Granted(token.to_owned())
    }

    fn end(began: u64, ended: u64) -> Event {
        event(began, ended, Ask::End, Answer::Ended)
    }

    #[track_caller]
    fn is(client: Client, history: &[Event], stored: usize, wrong: &[Wrong]) {
        assert_eq!(judge(client, history, stored), wrong.iter().cloned().collect());
    }

    #[test]
    fn what_may_be_is_not_called_wrong() {
        let both = [refresh(1, 4, "a", granted("b")), refresh(2, 3, "a", granted("b"))];
        is(Client::Lenient, &both, 1, &[]);
        let late = [
            refresh(1, 3, "a", granted("b")),
            refresh(2, 4, "a", Answer::InvalidGrant),
        ];
        is(Client::Strict, &late, 1, &[]);
        let full = [
            refresh(1, 3, "a", granted("b")),
            refresh(2, 4, "a", Answer::Unavailable),
        ];
        is(Client::Lenient, &full, 1, &[]);
        // Whether what was answered 503 happened is not known.
        is(Client::Lenient, &full[1..], 0, &[]);
        is(Client::Lenient, &full[1..], 1, &[]);
        // What was under way when the end came may be granted or refused.
        let racing = [
            refresh(1, 6, "a", granted("b")),
            refresh(2, 4, "a", Answer::InvalidGrant),
            end(3, 5),
            refresh(7, 8, "b", Answer::InvalidGrant),
            event(9, 10, Ask::Introspect, Answer::Inactive),
        ];
        is(Client::Lenient, &racing, 1, &[]);
    }

    #[test]
    fn a_fork_is_noticed() {
        let fork = [refresh(1, 4, "a", granted("b")), refresh(2, 3, "a", granted("c"))];
        is(Client::Lenient, &fork, 2, &[Wrong::Fork, Wrong::SecondSuccessor]);
        is(Client::Lenient, &fork, 1, &[Wrong::Fork]);
    }

    #[test]
    fn a_second_successor_is_noticed_in_the_answers_and_in_the_database() {
        let twice = [refresh(1, 4, "a", granted("b")), refresh(2, 3, "a", granted("b"))];
        is(Client::Strict, &twice, 1, &[Wrong::SecondSuccessor]);
        is(Client::Lenient, &twice, 2, &[Wrong::SecondSuccessor]);
        is(Client::Lenient, &twice, 0, &[Wrong::SecondSuccessor]);
    }

    #[test]
    fn a_token_that_is_accepted_after_an_acknowledged_end_is_noticed() {
        let late = [end(1, 2), refresh(3, 4, "a", granted("b"))];
        is(Client::Lenient, &late, 1, &[Wrong::OutlivedItsEnd]);
        let active = [end(1, 2), event(3, 4, Ask::Introspect, Answer::Active)];
        is(Client::Lenient, &active, 0, &[Wrong::OutlivedItsEnd]);
        // The successor that was given out during the race.
        let racing = [
            refresh(1, 4, "a", granted("b")),
            end(2, 3),
            refresh(5, 6, "b", granted("c")),
        ];
        is(Client::Lenient, &racing, 2, &[Wrong::OutlivedItsEnd]);
    }

    #[test]
    fn a_refusal_that_logs_out_is_noticed() {
        let lenient = [
            refresh(1, 3, "a", granted("b")),
            refresh(2, 4, "a", Answer::InvalidGrant),
        ];
        is(Client::Lenient, &lenient, 1, &[Wrong::LoggedOut]);
        // A strict client's loser is refused, but not before anybody can have won, and not all of them.
        let early = [
            refresh(1, 2, "a", Answer::InvalidGrant),
            refresh(3, 4, "a", granted("b")),
        ];
        is(Client::Strict, &early, 1, &[Wrong::LoggedOut]);
        is(Client::Strict, &early[..1], 0, &[Wrong::LoggedOut]);
        let before_the_end = [refresh(1, 2, "a", Answer::InvalidGrant), end(3, 4)];
        is(Client::Lenient, &before_the_end, 0, &[Wrong::LoggedOut]);
    }

    #[test]
    fn an_answer_that_no_rule_gives_is_noticed() {
        let text = "401 invalid_client";
        let other = [refresh(1, 2, "a", Answer::Other(text.to_owned()))];
        let wrong = judge(Client::Lenient, &other, 0);
        assert!(matches!(Vec::from_iter(wrong)[..], [Wrong::Unexpected(ref said)] if said.contains(text)));
    }
}
