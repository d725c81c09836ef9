//! A client that sends exactly the bytes a test wants to send, and reads what comes back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a header; the test fails when it occurs twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} occurs twice: {self:?}");
        value
    }

    /// Its headers and its body.
    pub(crate) fn everything(&self) -> Vec<u8> {
        let headers: String = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect();
        [headers.as_bytes(), &self.body].concat()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// A request under construction.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Request {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn get(target: &str) -> Self {
        Request::new("GET", target)
    }

    /// A form with its parameters encoded.
    pub(crate) fn form(target: &str, parameters: &[(&str, &str)]) -> Self {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(parameters);
        Request::raw_form(target, &form.finish())
    }

    /// A form as it stands.
    pub(crate) fn raw_form(target: &str, body: &str) -> Self {
        Request::new("POST", target)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body.as_bytes())
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes a header that was set before.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn basic(self, user: &str, password: &str) -> Self {
        let value = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
        self.header("Authorization", &value)
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// What it says: the values of its query and its form, decoded, and the words of its headers.
    pub(crate) fn values(&self) -> Vec<String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let pairs = [query.as_bytes(), &self.body].map(url::form_urlencoded::parse);
        let words = self
            .headers
            .iter()
            .filter(|(name, _)| name != "Content-Type")
            .flat_map(|(_, value)| value.split(' '));
        let values = pairs.into_iter().flatten().map(|(_, value)| value.into_owned());
        values.chain(words.map(str::to_owned)).collect()
    }

    fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let has = |name: &str| self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        if !has("host") {
            head += &format!("Host: {address}\r\n");
        }
        if !has("content-length") && !has("transfer-encoding") && (!self.body.is_empty() || self.method == "POST") {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A connection that can be used again.
#[derive(Debug)]
pub(crate) struct Connection<S = TcpStream> {
    stream: S,
    address: SocketAddr,
    unread: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Connection::over(connect(address), address)
    }

    /// Whether there is something to be read, be it that the server has closed it.
    pub(crate) fn has_answer(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0; 1]);
        self.stream.set_nonblocking(false).unwrap();
        !peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Sends bytes without reading and without waiting for the server to take them.
    pub(crate) fn try_send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.set_nonblocking(true).unwrap();
        let sent = self.stream.write_all(bytes);
        self.stream.set_nonblocking(false).unwrap();
        sent
    }

    /// Over a socket that takes hardly any bytes before somebody reads them.
    pub(crate) fn with_a_small_window(address: SocketAddr) -> Self {
        use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_recv_buffer_size(&socket, 1).unwrap();
        connect(&socket, &address).unwrap();
        Connection {
            stream: TcpStream::from(socket),
            address,
            unread: Vec::new(),
        }
    }

    /// Whether this machine still has the server's end of it.
    pub(crate) fn has_another_end(&self) -> bool {
        has_another_end(&self.stream, self.address)
    }
}

impl<S: Read + Write> Connection<S> {
    /// On a stream that leads to a server.
    pub(crate) fn over(stream: S, address: SocketAddr) -> Self {
        Connection {
            stream,
            address,
            unread: Vec::new(),
        }
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    pub(crate) fn send(&mut self, request: &Request) -> Response {
        self.try_send(request)
            .unwrap_or_else(|| panic!("no answer to {} {}", request.method, request.target))
    }

    /// The same when the server may end before it has answered.
    pub(crate) fn try_send(&mut self, request: &Request) -> Option<Response> {
        self.stream.write_all(&request.bytes(self.address)).ok()?;
        self.read(request.method == "HEAD")
    }

    /// Sends bytes as they are. A server that closed the connection already may refuse the rest.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> Option<Response> {
        let _ = self.stream.write_all(bytes);
        self.read(false)
    }

    /// Sends bytes without reading; an error once the server has closed the connection.
    pub(crate) fn send_raw_unanswered(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request without reading the answer.
    pub(crate) fn send_unanswered(&mut self, request: &Request) {
        self.stream.write_all(&request.bytes(self.address)).unwrap();
    }

    /// The answer to a request that was sent before.
    pub(crate) fn read_answer(&mut self) -> Response {
        self.read(false).unwrap()
    }

    /// Whether the server closes the connection without saying anything more.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && matches!(self.stream.read(&mut [0; 1]), Ok(0) | Err(_))
    }

    fn read(&mut self, head_only: bool) -> Option<Response> {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            self.more()?;
        };
        let head = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .map(|line| {
                line.split_once(':')
                    .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                    .unwrap()
            })
            .collect();
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        let length = response
            .header("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        if !head_only {
            while self.unread.len() < length {
                self.more()?;
            }
            response.body = self.unread.drain(..length).collect();
        }
        Some(response)
    }

    fn more(&mut self) -> Option<()> {
        let mut buffer = [0; 16_384];
        match self.stream.read(&mut buffer) {
            Ok(0) | Err(_) => None,
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                Some(())
            }
        }
    }
}

/// Whether this machine still has the other end of a connection to it.
pub(crate) fn has_another_end(stream: &TcpStream, address: SocketAddr) -> bool {
    let (server, client) = (address.port(), stream.local_addr().unwrap().port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |text: &str| u16::from_str_radix(text.rsplit(':').next().unwrap(), 16).ok();
    table.lines().any(|line| {
        let ends: Vec<&str> = line.split_whitespace().skip(1).take(2).collect();
        (port(ends[0]), port(ends[1])) == (Some(server), Some(client))
    })
}

/// A stream to a server, on which nobody waits for ever.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends one request on a connection of its own.
pub(crate) fn send(address: SocketAddr, request: &Request) -> Response {
    Connection::open(address).send(request)
}
