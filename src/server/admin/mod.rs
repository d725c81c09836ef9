//! What administrators do: the same functions serve the command line and the API.

mod access;
mod actor;
mod apply;
mod backup;
mod client_rules;
mod client_secrets;
mod clients;
mod cursor;
mod declared_secret;
mod documents;
mod exposure;
mod fetchers;
mod key_import;
mod keys;
mod once;
mod registration;
mod reports;
pub mod user_import;
mod users;

pub use access::{Admitted, NotAdmitted, Right};
pub use actor::Actor;
pub use apply::{Act, Adopt, ApplyError, ClientPlan, Conflict, Declaration, DeclaredClient, MemberChange, Plan, Prune};
pub use backup::BackupReport;
pub use client_rules::{BrokenRule, Member, broken_rules};
pub use client_secrets::CreatedSecret;
pub(super) use client_secrets::new_secret;
pub use clients::{ClientAdmin, ClientChange, ClientError, CreatedClient, NewClientRequest};
pub(super) use clients::{facts, facts_of_change};
pub use cursor::{Cursor, CursorError};
pub use declared_secret::{DeclaredSecret, SecretAct, SecretChange};
pub use documents::{
    AuditDocument, ClientDocument, FamilyDocument, InitialAccessTokenDocument, PlanDocument, PlannedEventDocument,
    SecretDocument, UserDocument,
};
pub use exposure::{Exposure, VerifierExposure};
pub use fetchers::{FetcherLine, Refusing};
pub use key_import::{Activation, AuthorityImport, AuthorityLine, KeyImport, Renewal};
pub use keys::{KeyAdmin, KeyError, KeyLine, Rotation};
pub use once::Once;
pub(super) use once::REPEATED_FOR;
pub use registration::{CreatedInitialAccessToken, NewInitialAccessToken, RegistrationAdmin, RegistrationTokenError};
pub use reports::{NotableSecret, OftenRefused, OverIssuance, Reports, UnusedClient};
pub use users::{UserAdmin, UserError};

// For the floor above, which sees neither keys nor the database.
pub use crate::keys::Urgency;
pub use crate::storage::Error as StorageError;
pub use crate::storage::{AuditEvent, AuditFilter, Barring, ClientFilter, FamilyFilter, TokenFamily, UserFilter};
