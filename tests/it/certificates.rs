//! A linter for what a running server publishes: every certificate in the JWK set and at `ca.pem`, over whole turns of the wheel. And
//! what becomes of certificates whose authority is replaced, or that would end too soon.

use std::collections::BTreeMap;
use std::process::Command;

use keywheel::keys::Urgency;
use keywheel::oauth::{NumericDate, Seconds, Thumbprint, base64url, certificate_sha256};
use keywheel::server::admin::{KeyAdmin, KeyError};
use keywheel::storage::StoredKey;
use serde_json::Value;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use crate::rotation::{options, policy};
use crate::support::certificates::{Authority, ders, pem, x5c};
use crate::support::jwt::{part, verify_with};
use crate::support::server::{ISSUER, JWKS, Options, TestServer, metadata};
use crate::support::{naming, on_both, on_sqlite};

const CA: &str = "/.well-known/keywheel/ca.pem";
const SHA256_WITH_RSA: &str = "1.2.840.113549.1.1.11";

pub(crate) fn parsed(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty(), "nothing after the certificate");
    certificate
}

fn date(time: x509_parser::time::ASN1Time) -> NumericDate {
    NumericDate::from_epoch(time.timestamp())
}

fn key_ids(certificate: &X509Certificate<'_>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let (mut own, mut above) = (None, None);
    for extension in certificate.iter_extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => own = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => above = id.key_identifier.as_ref().map(|id| id.0.to_vec()),
            ParsedExtension::UnsupportedExtension { .. } => assert!(!extension.critical, "{extension:?}"),
            _ => {}
        }
    }
    (own, above)
}

/// RFC 5280 §4.1.2.2: positive, at most 20 octets; and enough random bits that none can be foreseen.
fn lint_serial(certificate: &X509Certificate<'_>) {
    let serial = certificate.raw_serial();
    assert!(serial.len() <= 20 && serial[0] & 0x80 == 0, "{serial:?}");
    assert!(serial.len() * 8 >= 112, "{serial:?}");
    assert_eq!(
        certificate.signature_algorithm.algorithm.to_id_string(),
        SHA256_WITH_RSA
    );
}

/// The internal authority.
fn lint_authority(der: &[u8], now: NumericDate) {
    let certificate = parsed(der);
    lint_serial(&certificate);
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca && constraints.value.path_len_constraint == Some(0));
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(
        usage.critical && usage.value.flags == (1 << 5) | (1 << 6),
        "keyCertSign and cRLSign"
    );
    assert!(key_ids(&certificate).0.is_some(), "SKI");
    let validity = certificate.validity();
    assert!(date(validity.not_before) <= now && now < date(validity.not_after));
    certificate.verify_signature(None).unwrap();
}

/// A signing key: its JWK, its row, and the authority that must have certified it.
fn lint_key(jwk: &Value, row: &StoredKey, authority: &[u8], now: NumericDate) {
    let der = x5c(jwk);
    let (certificate, authority) = (parsed(&der), parsed(authority));
    lint_serial(&certificate);
    let kid = jwk["kid"].as_str().unwrap();
    assert_eq!(certificate.subject().to_string(), format!("CN={kid}"));
    let x509_parser::public_key::PublicKey::RSA(key) = certificate.public_key().parsed().unwrap() else {
        panic!("an RSA key");
    };
    let number = |bytes: &[u8]| base64url(&bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>());
    assert_eq!(
        (&jwk["n"], &jwk["e"]),
        (&number(key.modulus).into(), &number(key.exponent).into())
    );
    assert!(key.key_size() >= 2_048);
    assert_eq!(jwk["x5t#S256"], base64url(&certificate_sha256(&der)));

    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && !constraints.value.ca);
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.flags == 1, "digitalSignature alone");
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert!(matches!(names.value.general_names[..], [GeneralName::URI(uri)] if uri == ISSUER));
    let ((own, above), (of_authority, _)) = (key_ids(&certificate), key_ids(&authority));
    assert!(own.is_some() && above.is_some() && above == of_authority, "SKI and AKI");

    let (begins, ends) = (
        date(certificate.validity().not_before),
        date(certificate.validity().not_after),
    );
    assert_eq!(begins, row.published_at, "valid from its publication on");
    let held = row.activates_at + policy().settings().period + policy().hold();
    assert!(ends >= held && now < ends, "{kid}: {ends} is before {held}");
    assert!(ends <= date(authority.validity().not_after));
    assert_eq!(certificate.issuer().as_raw(), authority.subject().as_raw());
    certificate.verify_signature(Some(authority.public_key())).unwrap();
}

/// What OpenSSL thinks of it, where there is one.
fn openssl_verifies(authorities: &str, leaf: &[u8], now: NumericDate) {
    if Command::new("openssl").arg("version").output().is_err() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-attime", &now.epoch().to_string(), "-CAfile"])
        .args([file("ca.pem", authorities), file("leaf.pem", &pem(leaf))])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn published(server: &TestServer) -> Vec<Value> {
    server.get(JWKS).json()["keys"].as_array().unwrap().clone()
}

fn rows(server: &TestServer) -> BTreeMap<String, StoredKey> {
    let rows = server.store.signing_keys().unwrap();
    rows.into_iter().map(|row| (row.kid.to_string(), row)).collect()
}

/// The published key of this name.
fn jwk(server: &TestServer, kid: &Thumbprint) -> Value {
    let found = published(server).into_iter().find(|key| key["kid"] == kid.as_str());
    found.unwrap_or_else(|| panic!("{kid} is not published"))
}

fn admin<'a>(server: &'a TestServer, policy: &'a keywheel::keys::RotationPolicy) -> KeyAdmin<'a> {
    KeyAdmin::new(&server.store, server.vault(), policy, "test")
}

#[test]
fn every_published_certificate_keeps_the_profile_over_whole_turns() {
    on_both(|database| {
        let server = TestServer::with(database.url(), options());
        let mut serials = BTreeMap::new();
        for _ in 0..14 {
            server.tick().unwrap();
            let (authorities, now) = (server.get(CA).text().to_owned(), server.now());
            let [authority] = &ders(&authorities)[..] else {
                panic!("one authority: {authorities}");
            };
            lint_authority(authority, now);
            let rows = rows(&server);
            for jwk in published(&server) {
                let kid = jwk["kid"].as_str().unwrap();
                naming(kid, || lint_key(&jwk, &rows[kid], authority, now));
                let der = x5c(&jwk);
                if serials
                    .insert(parsed(&der).raw_serial().to_vec(), kid.to_owned())
                    .is_none()
                {
                    openssl_verifies(&authorities, &der, now);
                }
            }
            server.advance(Seconds::hours(10));
        }
        let kids: std::collections::BTreeSet<_> = serials.values().collect();
        assert_eq!(serials.len(), kids.len(), "one certificate for each key");
        assert!(kids.len() >= 4, "the wheel turned: {kids:?}");
    });
}

#[test]
fn an_imported_authority_takes_over_and_the_one_before_stays_while_a_key_of_it_is_published() {
    on_both(|database| {
        let server = TestServer::with(database.url(), options());
        let other = TestServer::with(database.url(), server.options_of(options()));
        let ticks = || [&server, &other].map(|node| node.tick().unwrap());
        let client = server.client("billing", metadata());
        let (policy, root) = (policy(), Authority::new("root", server.now(), Seconds::days(4_000)));
        let ca = Authority::below(&root, "signing", server.now(), Seconds::days(3_000));
        let internal = ders(server.get(CA).text())[0].clone();
        let before = published(&server);

        let chain = ca.certificate() + &root.certificate();
        let imported = server.with_context(|cx| admin(&server, &policy).import_authority(&chain, &ca.key(), cx));
        let imported = imported.unwrap();
        assert_eq!(imported.authorities.len(), 3, "the new one, its issuer, the one before");
        let again = server.with_context(|cx| admin(&server, &policy).import_authority(&chain, &ca.key(), cx));
        assert!(matches!(again, Err(KeyError::PresentAuthority)), "{again:?}");
        ticks();
        let expected = [
            ders(&ca.certificate()),
            ders(&root.certificate()),
            vec![internal.clone()],
        ]
        .concat();
        for node in [&server, &other] {
            let served = ders(node.get(CA).text());
            assert_eq!(served[0], expected[0], "the one that certifies new keys first");
            assert!(served.len() == 3 && expected.iter().all(|der| served.contains(der)));
            assert_eq!(published(node), before, "certificates stay as they are");
        }
        // A turn: the next key is of the new authority, and verifies under it and what is above it.
        server.advance(Seconds::days(2));
        ticks();
        let newest = published(&server)[0].clone();
        assert!(!before.contains(&newest));
        let authorities = server.get(CA).text().to_owned();
        let rows = rows(&server);
        naming("the new key", || {
            lint_key(
                &newest,
                &rows[newest["kid"].as_str().unwrap()],
                &expected[0],
                server.now(),
            );
        });
        for key in published(&server) {
            openssl_verifies(&authorities, &x5c(&key), server.now());
        }
        let signs_from = imported.signs_from.unwrap();
        assert_eq!(
            rows[newest["kid"].as_str().unwrap()].activates_at.to_string(),
            signs_from
        );
        verify_with(&other.get(JWKS).json(), &other.granted(&client, &[])).unwrap();
        // Another turn, and the last key of the old authority has left.
        server.advance(Seconds::days(2) + policy.hold());
        ticks();
        for node in [&server, &other] {
            let served = ders(node.get(CA).text());
            assert!(served.len() == 2 && !served.contains(&internal), "{}", served.len());
        }
        let restarted = TestServer::with(database.url(), server.options_of(options()));
        assert_eq!(restarted.get(CA).body, server.get(CA).body);
        assert!(server.audit().contains(&"authority.imported".to_owned()));
    });
}

#[test]
fn a_renewed_key_keeps_its_name_and_its_tokens_and_gets_another_certificate() {
    on_both(|database| {
        let server = TestServer::with(database.url(), options());
        let other = TestServer::with(database.url(), server.options_of(options()));
        let client = server.client("billing", metadata());
        let token = other.granted(&client, &[]);
        let kid = Thumbprint::parse(part(&token, 0)["kid"].as_str().unwrap()).unwrap();
        let before = jwk(&other, &kid);
        let policy = policy();
        let renewal = server
            .with_context(|cx| admin(&server, &policy).renew(kid.as_str(), None, cx))
            .unwrap();
        other.tick().unwrap();
        let after = jwk(&other, &kid);
        assert_eq!(after["x5t#S256"], renewal.certificate_sha256.as_str());
        assert_ne!(after["x5t#S256"], before["x5t#S256"]);
        assert_eq!((&after["kid"], &after["n"]), (&before["kid"], &before["n"]));
        assert!(renewal.suffices);
        let authorities = other.get(CA).text().to_owned();
        lint_key(
            &after,
            &rows(&server)[kid.as_str()],
            &ders(&authorities)[0],
            server.now(),
        );
        verify_with(&other.get(JWKS).json(), &token).unwrap();
        verify_with(&server.get(JWKS).json(), &other.granted(&client, &[])).unwrap();
        assert!(server.audit().contains(&"key.renewed".to_owned()));

        admin(&server, &policy).taint(kid.as_str(), None, server.now()).unwrap();
        let refused = server.with_context(|cx| admin(&server, &policy).renew(kid.as_str(), None, cx));
        assert!(
            matches!(refused, Err(KeyError::NotRenewable(_, "tainted"))),
            "{refused:?}"
        );
        let unknown = server.with_context(|cx| admin(&server, &policy).renew("x", None, cx));
        assert!(matches!(unknown, Err(KeyError::Unknown(_))), "{unknown:?}");
    });
}

//
#[test]
fn a_certificate_that_would_end_before_its_key_is_renewed_by_the_wheel_before_the_key_signs() {
    on_both(|database| {
        let before = TestServer::with(database.url(), options());
        let short: Vec<_> = published(&before).iter().map(|key| key["x5t#S256"].clone()).collect();
        let next = before.store.signing_keys().unwrap().last().unwrap().clone();
        // The period is lengthened from 2 days to 20, so the next key will sign for longer than it is certified.
        let longer = Options {
            period: Seconds::days(20),
            ..before.options_of(options())
        };
        drop(before);
        let nodes = [(); 2].map(|()| TestServer::with(database.url(), longer.clone()));
        for node in &nodes {
            node.tick().unwrap();
            let renewed = jwk(node, &next.kid);
            assert!(!short.contains(&renewed["x5t#S256"]));
            let der = x5c(&renewed);
            let needed = next.activates_at + Seconds::days(20) + policy().hold();
            assert!(date(parsed(&der).validity().not_after) >= needed);
        }
        let renewals = nodes[0].audit().iter().filter(|event| *event == "key.renewed").count();
        assert_eq!(
            renewals, 1,
            "once, and the active key not at all: it is superseded in time"
        );
        // Nobody turns the wheel for long: certificates never end before their keys do.
        for _ in 0..30 {
            nodes[0].advance(Seconds::days(3));
            nodes[0].tick().unwrap();
            for key in published(&nodes[0]) {
                let der = x5c(&key);
                assert!(date(parsed(&der).validity().not_after) > nodes[0].now());
            }
        }
    });
}

#[test]
fn an_authority_that_ends_too_soon_to_help_is_told_of_and_not_asked_again_and_again() {
    on_sqlite(|database| {
        let server = TestServer::with(database.url(), options());
        let policy = policy();
        let life = policy.settings().period * 2 + policy.hold() + Seconds::minutes(1);
        let ca = Authority::new("short", server.now(), life);
        server
            .with_context(|cx| admin(&server, &policy).import_authority(&ca.certificate(), &ca.key(), cx))
            .unwrap();
        server.tick().unwrap();
        admin(&server, &policy)
            .rotate(None, Urgency::Now, server.now())
            .unwrap();
        server.tick().unwrap();
        server.advance(Seconds::days(2));
        for _ in 0..3 {
            server.tick().unwrap();
        }
        assert!(!server.audit().contains(&"key.renewed".to_owned()));
        let metrics = server.metrics();
        let figure = |name: &str| -> i64 {
            let line = metrics
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_else(|| panic!("{name}: {metrics}"));
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert_eq!(
            figure("keywheel_certificate_authority_expires_in_seconds{subject=\"CN=short\""),
            (life.get() - Seconds::days(2).get())
        );
        assert!(figure("keywheel_signing_key_certificate_expires_in_seconds{kid=") > 0);
    });
}

#[test]
fn a_node_starts_also_when_its_authority_has_ended_and_keys_sign_on() {
    on_sqlite(|database| {
        let server = TestServer::with(database.url(), options());
        let client = server.client("billing", metadata());
        let policy = policy();
        let life = policy.settings().period * 2 + policy.hold() + Seconds::minutes(1);
        let ca = Authority::new("short", server.now(), life);
        server
            .with_context(|cx| admin(&server, &policy).import_authority(&ca.certificate(), &ca.key(), cx))
            .unwrap();
        let mut failed = None;
        for _ in 0..8 {
            server.advance(Seconds::days(1));
            failed = server.tick().err();
        }
        let why = failed.expect("no key can be certified").with_causes();
        assert!(why.contains("has ended") && why.contains("keys import ca"), "{why}");
        let another = TestServer::with(database.url(), server.options());
        another.granted(&client, &[]);
    });
}
