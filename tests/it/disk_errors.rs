//! A disk that fails now and then: SQLite's writes and syncs return errors, which strace makes of them. Whoever asks is answered right, or told to
//! come back, and what was answered stays true.

use std::io::Write;

use crate::refresh::{PASSWORD, Session, session};
use crate::support::http::{Request, Response, send};
use crate::support::process::{Folder, Served};
use crate::support::server::{JWKS, TOKEN};
use crate::support::strace::Injection;
use crate::support::{Database, count};
use crate::token::assert_refused;

const SERVE: [&str; 2] = ["--issuer", "https://auth.example"];
/// What fails, how, and which of the calls of a thread: fewer than one in each commit, or none would ever come through.
const FAULTS: [(&str, &str); 4] = [
    ("fsync,fdatasync", "error=EIO:when=2+5"),
    ("pwrite64", "error=EIO:when=3+97"),
    ("pwrite64", "error=ENOSPC:when=3+71"),
    ("pread64", "error=EIO:when=1+2"),
];
const REFRESHES: usize = 60;
const MOST_TRIES: usize = 40;

// N-02
#[test]
fn a_disk_that_fails_now_and_then_is_not_now_and_never_a_lost_or_a_second_token() {
    for (calls, how) in FAULTS {
        let database = Database::sqlite();
        let folder = Folder::empty().readable().with("DATABASE_URL", database.url());
        let arguments =
            "client create Shop --id shop --grant password --grant refresh_token --grant client_credentials";
        let created = folder.json(&arguments.split(' ').collect::<Vec<_>>());
        let secret = created["client_secret"].as_str().unwrap();
        let password = format!("{PASSWORD}\n");
        folder.with_input(&["user", "create", "alice", "--password-stdin"], &password);
        let served = folder.serve(&SERVE);
        let asked = |served: &Served, form: &[(&str, &str)]| {
            send(served.address, &Request::form(TOKEN, form).basic("shop", secret))
        };
        let refreshed = |served: &Served, session: &Session| {
            let form = [
                ("grant_type", "refresh_token"),
                ("refresh_token", session.refresh.as_str()),
            ];
            asked(served, &form)
        };
        let sign_in = [
            ("grant_type", "password"),
            ("username", "alice"),
            ("password", PASSWORD),
        ];
        let first = session(&asked(&served, &sign_in));
        let Some(injection) = Injection::into(&served, &folder, calls, how) else {
            let why = "SKIPPED: strace cannot make calls fail here; a disk that fails was NOT checked\n";
            return std::io::stderr().write_all(why.as_bytes()).unwrap();
        };
        let (mut newest, mut put_off) = (first.clone(), 0);
        for _ in 0..REFRESHES {
            let (answer, refusals) = persistent(calls, || refreshed(&served, &newest));
            put_off += refusals;
            newest = session(&answer);
            let token = [("grant_type", "client_credentials")];
            assert_eq!(asked(&served, &token).status, 200, "{calls}: services need no disk");
            assert_eq!(send(served.address, &Request::get(JWKS)).status, 200);
        }
        let failed = injection.end();
        assert!(failed > 5, "{calls}, {how}: {failed} calls failed");
        if calls != "pread64" {
            assert!(put_off > 3, "{calls}, {how}: {put_off} of {failed} were told");
        }
        newest = session(&refreshed(&served, &newest));
        let broken = "pragma_integrity_check WHERE integrity_check <> 'ok'";
        assert_eq!(count(database.url(), broken), 0, "{calls}, {how}");
        drop(served.terminate());
        let served = folder.serve(&SERVE);
        newest = session(&refreshed(&served, &newest));
        assert_refused(&refreshed(&served, &first), 400, "invalid_grant");
        assert_refused(&refreshed(&served, &newest), 400, "invalid_grant");
    }
}

/// The first answer that is one, and how often it was put off before.
fn persistent(calls: &str, ask: impl Fn() -> Response) -> (Response, usize) {
    for refusals in 0..MOST_TRIES {
        let answer = ask();
        if answer.status != 503 {
            return (answer, refusals);
        }
        assert_refused(&answer, 503, "temporarily_unavailable");
        assert!(answer.header("retry-after").is_some());
    }
    panic!("{calls}: it is put off for ever");
}
