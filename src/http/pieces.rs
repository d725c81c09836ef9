//! Where the head of a request ends. actix takes apart all that it has read before it answers the first request in it, and each that
//! waits costs it seven kilobytes: 5,000 requests in 128 KiB are 35 MB. So it is given one head at a time (`Paced`).

use memchr::memchr;

/// Cuts what arrives on a connection into pieces of which each has the end of at most one head.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    line: Line,
    /// Whether lines came that no empty one has followed yet.
    is_in_head: bool,
    /// Whether anything came behind the end of the last head.
    has_more: bool,
}

/// What has arrived of the line that is arriving.
#[derive(Debug, Default, Clone, Copy)]
enum Line {
    #[default]
    Nothing,
    CarriageReturn,
    Text,
}

/// The first piece of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) length: usize,
    /// How many of its bytes follow the end of a head, if it has one.
    pub(super) behind_head: Option<usize>,
}

impl Pieces {
    /// The longest piece at the beginning of `bytes`, which follow what the earlier ones ended with.
    pub(super) fn first(&mut self, bytes: &[u8]) -> Piece {
        let mut behind_head = None;
        let mut rest = bytes;
        while let Some(line_feed) = memchr(b'\n', rest) {
            let (text, others) = rest.split_at(line_feed);
            let line = self.line.and(text);
            let is_end = self.is_in_head && !matches!(line, Line::Text);
            if is_end && behind_head.is_some() {
                // The next piece begins with its line feed.
                self.line = line;
                self.has_more = true;
                let length = bytes.len() - others.len();
                return Piece {
                    length,
                    behind_head: behind_head.map(|behind: usize| behind - others.len()),
                };
            }
            rest = others.get(1..).unwrap_or_default();
            if is_end {
                behind_head = Some(rest.len());
            }
            self.is_in_head = matches!(line, Line::Text) || self.is_in_head && !is_end;
            self.line = Line::Nothing;
        }
        self.line = self.line.and(rest);
        self.has_more = match behind_head {
            Some(behind) => behind > 0,
            None => self.has_more || !bytes.is_empty(),
        };
        Piece {
            length: bytes.len(),
            behind_head,
        }
    }

    /// Whether a head has begun to arrive, be it by the empty lines that may precede it (RFC 9112 §2.2): actix keeps them, and for as
    /// long as it has any it measures no time itself.
    pub(super) fn has_begun(&self) -> bool {
        self.has_more
    }

    /// What comes next begins a line: all before was no head.
    pub(super) fn begin_anew(&mut self) {
        *self = Pieces::default();
    }
}

impl Line {
    fn and(self, text: &[u8]) -> Self {
        match (self, text) {
            (line, []) => line,
            (Line::Nothing, [b'\r']) => Line::CarriageReturn,
            _ => Line::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(bytes: &[u8]) -> Vec<(&[u8], Option<usize>)> {
        let (mut cutter, mut rest, mut pieces) = (Pieces::default(), bytes, Vec::new());
        while !rest.is_empty() {
            let Piece { length, behind_head } = cutter.first(rest);
            let (piece, others) = rest.split_at(length);
            pieces.push((piece, behind_head));
            rest = others;
        }
        pieces
    }

    // H-21
    #[test]
    fn a_piece_ends_before_the_last_byte_of_a_second_head() {
        type Expected<'a> = &'a [(&'a str, Option<usize>)];
        let cases: [(&str, Expected); 8] = [
            (
                "GET / HTTP/1.1\r\nA: b\r\n\r\n",
                &[("GET / HTTP/1.1\r\nA: b\r\n\r\n", Some(0))],
            ),
            ("a\r\n\r\nbody", &[("a\r\n\r\nbody", Some(4))]),
            (
                "a\r\n\r\nb\r\n\r\nc",
                &[("a\r\n\r\nb\r\n\r", Some(4)), ("\nc", Some(1))],
            ),
            (
                "a\n\nb\n\nc\n\n",
                &[("a\n\nb\n", Some(2)), ("\nc\n", Some(2)), ("\n", Some(0))],
            ),
            ("\r\n\r\n\na\r\n\r\n", &[("\r\n\r\n\na\r\n\r\n", Some(0))]),
            ("a\r\n\r\n\r\n\r\n\r\n", &[("a\r\n\r\n\r\n\r\n\r\n", Some(6))]),
            ("a\r\n\rb\r\n\r\r\nc", &[("a\r\n\rb\r\n\r\r\nc", None)]),
            ("a\r\n", &[("a\r\n", None)]),
        ];
        for (bytes, expected) in cases {
            let expected: Vec<_> = expected
                .iter()
                .map(|(piece, behind)| (piece.as_bytes(), *behind))
                .collect();
            assert_eq!(pieces(bytes.as_bytes()), expected, "{bytes:?}");
        }
    }

    proptest! {
        // H-21
        #[test]
        fn it_does_not_matter_how_the_bytes_arrive(
            bytes in prop::collection::vec(prop::sample::select(b"a\r\n".to_vec()), 0..64),
            arrivals in prop::collection::vec(1..8_usize, 64),
        ) {
            let whole = pieces(&bytes);
            let heads = whole.iter().filter(|(_, behind)| behind.is_some()).count();
            prop_assert_eq!(whole.iter().map(|(piece, _)| *piece).collect::<Vec<_>>().concat(), bytes.clone());
            let (mut cutter, mut rest, mut found) = (Pieces::default(), bytes.as_slice(), 0);
            for arrival in arrivals {
                let (mut some, others) = rest.split_at(arrival.min(rest.len()));
                rest = others;
                while !some.is_empty() {
                    let Piece { length, behind_head } = cutter.first(some);
                    prop_assert!(length > 0);
                    prop_assert!(behind_head.is_none_or(|behind| behind < length));
                    found += usize::from(behind_head.is_some());
                    some = some.split_at(length).1;
                }
            }
            prop_assert_eq!(found, heads);
        }
    }
}
