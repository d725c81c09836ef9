//! The token endpoint whatever the grant, row by row.

use keywheel::oauth::{ClientId, ClientMetadata};
use serde_json::json;

use super::stage::{ECHO, Stage, on_both, on_sqlite};
use crate::support::audit_event;
use crate::support::http::{Connection, Request};
use crate::support::server::{TOKEN, metadata};

pub(super) const GRANT: &str = "grant_type=client_credentials";
const FORM: &str = "application/x-www-form-urlencoded";

/// Each body is refused with this error, and nothing is written.
pub(super) fn refused(bodies: &[impl AsRef<str>], error: &str) {
    on_sqlite(|stage| stage.unchanged(|| stage.refuses_forms(bodies, error)));
}

fn of_type(stage: &Stage, value: &str) -> Request {
    stage.form(GRANT).without("Content-Type").header("Content-Type", value)
}

// T-01
#[test]
fn t_01_json_is_not_a_form() {
    on_sqlite(|stage| {
        let document = json!({"grant_type": "client_credentials", "scope": ECHO}).to_string();
        let request = of_type(stage, "application/json").body(document.as_bytes());
        stage.unchanged(|| stage.refuses(&request, 400, "invalid_request"));
    });
}

// T-02
#[test]
fn t_02_no_other_type_no_missing_one_and_no_second_one() {
    on_sqlite(|stage| {
        stage.unchanged(|| {
            for value in [
                "multipart/form-data; boundary=x",
                "application/x-www-form-urlencodedX",
                "application/x-www-form-urlencoded, text/plain",
                "text/plain",
                "",
            ] {
                stage.refuses(&of_type(stage, value), 400, "invalid_request");
            }
            stage.refuses(&stage.form(GRANT).without("Content-Type"), 400, "invalid_request");
            stage.refuses(&stage.form(GRANT).header("Content-Type", FORM), 400, "invalid_request");
        });
    });
}

// T-03
#[test]
fn t_03_a_type_is_read_in_any_case_and_with_its_charset() {
    on_sqlite(|stage| {
        for value in [
            "application/x-www-form-urlencoded; charset=utf-8",
            "application/x-www-form-urlencoded;charset=\"UTF-8\"",
            "APPLICATION/X-WWW-FORM-URLENCODED",
        ] {
            stage.unchanged(|| stage.grants(&of_type(stage, value)));
        }
    });
}

// T-04
#[test]
fn t_04_another_charset_than_utf_8_is_refused() {
    on_sqlite(|stage| {
        for charset in ["utf-16", "iso-8859-1", "\"latin1\"", "utf-7"] {
            let request = of_type(stage, &format!("{FORM}; charset={charset}"));
            stage.unchanged(|| stage.refuses(&request, 400, "invalid_request"));
        }
    });
}

// T-05
#[test]
fn t_05_a_grant_type_that_is_sent_twice_is_refused() {
    refused(
        &[
            "grant_type=client_credentials&grant_type=client_credentials",
            "grant_type=client_credentials&grant_type=password",
            "grant_type=client_credentials&grant%5Ftype=client_credentials",
        ],
        "invalid_request",
    );
}

// T-06
#[test]
fn t_06_no_parameter_that_is_known_comes_twice() {
    let names = [
        "scope",
        "client_id",
        "client_secret",
        "code",
        "redirect_uri",
        "username",
        "password",
        "refresh_token",
        "client_assertion",
        "client_assertion_type",
        "code_verifier",
        "device_code",
    ];
    for (one, other) in [(ECHO, ECHO), (ECHO, ""), ("", ECHO)] {
        refused(
            &names.map(|name| format!("{GRANT}&{name}={one}&{name}={other}")),
            "invalid_request",
        );
    }
}

// T-08
#[test]
fn t_08_an_unknown_parameter_is_ignored_however_often_it_comes() {
    on_sqlite(|stage| {
        stage.unchanged(|| stage.grants(&stage.form(&format!("{GRANT}&foo=1&foo=2&nonce=x&foo="))));
    });
}

// T-09
#[test]
fn t_09_a_request_without_a_grant_type_is_malformed() {
    refused(
        &["", "grant_type=", "grant_type", "scope=read", "&&&"],
        "invalid_request",
    );
}

// T-10
#[test]
fn t_10_a_grant_that_nobody_knows_is_unsupported() {
    refused(
        &[
            "grant_type=zq7echo",
            "grant_type=urn:ietf:params:oauth:grant-type:zq7echo",
        ],
        "unsupported_grant_type",
    );
}

// T-11
#[test]
fn t_11_who_is_not_authenticated_learns_nothing_of_grants() {
    on_both(|stage| {
        let wrong = Request::raw_form(TOKEN, "grant_type=foo").basic(&stage.billing.id, ECHO);
        stage.unchanged(|| {
            stage.refuses(&wrong, 401, "invalid_client");
            stage.refuses(&Request::raw_form(TOKEN, ""), 401, "invalid_client");
            stage.refuses(&Request::raw_form(TOKEN, "scope=%22&resource=x"), 401, "invalid_client");
        });
    });
}

// T-12
#[test]
fn t_12_names_and_values_are_compared_case_by_case() {
    refused(
        &["grant_type=CLIENT_CREDENTIALS", "grant_type=Client_Credentials"],
        "unsupported_grant_type",
    );
    refused(
        &["Grant_Type=client_credentials", "GRANT_TYPE=client_credentials"],
        "invalid_request",
    );
}

// T-13
#[test]
fn t_13_a_grant_type_is_exact() {
    refused(
        &[
            "grant_type=implicit",
            "grant_type=authorization_code+",
            "grant_type=+client_credentials",
            "grant_type=client_credentials%0A",
            "grant_type=refresh_token%00",
            "grant_type=client_credentials%00",
        ],
        "unsupported_grant_type",
    );
}

// T-14
#[test]
fn t_14_a_grant_that_the_client_is_not_registered_for_is_unauthorized() {
    on_both(|stage| {
        let id = format!("idle-{}", stage.server.now().epoch());
        let client = stage.server.client(&id, metadata());
        // The command line refuses a client without grants; a row without any is what a later version may leave.
        let none = ClientMetadata {
            grant_types: Vec::new(),
            ..metadata()
        };
        let id = ClientId::parse(&id).unwrap();
        let (before, _) = stage.server.store.client(&id).unwrap().unwrap();
        let event = audit_event("test");
        stage.server.store.update_client(&before, &none, &event).unwrap();
        stage.unchanged(|| {
            let form = |body: &str| stage.form_of(&client, TOKEN, body);
            stage.refuses(&form(GRANT), 400, "unauthorized_client");
            let person = "grant_type=password&username=alice&password=zq7echo";
            stage.refuses(&form(person), 400, "unauthorized_client");
            let token = "grant_type=refresh_token&refresh_token=zq7echo";
            stage.refuses(&form(token), 400, "unauthorized_client");
        });
    });
}

// T-15
#[test]
fn t_15_a_request_in_the_url_is_none() {
    on_sqlite(|stage| {
        let in_url = |more: &str| {
            let target = format!("{TOKEN}?{GRANT}{more}");
            Request::raw_form(&target, "").basic(&stage.billing.id, &stage.billing.secret)
        };
        stage.unchanged(|| {
            stage.refuses(&in_url(""), 400, "invalid_request");
            let own = format!("&client_id={}&client_secret={}", stage.billing.id, stage.billing.secret);
            stage.refuses(&in_url(&own), 400, "invalid_request");
            let bare = Request::raw_form(&format!("{TOKEN}?{GRANT}{own}"), "");
            stage.refuses(&bare, 400, "invalid_request");
        });
    });
}

// T-16
#[test]
fn t_16_a_credential_in_the_url_spoils_a_good_request() {
    on_sqlite(|stage| {
        stage.unchanged(|| {
            for name in [
                "client_secret",
                "password",
                "refresh_token",
                "client_assertion",
                "code",
                "code_verifier",
                "device_code",
                "token",
            ] {
                let request = stage.form_of(&stage.billing, &format!("{TOKEN}?{name}={ECHO}"), GRANT);
                stage.refuses(&request, 400, "invalid_request");
            }
            stage.grants(&stage.form_of(&stage.billing, &format!("{TOKEN}?trace=1"), GRANT));
        });
    });
}

// T-17
#[test]
fn t_17_a_percent_sign_stands_before_two_hexadecimal_digits() {
    refused(
        &[
            "grant_type=client_credentials&scope=%zz",
            "grant_type=client_credentials&scope=%4",
            "grant_type=client_credentials&scope=%",
            "grant_type=client_credentials&foo=%+1",
            "%=1&grant_type=client_credentials",
        ],
        "invalid_request",
    );
}

// T-18
#[test]
fn t_18_what_is_not_utf_8_is_refused_in_any_value() {
    for bytes in ["%ff", "%c0%af", "%ed%a0%80", "%f5%80%80%80", "%c3"] {
        let names = ["scope", "foo", "username", "client_id", "%ff"];
        refused(&names.map(|name| format!("{GRANT}&{name}={bytes}")), "invalid_request");
    }
}

// T-19
#[test]
fn t_19_a_nul_is_refused_by_the_rules_and_never_reaches_the_database() {
    on_both(|stage| {
        stage.unchanged(|| {
            stage.refuses_forms(&["grant_type=client_credentials&scope=read%00"], "invalid_scope");
            for person in ["username=a%00b&password=zq7echo", "username=alice&password=zq7%00echo"] {
                let form = stage.form_of(&stage.shop, TOKEN, &format!("grant_type=password&{person}"));
                stage.refuses(&form, 400, "invalid_request");
            }
            let token = stage.form_of(&stage.shop, TOKEN, "grant_type=refresh_token&refresh_token=kwr_%00");
            stage.refuses(&token, 400, "invalid_grant");
        });
    });
}

// T-20
#[test]
fn t_20_a_control_character_in_credentials_is_a_failed_authentication() {
    on_both(|stage| {
        stage.unchanged(|| {
            for bad in ["%00", "%0D", "%0A", "%7F", "%C2%85"] {
                for body in [
                    format!("client_id=billing{bad}&client_secret={}", stage.billing.secret),
                    format!("client_id=billing&client_secret={}{bad}", stage.billing.secret),
                ] {
                    let request = Request::raw_form(TOKEN, &format!("{GRANT}&{body}"));
                    stage.refuses(&request, 401, "invalid_client");
                }
            }
        });
    });
}

// T-21
#[test]
fn t_21_semicolons_brackets_and_json_have_no_special_meaning() {
    refused(&["grant_type=client_credentials;scope=read"], "unsupported_grant_type");
    refused(
        &[
            "grant_type[0]=client_credentials",
            "grant_type[]=client_credentials",
            "{\"grant_type\":\"client_credentials\"}",
        ],
        "invalid_request",
    );
    on_sqlite(|stage| {
        let answer = stage.unchanged(|| stage.grants(&stage.form(&format!("{GRANT}&scope[]=zq7echo&a[b]=1"))));
        assert_eq!(answer["scope"], "read write");
    });
}

// T-23
#[test]
fn t_23_too_many_parameters_and_too_long_ones_are_refused() {
    let many = format!("{GRANT}&{}", vec!["a=1"; 1_000].join("&"));
    let name = format!("{GRANT}&{}=1", "n".repeat(4_096));
    let value = format!("{GRANT}&foo={}", "v".repeat(8_193));
    refused(&[&many, &name, &value], "invalid_request");
}

// T-37
#[test]
fn t_37_one_connection_carries_on_through_refusals_one_by_one_or_in_a_row() {
    on_both(|stage| {
        let mut connection = Connection::open(stage.server.address);
        let bad = [
            stage.form("grant_type=foo"),
            stage.form("scope=%zz"),
            stage.form(""),
            Request::raw_form(TOKEN, GRANT).basic("billing", ECHO),
            Request::get(TOKEN),
            of_type(stage, "application/json").body(b"{}"),
        ];
        stage.unchanged(|| {
            for request in &bad {
                assert!([400, 401, 405].contains(&connection.send(request).status));
                assert_eq!(connection.send(&stage.good_request()).status, 200);
            }
            // Pipelined: answered in their order.
            for request in bad.iter().chain([&stage.good_request()]) {
                connection.send_unanswered(request);
            }
            let statuses: Vec<u16> = (0..=bad.len()).map(|_| connection.read_answer().status).collect();
            assert_eq!(statuses, [400, 400, 400, 401, 405, 400, 200]);
        });
    });
}
