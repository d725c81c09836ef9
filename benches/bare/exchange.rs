//! HTTP/1.1 over one kept connection: as little of it as a load needs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde::Deserialize;

use super::Outcome;

/// Longest time that an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// No answer of any server that is measured is longer.
const LONGEST_ANSWER: usize = 1 << 20;

/// A request as it is sent, and which answer is expected.
pub(super) struct Request {
    /// Requests of a kind are counted together.
    pub(super) kind: String,
    /// The status of the answer that is expected.
    pub(super) status: u16,
    bytes: Vec<u8>,
}

/// How a line of the file tells it: JSON, with these members.
#[derive(Deserialize)]
struct Line {
    kind: String,
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
    status: u16,
}

impl Request {
    /// Those of a file, one in each line.
    pub(super) fn read(file: &str) -> Outcome<Vec<Self>> {
        let text = std::fs::read_to_string(file)?;
        let requests: Vec<Self> = text.lines().map(Self::of).collect::<Outcome<_>>()?;
        match requests.is_empty() {
            true => Err(format!("{file} has no request").into()),
            false => Ok(requests),
        }
    }

    fn of(line: &str) -> Outcome<Self> {
        let line: Line = serde_json::from_str(line)?;
        let mut head = format!("{} {} HTTP/1.1\r\nHost: 127.0.0.1\r\n", line.method, line.path);
        for (name, value) in &line.headers {
            write!(head, "{name}: {value}\r\n")?;
        }
        if !line.body.is_empty() {
            write!(head, "Content-Length: {}\r\n", line.body.len())?;
        }
        Ok(Request {
            kind: line.kind,
            status: line.status,
            bytes: format!("{head}\r\n{}", line.body).into_bytes(),
        })
    }
}

/// A connection that is kept from one request to the next.
pub(super) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub(super) fn over(stream: TcpStream) -> Outcome<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection {
            stream,
            read: vec![0; LONGEST_ANSWER],
        })
    }

    /// The status of the answer, which was read to its end.
    pub(super) fn ask(&mut self, request: &Request) -> Outcome<u16> {
        self.stream.write_all(&request.bytes)?;
        let mut filled = 0;
        let mut answer = None;
        while answer.is_none_or(|(_, length)| filled < length) {
            let free = self.read.get_mut(filled..).filter(|free| !free.is_empty());
            let new = self.stream.read(free.ok_or("an answer is too long")?)?;
            if new == 0 {
                return Err("the server closed a connection in the middle of an answer".into());
            }
            filled += new;
            if answer.is_none() {
                answer = head(self.read.get(..filled).unwrap_or_default())?;
            }
        }
        Ok(answer.map_or(0, |(status, _)| status))
    }
}

/// The status of an answer and its length with the body; `None` while its head is not complete.
fn head(read: &[u8]) -> Outcome<Option<(u16, usize)>> {
    let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let mut lines = std::str::from_utf8(read.get(..end).unwrap_or_default())?.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status: u16 = status.ok_or("this is not HTTP")?.parse()?;
    let mut length = lines.filter_map(|line| line.split_once(':'));
    let length = length.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = match (status, length) {
        (204 | 304, _) => 0,
        (_, Some((_, length))) => length.trim().parse()?,
        (_, None) => return Err("an answer does not tell its length".into()),
    };
    Ok(Some((status, end + 4 + length)))
}
