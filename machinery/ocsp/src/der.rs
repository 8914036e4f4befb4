//! The little of DER (X.690) that OCSP needs: values one after another, each a tag, a length and what is in it.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
/// Constructed and context-specific: `[number]`.
pub(crate) const fn tagged(number: u8) -> u8 {
    0xa0 | number
}
/// The same, primitive.
pub(crate) const fn tagged_plain(number: u8) -> u8 {
    0x80 | number
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not the DER that was expected")]
pub struct NotDer;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    /// With its tag and length.
    pub whole: &'a [u8],
}

/// Values one after another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn next(&mut self) -> Result<Element<'a>, NotDer> {
        let [tag, length, rest @ ..] = self.0 else { return Err(NotDer) };
        // Tags of more than one octet are not used.
        if tag & 0x1f == 0x1f {
            return Err(NotDer);
        }
        let (length, rest) = match *length {
            short @ 0..0x80 => (usize::from(short), rest),
            long => {
                // What is read here has a few bytes of length at most.
                let count = usize::from(long & 0x7f);
                let (digits, rest) = rest.split_at_checked(count).ok_or(NotDer)?;
                if !(1..=4).contains(&count) || digits[0] == 0 {
                    return Err(NotDer);
                }
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
        };
        let (content, after) = rest.split_at_checked(length).ok_or(NotDer)?;
        let whole = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Ok(Element { tag: *tag, content, whole })
    }

    /// The next one, which has this tag.
    pub fn expect(&mut self, tag: u8) -> Result<Element<'a>, NotDer> {
        self.optional(tag)?.ok_or(NotDer)
    }

    /// The next one if it has this tag.
    pub fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, NotDer> {
        if self.0.first() != Some(&tag) {
            return Ok(None);
        }
        self.next().map(Some)
    }

    /// What is in the next one.
    pub fn inside(&mut self, tag: u8) -> Result<Reader<'a>, NotDer> {
        Ok(Reader(self.expect(tag)?.content))
    }
}

/// A bit string's bits, of which all are used.
pub(crate) fn bits(content: &[u8]) -> Result<&[u8], NotDer> {
    match content {
        [0, bits @ ..] => Ok(bits),
        _ => Err(NotDer),
    }
}

/// One value of these parts.
pub(crate) fn put(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let digits = length.to_be_bytes();
        let digits = &digits[length.leading_zeros() as usize / 8..];
        out.push(0x80 | digits.len() as u8);
        out.extend_from_slice(digits);
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_read_and_no_bytes_panic(tag in 0u8..0x1f, content in prop::collection::vec(any::<u8>(), 0..70_000)) {
            let put = put(tag, &[&content]);
            let mut reader = Reader::new(&put);
            let element = reader.next().unwrap();
            prop_assert!(element.tag == tag && element.content == content && element.whole == put && reader.is_empty());
            let mut noise = Reader::new(&content);
            while noise.next().is_ok() {}
            prop_assert_eq!(Reader::new(&put[..put.len() - 1]).next(), Err(NotDer));
        }
    }
}
