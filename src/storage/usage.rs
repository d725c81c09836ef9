use diesel::dsl::{count_star, max};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt};
use diesel::upsert::excluded;

use super::connection::{Conn, on};
use super::error::{Error, Fault};
use super::postgres::Link;
use super::schema::{audit_events, client_usage, clients};
use super::store::{Effect, Store};
use crate::oauth::{NumericDate, Seconds};

/// Tokens that a client was given on one day of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UsageDay {
    /// The client's row.
    pub client: i64,
    /// Days since 1970-01-01.
    pub day: i64,
}

impl UsageDay {
    /// The day of an instant.
    pub fn of(client: i64, at: NumericDate) -> Self {
        let day = at.epoch().div_euclid(DAY);
        UsageDay { client, day }
    }
}

const DAY: i64 = 86_400;

/// How many tokens were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokensGiven {
    /// Those that were new.
    pub signed: u64,
    /// How often one was given again.
    pub reused: u64,
}

/// How much a client used the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientUsage {
    /// The client.
    pub client_id: String,
    /// The life of its access tokens, if it has one of its own.
    pub access_ttl: Option<Seconds>,
    /// How many tokens were signed for it.
    pub tokens: i64,
    /// How often it was given one of them again.
    pub reused: i64,
    /// On how many days it was given any.
    pub days: i64,
}

/// How often a user was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLogins {
    /// The user's id; `unknown` for names that are no user's.
    pub user_id: String,
    /// How often.
    pub refused: i64,
    /// When last.
    pub last: NumericDate,
}

impl Store {
    /// Adds up tokens of this node with those of all nodes before. Clients that are gone are left out.
    pub fn add_usage(&self, usage: &[(UsageDay, TokensGiven)]) -> Result<(), Error> {
        if usage.is_empty() {
            return Ok(());
        }
        let usage = usage.to_vec();
        self.act(move |conn| {
            match conn {
                Conn::Postgres(link) => add_all(link, &usage)?,
                Conn::Sqlite(connection) => {
                    for (of, given) in &usage {
                        add(connection, of, given)?;
                    }
                }
            }
            Ok(Effect::none(()))
        })
    }

    /// What each client was given since the day of `since`, in the order of their ids.
    pub fn usage_since(&self, since: NumericDate) -> Result<Vec<ClientUsage>, Error> {
        self.read(|conn| {
            let rows: Vec<(String, Option<i64>, i64, i64)> = on!(conn, c => client_usage::table
                .inner_join(clients::table)
                .filter(client_usage::day.ge(since.epoch().div_euclid(DAY)))
                .order((clients::client_id, client_usage::day))
                .select((clients::client_id, clients::access_ttl, client_usage::tokens, client_usage::reused))
                .load(c))?;
            let mut usage: Vec<ClientUsage> = Vec::new();
            for (client_id, access_ttl, tokens, reused) in rows {
                match usage.last_mut().filter(|last| last.client_id == client_id) {
                    Some(last) => {
                        last.tokens = last.tokens.saturating_add(tokens);
                        last.reused = last.reused.saturating_add(reused);
                        last.days += 1;
                    }
                    None => usage.push(ClientUsage {
                        client_id,
                        access_ttl: access_ttl.map(Seconds::new),
                        tokens,
                        reused,
                        days: 1,
                    }),
                }
            }
            Ok(usage)
        })
    }

    /// Forgets what was before the day of `before`.
    pub fn forget_usage(&self, before: NumericDate) -> Result<usize, Error> {
        self.write(move |conn| {
            let old = client_usage::table.filter(client_usage::day.lt(before.epoch().div_euclid(DAY)));
            Ok(on!(conn, c => diesel::delete(old).execute(c))?)
        })
    }

    /// Users that were refused a login `least` times or more since `since`, the most often refused first.
    pub fn refused_logins(&self, since: NumericDate, least: i64) -> Result<Vec<RefusedLogins>, Error> {
        self.read(|conn| {
            let rows: Vec<(String, i64, Option<i64>)> = on!(conn, c => audit_events::table
                .filter(audit_events::at.ge(since.epoch()))
                .filter(audit_events::event.eq("login.refused"))
                .group_by(audit_events::actor)
                .having(count_star().ge(least))
                .order((count_star().desc(), audit_events::actor))
                .select((audit_events::actor, count_star(), max(audit_events::at)))
                .load(c))?;
            let refused = rows.into_iter().map(|(user_id, refused, last)| RefusedLogins {
                user_id,
                refused,
                last: NumericDate::from_epoch(last.unwrap_or_default()),
            });
            Ok(refused.collect())
        })
    }
}

fn count(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

fn add(connection: &mut SqliteConnection, of: &UsageDay, given: &TokensGiven) -> Result<(), Fault> {
    let client = clients::table.find(of.client).select(clients::id);
    if client.get_result::<i64>(connection).optional()?.is_none() {
        return Ok(());
    }
    diesel::insert_into(client_usage::table)
        .values((
            client_usage::client.eq(of.client),
            client_usage::day.eq(of.day),
            client_usage::tokens.eq(count(given.signed)),
            client_usage::reused.eq(count(given.reused)),
        ))
        .on_conflict((client_usage::client, client_usage::day))
        .do_update()
        .set((
            client_usage::tokens.eq(client_usage::tokens + excluded(client_usage::tokens)),
            client_usage::reused.eq(client_usage::reused + excluded(client_usage::reused)),
        ))
        .execute(connection)?;
    Ok(())
}

/// All in one statement: a tick is not to wait for a hundred answers.
fn add_all(link: &mut Link, usage: &[(UsageDay, TokensGiven)]) -> Result<(), Fault> {
    let column = |of: fn(&(UsageDay, TokensGiven)) -> i64| usage.iter().map(of).collect::<Vec<_>>();
    diesel::sql_query(
        "INSERT INTO client_usage (client, day, tokens, reused) \
         SELECT given.client, given.day, given.tokens, given.reused \
         FROM unnest($1, $2, $3, $4) AS given (client, day, tokens, reused) \
         JOIN clients ON clients.id = given.client ORDER BY given.client, given.day \
         ON CONFLICT (client, day) DO UPDATE SET \
         tokens = client_usage.tokens + excluded.tokens, reused = client_usage.reused + excluded.reused",
    )
    .bind::<Array<BigInt>, _>(column(|(of, _)| of.client))
    .bind::<Array<BigInt>, _>(column(|(of, _)| of.day))
    .bind::<Array<BigInt>, _>(column(|(_, given)| count(given.signed)))
    .bind::<Array<BigInt>, _>(column(|(_, given)| count(given.reused)))
    .execute(&mut link.connection)?;
    Ok(())
}
