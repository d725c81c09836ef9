//! Refresh rotation against a model of a few lines: whatever sequence of requests, restarts and moves of the clock, the server does
//! what the model does. Exhaustive for short sequences, random for long ones, on both databases and on two nodes.

use keywheel::oauth::{NumericDate, Seconds};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::refresh::{PASSWORD, for_people, refresh, session, sign_in};
use crate::support::on_both;
use crate::support::server::{Credentials, Options, TestServer};
use crate::support::{Database, http::Request};

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// The newest token is presented.
    Refresh,
    /// The one before it is.
    Retry,
    /// The very first one is.
    Replay,
    /// The client revokes the family.
    Revoke,
    /// Time passes: within the retry window, and beyond it.
    Wait(i64),
    /// The clock is set back.
    SetBack(i64),
    /// The user gets a new password.
    NewPassword,
    /// The user is disabled and enabled again.
    Disable,
    /// The other node answers from now on; on SQLite the server is restarted.
    OtherNode,
}

/// Short sequences are made of these.
const FEW: [Act; 6] = [
    Act::Refresh,
    Act::Retry,
    Act::Replay,
    Act::Revoke,
    Act::Wait(4),
    Act::Wait(11),
];
/// Long ones of all.
const ALL: [Act; 10] = [
    Act::Refresh,
    Act::Refresh,
    Act::Retry,
    Act::Replay,
    Act::Revoke,
    Act::Wait(4),
    Act::Wait(11),
    Act::SetBack(600),
    Act::NewPassword,
    Act::OtherNode,
];

/// The whole of the rules.
#[derive(Debug, Default)]
struct Family {
    /// When each token but the newest was exchanged, by the latest instant that its node had seen.
    rotated_at: Vec<NumericDate>,
    ended: bool,
}

impl Family {
    /// The generation of the token that is answered, if any is.
    fn refresh(&mut self, generation: usize, seen: NumericDate) -> Option<usize> {
        let newest = self.rotated_at.len();
        if self.ended {
            return None;
        }
        if generation == newest {
            self.rotated_at.push(seen);
            return Some(newest + 1);
        }
        let in_window = seen.since(self.rotated_at[generation]) <= Seconds::new(10);
        if generation + 1 == newest && in_window {
            return Some(newest);
        }
        self.ended = true;
        None
    }
}

/// A sequence under way: the model, and the tokens of the real family by generation.
struct Play<'a> {
    nodes: &'a [TestServer],
    node: usize,
    /// The latest instant that each node has seen: a clock that is set back opens no window again.
    seen: Vec<NumericDate>,
    client: &'a Credentials,
    family: Family,
    tokens: Vec<String>,
}

impl Play<'_> {
    fn server(&self) -> &TestServer {
        &self.nodes[self.node]
    }

    /// The node sees a request.
    fn see(&mut self) -> NumericDate {
        let seen = self.seen[self.node].max(self.server().now());
        self.seen[self.node] = seen;
        seen
    }

    fn act(&mut self, act: Act, history: &[Act]) {
        let newest = self.tokens.len() - 1;
        match act {
            Act::Refresh => self.present(newest, history),
            Act::Retry => self.present(newest.saturating_sub(1), history),
            Act::Replay => self.present(0, history),
            Act::Revoke => {
                let form = Request::form("/oauth2/revoke", &[("token", &self.tokens[newest])]);
                let response = self.server().send(&form.basic(&self.client.id, &self.client.secret));
                assert_eq!(response.status, 200, "{history:?}");
                self.see();
                self.family.ended = true;
            }
            Act::Wait(seconds) => self.server().advance(Seconds::new(seconds)),
            Act::SetBack(seconds) => {
                let now = self.server().now() - Seconds::new(seconds);
                self.server().set_clock(now.epoch());
            }
            Act::NewPassword => {
                self.server().set_password("alice", PASSWORD);
                self.family.ended = true;
            }
            Act::Disable => {
                let users = self.server().users();
                let alice = users.show("alice").unwrap();
                users.set_enabled(&alice, false, self.server().now()).unwrap();
                users.set_enabled(&alice, true, self.server().now()).unwrap();
                self.family.ended = true;
            }
            Act::OtherNode => self.node = (self.node + 1) % self.nodes.len(),
        }
    }

    fn present(&mut self, generation: usize, history: &[Act]) {
        let response = refresh(self.server(), self.client, &self.tokens[generation], &[]);
        let seen = self.see();
        match self.family.refresh(generation, seen) {
            Some(expected) => {
                assert_eq!(response.status, 200, "{history:?}: {}", response.text());
                let token = session(&response).refresh;
                if expected == self.tokens.len() {
                    assert!(!self.tokens.contains(&token), "{history:?}");
                    self.tokens.push(token);
                } else {
                    assert_eq!(token, self.tokens[expected], "{history:?}: a token has one successor");
                }
            }
            None => {
                assert_eq!(response.status, 400, "{history:?}: {}", response.text());
                assert_eq!(response.json()["error"], "invalid_grant", "{history:?}");
            }
        }
    }
}

/// Two nodes on one database, with one clock.
fn nodes(database: &Database) -> ([TestServer; 2], Credentials) {
    let options = Options::default();
    let one = TestServer::with(database.url(), options.clone());
    let two = TestServer::with(database.url(), options);
    let client = one.client("shop", for_people());
    one.user("alice", PASSWORD);
    ([one, two], client)
}

fn play(nodes: &[TestServer], client: &Credentials, acts: &[Act]) {
    // Room for a clock that is set back, below what a node saw in the sequence before.
    nodes[0].advance(Seconds::hours(24));
    let first = sign_in(&nodes[0], client, &[]);
    let mut play = Play {
        nodes,
        node: 0,
        seen: vec![NumericDate::from_epoch(0); nodes.len()],
        client,
        family: Family::default(),
        tokens: vec![first.refresh],
    };
    play.see();
    for (position, act) in acts.iter().enumerate() {
        play.act(*act, &acts[..=position]);
    }
}

#[test]
fn every_short_sequence_goes_as_the_model_says() {
    on_both(|database| {
        let (nodes, client) = nodes(database);
        for number in 0..FEW.len().pow(3) {
            let act = |position: u32| FEW[number / FEW.len().pow(position) % FEW.len()];
            // A retry of nothing is a refresh: begin with one.
            play(&nodes, &client, &[Act::Refresh, act(0), act(1), act(2), Act::Refresh]);
        }
    });
}

#[test]
fn long_random_sequences_on_two_nodes_go_as_the_model_says() {
    on_both(|database| {
        let (nodes, client) = nodes(database);
        for seed in 0..40 {
            let mut rng = StdRng::seed_from_u64(seed);
            let acts: Vec<Act> = (0..40)
                .map(|_| match rng.random_range(0..=ALL.len()) {
                    last if last == ALL.len() => Act::Disable,
                    index => ALL[index],
                })
                .collect();
            play(&nodes, &client, &acts);
        }
    });
}
