use std::borrow::Cow;
use std::time::Instant;

/// A traced request that was answered: a span of the server, and below it one for each part that took time.
#[derive(Debug, Clone)]
pub struct FinishedTrace {
    /// What all spans of the trace share, those of other programs included.
    pub trace_id: [u8; 16],
    /// The server's own span first.
    pub spans: Vec<Span>,
}

/// A span as OpenTelemetry has it.
#[derive(Debug, Clone)]
pub struct Span {
    /// Its identifier.
    pub id: [u8; 8],
    /// The span that it is a part of, if any.
    pub parent: Option<[u8; 8]>,
    /// What is done; one of a few names.
    pub name: Cow<'static, str>,
    /// Its place between programs.
    pub kind: SpanKind,
    /// When it began.
    pub begun: Instant,
    /// When it ended.
    pub ended: Instant,
    /// What is known of it, under the names of OpenTelemetry's conventions where they have one.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Whether it failed by the server's fault.
    pub failed: bool,
}

/// The place of a span between programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Work inside the program.
    Internal,
    /// A request that is answered.
    Server,
    /// A question to another program.
    Client,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

impl From<&'static str> for Attribute {
    fn from(text: &'static str) -> Self {
        Attribute::Text(text.into())
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Attribute::Text(text.into())
    }
}

impl From<u16> for Attribute {
    fn from(number: u16) -> Self {
        Attribute::Number(number.into())
    }
}
