//! Secrets that a file refers to, as they change.

use std::time::Duration;

use super::{FIRST, SECOND, actions, apply, events, fetch, one, with_secret, within_two_seconds};

#[test]
fn a_secret_that_changed_is_accepted_beside_the_one_before_by_a_running_server() {
    with_secret(|folder, _| {
        let by_file = one("billing", "secret = { file = \"billing.secret\" }");
        std::fs::write(folder.path().join("billing.secret"), format!("{FIRST}\n")).unwrap();
        apply(folder, &by_file, &[]);
        let served = folder.serve(&["--issuer", "https://auth.example"]);
        assert_eq!(fetch(&served, "billing", FIRST), 200);
        assert_eq!(fetch(&served, "billing", SECOND), 401);
        // The same secret from elsewhere is the same secret.
        assert_eq!(
            actions(&apply(
                folder,
                &one("billing", "secret = { env = \"BILLING_SECRET\" }"),
                &[]
            )),
            ["keep billing"]
        );

        std::fs::write(folder.path().join("billing.secret"), SECOND).unwrap();
        assert_eq!(actions(&apply(folder, &by_file, &[])), ["update billing"]);
        within_two_seconds(&served, "billing", SECOND, 200);
        assert_eq!(fetch(&served, "billing", FIRST), 200);
        assert_eq!(actions(&apply(folder, &by_file, &[])), ["keep billing"]);
        let detail = &events(folder)[0];
        assert_eq!(detail["event"], "client.secret_added");

        let secrets = folder.json(&["client", "secret", "list", "billing"]);
        assert_eq!(secrets.as_array().unwrap().len(), 2);
        for secret in secrets.as_array().unwrap() {
            let hint = secret["hint"].as_str().unwrap();
            assert!(
                hint.len() == 4 && !FIRST.contains(hint) && !SECOND.contains(hint),
                "{hint}"
            );
        }
        folder.json(&[
            "client",
            "secret",
            "revoke",
            "billing",
            secrets[0]["id"].as_str().unwrap(),
        ]);
        let revoked = [FIRST, SECOND].map(|secret| {
            std::thread::sleep(Duration::from_millis(1_200));
            fetch(&served, "billing", secret)
        });
        assert_eq!(
            revoked.iter().filter(|status| **status == 200).count(),
            1,
            "{revoked:?}"
        );
    });
}

#[test]
fn an_overlap_ends_the_secret_before_and_going_back_brings_it_to_life() {
    with_secret(|folder, _| {
        let with = |overlap: &str| {
            one(
                "billing",
                &format!("secret = {{ file = \"s\", overlap = \"{overlap}\" }}"),
            )
        };
        let secret = |text: &str| std::fs::write(folder.path().join("s"), text).unwrap();
        secret(FIRST);
        apply(folder, &with("1h"), &[]);
        let served = folder.serve(&["--issuer", "https://auth.example"]);
        assert_eq!(fetch(&served, "billing", FIRST), 200);
        secret(SECOND);
        let applied = apply(folder, &with("1h"), &[]);
        let acts: Vec<&str> = applied["clients"][0]["secrets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|secret| secret["action"].as_str().unwrap())
            .collect();
        assert_eq!(acts, ["add", "expire"]);
        within_two_seconds(&served, "billing", SECOND, 200);
        assert_eq!(fetch(&served, "billing", FIRST), 200);
        assert_eq!(actions(&apply(folder, &with("1h"), &[])), ["keep billing"]);

        // Back again, with the other one over at once.
        secret(FIRST);
        apply(folder, &with("0s"), &[]);
        within_two_seconds(&served, "billing", SECOND, 401);
        assert_eq!(fetch(&served, "billing", FIRST), 200);
        assert_eq!(actions(&apply(folder, &with("0s"), &[])), ["keep billing"]);
        // What has expired makes room for what comes.
        secret(&SECOND.replace('5', "6"));
        let applied = apply(folder, &with("1h"), &[]);
        assert_eq!(applied["clients"][0]["secrets"][0]["action"], "delete");
        assert_eq!(
            folder
                .json(&["client", "secret", "list", "billing"])
                .as_array()
                .unwrap()
                .len(),
            2
        );
    });
}

#[test]
fn a_secret_that_is_not_valid_yet_is_no_expired_one() {
    with_secret(|folder, _| {
        let declared = one("billing", "secret = { file = \"s\" }");
        let secret = |text: &str| std::fs::write(folder.path().join("s"), text).unwrap();
        secret(FIRST);
        apply(folder, &declared, &[]);
        folder.json(&["client", "secret", "add", "billing", "--not-before", "1d"]);
        secret(SECOND);
        let applied = apply(folder, &declared, &[]);
        let acts = applied["clients"][0]["secrets"].as_array().unwrap();
        assert_eq!(acts.len(), 1, "{acts:?}");
        assert_eq!(acts[0]["action"], "add");
        let secrets = folder.json(&["client", "secret", "list", "billing"]);
        assert_eq!(secrets.as_array().unwrap().len(), 3);
    });
}
