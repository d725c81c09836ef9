use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::oauth::{ClientId, NumericDate};
use crate::storage::AuditEvent;

/// Who acts, for the audit trail.
#[derive(Debug, Clone)]
pub struct Actor {
    name: String,
    /// How they came: from where, with which token, in which request.
    facts: Map<String, Value>,
}

impl Actor {
    /// Somebody who acts over the API, in the name of the token's subject.
    pub fn with_token(subject: &str, client_id: &str, jti: &str, address: Option<IpAddr>, request_id: &str) -> Self {
        let via = json!({"client_id": client_id, "jti": jti, "address": address, "request_id": request_id});
        Actor {
            name: subject.to_owned(),
            facts: Map::from_iter([("via".to_owned(), via)]),
        }
    }

    /// Somebody who acts by a protocol, from there.
    pub fn from_address(name: &str, address: Option<IpAddr>) -> Self {
        let fact = |address: IpAddr| ("address".to_owned(), address.to_string().into());
        Actor {
            name: name.to_owned(),
            facts: address.map(fact).into_iter().collect(),
        }
    }

    /// What the trail keeps of an act.
    pub(in crate::server) fn event(&self, event: &str, at: NumericDate, mut detail: Value) -> AuditEvent {
        if let Some(members) = detail.as_object_mut() {
            members.extend(self.facts.clone());
        }
        AuditEvent {
            at,
            event: event.to_owned(),
            actor: self.name.clone(),
            client_id: None,
            kid: None,
            detail,
        }
    }

    /// The same of an act on a client.
    pub(in crate::server) fn event_of(
        &self,
        event: &str,
        client_id: &ClientId,
        at: NumericDate,
        detail: Value,
    ) -> AuditEvent {
        AuditEvent {
            client_id: Some(client_id.to_string()),
            ..self.event(event, at, detail)
        }
    }
}

impl<T: AsRef<str> + ?Sized> From<&T> for Actor {
    /// Somebody at the command line, or a part of the server, by name.
    fn from(name: &T) -> Self {
        Actor {
            name: name.as_ref().to_owned(),
            facts: Map::new(),
        }
    }
}
