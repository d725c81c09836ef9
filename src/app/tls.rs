use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use aws_lc_rs::digest;
use zeroize::Zeroizing;

use super::config::TlsFiles;
use crate::http::{Tls, TlsIdentity, TlsText};
use crate::oauth::NumericDate;

/// What the listeners show, and the files that it comes from.
#[derive(Debug)]
pub(super) struct TlsSource {
    files: TlsFiles,
    tls: Arc<Tls>,
    /// Of the contents that are in use.
    fingerprint: Fingerprint,
}

impl TlsSource {
    /// Reads the files for the first time.
    pub(super) fn open(files: &TlsFiles) -> anyhow::Result<Self> {
        let contents = Contents::read(files)?;
        Ok(TlsSource {
            files: files.clone(),
            tls: Tls::new(contents.identity()?),
            fingerprint: contents.fingerprint(),
        })
    }

    /// What the listeners show.
    pub(super) fn tls(&self) -> &Arc<Tls> {
        &self.tls
    }

    /// Reads the files anew, and has the listeners show what they hold. Says whether that is something new. What cannot be used
    /// changes nothing.
    pub(super) fn look(&mut self, now: NumericDate) -> anyhow::Result<bool> {
        let contents = Contents::read(&self.files)?;
        let fingerprint = contents.fingerprint();
        if fingerprint == self.fingerprint {
            return Ok(false);
        }
        let identity = contents.identity()?;
        let place = || place(&self.files, TlsText::Certificate);
        if identity.not_after() < now {
            let ended = identity.not_after();
            bail!("{}: the certificate ended at {ended}: have it renewed", place());
        }
        if identity.not_before() > now {
            let begins = identity.not_before();
            bail!(
                "{}: the certificate is valid from {begins} on: it is shown from then on",
                place()
            );
        }
        self.tls.replace(identity);
        self.fingerprint = fingerprint;
        Ok(true)
    }
}

/// What the files held when they were read.
struct Contents<'a> {
    files: &'a TlsFiles,
    certificate: Zeroizing<Vec<u8>>,
    private_key: Zeroizing<Vec<u8>>,
    client_ca: Option<Zeroizing<Vec<u8>>>,
}

/// Tells contents from others, without keeping a key to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fingerprint([u8; digest::SHA256_OUTPUT_LEN]);

impl<'a> Contents<'a> {
    /// Reads all files. The key has to be in one that nobody else can read.
    fn read(files: &'a TlsFiles) -> anyhow::Result<Self> {
        let at = |text| move || place(files, text);
        Ok(Contents {
            files,
            certificate: read(&files.certificate).with_context(at(TlsText::Certificate))?,
            private_key: read_private(&files.private_key).with_context(at(TlsText::PrivateKey))?,
            client_ca: match &files.client_ca {
                Some(path) => Some(read(path).with_context(at(TlsText::ClientCa))?),
                None => None,
            },
        })
    }

    /// What they make together.
    fn identity(&self) -> anyhow::Result<TlsIdentity> {
        let client_ca = self.client_ca.as_ref().map(|text| text.as_slice());
        let identity = TlsIdentity::parse(&self.certificate, &self.private_key, client_ca);
        identity.map_err(|error| {
            let place = place(self.files, error.text);
            anyhow::Error::from(error).context(place)
        })
    }

    /// The same for the same contents, and for no others.
    fn fingerprint(&self) -> Fingerprint {
        let mut context = digest::Context::new(&digest::SHA256);
        for text in [&self.certificate, &self.private_key]
            .into_iter()
            .chain(&self.client_ca)
        {
            context.update(&text.len().to_be_bytes());
            context.update(text);
        }
        let mut fingerprint = [0; digest::SHA256_OUTPUT_LEN];
        fingerprint.copy_from_slice(context.finish().as_ref());
        Fingerprint(fingerprint)
    }
}

/// The setting and its file, for messages.
fn place(files: &TlsFiles, text: TlsText) -> String {
    let (setting, path) = match text {
        TlsText::Certificate => ("tls.certificate", Some(&files.certificate)),
        TlsText::PrivateKey => ("tls.private_key", Some(&files.private_key)),
        TlsText::ClientCa => ("tls.client_ca", files.client_ca.as_ref()),
    };
    path.map_or_else(|| setting.to_owned(), |path| format!("{setting} ({})", path.display()))
}

/// A file of root's may be read by a group: so are credentials of systemd, secrets of Kubernetes with `fsGroup`, and the keys that
/// Debian keeps for the group `ssl-cert`.
fn read_private(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let (mode, owner) = path
        .metadata()
        .map_or((0, 0), |facts| (facts.mode() & 0o7777, facts.uid()));
    let (strangers, mend) = if owner == 0 { (0o037, "640") } else { (0o077, "600") };
    if mode & strangers != 0 {
        bail!(
            "it can be read by others (mode {mode:04o}): chmod {mend} {}",
            path.display()
        );
    }
    read(path)
}

fn read(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let unreadable = "it cannot be read: see that it is there, and that the user who runs keywheel may read it";
    let file = File::open(path).context(unreadable)?;
    let length = file.metadata().context(unreadable)?.len();
    if length > LONGEST {
        bail!("it has {length} bytes: a file of certificates or of a key has a few thousand");
    }
    // Large enough at once, or pieces of a key would be left where it was first.
    let mut contents = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1));
    file.take(LONGEST).read_to_end(&mut contents).context(unreadable)?;
    Ok(contents)
}

/// Longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;
