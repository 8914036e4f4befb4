//! By what a request is known beyond this edge: its id, and its place in a trace (W3C Trace Context, level 1).

use std::cell::{Cell, OnceCell};
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;

/// A client's id longer than this is not taken.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// 32 hexadecimal digits, or what a trusted client called it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(String);

impl RequestId {
    pub fn random() -> Self {
        Self(format!("{:016x}{:016x}", random(), random()))
    }

    /// Visible ASCII, not too much of it.
    pub fn given(value: &[u8]) -> Option<Self> {
        let is_good = (1..=REQUEST_ID_BYTES_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
        is_good.then(|| Self(String::from_utf8_lossy(value).into_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A span's place in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    /// The span above it.
    pub parent: Option<[u8; 8]>,
    pub is_sampled: bool,
}

impl TraceContext {
    /// The value of `traceparent` (Trace Context §3.2). Of a later version what this one has is read, as it asks for.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version = hex::<1>(version)?[0];
        let ends = parts.next().is_none();
        let (trace_id, span_id, flags) = (hex(trace)?, hex(span)?, hex::<1>(flags)?[0]);
        let is_good = version != 0xff && (version > 0 || ends) && trace_id != [0; 16] && span_id != [0; 8];
        is_good.then_some(Self { trace_id, span_id, parent: None, is_sampled: flags & 1 == 1 })
    }

    /// A span below `parent`, whose decision to be sampled holds; or the first of a trace.
    pub fn below(parent: Option<Self>, samples: impl FnOnce(&[u8; 16]) -> bool) -> Self {
        let span_id = random_span();
        match parent {
            Some(parent) => Self { span_id, parent: Some(parent.span_id), ..parent },
            None => {
                let trace_id = (u128::from(random()) << 64 | u128::from(random()) | 1).to_be_bytes();
                Self { is_sampled: samples(&trace_id), trace_id, span_id, parent: None }
            }
        }
    }

    pub fn with_span(&self, span_id: [u8; 8]) -> Self {
        Self { span_id, ..self.clone() }
    }
}

/// As `traceparent` has it.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.is_sampled);
        write!(f, "00-{}-{}-{flags:02x}", Hex(&self.trace_id), Hex(&self.span_id))
    }
}

/// Bytes as lower-case digits.
pub(crate) struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

pub(crate) fn random_span() -> [u8; 8] {
    random().max(1).to_be_bytes()
}

/// A number nobody can tell in advance: a keyed hash of how many there were, with a key of this thread's own.
pub(crate) fn random() -> u64 {
    thread_local! {
        static KEY: OnceCell<RandomState> = const { OnceCell::new() };
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }
    let count = COUNT.get().wrapping_add(1);
    COUNT.set(count);
    KEY.with(|key| key.get_or_init(RandomState::new).hash_one(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_parent_is_read_as_the_standard_says() {
        let parent = TraceContext::parse(PARENT.as_bytes()).unwrap();
        assert_eq!((parent.to_string(), parent.is_sampled), (PARENT.to_owned(), true));
        let later = format!("01{}-what-comes", &PARENT[2..]);
        assert!(TraceContext::parse(later.as_bytes()).is_some());
        for wrong in [
            "",
            "00",
            &PARENT.to_uppercase(),
            &format!("{PARENT}-more"),
            &format!("ff{}", &PARENT[2..]),
            &PARENT.replace("00f067aa0ba902b7", "0000000000000000"),
            &PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            &PARENT[..PARENT.len() - 1],
        ] {
            assert_eq!(TraceContext::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_child_keeps_its_trace_and_whether_it_is_sampled() {
        let parent = TraceContext::parse(PARENT.as_bytes()).unwrap();
        let child = TraceContext::below(Some(parent.clone()), |_| unreachable!("the parent decided"));
        assert_eq!((child.trace_id, child.parent, child.is_sampled), (parent.trace_id, Some(parent.span_id), true));
        assert_ne!(child.span_id, parent.span_id);
        let first = TraceContext::below(None, |_| false);
        assert_eq!((first.parent, first.is_sampled), (None, false));
        assert_eq!(TraceContext::parse(first.to_string().as_bytes()).unwrap().trace_id, first.trace_id);
    }

    #[test]
    fn ids_are_random_or_what_can_be_shown() {
        let (one, other) = (RequestId::random(), RequestId::random());
        assert!(one != other && one.as_str().len() == 32 && one.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(RequestId::given(b"abc-1").unwrap().as_str(), "abc-1");
        for wrong in [&b""[..], b"a b", b"a\x01", "ä".as_bytes(), &[b'a'; 129]] {
            assert_eq!(RequestId::given(wrong), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _read = (TraceContext::parse(&bytes), RequestId::given(&bytes));
        }
    }
}
