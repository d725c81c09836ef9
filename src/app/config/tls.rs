use std::path::PathBuf;

use super::ConfigError;
use super::reader::Reader;

/// The PEM files of TLS. A certificate comes with its key, and neither without the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, then those of its issuers.
    pub certificate: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
    /// Those who certify clients of the management listener; `None` for a listener that asks for no certificate.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// `None` for plain HTTP.
    pub(super) fn of(read: &Reader<'_>) -> Result<Option<Self>, ConfigError> {
        let client_ca: Option<PathBuf> = read.optional("tls.client_ca")?;
        match (read.optional("tls.certificate")?, read.optional("tls.private_key")?) {
            (Some(certificate), Some(private_key)) => Ok(Some(TlsFiles {
                certificate,
                private_key,
                client_ca,
            })),
            (Some(_), None) => Err(read.refused(
                "tls.private_key",
                "tls.certificate is set without it: set both for TLS, or neither for plain HTTP",
            )),
            (None, Some(_)) => Err(read.refused(
                "tls.certificate",
                "tls.private_key is set without it: set both for TLS, or neither for plain HTTP",
            )),
            (None, None) if client_ca.is_some() => Err(read.refused(
                "tls.client_ca",
                "only over TLS clients can show a certificate: set tls.certificate and tls.private_key, too",
            )),
            (None, None) => Ok(None),
        }
    }
}
