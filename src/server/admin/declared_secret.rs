//! The secret that a file names, compared with those that a client has.

use super::client_secrets::{CreatedSecret, new_secret, secret_id};
use crate::oauth::{ChosenSecret, ClientSecretRecord, NumericDate, Seconds, SecretHasher};
use crate::server::Context;
use crate::storage::{SecretWrite, Store};

/// Where a client's secret comes from.
#[derive(Debug)]
pub enum DeclaredSecret {
    /// The file says nothing of secrets; `client secret` makes and revokes them.
    ByHand,
    /// keywheel makes one when there is none.
    Generated,
    /// Somebody made it elsewhere.
    Chosen {
        /// The secret, which is to be accepted without end.
        secret: ChosenSecret,
        /// How long all others go on being accepted once this one has come; `None`: until somebody revokes them.
        overlap: Option<Seconds>,
    },
}

/// What is done to a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretChange {
    /// The secret's public identifier.
    pub id: String,
    /// Four characters by which people tell secrets apart.
    pub hint: String,
    /// What.
    pub act: SecretAct,
}

/// What is done to one secret of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretAct {
    /// It is accepted, beside the others.
    Add,
    /// It is accepted without end again.
    Keep,
    /// It is refused from this instant on.
    Expire(NumericDate),
    /// It has expired and makes room.
    Delete,
}

/// All that is done to the secrets of a client.
#[derive(Debug, Default)]
pub(super) struct SecretChanges {
    pub(super) writes: Vec<SecretWrite>,
    pub(super) changes: Vec<SecretChange>,
    /// Of what was made just now.
    pub(super) generated: Option<CreatedSecret>,
}

/// The client has [`Store::MAX_SECRETS`] live secrets.
#[derive(Debug)]
pub(super) struct TooMany;

impl DeclaredSecret {
    /// What has to be done so that the secrets are as declared; nothing when they are.
    pub(super) fn compare(
        &self,
        present: &[ClientSecretRecord],
        hasher: &SecretHasher,
        cx: &mut Context<'_>,
    ) -> Result<SecretChanges, TooMany> {
        let mut changes = SecretChanges::default();
        match self {
            DeclaredSecret::ByHand => {}
            DeclaredSecret::Generated if present.iter().any(|record| record.is_live(cx.now)) => {}
            DeclaredSecret::Generated => {
                let created = new_secret(hasher, (None, None), cx.now, cx.rng);
                changes.add(created.record.clone(), present, cx.now)?;
                changes.generated = Some(created);
            }
            DeclaredSecret::Chosen { secret, overlap } => {
                let hash = hasher.hash(secret.expose());
                let same = present.iter().find(|record| record.hash.matches(&hash));
                match same {
                    Some(record) if record.expires_at.is_none() => return Ok(changes),
                    // It was replaced before, and is back.
                    Some(record) => changes.set_expiry(record, None),
                    None => {
                        let record = ClientSecretRecord {
                            id: secret_id(cx.rng),
                            hint: ChosenSecret::hint(&hash),
                            hash,
                            created_at: cx.now,
                            expires_at: None,
                            not_before: None,
                            last_used_at: None,
                        };
                        changes.add(record, present, cx.now)?;
                    }
                }
                if let Some(overlap) = overlap {
                    let end = cx.now + *overlap;
                    let others = present
                        .iter()
                        .filter(|record| same.is_none_or(|same| same.id != record.id));
                    for record in others.filter(|record| record.is_live(end)) {
                        changes.set_expiry(record, Some(end));
                    }
                }
            }
        }
        Ok(changes)
    }
}

impl SecretChanges {
    fn add(
        &mut self,
        record: ClientSecretRecord,
        present: &[ClientSecretRecord],
        now: NumericDate,
    ) -> Result<(), TooMany> {
        // One that is not valid yet is waited for.
        let has_time = |record: &&ClientSecretRecord| record.expires_at.is_none_or(|expires_at| now < expires_at);
        let (kept, expired): (Vec<_>, Vec<_>) = present.iter().partition(has_time);
        if kept.len() >= Store::MAX_SECRETS {
            return Err(TooMany);
        }
        for old in expired {
            self.note(old, SecretAct::Delete, SecretWrite::Delete(old.id.clone()));
        }
        self.note(&record, SecretAct::Add, SecretWrite::Add(record.clone()));
        Ok(())
    }

    fn set_expiry(&mut self, record: &ClientSecretRecord, at: Option<NumericDate>) {
        let act = at.map_or(SecretAct::Keep, SecretAct::Expire);
        self.note(record, act, SecretWrite::Expire(record.id.clone(), at));
    }

    fn note(&mut self, record: &ClientSecretRecord, act: SecretAct, write: SecretWrite) {
        self.changes.push(SecretChange {
            id: record.id.clone(),
            hint: record.hint.clone(),
            act,
        });
        self.writes.push(write);
    }
}
