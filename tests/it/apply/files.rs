//! Files that are refused, and what is said of them.

use super::{FIRST, one, refused};
use crate::support::naming;
use crate::support::process::Folder;

#[test]
fn what_is_wrong_with_a_file_is_told_with_line_and_column() {
    let folder = Folder::empty()
        .with("WEAK", "correct horse battery staple")
        .with("BROKEN", &format!("{FIRST}\nmore"))
        .with("GOOD", FIRST);
    for (text, expected) in [
        (
            one("a", "scpe = \"x\""),
            "6:1: unknown key \"scpe\" of a client: did you mean \"scope\"?",
        ),
        (
            one("a", "scopes = \"x\""),
            "6:1: unknown key \"scopes\" of a client: did you mean \"scope\"?",
        ),
        (one("a", "client_secret = \"x\""), "6:1: unknown key \"client_secret\""),
        (
            format!("{}[[clients]]\n", one("a", "")),
            "7:3: unknown key \"clients\" of the file: did you mean \"client\"?",
        ),
        (one("a", "scope = \"x"), "6:"),
        (one("a", "scope = \"a  b\""), "6:9: a scope is"),
        (one("a", "access_ttl = 300"), "6:14: a text is needed here, in quotes"),
        (one("a", "access_ttl = \"soon\""), "6:14: \"soon\" is not a duration"),
        (
            one("a", "access_ttl = \"2d\""),
            "6:14: access_ttl: an access token lives from 10s to 1d",
        ),
        (one("a", "audience = [\"ok\", \"not ok\"]"), "6:19: an audience is"),
        (one("a", "introspect = \"yes\""), "6:14: write true or false"),
        (
            one("a", "token_endpoint_auth_methods = []"),
            "6:31: token_endpoint_auth_methods: a client needs at least one",
        ),
        (
            one("a", "").replace("client_credentials", "implicit"),
            "5:16: \"implicit\"",
        ),
        (
            one("a", "").replace("client_credentials", "refresh_token"),
            "5:15: grant_types: refresh_token alone",
        ),
        (
            one("a", "").replace("grant_types", "#"),
            "2:1: grant_types: a client needs at least one grant",
        ),
        (one("a", "").replace("client_name", "#"), "2:1: client_name is missing"),
        (one("a", "").replace("client_id", "#"), "2:1: client_id is missing"),
        (one("usr_a", ""), "3:13: a client_id must not"),
        (one("a", "").replace("owner", "#"), "1:1: owner is missing"),
        (
            one("a", "").replace("platform-team", "platform team"),
            "1:9: an owner is",
        ),
        (
            format!("{0}{1}", one("a", ""), one("a", "").split_once('\n').unwrap().1),
            "8:13: client_id \"a\" is declared twice, first in line 3",
        ),
        (
            one("a", "secret = \"hunter2-hunter2\""),
            "6:10: a secret never stands in this file",
        ),
        (
            one("a", "secret = { value = \"hunter2-hunter2\" }"),
            "6:12: unknown key \"value\" of a secret",
        ),
        (
            one("a", "secret = { env = \"GOOD\", file = \"x\" }"),
            "6:10: a secret never stands in this file",
        ),
        (
            one("a", "secret = { env = \"hunter2_NONE\" }"),
            "6:18: there is no variable of this name",
        ),
        (
            one("a", "secret = { env = \"WEAK\" }"),
            "6:18: the secret can be guessed",
        ),
        (one("a", "secret = { env = \"WEAK\" }"), "openssl rand -base64 32"),
        (
            one("a", "secret = { env = \"BROKEN\" }"),
            "6:18: the secret has a line break",
        ),
        (
            one("a", "secret = { file = \"nowhere\" }"),
            "6:19: this file, as seen from the folder of clients.toml, cannot be read",
        ),
        (
            one("a", "secret = { env = \"GOOD\", overlap = \"x\" }"),
            "6:36: \"x\" is not a duration",
        ),
    ] {
        naming(&text, || {
            let said = refused(&folder, &text, &[]);
            assert!(said.contains(expected), "{said}");
            assert!(
                !said.contains("hunter2") && !said.contains("battery") && !said.contains(FIRST),
                "{said}"
            );
        });
    }
    // All of it at once, in the order of the file.
    let said = refused(
        &folder,
        &one("a", "scope = 1\nintrospect = 2\nsecret = \"literal\""),
        &[],
    );
    let places: Vec<&str> = said
        .lines()
        .skip(1)
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        places,
        ["clients.toml:6:9", "clients.toml:7:14", "clients.toml:8:10"],
        "{said}"
    );
    assert!(
        !folder.path().join("keywheel.db").exists(),
        "a bad file touches no database"
    );
}

#[test]
fn a_file_in_another_format_is_refused_with_the_one_that_is_read() {
    let folder = Folder::empty();
    let yaml = "owner: platform-team\nclient:\n  - client_id: a\n";
    for (name, text, format) in [
        ("a.yaml", yaml, "YAML"),
        ("a.toml", yaml, "YAML"),
        ("a.txt", "{\"owner\": \"x\"}", "JSON"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
        let said = folder.refused(&["apply", name]);
        assert!(
            said.contains(&format!("{name} is {format}")) && said.contains("TOML alone"),
            "{said}"
        );
    }
    let said = folder.refused(&["apply", "nowhere.toml"]);
    assert!(said.contains("nowhere.toml cannot be read"), "{said}");
}
