//! The header lines of a head: looked at once, and copied without those that end here.

use crate::mask::Mask;
use crate::names::{Known, known};
use crate::refusal::BadHead;
use crate::text::{lists, members, put_line};
use crate::{Header, Version};

/// Names and options in `Connection`, over all its lines; each costs a look at every header.
pub const CONNECTION_MEMBERS_MAX: usize = 32;

/// What the headers of one head say to a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields<'h> {
    /// The whole head with its empty line.
    head: &'h [u8],
    headers: &'h [Header<'h>],
    /// Where the first line ends.
    pub lines_start: usize,
    /// Lines that end here.
    hop: Mask,
    /// Lines with unusual whitespace: they are written anew.
    irregular: Mask,
    /// `X-Forwarded-*` and `X-Real-Ip`, as long as they do not end here.
    pub forwarded: Mask,
    pub length: Option<Field<'h>>,
    pub coding: Option<Field<'h>>,
    /// The first of them.
    pub host: Option<Field<'h>>,
    pub hosts: usize,
    /// The first of them.
    pub upgrade: Option<&'h [u8]>,
    pub expects_continue: bool,
    pub takes_trailers: bool,
    pub has_date: bool,
    pub connection: Options,
}

/// A header and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'h> {
    pub index: usize,
    pub value: &'h [u8],
}

/// What `Connection` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
    /// Other headers than those that end here anyway.
    names_headers: bool,
    members: usize,
}

impl<'h> Fields<'h> {
    /// `head` ends with its empty line, and `headers` are its lines, as httparse found them.
    #[inline]
    pub fn read(head: &'h [u8], headers: &'h [Header<'h>], version: Version) -> Result<Self, BadHead> {
        let lines_end = head.len().saturating_sub(b"\r\n".len());
        let mut fields = Self {
            head,
            headers,
            lines_start: headers.first().map_or(lines_end, |header| offset(head, header.name.as_bytes())),
            hop: Mask::default(),
            irregular: Mask::default(),
            forwarded: Mask::default(),
            length: None,
            coding: None,
            host: None,
            hosts: 0,
            upgrade: None,
            expects_continue: false,
            takes_trailers: false,
            has_date: false,
            connection: Options::default(),
        };
        // httparse ends lines at LF, whatever comes before.
        if !has_cr(head, fields.lines_start) || !has_cr(head, head.len()) {
            return Err(BadHead::LineEnd);
        }
        let mut start = fields.lines_start;
        for (index, header) in headers.iter().enumerate() {
            let end = headers.get(index + 1).map_or(lines_end, |next| offset(head, next.name.as_bytes()));
            if !has_cr(head, end) {
                return Err(BadHead::LineEnd);
            }
            let (name, value) = (header.name.as_bytes(), header.value);
            let colon = start + name.len();
            let is_regular = end - start == name.len() + value.len() + b": \r\n".len()
                && offset(head, value) == colon + b": ".len()
                && head[colon + 1] == b' ';
            if !is_regular {
                fields.irregular.insert(index);
            }
            if let Some(known) = known(name) {
                fields.note(index, known, value, version)?;
            }
            start = end;
        }
        if fields.connection.names_headers {
            fields.drop_named();
        }
        Ok(fields)
    }

    #[inline]
    fn note(&mut self, index: usize, known: Known, value: &'h [u8], version: Version) -> Result<(), BadHead> {
        match known {
            Known::Host => {
                self.host.get_or_insert(Field { index, value });
                self.hosts += 1;
            }
            Known::ContentLength => {
                if self.length.replace(Field { index, value }).is_some() {
                    return Err(BadHead::ContentLength);
                }
            }
            Known::TransferEncoding => {
                if self.coding.replace(Field { index, value }).is_some() {
                    return Err(BadHead::TransferEncoding);
                }
            }
            Known::Connection => {
                self.hop.insert(index);
                self.connection.read(value)?;
            }
            Known::HopByHop | Known::Lookalike => self.hop.insert(index),
            Known::Upgrade => {
                self.hop.insert(index);
                self.upgrade.get_or_insert(value);
            }
            Known::Te => {
                self.hop.insert(index);
                self.takes_trailers |= lists(value, b"trailers");
            }
            // RFC 9110 §10.1.1: ignored in HTTP/1.0, whose clients do not wait.
            Known::Expect if version == Version::Http10 => self.hop.insert(index),
            Known::Expect => self.expects_continue |= lists(value, b"100-continue"),
            Known::Date => self.has_date = true,
            forwarded => {
                debug_assert!(forwarded.is_forwarded());
                self.forwarded.insert(index);
            }
        }
        Ok(())
    }

    /// Lines that `Connection` names end here too.
    #[cold]
    fn drop_named(&mut self) {
        let values = self.headers.iter().filter(|header| known(header.name.as_bytes()) == Some(Known::Connection));
        for name in values.flat_map(|header| members(header.value)) {
            if known(name).is_some_and(Known::is_essential) {
                continue;
            }
            for (index, header) in self.headers.iter().enumerate() {
                if header.name.as_bytes().eq_ignore_ascii_case(name) {
                    self.hop.insert(index);
                }
            }
        }
    }

    #[inline]
    pub fn headers(&self) -> &'h [Header<'h>] {
        self.headers
    }

    /// The value of the first header of this lower-case name.
    pub fn first(&self, name: &str) -> Option<&'h [u8]> {
        let is = |header: &&Header<'h>| header.name.eq_ignore_ascii_case(name);
        self.headers.iter().find(is).map(|header| header.value)
    }

    /// The lines that end here, whatever else does.
    pub fn hop(&self) -> Mask {
        self.hop
    }

    /// Where a header stands that is `which`, and still goes on.
    pub fn positions(&self, mut which: impl FnMut(&Header<'h>) -> bool) -> impl Iterator<Item = usize> {
        let headers = self.headers.iter().enumerate();
        headers.filter(move |(index, header)| !self.hop.contains(*index) && which(header)).map(|(index, _)| index)
    }

    /// Copies the lines of the head from `from` on, its first line too if `from` is before it, without `dropped` ones.
    #[inline]
    pub fn copy(&self, out: &mut Vec<u8>, mut from: usize, dropped: &Mask) {
        for index in dropped.union(&self.irregular).iter() {
            let Some(header) = self.headers.get(index) else { break };
            out.extend_from_slice(&self.head[from..offset(self.head, header.name.as_bytes())]);
            if !dropped.contains(index) {
                put_line(out, header.name, header.value);
            }
            from = self.line_end(index);
        }
        out.extend_from_slice(&self.head[from..self.lines_end()]);
    }

    /// The first line with its end.
    pub fn first_line(&self) -> &'h [u8] {
        &self.head[..self.lines_start]
    }

    pub fn head_bytes(&self) -> usize {
        self.head.len()
    }

    fn lines_end(&self) -> usize {
        self.head.len() - b"\r\n".len()
    }

    fn line_end(&self, index: usize) -> usize {
        self.headers.get(index + 1).map_or(self.lines_end(), |next| offset(self.head, next.name.as_bytes()))
    }
}

impl Options {
    #[inline]
    fn read(&mut self, value: &[u8]) -> Result<(), BadHead> {
        for member in members(value) {
            self.members += 1;
            if self.members > CONNECTION_MEMBERS_MAX {
                return Err(BadHead::Connection);
            }
            match member.len() {
                0 => {}
                5 if member.eq_ignore_ascii_case(b"close") => self.close = true,
                10 if member.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                7 if member.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                2 if member.eq_ignore_ascii_case(b"te") => {}
                _ => self.names_headers = true,
            }
        }
        Ok(())
    }

    /// RFC 9112 §9.3.
    pub fn keeps_alive(self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// Where a part of `head` begins.
#[inline]
fn offset(head: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize)
}

/// Whether the line that ends before `end`, in LF, has the CR too.
#[inline]
fn has_cr(head: &[u8], end: usize) -> bool {
    head.get(end.wrapping_sub(2)) == Some(&b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_has_a_bounded_number_of_members() {
        let value = vec!["x"; CONNECTION_MEMBERS_MAX].join(",");
        let mut options = Options::default();
        assert_eq!(options.read(value.as_bytes()), Ok(()));
        assert_eq!(options.read(b"close"), Err(BadHead::Connection));
    }
}
