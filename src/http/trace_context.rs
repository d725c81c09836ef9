use actix_web::HttpRequest;

/// Where a request stands in a trace that began before it (W3C Trace Context §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TraceContext {
    pub(super) trace_id: [u8; 16],
    pub(super) parent: [u8; 8],
    /// Whether who sent it keeps its own span.
    pub(super) sampled: bool,
}

impl TraceContext {
    /// What the one `traceparent` header says; `None` for none, and for one that is not understood, as if it were not there.
    pub(super) fn of(request: &HttpRequest) -> Option<Self> {
        let mut values = request.headers().get_all("traceparent");
        let (Some(value), None) = (values.next(), values.next()) else {
            return None;
        };
        TraceContext::parse(value.as_bytes())
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(55)?;
        let mut fields = known.split(|byte| *byte == b'-');
        let [version] = hex(fields.next()?)?;
        let trace_id: [u8; 16] = hex(fields.next()?)?;
        let parent: [u8; 8] = hex(fields.next()?)?;
        let [flags] = hex(fields.next()?)?;
        // A later version may go on after another hyphen; 255 is none.
        let ends = match version {
            0 => rest.is_empty(),
            255 => false,
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        let names_something = trace_id != [0; 16] && parent != [0; 8];
        (ends && names_something && fields.next().is_none()).then_some(TraceContext {
            trace_id,
            parent,
            sampled: flags & 1 == 1,
        })
    }
}

/// Bytes in lower-case hexadecimal.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_parent_is_read_with_its_decision() {
        let context = TraceContext::parse(GOOD.as_bytes()).unwrap();
        assert_eq!((context.trace_id[0], context.parent[7]), (0x0a, 0x31));
        assert!(context.sampled);
        for (text, sampled) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02", false),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true),
            (
                "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes",
                true,
            ),
        ] {
            assert_eq!(TraceContext::parse(text.as_bytes()).unwrap().sampled, sampled, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_as_if_it_were_not_there() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333\u{e9}-01",
        ] {
            assert_eq!(TraceContext::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn two_parents_are_none() {
        let one = TestRequest::default().append_header(("traceparent", GOOD));
        assert!(TraceContext::of(&one.to_http_request()).is_some());
        let two = TestRequest::default()
            .append_header(("traceparent", GOOD))
            .append_header(("traceparent", GOOD));
        assert_eq!(TraceContext::of(&two.to_http_request()), None);
    }
}
