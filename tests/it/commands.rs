//! The commands: what each prints, and how it refuses.

use serde_json::json;

use crate::support::on_both_processes;
use crate::support::process::Folder;

#[test]
fn every_command_prints_one_json_document_or_a_table() {
    on_both_processes(|folder| {
        let created = folder.create_client("billing");
        assert_eq!(created["client_id"], "billing");
        // RFC 7591 section 3.2.1: beside every secret, 0 for one that does not expire.
        assert_eq!(created["client_secret_expires_at"], 0);
        assert!(created["client_id_issued_at"].is_u64());
        let document = folder.json(&["client", "show", "billing"]);
        assert_eq!(
            (&document["client_id"], &document["scope"]),
            (&json!("billing"), &json!("read"))
        );
        assert!(
            document.get("client_secret").is_none() && !document.to_string().contains("hash"),
            "{document}"
        );
        let updated = folder.json(&[
            "client",
            "update",
            "billing",
            "--scope",
            "read write",
            "--audience",
            "https://api.example",
            "--access-ttl",
            "5m",
            "--token-type",
            "JWT",
            "--claim-profile",
            "simplejwt",
        ]);
        assert_eq!(
            (
                &updated["scope"],
                &updated["audience"],
                &updated["access_ttl"],
                &updated["claim_profile"]
            ),
            (
                &json!("read write"),
                &json!(["https://api.example"]),
                &json!(300),
                &json!("simplejwt")
            )
        );
        for (own, back) in [
            ("--access-ttl", "--default-access-ttl"),
            ("--token-reuse-window", "--no-token-reuse-window"),
            ("--refresh-ttl", "--default-refresh-ttl"),
            ("--refresh-absolute-ttl", "--default-refresh-absolute-ttl"),
            ("--refresh-retry-window", "--default-refresh-retry-window"),
        ] {
            let member = own.trim_start_matches("--").replace('-', "_");
            let updated = folder.json(&["client", "update", "billing", own, "60s"]);
            assert_eq!(updated[&member], 60);
            let updated = folder.json(&["client", "update", "billing", back]);
            assert_eq!(updated.get(&member), None, "{back} returns to the server's own");
        }
        let updated = folder.json(&["client", "update", "billing", "--signing-alg", "ES256"]);
        assert_eq!(updated["signing_alg"], "ES256");
        assert_eq!(folder.json(&["client", "show", "billing"])["signing_alg"], "ES256");
        let updated = folder.json(&["client", "update", "billing", "--default-signing-alg"]);
        assert_eq!(updated.get("signing_alg"), None);
        assert_eq!(folder.json(&["client", "list"]).as_array().unwrap().len(), 1);
        // P-01
        let warned = folder.run(&["client", "create", "Kiosk", "--grant", "password"]);
        assert!(
            String::from_utf8_lossy(&warned.stderr).contains("RFC 9700"),
            "{warned:?}"
        );
        folder.json(&[
            "client",
            "delete",
            folder.json(&["client", "list"])[1]["client_id"].as_str().unwrap(),
        ]);
        assert!(
            folder.json(&["db", "status"])["migrations"]
                .as_array()
                .unwrap()
                .iter()
                .all(|row| row["applied"] == true)
        );
        assert_eq!(folder.json(&["db", "migrate"]), json!({"applied": []}));
        assert!(folder.json(&["config", "show"])["database_url"]["value"].is_string());
        // The keys exist once a server has run.
        let served = folder.serve(&["--issuer", "https://auth.example"]);
        let keys = folder.json(&["keys", "list"]);
        let kid = keys[0]["kid"].as_str().unwrap();
        for member in ["alg", "state", "published_at", "activates_at", "certificate_sha256"] {
            assert!(keys[0][member].is_string(), "{member}: {keys}");
        }
        assert!(
            folder.json(&["keys", "plan"])["events"]
                .as_array()
                .is_some_and(|plan| plan.len() >= 6)
        );
        assert!(
            folder.json(&["keys", "export", kid, "--public"])["public_key_pem"]
                .as_str()
                .unwrap()
                .contains("BEGIN PUBLIC KEY")
        );
        assert!(
            folder.json(&["keys", "ca", "show"])["subject"]
                .as_str()
                .unwrap()
                .contains("keywheel signing CA")
        );
        for arguments in [
            &["client", "list"][..],
            &["client", "show", "billing"],
            &["client", "secret", "list", "billing"],
            &["keys", "list"],
            &["keys", "plan"],
            &["keys", "ca", "export"],
            &["db", "status"],
            &["config", "show"],
            &["audit", "list"],
            &["completions", "bash"],
        ] {
            let output = folder.run(arguments);
            assert!(
                output.status.success() && !output.stdout.is_empty(),
                "{arguments:?}: {output:?}"
            );
        }
        drop(served);
    });
}

#[test]
fn wrong_usage_is_status_2_and_a_refusal_is_status_1_with_a_way_out() {
    let folder = Folder::empty();
    for arguments in [
        &["client", "create"][..],
        &["client", "create", "x", "--grant", "made_up"],
        &["client", "create", "x", "--id", "a b", "--grant", "client_credentials"],
        &[
            "client",
            "create",
            "x",
            "--grant",
            "client_credentials",
            "--access-ttl",
            "soon",
        ],
        &["serve", "--unknown"],
        &["keys", "export", "x"],
        &["nonsense"],
    ] {
        let output = folder.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    folder.create_client("billing");
    for (arguments, way_out) in [
        (
            &[
                "client",
                "create",
                "x",
                "--id",
                "billing",
                "--grant",
                "client_credentials",
            ][..],
            "choose another --id",
        ),
        (&["client", "create", "x"], "such as client_credentials"),
        (&["client", "show", "nobody"], "client list"),
        (&["client", "secret", "revoke", "billing", "x"], "client secret list"),
        (&["keys", "rotate"], "start a server"),
        (&["keys", "export", "x", "--public"], "keys list"),
        (&["serve"], "KEYWHEEL_ISSUER"),
        (&["serve", "--issuer", "http://auth.example"], "--allow-insecure-issuer"),
        (&["serve", "--issuer", "https://Auth.example"], "https://auth.example"),
        (&["config", "check", "--config", "missing.toml"], "missing.toml"),
    ] {
        let said = folder.refused(arguments);
        assert!(said.contains(way_out), "{arguments:?}: {said}");
    }
}

#[test]
fn the_configuration_is_checked_and_shown_without_secrets() {
    let folder = Folder::empty().with("KEYWHEEL_MASTER_KEY", "not-a-key-but-secret");
    std::fs::write(
        folder.path().join("keywheel.toml"),
        "isuer = \"https://auth.example\"\n",
    )
    .unwrap();
    assert!(
        folder
            .refused(&["config", "check"])
            .contains("did you mean \"issuer\"?")
    );
    std::fs::write(
        folder.path().join("keywheel.toml"),
        "issuer = \"https://auth.example\"\n[signing]\nperiod = \"1h\"\n",
    )
    .unwrap();
    let said = folder.refused(&["config", "check"]);
    assert!(said.contains("signing.period") && said.contains("or more"), "{said}");
    std::fs::write(
        folder.path().join("keywheel.toml"),
        "issuer = \"https://auth.example\"\n",
    )
    .unwrap();
    assert_eq!(folder.json(&["config", "check"]), json!({"ok": true}));
    let shown = folder.json(&["config", "show"]);
    assert_eq!(shown["master_key"]["value"], "[redacted]");
    assert_eq!(shown["issuer"]["source"], "keywheel.toml");
    assert!(!shown.to_string().contains("not-a-key-but-secret"));
}

#[test]
fn users_are_made_changed_and_taken_over_on_the_command_line() {
    on_both_processes(|folder| {
        let created = folder.with_input(
            &["user", "create", "Alice", "--password-stdin"],
            "correct horse battery\n",
        );
        assert_eq!(
            (&created["username"], &created["enabled"]),
            (&json!("Alice"), &json!(true))
        );
        let id = created["user_id"].as_str().unwrap();
        assert_eq!(folder.json(&["user", "show", "ALICE"])["user_id"], id);
        assert_eq!(folder.json(&["user", "show", id])["username"], "Alice");
        folder.json(&["user", "disable", "alice"]);
        assert_eq!(folder.json(&["user", "show", "alice"])["enabled"], false);
        folder.json(&["user", "enable", "alice"]);
        folder.with_input(
            &["user", "set-password", "alice", "--password-stdin"],
            "another long one\n",
        );

        let hash = "pbkdf2_sha256$10000$seasalt$CWWFdHOWwPnki7HvkcqN9iA2T3KLW1cf2uZ5kvArtVY=";
        let file = folder.path().join("users.csv");
        std::fs::write(
            &file,
            format!("username,password_hash,id\nbob,{hash},7\ncarol,plain,8\n"),
        )
        .unwrap();
        let said = folder.refused(&["user", "import", "users.csv"]);
        assert!(
            said.contains("line 3") && said.contains("nothing was imported"),
            "{said}"
        );
        std::fs::write(
            &file,
            format!("username,password_hash,id\nbob,{hash},7\nALICE,{hash},8\n"),
        )
        .unwrap();
        assert!(
            folder.refused(&["user", "import", "users.csv"]).contains("alice"),
            "a clash with who is there"
        );
        assert_eq!(
            folder.json(&["user", "list"]).as_array().unwrap().len(),
            1,
            "nothing is half imported"
        );
        std::fs::write(&file, format!("username,password_hash,id\nbob,{hash},7\n")).unwrap();
        assert_eq!(folder.json(&["user", "import", "users.csv"]), json!({"imported": 1}));
        assert_eq!(folder.json(&["user", "show", "7"])["username"], "bob");
        folder.json(&["user", "delete", "bob"]);
        assert!(folder.refused(&["user", "show", "bob"]).contains("user list"));
        let short = folder.try_with_input(&["user", "create", "dave", "--password-stdin"], "short\n");
        assert!(!short.status.success() && String::from_utf8_lossy(&short.stderr).contains("8 to 1024"));
        let unasked = folder.refused(&["user", "create", "dave"]);
        assert!(unasked.contains("--password-stdin"), "{unasked}");
        let events = folder.json(&["audit", "list"]).to_string();
        for event in [
            "user.created",
            "user.disabled",
            "user.password_set",
            "user.imported",
            "user.deleted",
        ] {
            assert!(events.contains(event), "{event}: {events}");
        }
        assert!(!events.contains("correct horse") && !events.contains("pbkdf2"));
    });
}
