//! Client authentication, row by row: whoever fails gets one answer, byte for byte.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use keywheel::oauth::{ClientAuthMethod, ClientId, ClientMetadata, Seconds};

use super::stage::{ECHO, Stage, on_both, on_sqlite};
use crate::support::http::{Connection, Request};
use crate::support::server::{Credentials, TOKEN, metadata};
use crate::token::assert_refused;

const GRANT: &str = "grant_type=client_credentials";

fn basic(user: &str, password: &str) -> Request {
    Request::raw_form(TOKEN, GRANT).basic(user, password)
}

fn post(id: &str, secret: &str) -> Request {
    let pairs = [
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("client_secret", secret),
    ];
    Request::form(TOKEN, &pairs)
}

fn with_header(value: &str) -> Request {
    Request::raw_form(TOKEN, GRANT).header("Authorization", value)
}

/// Each is a failed authentication, and nothing is written.
fn fails(stage: &Stage, requests: &[Request]) {
    stage.unchanged(|| {
        for request in requests {
            stage.refuses(request, 401, "invalid_client");
        }
    });
}

/// A client of this row alone.
fn another(stage: &Stage, name: &str, metadata: ClientMetadata) -> Credentials {
    stage
        .server
        .client(&format!("{name}-{}", stage.server.now().epoch()), metadata)
}

// C-01
#[test]
fn c_01_unknown_wrong_disabled_and_expired_are_one_answer() {
    on_both(|stage| {
        let disabled = another(stage, "disabled", metadata());
        let id = ClientId::parse(&disabled.id).unwrap();
        stage
            .server
            .admin()
            .set_enabled(&id, false, stage.server.now())
            .unwrap();
        let expired = another(stage, "expired", metadata());
        let until = stage.server.now() + Seconds::new(1);
        let (_, secret) = stage.server.add_secret(&expired.id, Some(until));
        stage.server.advance(Seconds::new(1));
        stage.server.tick().unwrap();
        for (id, secret) in [
            ("nobody", stage.billing.secret.as_str()),
            ("billing", ECHO),
            (&disabled.id, &disabled.secret),
            (&expired.id, &secret),
        ] {
            fails(stage, &[basic(id, secret), post(id, secret)]);
        }
    });
}

// C-02
#[test]
fn c_02_an_unknown_client_takes_as_long_as_a_wrong_secret() {
    on_sqlite(|stage| {
        let mut connection = Connection::open(stage.server.address);
        let requests = [basic("billing", ECHO), basic("nobody", ECHO)];
        let mut measured = [Vec::new(), Vec::new()];
        let mut tells = |rounds: usize| {
            for round in 0..rounds {
                if round % 40 == 0 {
                    // Within a minute the failures of one client would be told to wait.
                    stage.server.advance(Seconds::new(61));
                    stage.server.tick().unwrap();
                    assert_eq!(connection.send(&stage.good_request()).status, 200);
                    assert_eq!(connection.send(&requests[1]).status, 401);
                }
                for (request, times) in requests.iter().zip(&mut measured) {
                    let begun = Instant::now();
                    let status = connection.send(request).status;
                    times.push(begun.elapsed());
                    assert_eq!(status, 401);
                }
            }
            let [wrong, unknown] = measured.each_mut().map(|times| {
                times.sort();
                times[times.len() / 2]
            });
            wrong.abs_diff(unknown) > Duration::from_micros(50).max(wrong / 20)
        };
        // Others share the processor, so that a difference counts when it stays.
        assert!(!tells(400) || !tells(800) || !tells(1_600), "the time tells who exists");
    });
}

// C-03
#[test]
fn c_03_a_client_that_only_says_who_it_is_is_nobody() {
    on_both(|stage| {
        let named = Request::raw_form(TOKEN, &format!("{GRANT}&client_id=billing"));
        fails(stage, &[named, post("billing", ""), post("shop", "")]);
    });
}

// C-04
#[test]
fn c_04_a_request_without_a_client_is_refused() {
    on_both(|stage| {
        let secret = Request::raw_form(TOKEN, &format!("{GRANT}&client_secret={}", stage.billing.secret));
        fails(
            stage,
            &[Request::raw_form(TOKEN, GRANT), secret, post("", &stage.billing.secret)],
        );
    });
}

/// A good request with HTTP Basic and something more in its body.
fn with_more(stage: &Stage, more: &str) -> Request {
    stage.form(&format!("{GRANT}&{more}"))
}

/// Each of these beside HTTP Basic is malformed.
fn malformed_beside_basic(more: &[&str]) {
    on_sqlite(|stage| {
        stage.unchanged(|| {
            for more in more {
                stage.refuses(&with_more(stage, more), 400, "invalid_request");
            }
        });
    });
}

// C-05
#[test]
fn c_05_a_secret_in_the_body_beside_basic_is_two_methods() {
    malformed_beside_basic(&["client_secret=zq7echo", "client_id=billing&client_secret=zq7echo"]);
    on_sqlite(|stage| {
        let same = with_more(
            stage,
            &format!("client_id=billing&client_secret={}", stage.billing.secret),
        );
        stage.unchanged(|| stage.refuses(&same, 400, "invalid_request"));
    });
}

// C-06
#[test]
fn c_06_the_same_identifier_in_the_body_is_fine() {
    on_sqlite(|stage| {
        stage.unchanged(|| stage.grants(&with_more(stage, "client_id=billing")));
    });
}

// C-07
#[test]
fn c_07_another_identifier_in_the_body_is_malformed() {
    malformed_beside_basic(&[
        "client_id=shop",
        "client_id=zq7echo",
        "client_id=BILLING",
        "client_id=billing+",
    ]);
}

// C-08
#[test]
fn c_08_an_assertion_beside_a_secret_is_two_methods() {
    let kind = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    malformed_beside_basic(&["client_assertion=zq7echo", &format!("client_assertion=zq7echo&{kind}")]);
    on_sqlite(|stage| {
        let body = format!(
            "{GRANT}&client_id=billing&client_secret={}&client_assertion={ECHO}&{kind}",
            stage.billing.secret
        );
        stage.unchanged(|| stage.refuses(&Request::raw_form(TOKEN, &body), 400, "invalid_request"));
    });
}

// C-09
#[test]
fn c_09_an_empty_secret_in_the_body_is_none() {
    on_sqlite(|stage| {
        for more in [
            "client_secret=",
            "client_id=billing&client_secret=",
            "client_assertion=",
        ] {
            stage.unchanged(|| stage.grants(&with_more(stage, more)));
        }
    });
}

// C-10
#[test]
fn c_10_a_method_that_the_client_is_not_registered_for_fails() {
    on_both(|stage| {
        let only = |method: ClientAuthMethod| ClientMetadata {
            auth_methods: vec![method],
            ..metadata()
        };
        let by_basic = another(stage, "by-basic", only(ClientAuthMethod::ClientSecretBasic));
        let by_post = another(stage, "by-post", only(ClientAuthMethod::ClientSecretPost));
        fails(
            stage,
            &[
                post(&by_basic.id, &by_basic.secret),
                basic(&by_post.id, &by_post.secret),
            ],
        );
        stage.grants(&basic(&by_basic.id, &by_basic.secret));
        stage.grants(&post(&by_post.id, &by_post.secret));
    });
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

// C-11
#[test]
fn c_11_both_halves_of_basic_may_be_form_encoded() {
    on_sqlite(|stage| {
        let Credentials { id, secret } = &stage.billing;
        stage.unchanged(|| {
            stage.grants(&basic(&encoded(id), &encoded(secret)));
            stage.grants(&basic(id, &encoded(secret)));
            stage.grants(&basic(&encoded(id), secret));
        });
    });
}

// C-12
#[test]
fn c_12_what_is_generated_reads_the_same_encoded_or_not() {
    on_sqlite(|stage| {
        let client = another(stage, "plain", metadata());
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
        assert!(client.secret.bytes().all(is_plain), "{}", client.secret.len());
        stage.grants(&basic(&client.id, &client.secret));
    });
}

// C-13
#[test]
fn c_13_credentials_are_decoded_once() {
    on_sqlite(|stage| {
        let twice = encoded(&encoded(&stage.billing.secret));
        let half = format!("%25{}", &encoded(&stage.billing.secret)[1..]);
        fails(
            stage,
            &[
                basic("billing", &twice),
                basic("billing", &half),
                post("billing", &twice),
            ],
        );
    });
}

fn pair(stage: &Stage) -> String {
    BASE64_STANDARD.encode(format!("{}:{}", stage.billing.id, stage.billing.secret))
}

// C-14
#[test]
fn c_14_the_scheme_is_read_in_any_case_and_one_space_follows_it() {
    on_sqlite(|stage| {
        let pair = pair(stage);
        for scheme in ["basic", "BASIC", "bAsIc"] {
            stage.unchanged(|| stage.grants(&with_header(&format!("{scheme} {pair}"))));
        }
        let wrong = ["Basic  ", "Basic\t", "Basic", "Basic \t", "Basic: ", "Basic="];
        fails(stage, &wrong.map(|scheme| with_header(&format!("{scheme}{pair}"))));
    });
}

// C-15
#[test]
fn c_15_base64_is_read_strictly() {
    on_sqlite(|stage| {
        let pair = pair(stage);
        // Of a length that wants padding, and with bits to spare.
        let wants = |text: &str| BASE64_STANDARD.encode(text);
        let padded = wants("billing:ab");
        let trailing = padded.replace("Yg==", "Yh==");
        assert!(padded != trailing);
        let values = [
            padded.trim_end_matches('=').to_owned(),
            format!("{padded}="),
            trailing,
            wants("billing:\u{fb}\u{ff}").replace('+', "-").replace('/', "_"),
            format!("{} {}", &pair[..8], &pair[8..]),
            format!("{pair}\u{e9}"),
            "!!!!".to_owned(),
            format!("{pair} {pair}"),
        ];
        fails(stage, &values.map(|value| with_header(&format!("Basic {value}"))));
    });
}

// C-16
#[test]
fn c_16_without_a_colon_a_name_or_a_password_nobody_is_authenticated() {
    on_both(|stage| {
        let secret = stage.billing.secret.as_str();
        let mut requests = ["billing", ""]
            .map(|pair| with_header(&format!("Basic {}", BASE64_STANDARD.encode(pair))))
            .to_vec();
        requests.extend([
            basic("", secret),
            basic("billing", ""),
            basic("", ""),
            basic("billing:", secret),
        ]);
        requests.push(basic("billing%3A", secret));
        fails(stage, &requests);
    });
}

// C-17
#[test]
fn c_17_two_identities_in_the_header_are_malformed() {
    on_sqlite(|stage| {
        let pair = pair(stage);
        stage.unchanged(|| {
            for second in ["Bearer zq7echo", &format!("Basic {pair}"), "Basic zq7echo"] {
                let twice = with_header(&format!("Basic {pair}")).header("Authorization", second);
                stage.refuses(&twice, 400, "invalid_request");
                let joined = with_header(&format!("Basic {pair}, {second}"));
                stage.refuses(&joined, 400, "invalid_request");
            }
        });
    });
}

// C-18
#[test]
fn c_18_a_header_without_credentials_and_a_huge_one_fail_like_any_other() {
    on_sqlite(|stage| {
        let huge = "A".repeat(60 * 1_024);
        fails(
            stage,
            &[
                "Bearer",
                "Bearer ",
                "",
                " ",
                "Basic",
                "Basic ",
                &format!("Basic {huge}"),
                &format!("Bearer {huge}"),
            ]
            .map(with_header),
        );
    });
}

// C-19
#[test]
fn c_19_other_schemes_authenticate_nobody() {
    on_sqlite(|stage| {
        let schemes = [
            "Digest username=\"billing\"",
            "Negotiate YII=",
            "Bearer zq7echo",
            "DPoP zq7echo",
            "billing",
        ];
        fails(stage, &schemes.map(with_header));
    });
}

// C-20
#[test]
fn c_20_an_identifier_is_compared_byte_by_byte() {
    on_both(|stage| {
        let secret = stage.billing.secret.as_str();
        for id in [
            "BILLING",
            "Billing",
            "billing ",
            " billing",
            "bill\u{456}ng",
            "billi\u{301}ng",
            "\u{ff42}illing",
        ] {
            fails(stage, &[basic(id, secret), post(id, secret)]);
        }
    });
}

// C-22
#[test]
fn c_22_what_the_database_holds_of_a_secret_is_no_secret() {
    on_both(|stage| {
        let id = ClientId::parse("billing").unwrap();
        let (_, records) = stage.server.admin().show(&id).unwrap();
        let hash = records[0].hash.as_bytes();
        let hexadecimal: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let encodings = [
            keywheel::oauth::base64url(hash),
            BASE64_STANDARD.encode(hash),
            hexadecimal,
        ];
        for stolen in encodings {
            fails(stage, &[basic("billing", &stolen), post("billing", &stolen)]);
        }
    });
}

// C-24
#[test]
fn c_24_a_huge_secret_is_refused_before_it_is_hashed() {
    on_sqlite(|stage| {
        let body = |length: usize| {
            Request::raw_form(
                TOKEN,
                &format!("client_id=billing&client_secret={}", "s".repeat(length)),
            )
        };
        stage.unchanged(|| {
            stage.refuses(&body(1 << 20), 413, "invalid_request");
            stage.refuses(&body(8_193), 400, "invalid_request");
            stage.refuses(&body(8_192), 401, "invalid_client");
        });
        let header = format!("POST {TOKEN} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic ");
        let huge = format!("{header}{}", "A".repeat(131_072 - header.len()));
        stage.closes_on(huge.as_bytes(), 431);
    });
}

// G-01
#[test]
fn g_01_nobody_gets_a_token_for_themselves_without_a_secret() {
    on_both(|stage| {
        for id in ["billing", "nobody"] {
            let bare = Request::raw_form(TOKEN, &format!("{GRANT}&client_id={id}"));
            stage.unchanged(|| stage.refuses(&bare, 401, "invalid_client"));
        }
    });
}

// G-02
#[test]
fn g_02_what_belongs_to_other_grants_is_ignored() {
    on_both(|stage| {
        let more = format!("username={ECHO}&password={ECHO}&refresh_token={ECHO}&code={ECHO}&code_verifier={ECHO}");
        stage.unchanged(|| stage.grants(&with_more(stage, &more)));
    });
}

// G-03
#[test]
fn g_03_a_disabled_client_gets_nothing_for_its_right_secret() {
    on_both(|stage| {
        let client = another(stage, "gone", metadata());
        stage.grants(&basic(&client.id, &client.secret));
        let id = ClientId::parse(&client.id).unwrap();
        stage
            .server
            .admin()
            .set_enabled(&id, false, stage.server.now())
            .unwrap();
        stage.server.tick().unwrap();
        fails(
            stage,
            &[basic(&client.id, &client.secret), post(&client.id, &client.secret)],
        );
        let answer = stage.server.send(&basic(&client.id, &client.secret));
        assert_refused(&answer, 401, "invalid_client");
    });
}
