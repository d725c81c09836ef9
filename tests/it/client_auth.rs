//! Client authentication, black box over HTTP on both databases: rows C of the catalogue of answers.

use keywheel::oauth::{ClientAuthMethod, ClientId, ClientMetadata, Seconds};

use crate::support::http::{Request, Response};
use crate::support::on_both;
use crate::support::server::{Credentials, TOKEN, TestServer, metadata};
use crate::token::assert_refused;

const GRANT: &str = "grant_type=client_credentials";

fn with_client(test: impl Fn(&TestServer, &Credentials)) {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("billing", metadata());
        test(&server, &client);
    });
}

fn basic(server: &TestServer, user: &str, password: &str) -> Response {
    server.send(&Request::raw_form(TOKEN, GRANT).basic(user, password))
}

fn header(server: &TestServer, value: &str) -> Response {
    server.send(&Request::raw_form(TOKEN, GRANT).header("Authorization", value))
}

fn post(server: &TestServer, parameters: &[(&str, &str)]) -> Response {
    let mut all = vec![("grant_type", "client_credentials")];
    all.extend_from_slice(parameters);
    server.send(&Request::form(TOKEN, &all))
}

fn assert_invalid_client(response: &Response) {
    assert_refused(response, 401, "invalid_client");
    assert_eq!(
        response.text(),
        r#"{"error":"invalid_client"}"#,
        "the body is the same whatever the reason"
    );
    assert_eq!(
        response.header("www-authenticate"),
        Some(r#"Basic realm="keywheel", charset="UTF-8""#)
    );
}

// C-21, T-38: whoever fails again and again is told to wait; who has the right secret never is.
#[test]
fn failing_to_authenticate_again_and_again_is_slowed_down_and_locks_nobody_out() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = server.client("billing", metadata());
        let wrong = Credentials {
            secret: "wrong".to_owned(),
            ..client.clone()
        };
        let first = server.token(&wrong, &[]);
        assert_refused(&first, 401, "invalid_client");
        let throttled = (0..200)
            .map(|_| server.token(&wrong, &[]))
            .find(|response| response.status != 401)
            .expect("nothing slows it down");
        assert_refused(&throttled, 429, "temporarily_unavailable");
        let wait: i64 = throttled.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait));
        assert_eq!(server.token(&client, &[]).status, 200);
        let unknown = Credentials {
            id: "nobody".to_owned(),
            ..client.clone()
        };
        assert_refused(&server.token(&unknown, &[]), 401, "invalid_client");
        server.advance(Seconds::new(wait));
        assert_refused(&server.token(&wrong, &[]), 401, "invalid_client");
    });
}

#[test]
fn basic_and_post_are_accepted() {
    with_client(|server, client| {
        assert_eq!(basic(server, &client.id, &client.secret).status, 200);
        assert_eq!(
            post(server, &[("client_id", &client.id), ("client_secret", &client.secret)]).status,
            200
        );
    });
}

// C-01, C-03, C-04, C-20, C-22, C-24
#[test]
fn every_failure_is_answered_alike() {
    with_client(|server, client| {
        let disabled = server.client("disabled", metadata());
        server
            .admin()
            .set_enabled(&ClientId::parse("disabled").unwrap(), false, server.now())
            .unwrap();
        server.client("expired", metadata());
        let (_, expired) = server.add_secret("expired", Some(server.now() + Seconds::new(1)));
        server.advance(Seconds::new(1));
        let (_, records) = server.admin().show(&ClientId::parse("billing").unwrap()).unwrap();
        let stolen_hash = keywheel::oauth::base64url(records[0].hash.as_bytes());
        let long = "s".repeat(8_000);
        for (id, secret) in [
            ("nobody", client.secret.as_str()),
            ("billing", "wrong"),
            ("billing", &stolen_hash),
            ("billing", &long),
            (&disabled.id, &disabled.secret),
            ("expired", &expired),
            ("BILLING", &client.secret),
            ("billing ", &client.secret),
            ("bill\u{456}ng", &client.secret),
        ] {
            assert_invalid_client(&basic(server, id, secret));
            assert_invalid_client(&post(server, &[("client_id", id), ("client_secret", secret)]));
        }
        assert_invalid_client(&post(server, &[("client_id", "billing")]));
        assert_invalid_client(&post(server, &[]));
        assert_invalid_client(&post(server, &[("client_secret", &client.secret)]));
    });
}

// T-20
#[test]
fn control_characters_in_credentials_are_a_failed_authentication() {
    with_client(|server, client| {
        for bad in ["billing\0", "bill\ring", "bill\ning", "billing\u{7f}", "billing\u{85}"] {
            assert_invalid_client(&post(server, &[("client_id", bad), ("client_secret", &client.secret)]));
            assert_invalid_client(&post(server, &[("client_id", "billing"), ("client_secret", bad)]));
        }
    });
}

// C-05, C-07, C-08, C-17
#[test]
fn two_identities_in_one_request_are_malformed() {
    with_client(|server, client| {
        let with = |body: &str| {
            server.send(&Request::raw_form(TOKEN, &format!("{GRANT}&{body}")).basic(&client.id, &client.secret))
        };
        assert_refused(
            &with(&format!("client_secret={}", client.secret)),
            400,
            "invalid_request",
        );
        assert_refused(
            &with(&format!("client_id=billing&client_secret={}", client.secret)),
            400,
            "invalid_request",
        );
        assert_refused(&with("client_secret=other"), 400, "invalid_request");
        assert_refused(&with("client_id=other"), 400, "invalid_request");
        assert_refused(
            &with("client_assertion=x&client_assertion_type=y"),
            400,
            "invalid_request",
        );
        let twice = Request::raw_form(TOKEN, GRANT)
            .basic(&client.id, &client.secret)
            .basic(&client.id, &client.secret);
        assert_refused(&server.send(&twice), 400, "invalid_request");
        assert_refused(&header(server, "Basic YTpi, Bearer x"), 400, "invalid_request");
    });
}

// C-06, C-09
#[test]
fn the_same_identity_said_twice_and_an_empty_secret_are_fine() {
    with_client(|server, client| {
        for body in [
            "client_id=billing",
            "client_secret=",
            "client_id=billing&client_secret=",
        ] {
            let response =
                server.send(&Request::raw_form(TOKEN, &format!("{GRANT}&{body}")).basic(&client.id, &client.secret));
            assert_eq!(response.status, 200, "{body}");
        }
    });
}

// C-10
#[test]
fn a_method_that_is_not_registered_is_refused() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let only = |method| ClientMetadata {
            auth_methods: vec![method],
            ..metadata()
        };
        let by_basic = server.client("basic", only(ClientAuthMethod::ClientSecretBasic));
        let by_post = server.client("post", only(ClientAuthMethod::ClientSecretPost));
        assert_eq!(basic(&server, &by_basic.id, &by_basic.secret).status, 200);
        assert_invalid_client(&post(
            &server,
            &[("client_id", &by_basic.id), ("client_secret", &by_basic.secret)],
        ));
        assert_eq!(
            post(
                &server,
                &[("client_id", &by_post.id), ("client_secret", &by_post.secret)]
            )
            .status,
            200
        );
        assert_invalid_client(&basic(&server, &by_post.id, &by_post.secret));
    });
}

// C-11, C-12, C-13
#[test]
fn basic_credentials_are_read_form_encoded_or_raw_and_decoded_once() {
    with_client(|server, client| {
        let encode_all = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
        assert_eq!(
            basic(server, &encode_all(&client.id), &encode_all(&client.secret)).status,
            200
        );
        assert_eq!(basic(server, &client.id, &client.secret).status, 200);
        let twice = encode_all(&encode_all(&client.secret));
        assert_invalid_client(&basic(server, &client.id, &twice));
    });
}

// C-14, C-15, C-16, C-18, C-19
#[test]
fn a_malformed_authorization_header_is_a_failed_authentication() {
    with_client(|server, client| {
        use base64::Engine as _;
        let pair = base64::prelude::BASE64_STANDARD.encode(format!("{}:{}", client.id, client.secret));
        for scheme in ["basic", "BASIC"] {
            assert_eq!(header(server, &format!("{scheme} {pair}")).status, 200, "{scheme}");
        }
        let loose = pair.trim_end_matches('=').to_owned();
        for value in [
            format!("Basic  {pair}"),
            format!("Basic\t{pair}"),
            format!("Basic{pair}"),
            "Basic".to_owned(),
            "Basic !!!!".to_owned(),
            "Basic YTo=".to_owned(),
            "Basic OmI=".to_owned(),
            "Basic YWI=".to_owned(),
            "Bearer".to_owned(),
            "Bearer x".to_owned(),
            "Digest username=\"x\", realm=\"y\"".to_owned(),
            "Negotiate YII=".to_owned(),
        ] {
            assert_invalid_client(&header(server, &value));
        }
        if loose != pair {
            assert_invalid_client(&header(server, &format!("Basic {loose}")));
        }
    });
}

// C-23
#[test]
fn secrets_overlap_and_a_revoked_one_is_refused() {
    with_client(|server, client| {
        let (_, second) = server.add_secret("billing", None);
        server.tick().unwrap();
        assert_eq!(basic(server, "billing", &client.secret).status, 200);
        assert_eq!(basic(server, "billing", &second).status, 200);
        let id = ClientId::parse("billing").unwrap();
        let (_, records) = server.admin().show(&id).unwrap();
        let first = records
            .iter()
            .find(|record| client.secret.ends_with(&record.hint))
            .unwrap();
        server
            .admin()
            .revoke_secret(&id, &first.id, false, server.now())
            .unwrap();
        server.tick().unwrap();
        assert_invalid_client(&basic(server, "billing", &client.secret));
        assert_eq!(basic(server, "billing", &second).status, 200);
    });
}

// G-03, D-17
#[test]
fn what_the_command_line_changes_is_known_at_the_next_tick() {
    with_client(|server, client| {
        let id = ClientId::parse("billing").unwrap();
        assert_eq!(basic(server, "billing", &client.secret).status, 200);
        server.admin().set_enabled(&id, false, server.now()).unwrap();
        server.tick().unwrap();
        assert_invalid_client(&basic(server, "billing", &client.secret));
        server.admin().set_enabled(&id, true, server.now()).unwrap();
        server.tick().unwrap();
        assert_eq!(basic(server, "billing", &client.secret).status, 200);
        server.admin().delete(&id, server.now()).unwrap();
        server.tick().unwrap();
        assert_invalid_client(&basic(server, "billing", &client.secret));
        let again = server.client("billing", metadata());
        server.tick().unwrap();
        assert_invalid_client(&basic(server, "billing", &client.secret));
        assert_eq!(basic(server, "billing", &again.secret).status, 200);
    });
}

#[test]
fn a_node_that_lost_track_forgets_what_it_knew() {
    for (span, announce) in [
        (
            Seconds::new(1),
            "INSERT INTO changes (kind, subject, at) VALUES ('weather', 'rain', 1)",
        ),
        (Seconds::new(301), "SELECT 1"),
    ] {
        on_both(|database| {
            let server = TestServer::start(database.url());
            let client = server.client("billing", metadata());
            server.tick().unwrap();
            assert_eq!(basic(&server, "billing", &client.secret).status, 200);
            // Behind everybody's back, as by a version that announces it in a word of its own, or long ago.
            database.execute("UPDATE clients SET enabled = false");
            server.tick().unwrap();
            assert_eq!(
                basic(&server, "billing", &client.secret).status,
                200,
                "nobody told the node"
            );
            database.execute(announce);
            server.advance(span);
            server.tick().unwrap();
            assert_invalid_client(&basic(&server, "billing", &client.secret));
        });
    }
}
