use std::fmt;

use aws_lc_rs::hmac;
use thiserror::Error;

use super::{Context, Failure};
use crate::failpoint::failpoint;
use crate::keys::{DataKey, MasterKey, SealError};
use crate::oauth::{RefreshKey, SecretHasher};
use crate::storage::{self, Insertion, Store, StoredDataKey};

/// The opened data key: it seals private keys and, through a key derived from it, hashes client secrets.
///
/// The hash key hangs on the data key and not on the master key, so that changing the master key changes no secret.
pub struct Vault {
    data_key: DataKey,
    audit_key: hmac::Key,
    api_key: hmac::Key,
    hasher: SecretHasher,
    refresh_key: RefreshKey,
    refresh_hasher: SecretHasher,
}

impl Vault {
    /// Opens the database's data key with the first of the master keys that fits, making one when the database is empty. Of
    /// several nodes that do this at once, the first one's key counts.
    pub fn open(store: &Store, master_keys: &[MasterKey], cx: &mut Context<'_>) -> Result<Self, VaultError> {
        let first = master_keys.first().ok_or(VaultError::NoMasterKey)?;
        // While the master key changes, either opens. Read first: when a change ends between the two, it has become the present one.
        let coming = store.coming_data_key()?;
        failpoint!("vault.half_read");
        let stored = match store.data_key()? {
            Some(stored) => stored,
            None => Self::create(store, first, cx)?,
        };
        let fitting = [Some(&stored), coming.as_ref()]
            .into_iter()
            .flatten()
            .find_map(|stored| {
                let fits = |key: &&MasterKey| key.id().as_str() == stored.master_key_id;
                master_keys.iter().find(fits).map(|key| (key, stored))
            });
        let Some((master_key, wrapped)) = fitting else {
            return Err(VaultError::WrongMasterKey {
                sealed_under: stored.master_key_id,
                given: first.id().to_string(),
            });
        };
        let data_key = DataKey::from_wrapped(master_key, &wrapped.wrapped)?;
        let hasher = SecretHasher::new(&*data_key.derive("client secrets")?);
        let refresh_key = RefreshKey::new(&*data_key.derive("refresh tokens")?);
        let refresh_hasher = SecretHasher::new(&*data_key.derive("refresh token hashes")?);
        let api_key = hmac::Key::new(hmac::HMAC_SHA256, &*data_key.derive("administration")?);
        let audit_key = hmac::Key::new(hmac::HMAC_SHA256, &*data_key.derive("audit seals")?);
        Ok(Vault {
            data_key,
            audit_key,
            api_key,
            hasher,
            refresh_key,
            refresh_hasher,
        })
    }

    fn create(store: &Store, master_key: &MasterKey, cx: &mut Context<'_>) -> Result<StoredDataKey, VaultError> {
        let fresh = StoredDataKey {
            master_key_id: master_key.id().to_string(),
            wrapped: DataKey::generate(cx.rng).wrap(master_key, cx.rng)?,
            created_at: cx.now,
        };
        match store.store_data_key(&fresh)? {
            Insertion::Inserted => Ok(fresh),
            Insertion::Exists => store.data_key()?.ok_or(VaultError::Vanished),
        }
    }

    /// The key that private keys are sealed under.
    pub fn data_key(&self) -> &DataKey {
        &self.data_key
    }

    /// Seals the audit trail.
    pub(super) fn audit_key(&self) -> &hmac::Key {
        &self.audit_key
    }

    /// Seals the cursors of lists, and derives what is created once.
    pub(super) fn api_key(&self) -> &hmac::Key {
        &self.api_key
    }

    /// Derives refresh tokens.
    pub(super) fn refresh_key(&self) -> &RefreshKey {
        &self.refresh_key
    }

    /// Hashes refresh tokens.
    pub(super) fn refresh_hasher(&self) -> &SecretHasher {
        &self.refresh_hasher
    }

    /// Hashes client secrets.
    pub fn hasher(&self) -> &SecretHasher {
        &self.hasher
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault([REDACTED])")
    }
}

/// Why the database's keys cannot be opened.
#[derive(Debug, Error)]
pub enum VaultError {
    /// Another master key is needed.
    #[error(
        "this database's keys are sealed under master key {sealed_under}, but the one given is {given}: put the right one in place \
         (another node's master.key, or your backup of it)"
    )]
    WrongMasterKey {
        /// Identifier of the master key that is needed.
        sealed_under: String,
        /// Identifier of the master key that was given.
        given: String,
    },
    /// No master key was given.
    #[error("no master key was given")]
    NoMasterKey,
    /// The right master key, and yet the data key cannot be read.
    #[error("the data key in the database is damaged ({0}): restore the table data_keys from a backup")]
    Damaged(#[from] SealError),
    /// Another node stored a data key and took it away again.
    #[error("the data key appeared and vanished again: is somebody restoring this database?")]
    Vanished,
    /// The database did not answer.
    #[error("the data key could not be read")]
    Storage(#[from] storage::Error),
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        Failure::Broken("the keys cannot be opened", Box::new(error))
    }
}
