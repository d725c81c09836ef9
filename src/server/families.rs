//! Families of refresh tokens: how one begins, goes on and ends.
//!
//! A family has one live token. Its successor is derived from the family and the generation, so whoever lost an answer can be
//! given the very same successor again, and nothing forks.

use std::sync::Arc;

use tracing::warn;

use super::grants::{Beginning, Continuation, Exchange, Known};
use super::quotas::Spent;
use super::{Context, Failure, Reach, RegisteredClient, Server, TokenError, TokenRequest, audit};
use crate::failpoint::failpoint;
use crate::oauth::{ErrorCode, NumericDate, OAuthError, RefreshToken, Seconds, SecretHash, User};
use crate::storage::{
    self, AuditEvent, FamilyCreation, NewFamily, RefreshTokenRecord, Rotation, RotationOutcome, Waiting,
};
use crate::timed::Part;

/// How a presented refresh token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has no successor, as far as that is known: it is exchanged.
    Newest(Known),
    /// It has one, just made and not used yet: the client did not get it, and is given it again.
    AnswerLost,
}

/// Finds what a presented refresh token is, and judges it. What was exchanged before and comes again is a theft or a defect:
/// then the whole family ends (RFC 9700 §4.14.2).
///
/// A token that this node gave out itself is not read from the database: the exchange finds out what has become of it.
pub(super) fn find(
    server: &Server,
    hash: &SecretHash,
    client: &RegisteredClient,
    request: &TokenRequest,
    cx: &Context<'_>,
) -> Result<(Arc<RefreshTokenRecord>, Standing), TokenError> {
    match server.successors.get(hash) {
        // Whoever presents another client's token is recorded.
        // Nor is one judged that has expired: another node may have exchanged it before.
        Some(record)
            if record.expires_at > server.latest.at(cx.now)
                && (cx.reach >= Reach::Storage || record.family.client_row == client.client.row) =>
        {
            judged(server, record, Known::Remembered, client, request, cx)
        }
        _ if cx.reach < Reach::Storage => Err(TokenError::Needs(Reach::Storage)),
        _ => look_up(server, hash, client, request, cx),
    }
}

fn look_up(
    server: &Server,
    hash: &SecretHash,
    client: &RegisteredClient,
    request: &TokenRequest,
    cx: &Context<'_>,
) -> Result<(Arc<RefreshTokenRecord>, Standing), TokenError> {
    let record = server.store.refresh_token(hash)?;
    failpoint!("refresh.looked_up");
    let record = Arc::new(record.ok_or(refused("unknown refresh token"))?);
    judged(server, record, Known::LookedUp, client, request, cx)
}

fn judged(
    server: &Server,
    record: Arc<RefreshTokenRecord>,
    known: Known,
    client: &RegisteredClient,
    request: &TokenRequest,
    cx: &Context<'_>,
) -> Result<(Arc<RefreshTokenRecord>, Standing), TokenError> {
    if record.family.client_row != client.client.row {
        // The family is not touched: whoever holds a stolen token must not be able to end it through another client.
        server
            .store
            .record(&audit::refresh_cross_client(&client.client, &record, request, cx.now))?;
        return Err(refused("the refresh token belongs to another client").into());
    }
    let judged_at = server.latest.at(cx.now);
    if record.family.end(judged_at).is_some() {
        return Err(refused("the family has ended").into());
    }
    let window = window(server, client, &record, cx);
    let life = client
        .client
        .metadata
        .refresh_ttl
        .unwrap_or(server.settings.refresh_ttl);
    let judgement = judge(&record, window, judged_at);
    // Exchanged in its last seconds, it is told again what it was told, for as long as the successor lives.
    let is_told_again = judgement == Judgement::AnswerLost && window.rotated_at.is_some_and(|at| judged_at < at + life);
    if record.expires_at <= judged_at && !is_told_again {
        return Err(refused("the refresh token has expired").into());
    }
    match judgement {
        Judgement::Newest => Ok((record, Standing::Newest(known))),
        Judgement::AnswerLost => Ok((record, Standing::AnswerLost)),
        Judgement::Overtaken => Err(refused("the refresh token was exchanged a moment ago").into()),
        Judgement::Reused => {
            let event = audit::refresh_reuse(&client.client, &record, request, cx.now);
            server.store.revoke_family(&record.family.id, cx.now, "reuse", &event)?;
            let (family, client, request_id) = (&record.family.id, &client.client.client_id, &request.request_id);
            warn!(event = "refresh.reuse", %family, %client, %request_id, "ended a family");
            Err(refused("the refresh token was used before").into())
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    Newest,
    AnswerLost,
    /// Another request was first: a parallel one of a strict client, or one that was sent after this one, which waited for a node that
    /// stood still. Nothing ends.
    Overtaken,
    Reused,
}

/// What time means for a token that was exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    /// When the token was exchanged, by this node's clock; `None` when it was not.
    rotated_at: Option<NumericDate>,
    /// How long after its exchange it is taken for one whose answer was lost; zero for strict clients.
    retry: Seconds,
    /// Since when the request may have been on its way, and how long `retry` was then; `None` for one that has just come.
    sent: Option<(NumericDate, Seconds)>,
}

/// Pure: what a living family's token is, by its row, its successor's and the time.
fn judge(record: &RefreshTokenRecord, window: Window, now: NumericDate) -> Judgement {
    let Some(rotated_at) = window.rotated_at else {
        return Judgement::Newest;
    };
    let is_strict = window.retry == Seconds::new(0);
    let is_unused = record.successor_rotated == Some(false);
    let sent_at = window.sent.map_or(now, |(since, _)| since);
    let may_be_old = window
        .sent
        .is_some_and(|(since, retry)| since.since(rotated_at) <= retry);
    if is_unused && !is_strict && now.since(rotated_at) <= window.retry {
        Judgement::AnswerLost
    } else if may_be_old || (is_strict && sent_at.since(rotated_at) <= PARALLEL) {
        Judgement::Overtaken
    } else {
        Judgement::Reused
    }
}

/// How long parallel requests of a strict client are taken for what they are.
const PARALLEL: Seconds = Seconds::new(5);
/// The retry window of a client without one of its own.
const RETRY_WINDOW: Seconds = Seconds::new(10);

/// The time in which nobody was answered does not count.
fn window(server: &Server, client: &RegisteredClient, record: &RefreshTokenRecord, cx: &Context<'_>) -> Window {
    let own = client.client.metadata.refresh_retry_window.unwrap_or(RETRY_WINDOW);
    // Another node may have dated it: by the database's clock, from which each knows how far its own is.
    let rotated_at = record.rotated_at.map(|at| server.clock_skew.here(at));
    let retry = |at| match rotated_at {
        Some(rotated_at) if own > Seconds::new(0) => own + server.standstill.since(rotated_at, at),
        _ => own,
    };
    // By the clock as it is: one that was set back has not stood still.
    let sent_since = server.standstill.sent_since(cx.now);
    Window {
        rotated_at,
        retry: retry(server.latest.at(cx.now)),
        sent: (sent_since < cx.now).then(|| (sent_since, retry(sent_since))),
    }
}

fn refused(reason: &'static str) -> OAuthError {
    OAuthError {
        code: ErrorCode::InvalidGrant,
        description: Some("the refresh token is not valid"),
        reason,
    }
}

/// What became of the refresh tokens of a request.
#[derive(Debug)]
pub(super) enum Concluded {
    /// There are none.
    Nothing,
    /// This one is answered: what it says is written.
    Given(RefreshToken),
    /// This one is answered once it is exchanged.
    Once(RefreshToken, Box<Exchanging>),
}

/// An exchange of a refresh token that was decided from memory, and signed for, and not written.
#[derive(Debug)]
pub struct Exchanging {
    record: Arc<RefreshTokenRecord>,
    asked_at: NumericDate,
    rotation: Rotation,
    event: AuditEvent,
    /// What of the client's quota was taken for it, if that has one.
    pub(super) spent: Option<Spent>,
}

impl Exchanging {
    /// When it was asked for.
    pub fn asked_at(&self) -> NumericDate {
        self.asked_at
    }
}

impl Server {
    /// What such an exchange is called in a trace.
    pub(crate) fn exchange_part(&self) -> Part {
        self.store.part("exchange")
    }

    /// Has a refresh token exchanged without waiting. `done` is told, on a thread of the database's, whether it was; false says that
    /// something has changed meanwhile, and that the request is to be decided again by who may wait. As long as its turn has not come,
    /// the exchange can be given up, and is when nobody waits for it.
    pub fn exchange(
        self: &Arc<Self>,
        exchanging: Exchanging,
        done: impl FnOnce(Result<bool, Failure>) + Send + 'static,
    ) -> Waiting {
        let Exchanging {
            record,
            rotation,
            event,
            spent,
            ..
        } = exchanging;
        let (server, made) = (Arc::clone(self), rotation.clone());
        self.store.rotate_soon(rotation, event, move |rotated| {
            if let Ok(true) = rotated {
                server.successors.replace(&record, &made);
                if let Some(spent) = spent {
                    spent.given();
                }
            } else {
                // Before anybody decides anew, and takes it again.
                drop(spent);
            }
            done(rotated.map_err(Failure::from));
        })
    }
}

/// Whether the client is given again what it was given before.
///
/// A token that this node gave out may have been exchanged by another: then what is remembered of it is forgotten, and the next try
/// gets the right answer.
pub(super) fn was_given(server: &Server, continuation: &Continuation, cx: &Context<'_>) -> Result<bool, TokenError> {
    match continuation {
        Continuation::Repeat(_) => Ok(true),
        Continuation::Rotate(exchange) if exchange.known == Known::Remembered => {
            if cx.reach < Reach::Storage {
                return Err(TokenError::Needs(Reach::Storage));
            }
            let record = server.store.refresh_token(&exchange.hash)?;
            if record.is_some_and(|record| record.rotated_at.is_some()) {
                server.successors.forget(&exchange.hash);
                return Err(Failure::Unavailable("another node has exchanged the token", None).into());
            }
            Ok(false)
        }
        _ => Ok(false),
    }
}

/// Writes what the signed access token makes true, or says what is to be written.
pub(super) fn conclude(
    server: &Server,
    client: &RegisteredClient,
    continuation: Continuation,
    request: &TokenRequest,
    cx: &Context<'_>,
) -> Result<Concluded, TokenError> {
    match continuation {
        Continuation::None => Ok(Concluded::Nothing),
        Continuation::SignIn(user) => sign_in(server, client, &user, request, cx).map(|()| Concluded::Nothing),
        Continuation::Begin(beginning) => begin(server, client, *beginning, request, cx).map(Concluded::Given),
        Continuation::Repeat(record) => Ok(Concluded::Given(successor(server, &record))),
        Continuation::Rotate(exchange) => rotate(server, client, *exchange, request, cx),
    }
}

/// The login of a client without refresh tokens.
fn sign_in(
    server: &Server,
    client: &RegisteredClient,
    user: &User,
    request: &TokenRequest,
    cx: &Context<'_>,
) -> Result<(), TokenError> {
    let standing = (storage::Standing::from(&client.client), storage::Standing::from(user));
    let event = audit::login(&client.client, user, request, cx.now);
    match server.store.sign_in(standing.0, standing.1, &event)? {
        true => Ok(()),
        false => Err(CHANGED_MEANWHILE.into()),
    }
}

/// Disabled a moment ago, or enabled again and this node has not heard of it: the next try gets the right answer.
const CHANGED_MEANWHILE: Failure = Failure::Unavailable("the client or the user changed meanwhile", None);

fn begin(
    server: &Server,
    client: &RegisteredClient,
    beginning: Beginning,
    request: &TokenRequest,
    cx: &Context<'_>,
) -> Result<RefreshToken, TokenError> {
    let Beginning {
        family,
        user,
        within,
        expires_at,
    } = beginning;
    let metadata = &client.client.metadata;
    let idle = (cx.now + metadata.refresh_ttl.unwrap_or(server.settings.refresh_ttl)).min(expires_at);
    let token = RefreshToken::derive(server.vault.refresh_key(), &family, 0);
    let event = audit::login(&client.client, &user, request, cx.now);
    let new = NewFamily {
        id: family,
        client: storage::Standing::from(&client.client),
        user: Some(storage::Standing::from(&user)),
        scope: within.scope,
        audiences: within.audiences,
        created_at: cx.now,
        expires_at,
    };
    let hash = server.vault.refresh_hasher().hash(token.expose());
    match server.store.open_family(&new, &hash, idle, &event)? {
        FamilyCreation::Opened => Ok(token),
        FamilyCreation::Gone => Err(CHANGED_MEANWHILE.into()),
    }
}

fn rotate(
    server: &Server,
    client: &RegisteredClient,
    exchange: Exchange,
    request: &TokenRequest,
    cx: &Context<'_>,
) -> Result<Concluded, TokenError> {
    let Exchange { record, hash, known } = exchange;
    let token = successor(server, &record);
    let metadata = &client.client.metadata;
    let idle = cx.now + metadata.refresh_ttl.unwrap_or(server.settings.refresh_ttl);
    // By the latest instant that was seen, as it is judged: a clock that was set back dates nothing back.
    let at = server.clock_skew.there(server.latest.at(cx.now));
    let rotation = Rotation {
        hash,
        successor_hash: server.vault.refresh_hasher().hash(token.expose()),
        at,
        successor_expires_at: idle,
    };
    let event = audit::refreshed(&client.client, &record, request, cx.now);
    if cx.reach < Reach::Storage {
        return Ok(Concluded::Once(
            token,
            Box::new(Exchanging {
                record,
                asked_at: cx.now,
                rotation,
                event,
                spent: None,
            }),
        ));
    }
    match server.store.rotate(&rotation, &event)? {
        RotationOutcome::Rotated => {
            server.successors.replace(&record, &rotation);
            Ok(Concluded::Given(token))
        }
        RotationOutcome::Replayed => {
            server.successors.forget(&rotation.hash);
            let again = server.store.refresh_token(&rotation.hash)?;
            let again = Arc::new(again.ok_or(refused("the family ended meanwhile"))?);
            if known == Known::Remembered && again.rotated_at.is_some_and(|rotated_at| rotated_at < at) {
                // Before this request: what was remembered was out of date. It is judged as if it had just come.
                return match judged(server, again, Known::LookedUp, client, request, cx)?.1 {
                    Standing::AnswerLost => Ok(Concluded::Given(token)),
                    Standing::Newest(_) => Err(Failure::Unavailable("the family changed meanwhile", None).into()),
                };
            }
            // Somebody was first between our look and our write: a parallel request of the same client, most likely.
            let judged_at = server.latest.at(cx.now);
            let judgement = judge(&again, window(server, client, &again, cx), judged_at);
            if again.family.end(judged_at).is_none() && judgement == Judgement::AnswerLost {
                Ok(Concluded::Given(token))
            } else {
                Err(refused("the refresh token was exchanged a moment ago").into())
            }
        }
        RotationOutcome::Ended => {
            server.successors.forget(&rotation.hash);
            Err(refused("the family ended meanwhile").into())
        }
    }
}

fn successor(server: &Server, record: &RefreshTokenRecord) -> RefreshToken {
    RefreshToken::derive(server.vault.refresh_key(), &record.family.id, record.generation + 1)
}
