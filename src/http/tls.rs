//! TLS on the listeners, by rustls: versions 1.2 and 1.3 with ephemeral keys (RFC 9325 §3.1, §4.1), and HTTP/1.1 as the one protocol
//! inside (RFC 7301).
//!
//! What is shown is looked up in every handshake, so it can be replaced while connections go on.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ConfigBuilder, DigitallySignedStruct, DistinguishedName, Error, InconsistentKeys, RootCertStore, ServerConfig,
    SignatureScheme, WantsVerifier,
};
use thiserror::Error as ThisError;
use tracing::warn;
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

use super::LINES_A_SECOND;
use super::sampled::Sampled;
use crate::oauth::{NumericDate, base64url};

/// What a listener shows in a handshake, and whom the management listener lets in. It was read, and found to fit together.
#[derive(Debug)]
pub struct TlsIdentity {
    key: Arc<CertifiedKey>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    validity: (NumericDate, NumericDate),
    sha256: String,
}

/// One of the texts that make an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsText {
    /// The server's certificate, then those of its issuers.
    Certificate,
    /// The private key of the first of them.
    PrivateKey,
    /// Those who certify clients of the management listener.
    ClientCa,
}

/// Why texts make no identity. The message says how to mend it, and holds nothing of the key.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("{why}")]
pub struct TlsError {
    /// The text that is wrong.
    pub text: TlsText,
    why: String,
}

impl TlsIdentity {
    /// Reads PEM: a chain of certificates, an unencrypted private key (PKCS#8, PKCS#1 or SEC 1), and the certificates of those who
    /// certify clients.
    pub fn parse(certificate: &[u8], private_key: &[u8], client_ca: Option<&[u8]>) -> Result<Self, TlsError> {
        let refused = |text| move |why: String| TlsError { text, why };
        let chain = certificates(certificate).map_err(refused(TlsText::Certificate))?;
        let (validity, sha256) = leaf(&chain).map_err(refused(TlsText::Certificate))?;
        let key = key_of(chain, private_key)?;
        let clients = client_ca.map(authority).transpose();
        Ok(TlsIdentity {
            key: Arc::new(key),
            clients: clients.map_err(refused(TlsText::ClientCa))?,
            validity,
            sha256,
        })
    }

    /// The first second in which clients accept the certificate.
    pub fn not_before(&self) -> NumericDate {
        self.validity.0
    }

    /// The last second in which they do.
    pub fn not_after(&self) -> NumericDate {
        self.validity.1
    }

    /// The fingerprint of the certificate, SHA-256 in base64url, by which one is told from another.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err("it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned())
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("it is no sound PEM: {error}")),
    }
}

/// What is told of the first certificate: when it begins and ends, and its fingerprint.
fn leaf(chain: &[CertificateDer<'_>]) -> Result<((NumericDate, NumericDate), String), String> {
    let der = chain.first().map(AsRef::as_ref).unwrap_or_default();
    let (_, parsed) = parse_x509_certificate(der).map_err(|error| format!("it holds no sound certificate: {error}"))?;
    let validity = parsed.validity();
    let validity = [validity.not_before, validity.not_after].map(|time| NumericDate::from_epoch(time.timestamp()));
    Ok((validity.into(), base64url(digest(&SHA256, der).as_ref())))
}

fn key_of(chain: Vec<CertificateDer<'static>>, private_key: &[u8]) -> Result<CertifiedKey, TlsError> {
    let refused = |text, why: &str| TlsError {
        text,
        why: why.to_owned(),
    };
    // What the reader of PEM says may quote a line, and so a part of the key.
    let key = PrivateKeyDer::from_pem_slice(private_key).map(Zeroizing::new);
    let key = key.map_err(|_unread| {
        let why = "it holds no unencrypted private key in PEM; \"openssl pkey -in FILE\" decrypts one";
        refused(TlsText::PrivateKey, why)
    })?;
    let signing = any_supported_type(&key).map_err(|_unknown| {
        let why = "it is a key of no kind that TLS takes: have RSA of 2048 bits or more, ECDSA on P-256, or Ed25519";
        refused(TlsText::PrivateKey, why)
    })?;
    let key = CertifiedKey::new(chain, signing);
    match key.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(key),
        Err(Error::InconsistentKeys(_)) => {
            let why = "it does not belong to the first certificate of tls.certificate: put there the two that were made for each other, \
                       the server's own certificate first and those of its issuers after it";
            Err(refused(TlsText::PrivateKey, why))
        }
        Err(error) => Err(refused(
            TlsText::Certificate,
            &format!("it cannot be used for TLS: {error}"),
        )),
    }
}

fn authority(pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots
            .add(certificate)
            .map_err(|error| format!("it holds a certificate that cannot be used: {error}"))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    verifier.map_err(|error| format!("it cannot be used: {error}"))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

/// The identity of all listeners, which may be replaced at any time: handshakes that begin later show the new one, and connections
/// that are open go on.
#[derive(Debug)]
pub struct Tls {
    identity: ArcSwap<TlsIdentity>,
    refused: Sampled,
}

impl Tls {
    /// Begins with an identity.
    pub fn new(identity: TlsIdentity) -> Arc<Self> {
        Arc::new(Tls {
            identity: ArcSwap::from_pointee(identity),
            refused: Sampled::new(LINES_A_SECOND),
        })
    }

    /// The one that is shown now.
    pub fn identity(&self) -> Arc<TlsIdentity> {
        self.identity.load_full()
    }

    /// Shows another one from now on.
    pub fn replace(&self, identity: TlsIdentity) {
        self.identity.store(Arc::new(identity));
    }

    /// For a listener that is there for everybody: nobody is asked for a certificate.
    pub(super) fn for_everybody(self: &Arc<Self>) -> Result<ServerConfig, Error> {
        let mut config = versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Tls>::clone(self));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        // A client that comes again is spared the signature. Its ticket holds all that is to be remembered of it.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new()?;
        Ok(config)
    }

    /// For a listener that is there for those who have a certificate of the authority in force, if there is one.
    pub(super) fn for_certified(self: &Arc<Self>) -> Result<ServerConfig, Error> {
        if self.identity.load().clients.is_none() {
            return self.for_everybody();
        }
        let mut config = versions()?
            .with_client_cert_verifier(Arc::new(Certified {
                tls: Arc::clone(self),
                algorithms: provider().signature_verification_algorithms,
            }))
            .with_cert_resolver(Arc::<Tls>::clone(self));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        // Who was let in before shows its certificate again: the authority may be another one by now.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

/// The one protocol that is offered: who knows only another is refused in the handshake.
const HTTP_1_1: &[u8] = b"http/1.1";

fn versions() -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, Error> {
    ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13, &TLS12])
}

impl ResolvesServerCert for Tls {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.identity.load().key))
    }
}

/// Demands a certificate of the authority that is in force at the time.
#[derive(Debug)]
struct Certified {
    tls: Arc<Tls>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Certified {
    /// Clients have one certificate for this purpose, and strangers need not learn who certifies.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let identity = self.tls.identity.load();
        let verified = match &identity.clients {
            Some(_) if intermediates.len() > MOST_ISSUERS => Err(Error::General("its chain is too long".to_owned())),
            Some(clients) => clients.verify_client_cert(end_entity, intermediates, now),
            None => Err(Error::General("no authority of clients".to_owned())),
        };
        if let Err(error) = &verified
            && let Some(suppressed) = self.tls.refused.admit(Instant::now())
        {
            warn!(event = "tls.client_refused", cause = %error, suppressed, "a client certificate was not accepted");
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Certificates that a client may send along with its own. To look for a way through many costs a stranger nothing, and us much.
const MOST_ISSUERS: usize = 8;
