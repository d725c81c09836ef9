//! TLS to PostgreSQL: the server is always verified.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::Error;
use super::url::PostgresTarget;

/// Reads the root certificates, once; connects to nothing.
pub(super) fn to(target: &PostgresTarget) -> Result<MakeRustlsConnect, Error> {
    let roots = match (target.ssl_mode, &target.root_certificates) {
        (SslMode::Disable, _) => RootCertStore::empty(),
        (_, Some(file)) => roots_from(file)?,
        (_, None) => system_roots()?,
    };
    // The process may have no default provider, or another one.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Settings(format!("TLS to PostgreSQL cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(tls))
}

fn roots_from(file: &Path) -> Result<RootCertStore, Error> {
    let refused = |why: String| Error::Settings(format!("sslrootcert {}: {why}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| refused(error.to_string()))? {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refused("there is no PEM certificate in it".to_owned()));
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Error::Settings(
            "the system has no root certificates to verify PostgreSQL with: install ca-certificates, or name the \
             authority's certificate with sslrootcert=FILE in the database URL"
                .to_owned(),
        ));
    }
    Ok(roots)
}
