//! Dynamic registration: the tokens that allow it, and the clients that came by it.

use diesel::prelude::*;

use super::audit::AuditEvent;
use super::changes::ChangeKind;
use super::client_rows::{self, ClientRow, parsed_words, words};
use super::clients::NewClient;
use super::connection::{Conn, on};
use super::error::{Error, Fault};
use super::keys;
use super::schema::{clients, initial_access_tokens, registrations};
use super::secrets;
use super::store::{Effect, Store};
use crate::oauth::{
    Audiences, Client, ClientId, ClientMetadata, ClientSecretRecord, GrantType, InitialAccessTokenRecord, NumericDate,
    RegistrationPolicy, Scope, Seconds, SecretHash,
};

/// A client that registers itself.
#[derive(Debug, Clone)]
pub struct NewRegistration {
    /// The client.
    pub client: NewClient,
    /// Its first secret.
    pub secret: ClientSecretRecord,
    /// Keyed hash of its registration access token.
    pub hash: SecretHash,
    /// The initial access token that it presented, as it was read before.
    pub token: InitialAccessTokenRecord,
}

/// What became of [`Store::register_client`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is moved once")]
pub enum RegistrationOutcome {
    /// The client is registered and enabled, and the token has one use less.
    Registered(Client),
    /// The initial access token is used up, has expired or was revoked.
    Spent,
    /// It, or all tokens together, were used too often in this hour.
    TooOften,
    /// The client's identifier is taken.
    Exists,
}

/// A client that registered itself.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The client.
    pub client: Client,
    /// Identifier of the initial access token that it presented; that may be gone.
    pub registered_with: String,
    /// The rights that the token carried.
    pub policy: RegistrationPolicy,
}

impl Store {
    /// Most clients that one initial access token registers in an hour of the clock.
    pub const MAX_REGISTRATIONS_PER_TOKEN: i64 = 1_000;
    /// Most clients that all of them together register in an hour of the clock.
    pub const MAX_REGISTRATIONS: i64 = 10_000;

    /// Stores an initial access token.
    pub fn create_initial_access_token(
        &self,
        record: &InitialAccessTokenRecord,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        let (row, event) = (TokenRow::from(record), event.clone());
        self.administer(move |conn| {
            on!(conn, c => diesel::insert_into(initial_access_tokens::table).values(&row).execute(c))?;
            Ok(Effect::of((), event))
        })
    }

    /// All initial access tokens, the oldest first, live or not.
    pub fn initial_access_tokens(&self) -> Result<Vec<InitialAccessTokenRecord>, Error> {
        self.read(|conn| {
            let rows: Vec<TokenRow> = on!(conn, c => initial_access_tokens::table
                .order((initial_access_tokens::created_at, initial_access_tokens::id))
                .select(TokenRow::as_select())
                .load(c))?;
            rows.into_iter().map(TokenRow::into_record).collect()
        })
    }

    /// The initial access token with this hash, live or not.
    pub fn initial_access_token(&self, hash: &SecretHash) -> Result<Option<InitialAccessTokenRecord>, Error> {
        self.read(|conn| {
            let row: Option<TokenRow> = on!(conn, c => initial_access_tokens::table
                .filter(initial_access_tokens::hash.eq(hash.as_bytes().as_slice()))
                .select(TokenRow::as_select())
                .get_result(c)
                .optional())?;
            row.map(TokenRow::into_record).transpose()
        })
    }

    /// Deletes an initial access token, which is refused from now on; whether there was one. Its clients stay.
    pub fn revoke_initial_access_token(&self, id: &str, event: &AuditEvent) -> Result<bool, Error> {
        let (id, event) = (id.to_owned(), event.clone());
        self.administer(move |conn| {
            let deleted = on!(conn, c => diesel::delete(initial_access_tokens::table.find(&id)).execute(c))?;
            Ok(if deleted > 0 {
                Effect::of(true, event)
            } else {
                Effect::none(false)
            })
        })
    }

    /// Registers a client with its secret and its registration access token, and takes one use from the initial access token, as
    /// of the event's instant: all of it or nothing. Of many at once no more succeed than there are uses.
    pub fn register_client(&self, new: &NewRegistration, event: &AuditEvent) -> Result<RegistrationOutcome, Error> {
        let (new, event) = (new.clone(), event.clone());
        self.administer(move |conn| {
            let hour = event.at.epoch().div_euclid(Seconds::hours(1).get());
            // Administrative transactions follow each other, so nothing changes between this and the update below.
            let Some(token) = token_row(conn, &new.token.id)?.filter(|token| token.is_live(event.at)) else {
                return Ok(Effect::none(RegistrationOutcome::Spent));
            };
            let in_hour = if token.last_hour == hour { token.uses_in_hour } else { 0 };
            if in_hour >= Store::MAX_REGISTRATIONS_PER_TOKEN || registered_in(conn, hour)? >= Store::MAX_REGISTRATIONS {
                return Ok(Effect::none(RegistrationOutcome::TooOften));
            }
            let Some(client) = client_rows::insert(conn, &new.client)? else {
                return Ok(Effect::none(RegistrationOutcome::Exists));
            };
            secrets::insert(conn, client.row, &new.secret)?;
            let row = RegistrationRow {
                client: client.row,
                hash: new.hash.as_bytes().to_vec(),
                registered_with: token.id.clone(),
                // As it was when the client was judged by it: a token's rights never change.
                grant_types: words(new.token.policy.grant_types()),
                scope: new.token.policy.scope().to_string(),
                audiences: new.token.policy.audiences().to_string(),
            };
            on!(conn, c => diesel::insert_into(registrations::table).values(&row).execute(c))?;
            on!(conn, c => diesel::update(initial_access_tokens::table.find(&token.id))
                .set((
                    initial_access_tokens::uses_left.eq(token.uses_left - 1),
                    initial_access_tokens::last_hour.eq(hour),
                    initial_access_tokens::uses_in_hour.eq(in_hour + 1),
                ))
                .execute(c))?;
            let raised = keys::raise_to(conn, new.client.metadata.access_ttl)?;
            let at = event.at.epoch();
            let subject = new.client.client_id.as_str();
            Ok(Effect::of(RegistrationOutcome::Registered(client), event)
                .changing(ChangeKind::Client, subject, at)
                .changing_keys(raised, at))
        })
    }

    /// The client that registered itself and holds the registration access token with this hash.
    pub fn registration(&self, id: &ClientId, hash: &SecretHash) -> Result<Option<Registration>, Error> {
        self.read(|conn| {
            let found: Option<(ClientRow, RegistrationRow)> = on!(conn, c => registrations::table
                .inner_join(clients::table)
                .filter(registrations::hash.eq(hash.as_bytes().as_slice()))
                .filter(clients::client_id.eq(id.as_str()))
                .select((ClientRow::as_select(), RegistrationRow::as_select()))
                .get_result(c)
                .optional())?;
            let Some((client, row)) = found else { return Ok(None) };
            let policy = policy([&row.grant_types, &row.scope, &row.audiences]).map_err(|why| {
                Fault::corrupt(
                    "registrations",
                    format!("that of client {:?}, of which {why}", id.as_str()),
                )
            })?;
            Ok(Some(Registration {
                client: client.into_client()?,
                registered_with: row.registered_with,
                policy,
            }))
        })
    }

    /// Replaces what a client may itself have registered (name, grants, authentication, scope, audiences), as of the event's
    /// instant, and leaves what administrators chose as it is; `None` when the client is not as it was read any more.
    pub fn update_registration(
        &self,
        client: &Client,
        metadata: &ClientMetadata,
        event: &AuditEvent,
    ) -> Result<Option<Client>, Error> {
        let (before, metadata, event) = (client.clone(), metadata.clone(), event.clone());
        self.administer(move |conn| {
            let at = event.at.epoch();
            if client_rows::find(conn, before.client_id.as_str())?.as_ref() != Some(&before) {
                return Ok(Effect::none(None));
            }
            let updated: Option<ClientRow> = on!(conn, c => diesel::update(clients::table.find(before.row))
                .set((
                    clients::name.eq(&metadata.name),
                    clients::grant_types.eq(words(&metadata.grant_types)),
                    clients::auth_methods.eq(words(&metadata.auth_methods)),
                    clients::scope.eq(metadata.scope.to_string()),
                    clients::audiences.eq(metadata.audiences.to_string()),
                    clients::updated_at.eq(at),
                ))
                .returning(ClientRow::as_returning())
                .get_result(c)
                .optional())?;
            let Some(client) = updated.map(ClientRow::into_client).transpose()? else {
                return Ok(Effect::none(None));
            };
            let subject = client.client_id.to_string();
            Ok(Effect::of(Some(client), event).changing(ChangeKind::Client, subject, at))
        })
    }
}

fn token_row(conn: &mut Conn, id: &str) -> Result<Option<TokenRow>, Fault> {
    Ok(on!(conn, c => initial_access_tokens::table
        .find(id)
        .select(TokenRow::as_select())
        .get_result(c)
        .optional())?)
}

/// How many clients the tokens that there are registered in an hour.
fn registered_in(conn: &mut Conn, hour: i64) -> Result<i64, Fault> {
    let uses: Vec<i64> = on!(conn, c => initial_access_tokens::table
        .filter(initial_access_tokens::last_hour.eq(hour))
        .select(initial_access_tokens::uses_in_hour)
        .load(c))?;
    Ok(uses.into_iter().sum())
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = registrations, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
struct RegistrationRow {
    client: i64,
    hash: Vec<u8>,
    registered_with: String,
    grant_types: String,
    scope: String,
    audiences: String,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = initial_access_tokens, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
struct TokenRow {
    id: String,
    hash: Vec<u8>,
    hint: String,
    name: String,
    uses_left: i64,
    grant_types: String,
    scope: String,
    audiences: String,
    created_at: i64,
    expires_at: i64,
    last_hour: i64,
    uses_in_hour: i64,
}

impl From<&InitialAccessTokenRecord> for TokenRow {
    /// A token that was never used.
    fn from(record: &InitialAccessTokenRecord) -> Self {
        TokenRow {
            id: record.id.clone(),
            hash: record.hash.as_bytes().to_vec(),
            hint: record.hint.clone(),
            name: record.name.clone(),
            uses_left: i64::from(record.uses_left),
            grant_types: words(record.policy.grant_types()),
            scope: record.policy.scope().to_string(),
            audiences: record.policy.audiences().to_string(),
            created_at: record.created_at.epoch(),
            expires_at: record.expires_at.epoch(),
            last_hour: 0,
            uses_in_hour: 0,
        }
    }
}

impl TokenRow {
    fn is_live(&self, now: NumericDate) -> bool {
        self.uses_left > 0 && now.epoch() < self.expires_at
    }

    fn into_record(self) -> Result<InitialAccessTokenRecord, Fault> {
        let corrupt =
            |why: &str| Fault::corrupt("initial_access_tokens", format!("token {:?}, of which {why}", self.id));
        Ok(InitialAccessTokenRecord {
            hash: SecretHash::from_bytes(&self.hash).ok_or_else(|| corrupt("the hash has not 32 bytes"))?,
            uses_left: u32::try_from(self.uses_left).map_err(|error| corrupt(&error.to_string()))?,
            policy: policy([&self.grant_types, &self.scope, &self.audiences]).map_err(|why| corrupt(&why))?,
            created_at: NumericDate::from_epoch(self.created_at),
            expires_at: NumericDate::from_epoch(self.expires_at),
            id: self.id,
            hint: self.hint,
            name: self.name,
        })
    }
}

/// The rights in a row; why not, when there cannot be such.
fn policy([grant_types, scope, audiences]: [&str; 3]) -> Result<RegistrationPolicy, String> {
    let grant_types = parsed_words::<GrantType>(grant_types).map_err(|error| error.to_string())?;
    let scope = Scope::parse(scope).map_err(|error| error.to_string())?;
    let audiences = Audiences::parse(audiences).map_err(|error| error.to_string())?;
    RegistrationPolicy::new(grant_types, scope, audiences).map_err(|error| error.to_string())
}
