use std::net::IpAddr;

use serde_json::{Value, json};

use crate::oauth::{ClientId, NumericDate};
use crate::storage::AuditEvent;

/// Who acts, for the audit trail.
#[derive(Debug, Clone)]
pub struct Actor {
    name: String,
    /// How they came: with which token, from where, in which request.
    via: Option<Value>,
}

impl Actor {
    /// Somebody who acts over the API, in the name of the token's subject.
    pub fn with_token(subject: &str, client_id: &str, jti: &str, address: Option<IpAddr>, request_id: &str) -> Self {
        Actor {
            name: subject.to_owned(),
            via: Some(json!({"client_id": client_id, "jti": jti, "address": address, "request_id": request_id})),
        }
    }

    /// What the trail keeps of an act.
    pub(super) fn event(&self, event: &str, at: NumericDate, mut detail: Value) -> AuditEvent {
        if let (Some(via), Some(members)) = (&self.via, detail.as_object_mut()) {
            members.insert("via".to_owned(), via.clone());
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
    pub(super) fn event_of(&self, event: &str, client_id: &ClientId, at: NumericDate, detail: Value) -> AuditEvent {
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
            via: None,
        }
    }
}
