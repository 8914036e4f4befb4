//! What came ahead of whoever wants it: the beginning of a head, requests behind the one that is being answered, or what was
//! opened of TLS and did not fit.

#[derive(Debug, Default)]
pub(super) struct Leftover {
    bytes: Vec<u8>,
    /// How many of them were used.
    from: usize,
}

impl Leftover {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.from..]
    }

    /// Empty lines before a head, which mean nothing (RFC 9112 §2.2).
    pub fn is_blank(&self) -> bool {
        self.bytes().iter().all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The first of the bytes were used. Of a thousand small requests that came together the rest is not moved a thousand
    /// times: only when it is less than what was used, which also gives the room back.
    pub fn advance(&mut self, used: usize) {
        self.from += used;
        let left = self.bytes.len() - self.from;
        if left < self.from {
            self.bytes = self.bytes[self.from..].to_vec();
            self.from = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_gone_and_the_rest_is_moved_rarely() {
        let mut leftover = Leftover::default();
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(100_000).collect();
        leftover.extend(&bytes);
        let mut moves = 0;
        for used in (0..100_000).step_by(10) {
            assert_eq!(leftover.bytes(), &bytes[used..]);
            leftover.advance(10);
            moves += usize::from(leftover.from == 0);
        }
        assert!(leftover.is_empty() && leftover.bytes.capacity() == 0);
        assert!(moves <= 20, "{moves}");
        leftover.extend(b"\r\n\n");
        assert!(leftover.is_blank());
        leftover.extend(b"GET");
        leftover.advance(3);
        assert!(leftover.bytes() == b"GET" && !leftover.is_blank());
    }
}
