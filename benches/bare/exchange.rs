//! HTTP/1.1 over one kept connection: as little of it as a load needs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

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
    head: String,
    body: String,
    chain: Option<Chain>,
}

/// What an answer gives is what the next request over the same connection presents.
#[derive(Deserialize)]
struct Chain {
    /// The member of the answer, and in braces the place in the body.
    member: String,
    /// What the first request presents.
    first: String,
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
    chain: Option<Chain>,
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
        Ok(Request {
            kind: line.kind,
            status: line.status,
            head,
            body: line.body,
            chain: line.chain,
        })
    }

    /// Whether each connection has one of its own, and goes on with what it is given.
    pub(super) fn is_chained(&self) -> bool {
        self.chain.is_some()
    }

    /// As it is sent by a connection that was given something, or was not yet.
    fn bytes(&self, given: Option<&str>) -> Vec<u8> {
        let body = match &self.chain {
            Some(Chain { member, first }) => {
                Cow::Owned(self.body.replace(&format!("{{{member}}}"), given.unwrap_or(first)))
            }
            None => Cow::Borrowed(&self.body),
        };
        let length = match body.len() {
            0 => String::new(),
            length => format!("Content-Length: {length}\r\n"),
        };
        format!("{}{length}\r\n{body}", self.head).into_bytes()
    }

    /// What the next one presents, out of the answer to this one.
    fn given(&self, body: &[u8]) -> Outcome<Option<String>> {
        let Some(Chain { member, .. }) = &self.chain else {
            return Ok(None);
        };
        let answer: Value = serde_json::from_slice(body)?;
        let given = answer.get(member).and_then(Value::as_str);
        Ok(Some(given.ok_or("an answer does not give what comes next")?.to_owned()))
    }
}

/// A connection that is kept from one request to the next.
pub(super) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    given: Option<String>,
}

impl Connection {
    pub(super) fn over(stream: TcpStream) -> Outcome<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection {
            stream,
            read: vec![0; LONGEST_ANSWER],
            given: None,
        })
    }

    /// The status of the answer, which was read to its end.
    pub(super) fn ask(&mut self, request: &Request) -> Outcome<u16> {
        self.stream.write_all(&request.bytes(self.given.as_deref()))?;
        let mut filled = 0;
        let mut answer = None;
        while answer.as_ref().is_none_or(|head: &Head| filled < head.end) {
            let free = self.read.get_mut(filled..).filter(|free| !free.is_empty());
            let new = self.stream.read(free.ok_or("an answer is too long")?)?;
            if new == 0 {
                return Err("the server closed a connection in the middle of an answer".into());
            }
            filled += new;
            if answer.is_none() {
                answer = Head::of(self.read.get(..filled).unwrap_or_default())?;
            }
        }
        let Head { status, body, end } = answer.ok_or("no answer")?;
        if status == request.status {
            self.given = request.given(self.read.get(body..end).unwrap_or_default())?;
        }
        Ok(status)
    }
}

/// The status of an answer, and where its body begins and ends.
struct Head {
    status: u16,
    body: usize,
    end: usize,
}

impl Head {
    /// `None` while it is not complete.
    fn of(read: &[u8]) -> Outcome<Option<Self>> {
        let Some(head) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let mut lines = std::str::from_utf8(read.get(..head).unwrap_or_default())?.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status: u16 = status.ok_or("this is not HTTP")?.parse()?;
        let mut length = lines.filter_map(|line| line.split_once(':'));
        let length = length.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = match (status, length) {
            (204 | 304, _) => 0,
            (_, Some((_, length))) => length.trim().parse()?,
            (_, None) => return Err("an answer does not tell its length".into()),
        };
        let body = head + 4;
        let end = body + length;
        Ok(Some(Head { status, body, end }))
    }
}
