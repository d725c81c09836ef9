use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context as _, bail};
use zeroize::Zeroizing;

use super::{Process, authorities};
use crate::app::cli::{ImportCommand, PairArgs};
use crate::app::journal::Journal;
use crate::app::output::{self, Output};
use crate::oauth::SigningAlgorithm;
use crate::server::Remembered;
use crate::server::admin::{Activation, KeyAdmin};

/// Longest file: a chain of certificates has a few kilobytes.
const MAX_FILE: u64 = 1 << 18;

/// `keywheel keys import …`
pub(super) fn run(
    process: &Process,
    admin: &KeyAdmin<'_>,
    command: ImportCommand,
    format: Output,
) -> anyhow::Result<()> {
    match command {
        ImportCommand::Ca(pair) => authority(process, admin, &pair, format),
        ImportCommand::Key { pair, alg, activate_at } => {
            let activation = activate_at.map_or(Activation::WhenSafe, |argument| argument.0);
            key(process, admin, (&pair, alg), activation, format)
        }
    }
}

fn authority(process: &Process, admin: &KeyAdmin<'_>, pair: &PairArgs, format: Output) -> anyhow::Result<()> {
    let (certificates, private_key) = (certificates(&pair.certificate)?, private_key(&pair.key)?);
    let imported = process.with_context(|cx| admin.import_authority(&certificates, &private_key, cx));
    let imported = imported.context("no authority was imported")?;
    if let Some(from) = &imported.signs_from {
        output::message(&format!(
            "This authority certifies the keys that are made from now on; the first of them signs from {from} on, or earlier if the \
             keys are turned earlier. Verifiers that pin need its certificate by then: \"keywheel keys ca export\", or \
             /.well-known/keywheel/ca.pem, where the one before stays as long as a key of it is published."
        ));
    }
    match format {
        Output::Json => output::json(&imported),
        Output::Text => authorities::table(&imported.authorities),
    }
}

fn key(
    process: &Process,
    admin: &KeyAdmin<'_>,
    (pair, alg): (&PairArgs, Option<SigningAlgorithm>),
    activation: Activation,
    format: Output,
) -> anyhow::Result<()> {
    let (certificates, private_key) = (certificates(&pair.certificate)?, private_key(&pair.key)?);
    // A database that was put back may have forgotten that a key was barred; this machine has not.
    let journal = Journal::open(&process.config.keys_dir)?;
    let barred = journal.written().map(Remembered::barred_keys).unwrap_or_default();
    let barred: Vec<_> = barred.into_iter().map(|(kid, _)| kid).collect();
    let known = (process.config.issuer.as_ref(), barred.as_slice());
    let imported =
        process.with_context(|cx| admin.import_key((&certificates, &private_key, alg), activation, known, cx));
    let imported = imported.context("no key was imported")?;
    if !imported.safe {
        output::message(
            "The key signs at once, and no verifier can know it yet: those that have read the JWK set before now may refuse its tokens \
             until they read it again, at the latest after the longest time that any of them keeps it (signing.slowest_verifier).",
        );
    }
    if imported.names_issuer == Some(false) {
        output::message(
            "Its certificate does not name the issuer (a URI among the alternative names): verifiers that pin the authority and look \
             for it will refuse the key. Have it issued anew, or let \"keywheel keys renew\" certify the key.",
        );
    }
    match format {
        Output::Json => output::json(&imported),
        Output::Text => output::text(&format!("{} signs from {} on", imported.kid, imported.activates_at)),
    }
}

/// `keywheel keys renew KID`
pub(super) fn renew(process: &Process, admin: &KeyAdmin<'_>, kid: &str, format: Output) -> anyhow::Result<()> {
    let renewal = process.with_context(|cx| admin.renew(kid, process.config.issuer.as_ref(), cx))?;
    if !renewal.suffices {
        output::message(&format!(
            "The certificate ends with its authority, but the key is needed until {}: import an authority that is valid for longer with \
             \"keywheel keys import ca\", and renew again.",
            renewal.needed_until
        ));
    }
    match format {
        Output::Json => output::json(&renewal),
        Output::Text => output::text(&format!(
            "{} is certified until {}",
            renewal.kid, renewal.certificate_not_after
        )),
    }
}

fn certificates(path: &Path) -> anyhow::Result<String> {
    let file = File::open(path).with_context(|| format!("the certificate {} cannot be opened", path.display()))?;
    let text = read(file).with_context(|| format!("the certificate {} cannot be read", path.display()))?;
    Ok(text.as_str().to_owned())
}

/// The private key in PEM, from its file or from standard input. Its memory is wiped, and the library's buffer never sees it.
fn private_key(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    if path == Path::new("-") {
        let stdin = std::io::stdin().as_fd().try_clone_to_owned()?;
        return read(File::from(stdin)).context("the private key cannot be read from standard input");
    }
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("the private key {shown} cannot be opened"))?;
    let facts = file.metadata()?;
    if facts.is_file() && facts.mode() & 0o077 != 0 {
        output::message(&format!(
            "The file {shown} can be read by others (mode {:04o}): whoever did so can sign tokens. chmod 600 {shown}, and make another \
             key if it lay there for long.",
            facts.mode() & 0o7777
        ));
    }
    read(file).with_context(|| format!("the private key {shown} cannot be read"))
}

fn read(file: File) -> anyhow::Result<Zeroizing<String>> {
    // As long as the longest file, so that it never moves and leaves nothing behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(MAX_FILE)? + 64));
    file.take(MAX_FILE + 1).read_to_string(&mut text).context(
        "it is no text: give PEM (convert DER with \"openssl x509 -inform DER\" or \"openssl pkey -inform DER\")",
    )?;
    if text.len() as u64 > MAX_FILE {
        bail!("it has more than {MAX_FILE} bytes: give the certificate and its issuers, or the one key, alone");
    }
    Ok(text)
}
