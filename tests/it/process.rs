//! The real program from an empty folder: what contract and README promise to whoever types it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::http::{Request, send};
use crate::support::jwt;
use crate::support::process::{Folder, Served};
use crate::support::server::{JWKS, TOKEN};
use crate::support::{on_both, on_both_processes};

fn fetch(served: &Served, id: &str, secret: &str) -> (u16, Value) {
    let response = send(
        served.address,
        &Request::raw_form(TOKEN, "grant_type=client_credentials").basic(id, secret),
    );
    (response.status, response.json())
}

/// Asks until the answer has the status, for at most the two seconds in which a server must have followed.
fn within_two_seconds(served: &Served, id: &str, secret: &str, status: u16) {
    let begun = Instant::now();
    while fetch(served, id, secret).0 != status {
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "not {status} after {:?}",
            begun.elapsed()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn serve_dev_in_an_empty_folder_prints_a_command_that_fetches_a_token() {
    let folder = Folder::empty();
    let mut served = folder.serve(&["--dev"]);
    assert_eq!(
        served.issuer,
        format!("http://{}", served.address),
        "the issuer follows from the opened port"
    );
    let welcome = served.welcome();
    let line = welcome
        .lines()
        .find(|line| line.contains("grant_type=client_credentials"))
        .unwrap();
    let (id, secret) = line.split('\'').nth(1).unwrap().split_once(':').unwrap();
    assert!(
        line.ends_with(&format!("-d grant_type=client_credentials {}{TOKEN}", served.issuer)),
        "{line}"
    );
    let (status, answer) = fetch(&served, id, secret);
    assert_eq!(status, 200, "{answer}");
    let jwks = send(served.address, &Request::get(JWKS)).json();
    let token = jwt::verify_with(&jwks, answer["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(token.claims["iss"], served.issuer.as_str());
    let mode = |path: &str| {
        std::fs::metadata(folder.path().join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (mode("keys"), mode("keys/master.key"), mode("keywheel.db")),
        (0o700, 0o600, 0o600)
    );

    let (exit, log) = served.terminate();
    assert_eq!(exit.code(), Some(0), "{log}");
    assert!(!log.contains(secret), "the secret is in the log");
    let mut again = folder.serve(&["--dev"]);
    let welcome = again.welcome();
    assert!(
        welcome.contains("client secret add demo") && !welcome.contains(secret),
        "{welcome}"
    );
    assert_eq!(fetch(&again, id, secret).0, 200, "the secret goes on working");
}

#[test]
fn a_running_server_follows_the_command_line_within_two_seconds() {
    on_both_processes(|folder| {
        let served = folder.serve(&["--issuer", "https://auth.example"]);
        let secret = folder.client_secret("billing");
        assert_eq!(fetch(&served, "billing", &secret).0, 200);
        folder.json(&["client", "disable", "billing"]);
        within_two_seconds(&served, "billing", &secret, 401);
        folder.json(&["client", "enable", "billing"]);
        within_two_seconds(&served, "billing", &secret, 200);
        let second = folder.json(&["client", "secret", "add", "billing", "--expires", "90d"]);
        within_two_seconds(&served, "billing", second["client_secret"].as_str().unwrap(), 200);
        let secrets = folder.json(&["client", "secret", "list", "billing"]);
        let first = secrets
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| secret.ends_with(entry["hint"].as_str().unwrap()))
            .unwrap();
        folder.json(&["client", "secret", "revoke", "billing", first["id"].as_str().unwrap()]);
        within_two_seconds(&served, "billing", &secret, 401);

        let kid = |served: &Served| {
            let (_, answer) = fetch(served, "billing", second["client_secret"].as_str().unwrap());
            jwt::part(answer["access_token"].as_str().unwrap(), 0)["kid"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let old = kid(&served);
        let rotation = folder.json(&["keys", "rotate", "--now"]);
        assert_eq!(rotation["safe"], false);
        let slow = |known: &Value| known["name"] == "Envoy" && known["refuses_for"] == 600;
        assert!(rotation["verifiers"].as_array().unwrap().iter().any(slow), "{rotation}");
        let begun = Instant::now();
        while kid(&served) == old {
            assert!(
                begun.elapsed() < Duration::from_secs(2),
                "the server still signs with the old key"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(kid(&served), rotation["kid"].as_str().unwrap());
        let states: Vec<String> = folder
            .json(&["keys", "list"])
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["state"].as_str().unwrap().to_owned())
            .collect();
        assert!(
            states.contains(&"active".to_owned()) && states.contains(&"retiring".to_owned()),
            "{states:?}"
        );
        folder.json(&["client", "delete", "billing"]);
        within_two_seconds(&served, "billing", second["client_secret"].as_str().unwrap(), 401);
        assert_eq!(served.terminate().0.code(), Some(0));

        let events = folder.json(&["audit", "list", "--limit", "100"]);
        let names: Vec<&str> = events
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["event"].as_str().unwrap())
            .collect();
        for name in [
            "client.created",
            "client.disabled",
            "client.secret_added",
            "client.secret_revoked",
            "key.published",
            "key.rotated",
        ] {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        assert!(!events.to_string().contains(&secret));
    });
}

//
#[test]
fn a_wrong_missing_or_readable_master_key_refuses_to_start_and_says_how_to_mend_it() {
    on_both_processes(|folder| {
        let issuer = ["serve", "--issuer", "https://auth.example"];
        drop(folder.serve(&issuer[1..]));
        let path = folder.master_key();
        let right = std::fs::read_to_string(&path).unwrap();
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();

        mode(0o644);
        let said = folder.refused(&issuer);
        assert!(said.contains("chmod 600") && !said.contains(right.trim()), "{said}");
        mode(0o600);

        std::fs::write(&path, format!("{}\n", "a1".repeat(32))).unwrap();
        let said = folder.refused(&issuer);
        assert!(
            said.contains("sealed under master key") && !said.contains(&"a1".repeat(32)),
            "{said}"
        );
        std::fs::write(&path, "short").unwrap();
        assert!(folder.refused(&issuer).contains("holds no master key"));

        std::fs::remove_file(&path).unwrap();
        assert!(folder.refused(&issuer).contains("KEYWHEEL_MASTER_KEY_FILE"));
        assert!(!path.exists(), "a new key could open nothing");
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, &right).unwrap();
        std::fs::set_permissions(&elsewhere, PermissionsExt::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(folder.refused(&issuer).contains("no symbolic link"));

        std::fs::remove_file(&path).unwrap();
        let output = folder
            .command(&["client", "list"])
            .env("KEYWHEEL_MASTER_KEY_FILE", &elsewhere)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let output = folder
            .command(&["keys", "list"])
            .env("KEYWHEEL_MASTER_KEY", right.trim())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    });
}

#[test]
fn a_taken_port_is_named() {
    let folder = Folder::empty();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = folder.refused(&["serve", "--dev", "--listen", &address]);
    assert!(said.contains(&address) && said.contains("listen"), "{said}");
}

// D-19
#[test]
fn the_api_of_the_administration_may_have_a_listener_of_its_own() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let folder = Folder::empty().with("KEYWHEEL_ADMIN_LISTEN", &free.to_string());
    let served = folder.serve(&["--dev"]);
    for path in ["/admin/v1", "/admin/v1/openapi.json", "/admin/v1/clients"] {
        assert_eq!(send(served.address, &Request::get(path)).status, 404, "{path}");
    }
    assert_eq!(send(free, &Request::get("/admin/v1/openapi.json")).status, 200);
    assert_eq!(send(free, &Request::get("/admin/v1/clients")).status, 401);
    assert_eq!(send(free, &Request::get(JWKS)).status, 404);
    let (status, _) = served.terminate();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_request_under_way_is_answered_before_the_server_stops() {
    let folder = Folder::empty();
    let served = folder.serve(&["--dev"]);
    let secret = folder.client_secret("billing");
    let basic = BASE64_STANDARD.encode(format!("billing:{secret}"));
    let mut stream = TcpStream::connect(served.address).unwrap();
    let head = format!(
        "POST {TOKEN} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {basic}\r\nExpect: 100-continue\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 29\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The interim answer says that the request is under way; the log says that the server is stopping.
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    served.ask_to_stop();
    stream.write_all(b"grant_type=client_credentials").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(served.wait().code(), Some(0));
}

#[test]
fn both_databases_are_reached_by_their_url() {
    on_both(|database| {
        let folder = Folder::empty().with("DATABASE_URL", database.url());
        let secret = folder.client_secret("billing");
        let served = folder.serve(&["--issuer", "https://auth.example"]);
        assert_eq!(fetch(&served, "billing", &secret).0, 200);
    });
}

// N-05: not even at the most talkative level.
#[test]
fn no_credential_is_ever_in_the_log() {
    on_both_processes(|folder| {
        let secret = folder.client_secret("billing");
        let talkative = [("KEYWHEEL_LOG", "json,trace")];
        let served = folder.serve_with(&["--issuer", "https://auth.example"], &talkative);
        let (_, answer) = fetch(&served, "billing", &secret);
        let token = answer["access_token"].as_str().unwrap().to_owned();
        let form = |body: &str| send(served.address, &Request::raw_form(TOKEN, body)).status;
        assert_eq!(
            form(&format!(
                "grant_type=client_credentials&client_id=billing&client_secret={secret}"
            )),
            200
        );
        assert_eq!(
            form("grant_type=client_credentials&client_id=billing&client_secret=canary-in-the-body"),
            401
        );
        assert_eq!(form("grant_type=password&username=u&password=canary-password"), 401);
        let in_url = format!("{TOKEN}?client_secret=canary-in-the-url");
        assert_eq!(
            send(
                served.address,
                &Request::raw_form(&in_url, "grant_type=client_credentials")
            )
            .status,
            400
        );
        assert_eq!(fetch(&served, "billing", "canary-basic").0, 401);
        let master_key = std::fs::read_to_string(folder.master_key()).unwrap();
        let basic = BASE64_STANDARD.encode(format!("billing:{secret}"));
        let (_, log) = served.terminate();
        assert!(log.contains("token.refused"), "{log}");
        for canary in [secret.as_str(), &token, &basic, master_key.trim(), "canary-"] {
            assert!(!log.contains(canary), "{canary} is in the log");
        }
    });
}

#[test]
fn serve_dev_makes_a_user_whose_printed_commands_work() {
    let folder = Folder::empty();
    let mut served = folder.serve(&["--dev"]);
    let welcome = served.welcome();
    let line = welcome
        .lines()
        .find(|line| line.contains("grant_type=password"))
        .unwrap();
    let mut quoted = line.split('\'').skip(1).step_by(2);
    let (id, secret) = quoted.next().unwrap().split_once(':').unwrap();
    let password = quoted.next().unwrap().strip_prefix("password=").unwrap();
    let form = [("grant_type", "password"), ("username", "demo"), ("password", password)];
    let signed_in = send(served.address, &Request::form(TOKEN, &form).basic(id, secret));
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    let refresh = signed_in.json()["refresh_token"].as_str().unwrap().to_owned();
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    let refreshed = send(served.address, &Request::form(TOKEN, &form).basic(id, secret));
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    let access = refreshed.json()["access_token"].as_str().unwrap().to_owned();
    let asked = send(
        served.address,
        &Request::form("/oauth2/introspect", &[("token", &access)]).basic(id, secret),
    );
    assert_eq!(
        (&asked.json()["active"], &asked.json()["username"]),
        (&json!(true), &json!("demo"))
    );
    let (_, log) = served.terminate();
    for canary in [password, refresh.as_str(), secret] {
        assert!(!log.contains(canary), "{canary} is in the log");
    }
}
