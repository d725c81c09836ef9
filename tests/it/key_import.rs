//! `keywheel keys import` and `keys renew`, as an operator types them while servers run.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use keywheel::oauth::{NumericDate, Seconds};
use serde_json::{Value, json};

use crate::support::certificates::{Authority, ders, rsa_key, x5c};
use crate::support::http::{Request, send};
use crate::support::jwt::{part, verify_with};
use crate::support::on_both;
use crate::support::process::{Folder, Served};
use crate::support::server::{JWKS, TOKEN};

const ISSUER: &str = "https://auth.example";
const CA: &str = "/.well-known/keywheel/ca.pem";

#[expect(clippy::disallowed_methods, reason = "the edge of the test")]
fn now() -> NumericDate {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    NumericDate::from_epoch(since.as_secs().try_into().unwrap())
}

fn yesterday() -> NumericDate {
    now() - Seconds::days(1)
}

impl Folder {
    /// Writes a file that its owner alone can read, and returns its name.
    fn secret_file<'a>(&self, name: &'a str, text: &str) -> &'a str {
        std::fs::write(self.path().join(name), text).unwrap();
        self.mode(name, 0o600);
        name
    }

    fn mode(&self, name: &str, mode: u32) {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path().join(name), mode).unwrap();
    }
}

/// A folder whose server runs with an issuer, on both databases.
fn staged(test: impl Fn(&Folder, &Served)) {
    on_both(|database| {
        let folder = Folder::empty()
            .with("DATABASE_URL", database.url())
            .with("KEYWHEEL_ISSUER", ISSUER);
        let served = folder.serve(&[]);
        test(&folder, &served);
    });
}

/// Asks until it is so, for at most the two seconds in which a server must have followed.
fn soon(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "not within two seconds: {what}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn jwks(served: &Served) -> Value {
    send(served.address, &Request::get(JWKS)).json()
}

fn jwk(served: &Served, kid: &str) -> Option<Value> {
    let jwks = jwks(served);
    jwks["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == kid)
        .cloned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Neither what was printed nor the audit trail holds a line of the private key.
fn keeps_secret(folder: &Folder, key: &str, printed: &[&Output]) {
    let audit = folder.json(&["audit", "list"]).to_string();
    for line in key.lines().filter(|line| !line.starts_with('-')) {
        assert!(!audit.contains(line));
        for output in printed {
            assert!(!String::from_utf8_lossy(&output.stdout).contains(line) && !said(output).contains(line));
        }
    }
}

#[test]
fn an_operators_authority_takes_over_while_the_server_runs() {
    staged(|folder, served| {
        let ca = Authority::new("Example signing", yesterday(), Seconds::days(3_650));
        folder.secret_file("ca.pem", &ca.certificate());
        folder.secret_file("ca.key", &ca.key());
        folder.mode("ca.key", 0o644);
        let import = ["keys", "import", "ca", "--certificate", "ca.pem", "--key", "ca.key"];
        let output = folder.run(&import);
        assert!(output.status.success(), "{output:?}");
        for hint in ["chmod 600 ca.key", "Verifiers that pin need its certificate by then"] {
            assert!(said(&output).contains(hint), "{hint}: {}", said(&output));
        }
        keeps_secret(folder, &ca.key(), &[&output]);
        let served_ca = || ders(send(served.address, &Request::get(CA)).text());
        soon("both authorities are served", || served_ca().len() == 2);
        assert_eq!(served_ca()[0], ders(&ca.certificate())[0]);
        let shown = folder.json(&["keys", "ca", "show"]);
        assert_eq!(shown["subject"], "CN=Example signing");
        assert!(
            shown["others"][0]["subject"]
                .as_str()
                .unwrap()
                .contains("keywheel signing CA")
        );
        let exported = folder.json(&["keys", "ca", "export"]);
        assert_eq!(ders(exported["certificate_pem"].as_str().unwrap()), served_ca());
        assert!(folder.refused(&import).contains("nothing is to be done"));

        // Every key is certified anew at will, and then nothing hangs on the internal authority any more.
        for key in folder.json(&["keys", "list"]).as_array().unwrap() {
            let kid = key["kid"].as_str().unwrap();
            let renewal = folder.json(&["keys", "renew", kid]);
            assert_ne!(renewal["certificate_sha256"], key["certificate_sha256"]);
            soon("the new certificate is published", || {
                jwk(served, kid).unwrap()["x5t#S256"] == renewal["certificate_sha256"]
            });
        }
        soon("one authority is left", || served_ca().len() == 1);
        assert_eq!(folder.json(&["keys", "ca", "show"])["others"], json!([]));
        for key in jwks(served)["keys"].as_array().unwrap() {
            let der = x5c(key);
            let leaf = crate::certificates::parsed(&der);
            let authority = served_ca();
            leaf.verify_signature(Some(crate::certificates::parsed(&authority[0]).public_key()))
                .unwrap();
        }
    });
}

#[test]
fn an_imported_key_is_published_signs_in_its_turn_and_never_comes_back() {
    on_both(|database| {
        let folder = Folder::empty()
            .with("DATABASE_URL", database.url())
            .with("KEYWHEEL_ISSUER", ISSUER);
        let served = folder.serve(&[]);
        let client = folder.json(&[
            "client",
            "create",
            "x",
            "--id",
            "billing",
            "--grant",
            "client_credentials",
        ]);
        let secret = client["client_secret"].as_str().unwrap();
        let token = || {
            let request = Request::raw_form(TOKEN, "grant_type=client_credentials").basic("billing", secret);
            send(served.address, &request).json()["access_token"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let ca = Authority::new("Example root", yesterday(), Seconds::days(3_650));
        let keys = [(); 2].map(|()| rsa_key());
        for (key, (certificate, file)) in keys.iter().zip([("0.pem", "0.key"), ("1.pem", "1.key")]) {
            let leaf = ca.leaf(key, ISSUER, yesterday(), Seconds::days(400));
            folder.secret_file(certificate, &(leaf + &ca.certificate()));
            folder.secret_file(file, &key.serialize_pem());
        }
        let import = |index: usize, when: &[&str]| {
            let (certificate, key) = (format!("{index}.pem"), format!("{index}.key"));
            let pair = ["keys", "import", "key", "--certificate", &certificate, "--key", &key];
            folder.run(&[&pair[..], when, &["--output", "json"]].concat())
        };
        let too_early = import(0, &["--activate-at", "1h"]);
        assert!(
            said(&too_early).contains("--activate-at 86410s or more"),
            "{}",
            said(&too_early)
        );

        let first = import(0, &[]);
        assert!(first.status.success() && said(&first).is_empty(), "{}", said(&first));
        let first_kid = serde_json::from_slice::<Value>(&first.stdout).unwrap();
        assert_eq!(
            (&first_kid["safe"], &first_kid["names_issuer"]),
            (&json!(true), &json!(true))
        );
        let first_kid = first_kid["kid"].as_str().unwrap();
        soon("the key is published", || jwk(&served, first_kid).is_some());
        let state = |kid: &str| {
            let keys = folder.json(&["keys", "list"]);
            let key = keys.as_array().unwrap().iter().find(|key| key["kid"] == kid).cloned();
            key.map(|key| key["state"].as_str().unwrap().to_owned())
        };
        assert_eq!(state(first_kid).as_deref(), Some("next"));
        let leaf = ders(&std::fs::read_to_string(folder.path().join("0.pem")).unwrap());
        assert_eq!(x5c(&jwk(&served, first_kid).unwrap()), leaf[0], "exactly the leaf");
        let served_ca = || ders(send(served.address, &Request::get(CA)).text());
        assert!(
            served_ca().len() == 2 && served_ca()[1] == leaf[1],
            "its authority is to be pinned, too"
        );

        let second = import(1, &["--activate-at", "now"]);
        assert!(said(&second).contains("may refuse its tokens"), "{}", said(&second));
        let second_kid = serde_json::from_slice::<Value>(&second.stdout).unwrap();
        let second_kid = second_kid["kid"].as_str().unwrap();
        soon("it signs", || part(&token(), 0)["kid"] == second_kid);
        verify_with(&jwks(&served), &token()).unwrap();
        for (key, output) in keys.iter().zip([&first, &second]) {
            keeps_secret(&folder, &key.serialize_pem(), &[output]);
        }

        folder.json(&["keys", "revoke", second_kid]);
        let refused = import(1, &[]);
        assert!(said(&refused).contains("never comes back"), "{}", said(&refused));
        assert_eq!(refused.status.code(), Some(1));
        // Nor where the database has forgotten it, as one from a backup would: this machine remembers.
        let begun = Instant::now();
        let journal = || std::fs::read_to_string(folder.path().join("keys/journal.json")).unwrap();
        while !journal().contains(second_kid) {
            assert!(
                begun.elapsed() < Duration::from_secs(15),
                "the journal does not remember"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        served.ask_to_stop();
        database.execute(&format!("DELETE FROM signing_keys WHERE kid = '{second_kid}'"));
        assert_eq!(state(second_kid), None);
        let refused = import(1, &[]);
        assert!(said(&refused).contains("never comes back"), "{}", said(&refused));
        let events = folder.json(&["audit", "list"]).to_string();
        assert!(events.contains("key.imported"), "{events}");
    });
}

fn openssl(folder: &Folder, arguments: &str) -> Output {
    Command::new("openssl")
        .current_dir(folder.path())
        .args(arguments.split(' '))
        .output()
        .unwrap()
}

#[test]
fn what_openssl_writes_is_understood_and_what_is_wrong_with_it_is_told() {
    if Command::new("openssl").arg("version").output().is_err() {
        return;
    }
    let folder = Folder::empty();
    let make = |arguments: &str| {
        let output = openssl(&folder, arguments);
        assert!(output.status.success(), "{output:?}");
    };
    make(
        "req -x509 -newkey rsa:3072 -nodes -keyout ca.key -out ca.pem -days 900 -subj /C=DE/O=Bücher/CN=Signing -addext keyUsage=critical,keyCertSign",
    );
    make("rsa -traditional -in ca.key -out ca.pkcs1");
    make("pkcs8 -topk8 -in ca.key -out ca.encrypted -passout pass:x");
    make(
        "req -x509 -newkey rsa:2048 -nodes -keyout tls.key -out tls.pem -days 900 -subj /CN=tls -addext basicConstraints=critical,CA:FALSE",
    );
    make("req -x509 -newkey rsa:2048 -nodes -keyout sha1.key -out sha1.pem -days 900 -subj /CN=old -sha1");
    make("req -x509 -newkey rsa:2048 -nodes -keyout brief.key -out brief.pem -days 30 -subj /CN=brief");
    make("req -x509 -newkey rsa:5120 -nodes -keyout long.key -out long.pem -days 900 -subj /CN=long");
    make("ecparam -name prime256v1 -genkey -noout -out ec.key");
    make("pkey -in ca.key -outform DER -out ca.der");
    for (certificate, key, reason) in [
        ("ca.pem", "ca.encrypted", "openssl pkey -in FILE"),
        ("ca.pem", "tls.key", "of another key"),
        ("ca.pem", "ec.key", "not of RSA"),
        ("ca.pem", "ca.der", "openssl pkey -inform DER"),
        ("ca.pem", "ca.pem", "holds none, but CERTIFICATE"),
        ("ca.pem", "nothing.key", "cannot be opened"),
        ("nothing.pem", "ca.key", "cannot be opened"),
        ("ca.key", "ca.key", "holds none"),
        ("tls.pem", "tls.key", "CA:TRUE"),
        ("sha1.pem", "sha1.key", "SHA-256"),
        ("brief.pem", "brief.key", "is needed until"),
        ("long.pem", "long.key", "2048 to 4096 bits"),
    ] {
        let said = folder.refused(&["keys", "import", "ca", "--certificate", certificate, "--key", key]);
        assert!(said.contains(reason), "{certificate} {key}: {said}");
    }
    // A key of another algorithm, for who wants it and for nobody else.
    make(
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout curve.key -out curve.csr -subj /CN=curve",
    );
    make("x509 -req -in curve.csr -CA ca.pem -CAkey ca.key -days 900 -set_serial 1 -out curve.pem");
    let chain = ["curve.pem", "ca.pem"].map(|name| std::fs::read_to_string(folder.path().join(name)).unwrap());
    std::fs::write(folder.path().join("chain.pem"), chain.concat()).unwrap();
    let import = [
        "keys",
        "import",
        "key",
        "--alg",
        "ES256",
        "--certificate",
        "chain.pem",
        "--key",
        "curve.key",
    ];
    let said = folder.refused(&import);
    assert!(said.contains("nobody uses ES256"), "{said}");
    folder.json(&[
        "client",
        "create",
        "Curve",
        "--grant",
        "client_credentials",
        "--signing-alg",
        "ES256",
    ]);
    let imported = folder.json(&import);
    let keys = folder.json(&["keys", "list"]);
    assert_eq!((&keys[0]["kid"], &keys[0]["alg"]), (&imported["kid"], &"ES256".into()));
    let none = folder.refused(&["keys", "ca", "show"]);
    assert!(none.contains("keys import ca"), "{none}");
    // From standard input, in PKCS#1, before any server has run.
    let key = std::fs::read_to_string(folder.path().join("ca.pkcs1")).unwrap();
    assert!(key.contains("BEGIN RSA PRIVATE KEY"));
    folder.with_input(&["keys", "import", "ca", "--certificate", "ca.pem", "--key", "-"], &key);
    let served = folder.serve(&["--issuer", ISSUER]);
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    std::fs::write(file("served.pem"), send(served.address, &Request::get(CA)).text()).unwrap();
    for key in jwks(&served)["keys"].as_array().unwrap() {
        std::fs::write(file("leaf.der"), x5c(key)).unwrap();
        make("verify -x509_strict -CAfile served.pem leaf.der");
    }
}

#[test]
fn the_end_of_an_authority_is_told_once_for_each_threshold() {
    let folder = Folder::empty()
        .with("KEYWHEEL_ISSUER", ISSUER)
        .with("KEYWHEEL_SIGNING_PERIOD", "26h");
    let served = folder.serve(&[]);
    let ca = Authority::new("brief", yesterday(), Seconds::days(6));
    folder.secret_file("ca.pem", &ca.certificate());
    folder.secret_file("ca.key", &ca.key());
    folder.json(&["keys", "import", "ca", "--certificate", "ca.pem", "--key", "ca.key"]);
    // Several ticks.
    std::thread::sleep(Duration::from_secs(4));
    let (_, log) = served.terminate();
    let told: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["event"] == "authority.expires")
        .collect();
    let [told] = &told[..] else {
        panic!("one line: {told:?}");
    };
    assert_eq!((&told["subject"], &told["days"]), (&json!("CN=brief"), &json!(7)));
    assert!(log.contains("authority.followed"), "{log}");
}
