use diesel::dsl::exists;
use diesel::prelude::*;

use super::audit::AuditEvent;
use super::connection::on;
use super::error::Error;
use super::families::stands;
use super::schema::{clients, revoked_access_tokens, token_families, users};
use super::store::{Effect, Store};
use crate::oauth::{FamilyId, NumericDate, UserId};

/// What the database knows against an access token, which is not stored itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessTokenState {
    /// Somebody revoked this token.
    pub revoked: bool,
    /// Its family was revoked, or its client or user is gone, was disabled or has another password. False when no family was
    /// asked about.
    ///
    /// That the family's time is over does not count as long as the family is stored; a family that was swept counts as ended.
    /// An access token should not outlive its family.
    pub family_ended: bool,
    /// The user that was asked about; `None` when they are gone or disabled, and of the rest nothing is known then.
    pub user: Option<EnabledUser>,
}

/// A user who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnabledUser {
    /// The name as it was written.
    pub username: String,
    /// The user's epoch.
    pub epoch: i64,
}

/// An access token that was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedAccessToken {
    /// Rises from one to the next, with gaps; they become visible in this order.
    pub number: i64,
    /// The token's `jti`.
    pub jti: String,
    /// The token's own expiry.
    pub expires_at: NumericDate,
}

impl Store {
    /// Has an access token remembered as revoked until `expires_at`, its own expiry; whether it was not yet.
    pub fn revoke_access_token(&self, jti: &str, expires_at: NumericDate, event: &AuditEvent) -> Result<bool, Error> {
        let (jti, event) = (jti.to_owned(), event.clone());
        self.enumerate(move |conn| {
            let revoked = on!(conn, c => diesel::insert_into(revoked_access_tokens::table)
                .values((
                    revoked_access_tokens::jti.eq(&jti),
                    revoked_access_tokens::expires_at.eq(expires_at.epoch()),
                ))
                .on_conflict_do_nothing()
                .execute(c))?;
            if revoked == 0 {
                return Ok(Effect::none(false));
            }
            Ok(Effect::of(true, event))
        })
    }

    /// The first `limit` revoked access tokens after the one with that number, in order, without those that have expired.
    pub fn revoked_access_tokens_after(
        &self,
        number: i64,
        now: NumericDate,
        limit: u32,
    ) -> Result<Vec<RevokedAccessToken>, Error> {
        self.read(|conn| {
            let rows: Vec<(i64, String, i64)> = on!(conn, c => revoked_access_tokens::table
                .filter(revoked_access_tokens::number.gt(number))
                .filter(revoked_access_tokens::expires_at.gt(now.epoch()))
                .order(revoked_access_tokens::number)
                .limit(i64::from(limit))
                .select((
                    revoked_access_tokens::number,
                    revoked_access_tokens::jti,
                    revoked_access_tokens::expires_at,
                ))
                .load(c))?;
            let revoked = rows.into_iter().map(|(number, jti, expires_at)| RevokedAccessToken {
                number,
                jti,
                expires_at: NumericDate::from_epoch(expires_at),
            });
            Ok(revoked.collect())
        })
    }

    /// What is known against the access token with that `jti`, its family and its user, in one statement.
    pub fn access_token_state(
        &self,
        jti: &str,
        family: Option<&FamilyId>,
        user: Option<&UserId>,
    ) -> Result<AccessTokenState, Error> {
        self.read(|conn| {
            let revoked = exists(revoked_access_tokens::table.filter(revoked_access_tokens::jti.eq(jti)));
            let family_stands = exists(
                token_families::table
                    .inner_join(clients::table)
                    .left_join(users::table)
                    .filter(token_families::id.eq(family.map_or("", FamilyId::as_str)))
                    .filter(stands!()),
            );
            let family_ended = |stands: bool| family.is_some() && !stands;
            let Some(user) = user else {
                let (revoked, stands): (bool, bool) =
                    on!(conn, c => diesel::select((revoked, family_stands)).get_result(c))?;
                return Ok(AccessTokenState {
                    revoked,
                    family_ended: family_ended(stands),
                    user: None,
                });
            };
            let owner = diesel::alias!(users as owner);
            let row: Option<(bool, bool, String, i64)> = on!(conn, c => owner
                .filter(owner.field(users::user_id).eq(user.as_str()).and(owner.field(users::enabled)))
                .select((
                    revoked,
                    family_stands,
                    owner.field(users::username),
                    owner.field(users::epoch),
                ))
                .get_result(c)
                .optional())?;
            Ok(match row {
                Some((revoked, stands, username, epoch)) => AccessTokenState {
                    revoked,
                    family_ended: family_ended(stands),
                    user: Some(EnabledUser { username, epoch }),
                },
                None => AccessTokenState {
                    revoked: false,
                    family_ended: family.is_some(),
                    user: None,
                },
            })
        })
    }
}
