use super::{Process, actor};
use crate::app::cli::{CreateTokenArgs, RegistrationTokenCommand};
use crate::app::commands::client::{done, union, yes};
use crate::app::output::{self, Output};
use crate::oauth::{GrantType, InitialAccessTokenRecord, NumericDate, RegistrationPolicy};
use crate::server::admin::{
    CreatedInitialAccessToken, InitialAccessTokenDocument, NewInitialAccessToken, RegistrationAdmin,
};

/// `keywheel registration-token …`
pub(super) fn run(process: &Process, command: RegistrationTokenCommand, format: Output) -> anyhow::Result<()> {
    let actor = actor();
    match command {
        RegistrationTokenCommand::Create(args) => create(process, args, &actor, format),
        RegistrationTokenCommand::List => {
            let store = process.migrated_store()?;
            list(
                &RegistrationAdmin::new(&store, &actor).list()?,
                process.edge.now(),
                format,
            )
        }
        RegistrationTokenCommand::Revoke { id } => {
            let store = process.migrated_store()?;
            RegistrationAdmin::new(&store, &actor).revoke(&id, process.edge.now())?;
            done(&format!("revoked {id}: it registers no more clients"), format)
        }
    }
}

fn create(process: &Process, args: CreateTokenArgs, actor: &str, format: Output) -> anyhow::Result<()> {
    let audiences = args.audience.into_iter().collect();
    let new = NewInitialAccessToken {
        name: args.name,
        uses: args.uses,
        life: args.expires,
        policy: RegistrationPolicy::new(args.grants, union(&args.scope)?, audiences)?,
    };
    let (store, vault) = process.open_vault()?;
    let created = process.with_context(|cx| RegistrationAdmin::new(&store, actor).create(new, &vault, cx))?;
    let CreatedInitialAccessToken { token, record } = created;
    if record.policy.grant_types().contains(&GrantType::Password) {
        output::message("Warning: clients that register with this token may take the passwords of users (RFC 9700).");
    }
    if format == Output::Json {
        let mut document = serde_json::to_value(InitialAccessTokenDocument::of(&record, process.edge.now()))?;
        if let Some(members) = document.as_object_mut() {
            members.insert("token".to_owned(), token.expose().into());
        }
        return output::json(&document);
    }
    output::message("The token is shown this once; keep it now.");
    output::text(&format!("id     {}\ntoken  {}", record.id, token.expose()))
}

fn list(records: &[InitialAccessTokenRecord], now: NumericDate, format: Output) -> anyhow::Result<()> {
    let documents: Vec<_> = records
        .iter()
        .map(|record| InitialAccessTokenDocument::of(record, now))
        .collect();
    if format == Output::Json {
        return output::json(&documents);
    }
    let row = |token: &InitialAccessTokenDocument| {
        vec![
            token.id.clone(),
            format!("…{}", token.hint),
            token.name.clone(),
            token.uses_left.to_string(),
            token.expires_at.clone(),
            yes(token.live),
            token.grant_types.join(" "),
            token.scope.clone(),
            token.audience.join(" "),
        ]
    };
    output::table(
        &[
            "id",
            "ends in",
            "name",
            "uses left",
            "expires",
            "live",
            "grants",
            "scope",
            "audience",
        ],
        documents.iter().map(row).collect(),
    )
}
