use rand::CryptoRng;
use serde_json::json;

use super::{ClientAdmin, ClientError};
use crate::oauth::{Client, ClientId, ClientSecret, ClientSecretRecord, NumericDate, Seconds, SecretHasher, base64url};
use crate::server::{Context, Vault};
use crate::storage::SecretAddition;

/// A secret just made.
#[derive(Debug)]
pub struct CreatedSecret {
    /// The secret, to be shown once.
    pub secret: ClientSecret,
    /// What is stored of it.
    pub record: ClientSecretRecord,
}

impl ClientAdmin<'_> {
    /// Makes a further secret, accepted from `not_before` until `expires_at`; those that exist go on working.
    pub fn add_secret(
        &self,
        client_id: &ClientId,
        (not_before, expires_at): (Option<NumericDate>, Option<NumericDate>),
        vault: &Vault,
        cx: &mut Context<'_>,
    ) -> Result<CreatedSecret, ClientError> {
        if let (Some(begins), Some(ends)) = (not_before, expires_at)
            && ends <= begins
        {
            return Err(ClientError::NeverAccepted(begins, ends));
        }
        let span = (not_before, expires_at);
        let created = match &self.once {
            None => new_secret(vault.hasher(), span, cx.now, cx.rng),
            Some(once) => new_secret(vault.hasher(), span, cx.now, &mut once.secrets()),
        };
        if let Some(once) = &self.once
            && once.is_repeated()?
        {
            return Ok(self.made_before(client_id, created, cx.now)?.1);
        }
        let event = self.actor.event_of(
            "client.secret_added",
            client_id,
            cx.now,
            json!({"secret_id": created.record.id, "not_before": not_before, "expires_at": expires_at}),
        );
        match self.making().add_client_secret(client_id, &created.record, &event)? {
            SecretAddition::Added => Ok(created),
            SecretAddition::UnknownClient => Err(ClientError::Unknown(client_id.clone())),
            SecretAddition::TooMany => Err(ClientError::TooManySecrets(client_id.clone())),
        }
    }

    /// Revokes one secret. One that was used in the last seven days only with `force`: somebody would be refused.
    pub fn revoke_secret(
        &self,
        client_id: &ClientId,
        secret_id: &str,
        force: bool,
        now: NumericDate,
    ) -> Result<(), ClientError> {
        if !force {
            let (_, secrets) = self.show(client_id)?;
            let secret = secrets.iter().find(|secret| secret.id == secret_id);
            let in_use = secret
                .filter(|secret| secret.is_live(now))
                .and_then(|secret| secret.last_used_at)
                .filter(|used_at| now.since(*used_at) < IN_USE);
            if let Some(used_at) = in_use {
                return Err(ClientError::SecretInUse(secret_id.to_owned(), used_at));
            }
        }
        let event = self
            .actor
            .event_of("client.secret_revoked", client_id, now, json!({"secret_id": secret_id}));
        if self.store.revoke_client_secret(client_id, secret_id, &event)? {
            Ok(())
        } else {
            Err(ClientError::UnknownSecret(client_id.clone(), secret_id.to_owned()))
        }
    }

    /// What the same request made before: the client, and the secret that comes out again, unless it is gone.
    pub(super) fn made_before(
        &self,
        client_id: &ClientId,
        again: CreatedSecret,
        now: NumericDate,
    ) -> Result<(Client, CreatedSecret), ClientError> {
        let (client, secrets) = self.store.client(client_id)?.ok_or(ClientError::MadeAndGone)?;
        let is_it = |other: &ClientSecretRecord| other.id == again.record.id && other.hash.matches(&again.record.hash);
        let record = secrets.into_iter().find(is_it).ok_or(ClientError::MadeAndGone)?;
        let detail = json!({"secret_id": record.id});
        let event = self.actor.event_of("client.secret_shown_again", client_id, now, detail);
        self.store.record(&event)?;
        Ok((client, CreatedSecret { record, ..again }))
    }
}

/// Who used a secret so lately is likely to use it again.
const IN_USE: Seconds = Seconds::days(7);

/// Makes a secret.
pub(in crate::server) fn new_secret(
    hasher: &SecretHasher,
    (not_before, expires_at): (Option<NumericDate>, Option<NumericDate>),
    now: NumericDate,
    rng: &mut dyn CryptoRng,
) -> CreatedSecret {
    let secret = ClientSecret::generate(rng);
    let record = ClientSecretRecord {
        id: secret_id(rng),
        hash: hasher.hash(secret.expose()),
        hint: secret.hint().to_owned(),
        created_at: now,
        expires_at,
        not_before,
        last_used_at: None,
    };
    CreatedSecret { secret, record }
}

/// A public identifier for a secret.
pub(super) fn secret_id(rng: &mut dyn CryptoRng) -> String {
    let mut random = [0; 6];
    rng.fill_bytes(&mut random);
    base64url(&random)
}
