use diesel::dsl::exists;
use diesel::prelude::*;

use super::audit::AuditEvent;
use super::connection::on;
use super::error::Error;
use super::families::stands;
use super::schema::{clients, revoked_access_tokens, token_families, users};
use super::store::{Effect, Store};
use crate::oauth::{FamilyId, NumericDate};

/// What the database knows against an access token, which is not stored itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessTokenState {
    /// Somebody revoked this token.
    pub revoked: bool,
    /// Its family was revoked, or its client or user is gone, was disabled or has another password. False when no family was
    /// asked about.
    ///
    /// That the family's time is over does not count as long as the family is stored; a family that was swept counts as ended.
    /// An access token should not outlive its family.
    pub family_ended: bool,
}

impl Store {
    /// Has an access token remembered as revoked until `expires_at`, its own expiry; whether it was not yet.
    pub fn revoke_access_token(&self, jti: &str, expires_at: NumericDate, event: &AuditEvent) -> Result<bool, Error> {
        let (jti, event) = (jti.to_owned(), event.clone());
        self.act(move |conn| {
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

    /// What is known against the access token with that `jti` and against its family, in one statement.
    pub fn access_token_state(&self, jti: &str, family: Option<&FamilyId>) -> Result<AccessTokenState, Error> {
        self.read(|conn| {
            let revoked = exists(revoked_access_tokens::table.find(jti));
            let Some(family) = family else {
                let revoked: bool = on!(conn, c => diesel::select(revoked).get_result(c))?;
                let family_ended = false;
                return Ok(AccessTokenState { revoked, family_ended });
            };
            let family_stands = exists(
                token_families::table
                    .inner_join(clients::table)
                    .left_join(users::table)
                    .filter(token_families::id.eq(family.as_str()))
                    .filter(stands!()),
            );
            let (revoked, family_stands): (bool, bool) =
                on!(conn, c => diesel::select((revoked, family_stands)).get_result(c))?;
            Ok(AccessTokenState {
                revoked,
                family_ended: !family_stands,
            })
        })
    }
}
