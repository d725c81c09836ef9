//! Certificates that operators might bring, and a reader of PEM.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use keywheel::oauth::{NumericDate, Seconds};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256, RsaKeySize, SanType,
};

/// An RSA key of 2048 bits.
pub(crate) fn rsa_key() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

/// An authority that signed its own certificate, or one that `above` signed.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str, from: NumericDate, life: Seconds) -> Self {
        Authority(CertifiedIssuer::self_signed(ca_params(name, from, life), rsa_key()).unwrap())
    }

    pub(crate) fn below(above: &Authority, name: &str, from: NumericDate, life: Seconds) -> Self {
        Authority(CertifiedIssuer::signed_by(ca_params(name, from, life), rsa_key(), &above.0).unwrap())
    }

    pub(crate) fn certificate(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn key(&self) -> String {
        self.0.key().serialize_pem()
    }

    /// The certificate of a signing key, as keywheel would write it.
    pub(crate) fn leaf(&self, key: &KeyPair, issuer: &str, from: NumericDate, life: Seconds) -> String {
        let mut params = params("imported", from, life);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.subject_alt_names = vec![SanType::URI(issuer.try_into().unwrap())];
        params.use_authority_key_identifier_extension = true;
        params.signed_by(key, &self.0).unwrap().pem()
    }
}

fn ca_params(name: &str, from: NumericDate, life: Seconds) -> CertificateParams {
    let mut params = params(name, from, life);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

fn params(name: &str, from: NumericDate, life: Seconds) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let at =
        |date: NumericDate| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(date.epoch().try_into().unwrap());
    (params.not_before, params.not_after) = (at(from), at(from + life));
    params
}

/// The DER of each certificate in a PEM text.
pub(crate) fn ders(pem: &str) -> Vec<Vec<u8>> {
    let blocks = pem.split("-----BEGIN CERTIFICATE-----").skip(1);
    blocks
        .map(|block| {
            let encoded: String = block.split("-----END").next().unwrap().split_whitespace().collect();
            BASE64_STANDARD.decode(encoded).unwrap()
        })
        .collect()
}

/// A certificate in PEM.
pub(crate) fn pem(der: &[u8]) -> String {
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        BASE64_STANDARD.encode(der)
    )
}

/// The one certificate of a JWK.
pub(crate) fn x5c(jwk: &serde_json::Value) -> Vec<u8> {
    let [certificate] = jwk["x5c"].as_array().unwrap().as_slice() else {
        panic!("exactly one certificate: {jwk}");
    };
    BASE64_STANDARD.decode(certificate.as_str().unwrap()).unwrap()
}
