use serde_json::json;

use super::{Process, actor};
use crate::app::cli::{ClientCommand, CreateArgs, MetadataArgs, SecretCommand, UpdateArgs};
use crate::app::output::{self, Output};
use crate::oauth::{
    Audiences, Client, ClientAuthMethod, ClientMetadata, ClientSecretRecord, GrantType, NumericDate, Scope, Seconds,
};
use crate::server::admin::{
    ClientAdmin, ClientChange, ClientDocument, CreatedClient, CreatedSecret, NewClientRequest, SecretDocument,
};

/// `keywheel client …`
pub(super) fn run(process: &Process, command: ClientCommand, format: Output) -> anyhow::Result<()> {
    let actor = actor();
    let now = process.edge.now();
    match command {
        ClientCommand::Create(args) => create(process, args, &actor, format),
        ClientCommand::Secret(SecretCommand::Add {
            id,
            expires,
            not_before,
        }) => {
            let (store, vault) = process.open_vault()?;
            let span = (not_before.map(|span| now + span), expires.map(|span| now + span));
            let added =
                process.with_context(|cx| ClientAdmin::new(&store, &actor).add_secret(&id.0, span, &vault, cx))?;
            print_new_secret(&added, format)
        }
        other => {
            let store = process.migrated_store()?;
            let admin = ClientAdmin::new(&store, &actor);
            match other {
                ClientCommand::List => list(&admin.list()?, format),
                ClientCommand::Show { id } => {
                    let (client, secrets) = admin.show(&id.0)?;
                    show(&client, &secrets, now, format)
                }
                ClientCommand::Update(args) => {
                    let client = admin.update(&args.id.0.clone(), change(args), now)?;
                    warn_of_passwords(&client.metadata);
                    print_client(&client, format)
                }
                ClientCommand::Disable { id } => {
                    admin.set_enabled(&id.0, false, now)?;
                    done(&format!("disabled {}: servers refuse it within a second", id.0), format)
                }
                ClientCommand::Enable { id } => {
                    admin.set_enabled(&id.0, true, now)?;
                    done(&format!("enabled {}", id.0), format)
                }
                ClientCommand::Delete { id } => {
                    admin.delete(&id.0, now)?;
                    done(&format!("deleted {}", id.0), format)
                }
                ClientCommand::Secret(SecretCommand::List { id }) => list_secrets(&admin.show(&id.0)?.1, now, format),
                ClientCommand::Secret(SecretCommand::Revoke { id, secret_id, force }) => {
                    admin.revoke_secret(&id.0, &secret_id, force, now)?;
                    done(
                        &format!(
                            "revoked secret {secret_id} of {}: servers refuse it within a second",
                            id.0
                        ),
                        format,
                    )
                }
                ClientCommand::Create(_) | ClientCommand::Secret(SecretCommand::Add { .. }) => Ok(()),
            }
        }
    }
}

fn create(process: &Process, args: CreateArgs, actor: &str, format: Output) -> anyhow::Result<()> {
    let (store, vault) = process.open_vault()?;
    let MetadataArgs {
        grants,
        scope,
        audience,
        auth_methods,
        access_ttl,
        token_reuse_window,
        token_quota,
        refresh_ttl,
        refresh_absolute_ttl,
        refresh_retry_window,
        token_type,
        claim_profile,
        signing_alg,
        introspect,
    } = args.metadata;
    let metadata = ClientMetadata {
        name: args.name,
        grant_types: grants,
        auth_methods: if auth_methods.is_empty() {
            ClientAuthMethod::ALL.to_vec()
        } else {
            auth_methods
        },
        scope: union(&scope)?,
        audiences: audience.into_iter().collect(),
        access_ttl,
        token_reuse_window,
        token_quota,
        refresh_ttl,
        refresh_absolute_ttl,
        refresh_retry_window,
        token_type: token_type.unwrap_or_default(),
        claim_profile: claim_profile.unwrap_or_default(),
        signing_alg,
        introspect,
    };
    let request = NewClientRequest {
        client_id: args.id.map(|id| id.0),
        metadata,
    };
    let created = process.with_context(|cx| ClientAdmin::new(&store, actor).create(request, &vault, cx))?;
    let CreatedClient { client, secret } = created;
    warn_of_passwords(&client.metadata);
    if format == Output::Json {
        let mut document = serde_json::to_value(ClientDocument::from(&client))?;
        if let Some(members) = document.as_object_mut() {
            members.insert("client_secret".to_owned(), secret.secret.expose().into());
            members.insert("client_secret_expires_at".to_owned(), 0.into());
            members.insert("client_secret_id".to_owned(), secret.record.id.into());
        }
        return output::json(&document);
    }
    output::message("The secret is shown this once; keep it now.");
    output::text(&format!(
        "client_id      {}\nclient_secret  {}",
        client.client_id,
        secret.secret.expose()
    ))
}

/// RFC 9700 §2.4.
pub(super) fn warn_of_passwords(metadata: &ClientMetadata) {
    if metadata.grant_types.contains(&GrantType::Password) {
        output::message(
            "Warning: this client sees its users' passwords. RFC 9700 forbids the password grant and OAuth 2.1 dropped it: register it \
             for clients of your own alone, and only until they can do without.",
        );
    }
}

fn change(args: UpdateArgs) -> ClientChange {
    let MetadataArgs {
        grants,
        scope,
        audience,
        auth_methods,
        access_ttl,
        token_reuse_window,
        token_quota,
        refresh_ttl,
        refresh_absolute_ttl,
        refresh_retry_window,
        token_type,
        claim_profile,
        signing_alg,
        introspect,
    } = args.metadata;
    let scope = match (args.no_scope, scope.is_empty()) {
        (true, _) => Some(Scope::empty()),
        (false, true) => None,
        (false, false) => union(&scope).ok(),
    };
    let audiences = match (args.no_audience, audience.is_empty()) {
        (true, _) => Some(Audiences::default()),
        (false, true) => None,
        (false, false) => Some(audience.into_iter().collect()),
    };
    let introspect = match (introspect, args.no_introspect) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    };
    ClientChange {
        name: args.name,
        grant_types: (!grants.is_empty()).then_some(grants),
        auth_methods: (!auth_methods.is_empty()).then_some(auth_methods),
        scope,
        audiences,
        access_ttl: own_or_the_servers(args.default_access_ttl, access_ttl),
        token_reuse_window: own_or_the_servers(args.no_token_reuse_window, token_reuse_window),
        token_quota: own_or_the_servers(args.no_token_quota, token_quota),
        refresh_ttl: own_or_the_servers(args.default_refresh_ttl, refresh_ttl),
        refresh_absolute_ttl: own_or_the_servers(args.default_refresh_absolute_ttl, refresh_absolute_ttl),
        refresh_retry_window: own_or_the_servers(args.default_refresh_retry_window, refresh_retry_window),
        token_type,
        claim_profile,
        signing_alg: own_or_the_servers(args.default_signing_alg, signing_alg),
        introspect,
    }
}

/// Something of the client's own: back to the server's or to none, another one, or as it is.
fn own_or_the_servers<T>(back: bool, other: Option<T>) -> Option<Option<T>> {
    if back { Some(None) } else { other.map(Some) }
}

/// All scopes that were named, as one.
pub(super) fn union(scopes: &[Scope]) -> anyhow::Result<Scope> {
    let words: Vec<&str> = scopes.iter().flat_map(Scope::tokens).collect();
    Ok(Scope::parse(&words.join(" "))?)
}

/// A client as people see it.
fn lines(client: &ClientDocument) -> Vec<Vec<String>> {
    let or_the_servers =
        |span: Option<i64>| span.map_or_else(|| "the server's".to_owned(), |span| Seconds::new(span).to_string());
    let audience = if client.audience.is_empty() {
        "the issuer".to_owned()
    } else {
        client.audience.join(" ")
    };
    [
        ("client_id", client.client_id.to_owned()),
        ("name", client.client_name.to_owned()),
        ("enabled", yes(client.enabled)),
        (
            "owner",
            client.owner.clone().unwrap_or_else(|| "none: made by hand".to_owned()),
        ),
        ("grants", client.grant_types.join(" ")),
        ("auth methods", client.token_endpoint_auth_methods.join(" ")),
        ("scope", client.scope.clone()),
        ("audience", audience),
        ("access token life", or_the_servers(client.access_ttl)),
        (
            "token reuse window",
            client
                .token_reuse_window
                .map_or_else(|| "none".to_owned(), |span| Seconds::new(span).to_string()),
        ),
        (
            "token quota",
            client.token_quota.clone().unwrap_or_else(|| "none".to_owned()),
        ),
        ("refresh token life", or_the_servers(client.refresh_ttl)),
        ("life of a login", or_the_servers(client.refresh_absolute_ttl)),
        ("retry window", or_the_servers(client.refresh_retry_window)),
        ("token type", client.token_type.to_owned()),
        ("claim profile", client.claim_profile.to_owned()),
        (
            "signature algorithm",
            client.signing_alg.unwrap_or("the server's").to_owned(),
        ),
        ("introspect", yes(client.introspect)),
        (
            "created",
            NumericDate::from_epoch(client.client_id_issued_at).to_string(),
        ),
        ("updated", NumericDate::from_epoch(client.updated_at).to_string()),
    ]
    .map(|(name, value)| vec![name.to_owned(), value])
    .to_vec()
}

fn secret_documents(secrets: &[ClientSecretRecord], now: NumericDate) -> Vec<SecretDocument> {
    secrets.iter().map(|secret| SecretDocument::of(secret, now)).collect()
}

fn list(clients: &[Client], format: Output) -> anyhow::Result<()> {
    let documents: Vec<ClientDocument> = clients.iter().map(ClientDocument::from).collect();
    if format == Output::Json {
        return output::json(&documents);
    }
    let row = |client: &ClientDocument| {
        vec![
            client.client_id.to_owned(),
            client.client_name.to_owned(),
            yes(client.enabled),
            client.grant_types.join(" "),
            client.scope.clone(),
            client.audience.join(" "),
        ]
    };
    output::table(
        &["client_id", "name", "enabled", "grants", "scope", "audience"],
        documents.iter().map(row).collect(),
    )
}

fn show(client: &Client, secrets: &[ClientSecretRecord], now: NumericDate, format: Output) -> anyhow::Result<()> {
    let document = ClientDocument::from(client);
    let secrets = secret_documents(secrets, now);
    if format == Output::Json {
        let mut document = serde_json::to_value(document)?;
        if let Some(members) = document.as_object_mut() {
            members.insert("secrets".to_owned(), serde_json::to_value(secrets)?);
        }
        return output::json(&document);
    }
    let mut lines = lines(&document);
    for secret in secrets {
        let expires = secret
            .expires_at
            .map_or_else(String::new, |at| format!(", expires {at}"));
        let state = if secret.live { "" } else { ", expired" };
        lines.push(vec![
            "secret".to_owned(),
            format!(
                "{} …{} of {}{expires}{state}",
                secret.id, secret.hint, secret.created_at
            ),
        ]);
    }
    output::table(&["", ""], lines)
}

fn print_client(client: &Client, format: Output) -> anyhow::Result<()> {
    let document = ClientDocument::from(client);
    if format == Output::Json {
        output::json(&document)
    } else {
        output::table(&["", ""], lines(&document))
    }
}

fn print_new_secret(added: &CreatedSecret, format: Output) -> anyhow::Result<()> {
    let CreatedSecret { secret, record } = added;
    if format == Output::Json {
        let expires_at = record.expires_at.map_or(0, NumericDate::epoch);
        return output::json(&json!({
            "client_secret": secret.expose(), "client_secret_id": record.id, "client_secret_expires_at": expires_at,
        }));
    }
    output::message("The secret is shown this once; keep it now.");
    output::text(&format!(
        "secret id      {}\nclient_secret  {}",
        record.id,
        secret.expose()
    ))
}

fn list_secrets(secrets: &[ClientSecretRecord], now: NumericDate, format: Output) -> anyhow::Result<()> {
    let documents = secret_documents(secrets, now);
    if format == Output::Json {
        return output::json(&documents);
    }
    let row = |secret: &SecretDocument| {
        let expires = secret.expires_at.clone().unwrap_or_else(|| "never".to_owned());
        vec![
            secret.id.to_owned(),
            format!("…{}", secret.hint),
            secret.created_at.clone(),
            secret.not_before.clone().unwrap_or_else(|| "–".to_owned()),
            expires,
            secret.last_used_at.clone().unwrap_or_else(|| "never".to_owned()),
            yes(secret.live),
        ]
    };
    output::table(
        &["id", "ends in", "created", "not before", "expires", "last used", "live"],
        documents.iter().map(row).collect(),
    )
}

/// Says what was done: a sentence for people, an empty document for programs.
pub(super) fn done(sentence: &str, format: Output) -> anyhow::Result<()> {
    output::message(sentence);
    if format == Output::Json {
        output::json(&json!({}))
    } else {
        Ok(())
    }
}

/// A truth in a table.
pub(super) fn yes(truth: bool) -> String {
    (if truth { "yes" } else { "no" }).to_owned()
}
