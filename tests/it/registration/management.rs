//! The life of a registration (RFC 7592): a client looks at it, changes it, turns its secrets and ends it. The rows Y-16 to Y-20.

use keywheel::oauth::{ClientId, GrantType, Scope};
use keywheel::server::admin::{ClientChange, RegistrationAdmin};
use serde_json::{Value, json};

use super::{
    AUDIENCE, REGISTER, SCOPE, assert_challenged, assert_headers, assert_refused, credentials, initial, initial_with,
    registered, request,
};
use crate::support::http::{Request, Response};
use crate::support::on_both;
use crate::support::server::{Credentials, ISSUER, TestServer};

/// A client that registered itself.
struct Registered {
    path: String,
    token: String,
    credentials: Credentials,
    /// Identifier of its first secret.
    secret_id: String,
}

impl Registered {
    fn new(server: &TestServer, initial: &str, document: &Value) -> Self {
        let client = registered(server, initial, document);
        let text = |member: &str| client[member].as_str().unwrap().to_owned();
        Registered {
            path: text("registration_client_uri").strip_prefix(ISSUER).unwrap().to_owned(),
            token: text("registration_access_token"),
            credentials: credentials(&client),
            secret_id: text("client_secret_id"),
        }
    }

    fn id(&self) -> ClientId {
        ClientId::parse(&self.credentials.id).unwrap()
    }

    fn read(&self, server: &TestServer) -> Response {
        self.send(server, "GET", "", &self.token)
    }

    fn send(&self, server: &TestServer, method: &str, below: &str, token: &str) -> Response {
        let path = format!("{}{below}", self.path);
        server.send(&Request::new(method, &path).header("Authorization", &format!("Bearer {token}")))
    }

    /// Updates the registration with the given members and the client's own identifier.
    fn update(&self, server: &TestServer, members: &Value) -> Response {
        let mut document = members.clone();
        document["client_id"] = json!(self.credentials.id);
        server.send(&request("PUT", &self.path, &self.token, &document))
    }
}

#[test]
fn a_client_reads_and_replaces_what_is_registered_for_it() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = Registered::new(&server, &initial(&server, 1).token, &json!({"client_name": "Old"}));
        let read = client.read(&server);
        assert_eq!(read.status, 200);
        assert_headers(&read);
        let before = read.json();
        assert_eq!(before["client_name"], "Old");
        assert_eq!(before["registration_access_token"], client.token);
        assert_eq!(before["registration_client_uri"], format!("{ISSUER}{}", client.path));
        assert_eq!(
            before.get("client_secret"),
            None,
            "no secret is kept that could be told"
        );

        assert_eq!(server.token(&client.credentials, &[]).json()["scope"], SCOPE);
        let members =
            json!({"client_name": "New", "scope": "read", "token_endpoint_auth_method": "client_secret_basic"});
        let updated = client.update(&server, &members);
        assert_eq!(updated.status, 200, "{}", updated.text());
        assert_headers(&updated);
        let mut expected = before.clone();
        expected["client_name"] = json!("New");
        expected["scope"] = json!("read");
        assert_eq!(updated.json(), expected);
        assert_eq!(client.read(&server).json(), expected);
        // At once, on the node that did it.
        assert_eq!(server.token(&client.credentials, &[]).json()["scope"], "read");

        // RFC 7592 section 2.2: what is left out goes back to what the server chooses.
        let updated = client.update(&server, &json!({"client_name": null})).json();
        assert_eq!(
            (&updated["client_name"], &updated["scope"]),
            (&json!(client.credentials.id), &json!(SCOPE))
        );
        let events = server.store.audit_events(&Default::default()).unwrap();
        let event = &events[0];
        assert_eq!(
            (event.event.as_str(), &event.actor),
            ("client.updated", &format!("client:{}", client.credentials.id))
        );
        assert_eq!(event.detail["address"], "127.0.0.1");
    });
}

// Y-16
#[test]
fn the_token_of_another_client_opens_nothing_and_stays_good_for_its_own() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let initial = initial(&server, 3);
        let (client, other) = (
            Registered::new(&server, &initial.token, &json!({})),
            Registered::new(&server, &initial.token, &json!({})),
        );
        let strangers = [
            &other.token,
            &initial.token,
            &client.credentials.secret,
            &"x".to_owned(),
        ];
        for (method, below) in [
            ("GET", ""),
            ("DELETE", ""),
            ("POST", "/secrets"),
            ("DELETE", &format!("/secrets/{}", client.secret_id)),
        ] {
            for token in strangers {
                assert_challenged(&client.send(&server, method, below, token), Some("invalid_token"));
            }
        }
        for token in strangers {
            let document = json!({"client_id": client.credentials.id});
            let refused = server.send(&request("PUT", &client.path, token, &document));
            assert_challenged(&refused, Some("invalid_token"));
        }
        assert_challenged(&server.get(&client.path), None);
        for path in ["kwc_unknown", "%00", "42", "..%2f", "'%20OR%201=1--"] {
            let unknown = Request::get(&format!("{REGISTER}/{path}"));
            let unknown = unknown.header("Authorization", &format!("Bearer {}", client.token));
            assert_challenged(&server.send(&unknown), Some("invalid_token"));
        }
        // A client that an administrator made has no such token at all.
        server.client("by-hand", crate::support::server::metadata());
        let path = format!("{REGISTER}/by-hand");
        let by_hand = Request::get(&path).header("Authorization", &format!("Bearer {}", client.token));
        assert_challenged(&server.send(&by_hand), Some("invalid_token"));
        assert_eq!((client.read(&server).status, other.read(&server).status), (200, 200));
        server.granted(&client.credentials, &[]);
    });
}

// Y-17
#[test]
fn an_update_names_its_client_and_chooses_nothing_that_is_the_servers() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let initial = initial(&server, 2);
        let client = Registered::new(&server, &initial.token, &json!({}));
        let other = Registered::new(&server, &initial.token, &json!({}));
        let before = client.read(&server).json();
        for document in [
            json!({}),
            json!({"client_id": null}),
            json!({"client_id": other.credentials.id}),
            json!({"client_id": [client.credentials.id]}),
        ] {
            let refused = server.send(&request("PUT", &client.path, &client.token, &document));
            assert_refused(&refused, 400, "invalid_client_metadata");
        }
        for members in [
            json!({"registration_access_token": client.token}),
            json!({"registration_client_uri": before["registration_client_uri"]}),
            json!({"client_secret_expires_at": 0}),
            json!({"client_id_issued_at": before["client_id_issued_at"]}),
            json!({"client_secret": "my-own-choice-of-a-secret-0123456789"}),
            json!({"client_secret": other.credentials.secret}),
            json!({"client_secret": 7}),
            json!({"client_secret": ""}),
        ] {
            assert_refused(&client.update(&server, &members), 400, "invalid_client_metadata");
        }
        assert_eq!(client.read(&server).json(), before);
        let same = client.update(&server, &json!({"client_secret": client.credentials.secret}));
        assert_eq!(same.status, 200, "{}", same.text());
        assert!(
            !same.text().contains(&client.credentials.secret),
            "it is not told once more"
        );
    });
}

// Y-18
#[test]
fn the_rights_of_the_initial_token_bound_every_result_also_when_it_is_gone() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let initial = initial(&server, 1);
        let client = Registered::new(&server, &initial.token, &json!({"scope": "read"}));
        let admin = RegistrationAdmin::new(&server.store, "test");
        admin.revoke(&initial.id, server.now()).unwrap();
        // In one step, in two, and after an administrator gave the client more.
        for narrower in [None, Some(json!({"scope": ""})), Some(json!({"scope": "write"}))] {
            if let Some(narrower) = narrower {
                assert_eq!(client.update(&server, &narrower).status, 200);
            }
            for wider in [
                json!({"scope": "read write admin"}),
                json!({"scope": "keywheel:admin"}),
                json!({"grant_types": ["client_credentials", "password"]}),
                json!({"audience": []}),
                json!({"audience": ["https://elsewhere.example"]}),
            ] {
                assert_refused(&client.update(&server, &wider), 400, "invalid_client_metadata");
            }
        }
        let more = ClientChange {
            scope: Some(Scope::parse("read admin").unwrap()),
            introspect: Some(true),
            ..ClientChange::default()
        };
        server.admin().update(&client.id(), more, server.now()).unwrap();
        let scope = client.read(&server).json()["scope"].clone();
        assert_eq!(scope, "read admin");
        let kept = client.update(&server, &json!({"scope": scope}));
        assert_refused(&kept, 400, "invalid_client_metadata");
        // Within its rights it may change, and what only administrators choose stays.
        assert_eq!(client.update(&server, &json!({})).json()["scope"], SCOPE);
        assert!(server.admin().show(&client.id()).unwrap().0.metadata.introspect);
        assert_eq!(client.read(&server).json()["audience"], json!([AUDIENCE]));
    });
}

// Y-19, Y-20
#[test]
fn a_deleted_registration_takes_secrets_tokens_and_its_own_token_with_it() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let grants = GrantType::ALL;
        let initial = initial_with(&server, 1, &grants, SCOPE, AUDIENCE);
        let client = Registered::new(&server, &initial.token, &json!({"grant_types": grants}));
        server.user("alice", "correct horse");
        let login = [
            ("grant_type", "password"),
            ("username", "alice"),
            ("password", "correct horse"),
        ];
        let basic = |parameters: &[(&str, &str)]| {
            let form = Request::form("/oauth2/token", parameters);
            server.send(&form.basic(&client.credentials.id, &client.credentials.secret))
        };
        let login = basic(&login).json();
        let access_token = server.granted(&client.credentials, &[]);
        let mut introspecting = crate::support::server::metadata();
        introspecting.introspect = true;
        introspecting.audiences = Default::default();
        let gateway = server.client("gateway", introspecting);
        let active = |token: &str| {
            let form = Request::form("/oauth2/introspect", &[("token", token)]).basic(&gateway.id, &gateway.secret);
            server.send(&form).json()["active"].clone()
        };
        assert_eq!(active(&access_token), true);

        let deleted = client.send(&server, "DELETE", "", &client.token);
        assert_eq!((deleted.status, deleted.body.len()), (204, 0));
        assert_headers(&deleted);
        for (method, below) in [("GET", ""), ("DELETE", ""), ("POST", "/secrets")] {
            let refused = client.send(&server, method, below, &client.token);
            assert_challenged(&refused, Some("invalid_token"));
        }
        assert_challenged(&client.update(&server, &json!({})), Some("invalid_token"));
        assert_eq!(server.token(&client.credentials, &[]).json()["error"], "invalid_client");
        let refresh_token = login["refresh_token"].as_str().unwrap();
        let refreshed = basic(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]);
        assert_eq!(refreshed.json()["error"], "invalid_client");
        for token in [&access_token, login["access_token"].as_str().unwrap()] {
            assert_eq!(active(token), false);
        }
        for table in ["registrations", "token_families"] {
            assert_eq!(server.count(table), 0, "{table}");
        }
        assert_eq!(server.audit()[0], "client.deleted");
    });
}

#[test]
fn a_client_turns_its_own_secret_without_a_moment_in_which_none_is_accepted() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = Registered::new(&server, &initial(&server, 1).token, &json!({}));
        server.granted(&client.credentials, &[]);
        let added = client.send(&server, "POST", "/secrets", &client.token);
        assert_eq!(added.status, 201, "{}", added.text());
        assert_headers(&added);
        let second = Credentials {
            id: client.credentials.id.clone(),
            secret: added.json()["client_secret"].as_str().unwrap().to_owned(),
        };
        assert_eq!(added.json()["client_secret_expires_at"], 0);
        server.granted(&client.credentials, &[]);
        server.granted(&second, &[]);
        assert_eq!(server.audit()[0], "client.secret_added");

        let first = format!("/secrets/{}", client.secret_id);
        let revoked = client.send(&server, "DELETE", &first, &client.token);
        assert_eq!((revoked.status, revoked.body.len()), (204, 0));
        assert_eq!(server.token(&client.credentials, &[]).json()["error"], "invalid_client");
        server.granted(&second, &[]);
        assert_refused(
            &client.send(&server, "DELETE", &first, &client.token),
            404,
            "invalid_request",
        );
        assert_eq!(
            client.read(&server).status,
            200,
            "its registration access token is not a secret"
        );

        for _ in 1..10 {
            assert_eq!(client.send(&server, "POST", "/secrets", &client.token).status, 201);
        }
        let eleventh = client.send(&server, "POST", "/secrets", &client.token);
        assert_refused(&eleventh, 400, "invalid_request");
    });
}

#[test]
fn a_disabled_client_is_answered_like_an_unknown_one() {
    on_both(|database| {
        let server = TestServer::start(database.url());
        let client = Registered::new(&server, &initial(&server, 1).token, &json!({}));
        server.admin().set_enabled(&client.id(), false, server.now()).unwrap();
        assert_challenged(&client.read(&server), Some("invalid_token"));
        let added = client.send(&server, "POST", "/secrets", &client.token);
        assert_challenged(&added, Some("invalid_token"));
        server.admin().set_enabled(&client.id(), true, server.now()).unwrap();
        assert_eq!(client.read(&server).status, 200);
    });
}
