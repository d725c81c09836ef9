//! The members of a client's metadata, and the rules that they keep, whoever wrote them: a command, or a file of clients.

use std::fmt;

use serde_json::{Value, json};
use thiserror::Error;

use crate::oauth::{ClientMetadata, GrantType, Seconds};

/// A rule that metadata breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{why}")]
pub struct BrokenRule {
    /// Which member breaks it.
    pub member: Member,
    /// The rule.
    pub why: &'static str,
}

/// A member of a client's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "each is named like the member of ClientMetadata that it means"
)]
pub enum Member {
    Name,
    GrantTypes,
    AuthMethods,
    Scope,
    Audiences,
    AccessTtl,
    TokenReuseWindow,
    TokenQuota,
    RefreshTtl,
    RefreshAbsoluteTtl,
    RefreshRetryWindow,
    TokenType,
    ClaimProfile,
    SigningAlg,
    Introspect,
}

impl Member {
    /// Every member, in the order in which people read them.
    pub const ALL: [Member; 15] = [
        Member::Name,
        Member::GrantTypes,
        Member::AuthMethods,
        Member::Scope,
        Member::Audiences,
        Member::AccessTtl,
        Member::TokenReuseWindow,
        Member::TokenQuota,
        Member::RefreshTtl,
        Member::RefreshAbsoluteTtl,
        Member::RefreshRetryWindow,
        Member::TokenType,
        Member::ClaimProfile,
        Member::SigningAlg,
        Member::Introspect,
    ];

    /// The name in documents: that of RFC 7591 §2 where it has one.
    pub const fn as_str(self) -> &'static str {
        match self {
            Member::Name => "client_name",
            Member::GrantTypes => "grant_types",
            Member::AuthMethods => "token_endpoint_auth_methods",
            Member::Scope => "scope",
            Member::Audiences => "audience",
            Member::AccessTtl => "access_ttl",
            Member::TokenReuseWindow => "token_reuse_window",
            Member::TokenQuota => "token_quota",
            Member::RefreshTtl => "refresh_ttl",
            Member::RefreshAbsoluteTtl => "refresh_absolute_ttl",
            Member::RefreshRetryWindow => "refresh_retry_window",
            Member::TokenType => "token_type",
            Member::ClaimProfile => "claim_profile",
            Member::SigningAlg => "signing_alg",
            Member::Introspect => "introspect",
        }
    }

    /// Its value, as documents show it; null for what is the server's to choose.
    pub fn of(self, metadata: &ClientMetadata) -> Value {
        match self {
            Member::Name => json!(metadata.name),
            Member::GrantTypes => json!(metadata.grant_types),
            Member::AuthMethods => json!(metadata.auth_methods),
            Member::Scope => json!(metadata.scope),
            Member::Audiences => json!(metadata.audiences.iter().collect::<Vec<_>>()),
            Member::AccessTtl => json!(metadata.access_ttl),
            Member::TokenReuseWindow => json!(metadata.token_reuse_window),
            Member::TokenQuota => json!(metadata.token_quota),
            Member::RefreshTtl => json!(metadata.refresh_ttl),
            Member::RefreshAbsoluteTtl => json!(metadata.refresh_absolute_ttl),
            Member::RefreshRetryWindow => json!(metadata.refresh_retry_window),
            Member::TokenType => json!(metadata.token_type.as_str()),
            Member::ClaimProfile => json!(metadata.claim_profile.as_str()),
            Member::SigningAlg => json!(metadata.signing_alg),
            Member::Introspect => json!(metadata.introspect),
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What members were, of those that are different after a change.
pub(super) fn differences(before: &ClientMetadata, after: &ClientMetadata) -> Value {
    let changed = Member::ALL
        .into_iter()
        .filter(|member| member.of(before) != member.of(after));
    changed
        .map(|member| (member.as_str().to_owned(), member.of(before)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Longest life of an access token: beyond a day a key would stay published for too long after it turned.
const LONGEST_ACCESS_TTL: Seconds = Seconds::days(1);
/// Shortest life of an access token.
const SHORTEST_ACCESS_TTL: Seconds = Seconds::new(10);
/// Longest time for which a token is given again: who needs one for longer can keep it.
const LONGEST_REUSE: Seconds = Seconds::hours(1);

/// Refuses metadata that breaks a rule, and names the first.
pub(super) fn check(metadata: &ClientMetadata) -> Result<(), BrokenRule> {
    broken_rules(metadata).into_iter().next().map_or(Ok(()), Err)
}

/// Every rule that the metadata breaks.
pub fn broken_rules(metadata: &ClientMetadata) -> Vec<BrokenRule> {
    let mut broken = Vec::new();
    let mut demand = |kept: bool, member: Member, why: &'static str| {
        if !kept {
            broken.push(BrokenRule { member, why });
        }
    };
    let name = &metadata.name;
    demand(
        !name.is_empty() && name.chars().count() <= 128 && !name.chars().any(char::is_control),
        Member::Name,
        "a client's name has 1 to 128 characters, none of them a control character",
    );
    demand(
        !metadata.grant_types.is_empty(),
        Member::GrantTypes,
        "a client needs at least one grant, such as client_credentials",
    );
    demand(
        !metadata.auth_methods.is_empty(),
        Member::AuthMethods,
        "a client needs at least one way to authenticate, such as client_secret_basic",
    );
    demand(
        metadata.audiences.len() <= 32,
        Member::Audiences,
        "a client has at most 32 audiences",
    );
    let access_fits = |life: Seconds| (SHORTEST_ACCESS_TTL..=LONGEST_ACCESS_TTL).contains(&life);
    demand(
        metadata.access_ttl.is_none_or(access_fits),
        Member::AccessTtl,
        "an access token lives from 10s to 1d",
    );
    let reuse_fits = |window: Seconds| (Seconds::new(1)..=LONGEST_REUSE).contains(&window);
    demand(
        metadata.token_reuse_window.is_none_or(reuse_fits),
        Member::TokenReuseWindow,
        "a token is given again for 1s to 1h, and never past half of its life: leave the window out for never",
    );
    let grants = &metadata.grant_types;
    demand(
        !grants.contains(&GrantType::RefreshToken) || grants.contains(&GrantType::Password),
        Member::GrantTypes,
        "refresh_token alone gets no first token: register password beside it",
    );
    let refresh_fits = |life: Seconds| (Seconds::minutes(1)..=Seconds::days(366)).contains(&life);
    for (member, life) in [
        (Member::RefreshTtl, metadata.refresh_ttl),
        (Member::RefreshAbsoluteTtl, metadata.refresh_absolute_ttl),
    ] {
        demand(
            life.is_none_or(refresh_fits),
            member,
            "a refresh token lives from 1m to 366d",
        );
    }
    demand(
        metadata
            .refresh_retry_window
            .is_none_or(|window| window <= Seconds::minutes(1)),
        Member::RefreshRetryWindow,
        "a refresh can be repeated for at most 60s",
    );
    broken
}
