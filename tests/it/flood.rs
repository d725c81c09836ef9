//! More token requests at once than can be signed in time: who asks for something else does not wait, and who comes too late is told.

use rustix::process::{Pid, Signal, kill_process};

use crate::support::http::{Connection, Request};
use crate::support::process::Folder;
use crate::support::server::{JWKS, TOKEN};

/// More than stand in the line of one worker.
const REQUESTS: usize = 640;

//
#[test]
fn a_flood_of_token_requests_is_bounded_and_keeps_nobody_from_the_key_set() {
    let folder = Folder::empty().with("KEYWHEEL_WORKERS", "1");
    let secret = folder.client_secret("billing");
    let served = folder.serve(&["--dev"]);
    let token = Request::raw_form(TOKEN, "grant_type=client_credentials").basic("billing", &secret);
    let fetch = Request::get(JWKS);
    let mut reader = Connection::open(served.address);
    let etag = reader.send(&fetch).header("etag").unwrap().to_owned();
    let mut flood: Vec<Connection> = (0..REQUESTS).map(|_| Connection::open(served.address)).collect();
    for connection in &mut flood {
        assert_eq!(connection.send(&Request::get("/livez")).status, 200);
    }

    // All of them are there when the server goes on, and the one who wants the key set is the last.
    let pid = Pid::from_raw(served.pid().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    for connection in &mut flood {
        connection.send_unanswered(&token);
    }
    reader.send_unanswered(&fetch);
    kill_process(pid, Signal::CONT).unwrap();

    let answer = reader.read_answer();
    let waiting = flood.iter().filter(|connection| !connection.has_answer()).count();
    assert_eq!((answer.status, answer.header("etag")), (200, Some(etag.as_str())));
    assert!(waiting > REQUESTS / 2, "{waiting} still waited");

    let answers: Vec<_> = flood.iter_mut().map(Connection::read_answer).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert!((1..REQUESTS / 2).contains(&refused.len()), "{} refused", refused.len());
    for answer in refused {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")));
        assert_eq!(answer.json()["error"], "temporarily_unavailable");
    }
    // The line has emptied.
    assert_eq!(reader.send(&token).status, 200);
}
