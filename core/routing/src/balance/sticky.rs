//! The cookie that keeps a client at a server. It names the server by a hash of its URL: nobody reads an address out of it,
//! though who guesses one can check it.

use super::spec::StickySpec;
use std::io::Write;

/// The value of a `Set-Cookie` header, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct SetCookie {
    bytes: [u8; Self::BYTES_MAX],
    length: usize,
}

impl SetCookie {
    const BYTES_MAX: usize = StickySpec::COOKIE_BYTES_MAX + 80;

    /// It goes when the browser does. Scripts do not see it (`HttpOnly`), other sites do not send it along with what they
    /// post (`SameSite=Lax`), and over TLS it was set it stays there (`Secure`).
    pub(super) fn new(spec: &StickySpec, server: u64, is_secure: bool) -> Self {
        let secure = if is_secure { "; Secure" } else { "" };
        let mut bytes = [0; Self::BYTES_MAX];
        let mut room = &mut bytes[..];
        // It fits: names are checked when a route is compiled.
        let _fits = write!(room, "{}={server:016x}; Path=/; HttpOnly; SameSite=Lax{secure}", spec.cookie);
        let length = Self::BYTES_MAX - room.len();
        Self { bytes, length }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The server a cookie's value names.
pub(super) fn named(value: &str) -> Option<u64> {
    (value.len() == 16).then(|| u64::from_str_radix(value, 16).ok()).flatten()
}
