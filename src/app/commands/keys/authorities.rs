use serde_json::json;

use crate::app::cli::CaCommand;
use crate::app::output::{self, Output};
use crate::server::admin::AuthorityLine;

/// `keywheel keys ca …`: the authorities in force, the one that certifies new keys first.
pub(super) fn run(authorities: &[AuthorityLine], command: &CaCommand, format: Output) -> anyhow::Result<()> {
    let Some((present, others)) = authorities.split_first() else {
        anyhow::bail!(
            "there is no certificate authority yet: start a server, it makes one, or import your own with \"keys import ca\""
        )
    };
    let pem: String = authorities
        .iter()
        .map(|authority| authority.certificate_pem.as_str())
        .collect();
    match (command, format) {
        (CaCommand::Export, Output::Text) => output::text(&pem),
        (CaCommand::Export, Output::Json) => output::json(&json!({"certificate_pem": pem})),
        (CaCommand::Show, Output::Json) => {
            // The members of the present one stand alone, as when there was no other.
            let mut document = json!(present);
            if let Some(members) = document.as_object_mut() {
                members.insert("others".to_owned(), json!(others));
            }
            output::json(&document)
        }
        (CaCommand::Show, Output::Text) => table(authorities),
    }
}

/// The authorities as a table.
pub(super) fn table(authorities: &[AuthorityLine]) -> anyhow::Result<()> {
    let row = |(position, authority): (usize, &AuthorityLine)| {
        vec![
            authority.subject.clone(),
            if position == 0 { "yes" } else { "no" }.to_owned(),
            authority.not_before.clone(),
            authority.not_after.clone(),
            authority.certificate_sha256.clone(),
        ]
    };
    output::table(
        &["subject", "certifies new keys", "valid from", "valid until", "sha256"],
        authorities.iter().enumerate().map(row).collect(),
    )
}
