//! A client that speaks TLS, and those who certify it and its servers.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyPair, NameConstraints, SanType,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::http::{Connection, connect};

/// A connection over TLS.
pub(crate) type TlsConnection = Connection<StreamOwned<ClientConnection, TcpStream>>;

impl TlsConnection {
    /// What the server showed.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.stream().conn.peer_certificates().unwrap()[0].to_vec()
    }

    pub(crate) fn kind(&self) -> HandshakeKind {
        self.stream().conn.handshake_kind().unwrap()
    }
}

/// Whoever certifies.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Authority(CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap())
    }

    /// One that this one certifies.
    pub(crate) fn below(&self, name: &str) -> Self {
        Authority(CertifiedIssuer::signed_by(authority_params(name), KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    /// The same, with bounds for what it may certify in its turn.
    pub(crate) fn below_with(&self, name: &str, bounds: Bounds) -> Self {
        let mut params = authority_params(name);
        match bounds {
            Bounds::Names { permitted, excluded } => {
                let subtrees = |names: &[&str]| {
                    names
                        .iter()
                        .map(|name| GeneralSubtree::DnsName((*name).to_owned()))
                        .collect()
                };
                params.name_constraints = Some(NameConstraints {
                    permitted_subtrees: subtrees(permitted),
                    excluded_subtrees: subtrees(excluded),
                });
            }
            Bounds::NoOtherBelow => params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)),
            Bounds::Nobody => params.is_ca = IsCa::ExplicitNoCa,
        }
        Authority(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// For a server on this machine.
    pub(crate) fn server(&self) -> Pair {
        self.server_until(2_100)
    }

    /// The same until the first day of a year.
    pub(crate) fn server_until(&self, year: i32) -> Pair {
        self.server_between(1_975, year)
    }

    /// The same from the first day of a year until that of another.
    pub(crate) fn server_between(&self, from: i32, until: i32) -> Pair {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params
            .subject_alt_names
            .push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        self.certified(params)
    }

    /// For somebody who comes to a server.
    pub(crate) fn client(&self) -> Pair {
        self.client_until(2_100)
    }

    /// The same until the first day of a year.
    pub(crate) fn client_until(&self, year: i32) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "watcher");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        self.certified(params)
    }

    /// For somebody of that name in the DNS.
    pub(crate) fn client_named(&self, name: &str) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.certified(params)
    }

    /// For what is no client.
    pub(crate) fn for_servers_alone(&self) -> Pair {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.certified(params)
    }

    fn certified(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A client that trusts this one, and shows no certificate.
    pub(crate) fn trusting(&self) -> ClientConfig {
        self.trusting_with(rustls::ALL_VERSIONS)
    }

    /// The same with some versions of TLS.
    pub(crate) fn trusting_with(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// A client that trusts this one, and shows a certificate.
    pub(crate) fn trusting_and_showing(&self, pair: &Pair) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(pair.chain(), pair.key())
            .unwrap()
    }
}

/// What an authority may certify (RFC 5280 §4.2.1.9, §4.2.1.10).
pub(crate) enum Bounds<'a> {
    /// Names below these, and not below those.
    Names {
        permitted: &'a [&'a str],
        excluded: &'a [&'a str],
    },
    /// No further authority.
    NoOtherBelow,
    /// It is none.
    Nobody,
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// A certificate, or a chain of them, and the key of the first one.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Pair {
    /// Into the files of a server, one after the other, as programs do that renew certificates.
    pub(crate) fn place(&self, folder: &Path) {
        place(&folder.join("tls.pem"), &self.certificate, 0o644);
        place(&folder.join("tls.key"), &self.key, 0o600);
    }

    /// What a client is shown.
    pub(crate) fn der(&self) -> Vec<u8> {
        self.chain()[0].to_vec()
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.certificate.as_bytes())
            .map(Result::unwrap)
            .collect()
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

/// Replaces a file as a whole.
pub(crate) fn place(path: &Path, text: &str, mode: u32) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(mode)).unwrap();
    fs::rename(&beside, path).unwrap();
}

/// Shakes hands with a server.
pub(crate) fn open(address: SocketAddr, client: &Arc<ClientConfig>) -> std::io::Result<TlsConnection> {
    let mut stream = connect(address);
    let mut session = ClientConnection::new(Arc::clone(client), "localhost".try_into().unwrap()).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    Ok(Connection::over(StreamOwned::new(session, stream), address))
}
