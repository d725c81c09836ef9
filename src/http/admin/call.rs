use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::super::entity_tag::{Comparison, names};
use super::problem::Problem;
use crate::oauth::base64url;
use crate::server::admin::{Admitted, ClientAdmin, Cursor, KeyAdmin, Once, RegistrationAdmin, UserAdmin};
use crate::server::{Context, Server};

/// A request to an operation, from somebody who was let in.
pub(super) struct Call<'a, 'c> {
    pub(super) server: &'a Server,
    pub(super) admitted: Admitted,
    pub(super) sent: Sent,
    pub(super) cx: &'a mut Context<'c>,
}

/// What a request brings along.
pub(super) struct Sent {
    pub(super) path: BTreeMap<String, String>,
    pub(super) query: String,
    pub(super) body: Zeroizing<Vec<u8>>,
    pub(super) if_match: Option<String>,
    pub(super) idempotency_key: Option<String>,
}

/// What an operation answers.
#[derive(Debug)]
pub(super) struct Reply<A> {
    pub(super) body: A,
    pub(super) etag: Option<String>,
}

impl<A> From<A> for Reply<A> {
    fn from(body: A) -> Self {
        Reply { body, etag: None }
    }
}

impl<A: Serialize> Reply<A> {
    /// With the entity tag of what is answered.
    pub(super) fn tagged(body: A) -> Self {
        Reply {
            etag: Some(etag(&body)),
            body,
        }
    }
}

/// The entity tag of a document (RFC 9110 §8.8.3): it changes with the content, and with nothing else.
pub(super) fn etag(document: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(document).unwrap_or_default();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    format!("\"{}\"", base64url(hash.as_ref().get(..16).unwrap_or_default()))
}

/// No body, no query, or nothing to be answered.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// A page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// Where the next page begins: send it as `cursor`. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
}

/// How much of a list is wanted when nothing is said.
const PAGE: u32 = 50;
/// Most items on a page.
const LARGEST_PAGE: u32 = 200;

impl<'a> Call<'a, '_> {
    /// A part of the path; `Err` if it cannot be what it stands for.
    pub(super) fn part<T>(&self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Problem> {
        let part = self.sent.path.get(name).ok_or(Problem::bug())?;
        parse(part).ok_or(Problem::of(StatusCode::NOT_FOUND, format!("there is no such {name}")))
    }

    /// Acts on clients in the bearer's name.
    pub(super) fn clients(&self) -> ClientAdmin<'a> {
        self.server.client_admin(self.admitted.actor.clone())
    }

    /// Acts on initial access tokens in the bearer's name.
    pub(super) fn registrations(&self) -> RegistrationAdmin<'a> {
        self.server.registration_admin(self.admitted.actor.clone())
    }

    /// Acts on users in the bearer's name.
    pub(super) fn users(&self) -> UserAdmin<'a> {
        self.server.user_admin(self.admitted.actor.clone())
    }

    /// Acts on keys in the bearer's name.
    pub(super) fn keys(&self) -> KeyAdmin<'a> {
        self.server.key_admin(self.admitted.actor.clone())
    }

    /// Refuses a change of something that is not as the sender saw it (RFC 9110 §13.1.1).
    pub(super) fn must_match(&self, etag: &str) -> Result<(), Problem> {
        let seen = self.sent.if_match.as_deref().unwrap_or_default();
        if names(seen, etag, Comparison::Strong) {
            return Ok(());
        }
        Err(Problem::changed())
    }

    /// The creation that the sender may ask for again.
    pub(super) fn once(&mut self, operation: &str) -> Result<Option<Once>, Problem> {
        let Some(key) = &self.sent.idempotency_key else {
            return Ok(None);
        };
        if !(8..=255).contains(&key.len()) {
            return Err(Problem::of(
                StatusCode::BAD_REQUEST,
                "an Idempotency-Key has 8 to 255 characters",
            ));
        }
        let once = self
            .server
            .once(&self.admitted, (operation, key), &self.sent.body, self.cx)?;
        Ok(Some(once))
    }

    /// How many items are wanted.
    pub(super) fn limit(&self, asked: Option<u32>) -> Result<u32, Problem> {
        match asked {
            None => Ok(PAGE),
            Some(limit) if (1..=LARGEST_PAGE).contains(&limit) => Ok(limit),
            Some(_) => Err(Problem::invalid("limit", "a page has 1 to 200 items")),
        }
    }

    /// The place that a cursor names in the list with these filters.
    pub(super) fn cursor(&self, text: Option<&str>, list: &str) -> Result<Option<Cursor>, Problem> {
        let open = |text| self.server.open_cursor(text, list);
        text.map(open)
            .transpose()
            .map_err(|error| Problem::invalid("cursor", error.to_string()))
    }

    /// A page of what was read, of which there may be one item more than a page has.
    pub(super) fn page<T, D>(
        &self,
        (mut read, limit): (Vec<T>, u32),
        list: &str,
        key: impl FnOnce(&T) -> Vec<String>,
        show: impl Fn(&T) -> D,
    ) -> Page<D> {
        let limit = limit as usize;
        let more = read.len() > limit;
        read.truncate(limit);
        let last = read.last().filter(|_| more);
        Page {
            next_cursor: last.map(|last| self.server.seal_cursor(&Cursor::after(key(last)), list)),
            items: read.iter().map(show).collect(),
        }
    }
}
