//! A collector of OpenTelemetry traces: takes OTLP over HTTP, and may be down, slow or silent.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What is answered to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// Taken, with this said of it.
    Taken(&'static str),
    /// Refused with a status.
    Refused(u16),
    /// Nothing, ever.
    Silence,
}

/// A request that came.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// A collector that listens on a port of its own until the test ends.
pub(crate) struct Collector {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    came: Receiver<Export>,
}

impl Collector {
    /// One that takes everything.
    pub(crate) fn start() -> Self {
        Collector::answering(&[])
    }

    /// One that answers so, one request after the other, the last answer again and again.
    pub(crate) fn answering(answers: &[Answer]) -> Self {
        let answers: VecDeque<Answer> = answers.iter().copied().collect();
        let answers = Arc::new(Mutex::new(answers));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (tell, came) = channel();
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let (tell, answers) = (tell.clone(), Arc::clone(&answers));
                std::thread::spawn(move || serve(&stream, &tell, &answers));
            }
        });
        Collector {
            address,
            connections,
            came,
        }
    }

    /// The base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The next request.
    pub(crate) fn next(&self) -> Export {
        self.came.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    /// Everything that has come and was not looked at yet.
    pub(crate) fn rest(&self) -> Vec<Export> {
        self.came.try_iter().collect()
    }
}

fn serve(stream: &TcpStream, tell: &Sender<Export>, answers: &Mutex<VecDeque<Answer>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let lower = head.to_lowercase();
        let (_, length) = lower.split_once("content-length:")?;
        let mut body = vec![0; length.lines().next()?.trim().parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        let _ = tell.send(Export { head, body });
        let answer = {
            let mut answers = answers.lock().unwrap();
            match answers.len() {
                0 => Answer::Taken("{}"),
                1 => answers[0],
                _ => answers.pop_front()?,
            }
        };
        let (status, body) = match answer {
            Answer::Taken(body) => (200, body),
            Answer::Refused(status) => (status, ""),
            Answer::Silence => {
                // Until the other side hangs up.
                drop(reader.read_to_end(&mut Vec::new()));
                return None;
            }
        };
        let head = format!("HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\n");
        let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        (&mut &*stream).write_all(answer.as_bytes()).ok()?;
    }
}

/// The spans of requests to the collector.
pub(crate) fn spans(exports: &[Export]) -> Vec<Span> {
    let mut spans = Vec::new();
    for export in exports {
        let document: Value = serde_json::from_slice(&export.body).unwrap();
        let below = &document["resourceSpans"][0]["scopeSpans"][0]["spans"];
        spans.extend(below.as_array().unwrap().iter().cloned().map(Span));
    }
    spans
}

/// A span as it was received.
#[derive(Debug, Clone)]
pub(crate) struct Span(pub(crate) Value);

impl Span {
    pub(crate) fn name(&self) -> &str {
        self.0["name"].as_str().unwrap()
    }

    pub(crate) fn trace(&self) -> &str {
        self.0["traceId"].as_str().unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        self.0["spanId"].as_str().unwrap()
    }

    pub(crate) fn parent(&self) -> Option<&str> {
        self.0["parentSpanId"].as_str()
    }

    /// The value of an attribute, as text.
    pub(crate) fn attribute(&self, key: &str) -> Option<&str> {
        let attributes = self.0["attributes"].as_array().unwrap();
        let value = &attributes.iter().find(|attribute| attribute["key"] == key)?["value"];
        value["stringValue"].as_str().or_else(|| value["intValue"].as_str())
    }

    /// When it began and ended, in nanoseconds since 1970.
    pub(crate) fn times(&self) -> (u64, u64) {
        let time = |name: &str| self.0[name].as_str().unwrap().parse().unwrap();
        (time("startTimeUnixNano"), time("endTimeUnixNano"))
    }
}

/// Tries again and again for twenty seconds.
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
