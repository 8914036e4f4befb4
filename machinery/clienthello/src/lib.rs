//! Which server a TLS handshake names (RFC 8446, section 4.1.2; RFC 6066, section 3), read without taking part in it.

/// Of what a client sends until its handshake has named the server: a ClientHello with many key shares has two thousand
/// bytes, and a handshake message's first record carries 16 KiB at most.
pub const BYTES_MAX: usize = 16 * 1024;
const RECORD_HANDSHAKE: u8 = 22;
const RECORD_PREFIX_BYTES: usize = 5;
/// RFC 8446, section 5.1.
const RECORD_BYTES_MAX: usize = 1 << 14;
const CLIENT_HELLO: u8 = 1;
const RANDOM_BYTES: usize = 32;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// What the first bytes of a connection say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Not enough yet.
    Partial,
    Name(String),
    /// It is no TLS, or names nobody, or says so much that nobody waits for it.
    Nothing,
}

/// Looks at everything that came so far.
pub fn look(bytes: &[u8]) -> Said {
    match message(bytes).and_then(|message| name(&message)) {
        Ok(name) => Said::Name(name),
        Err(Stop::Partial) if bytes.len() < BYTES_MAX => Said::Partial,
        Err(_) => Said::Nothing,
    }
}

enum Stop {
    Partial,
    Nothing,
}

/// The handshake's first message, which may come in several records.
fn message(mut bytes: &[u8]) -> Result<Vec<u8>, Stop> {
    let mut message = Vec::new();
    loop {
        match bytes {
            [] => return Err(Stop::Partial),
            [RECORD_HANDSHAKE] | [RECORD_HANDSHAKE, 3, ..] => {}
            _ => return Err(Stop::Nothing),
        }
        let Some((prefix, rest)) = bytes.split_at_checked(RECORD_PREFIX_BYTES) else { return Err(Stop::Partial) };
        let length = usize::from(u16::from_be_bytes([prefix[3], prefix[4]]));
        if length == 0 || length > RECORD_BYTES_MAX {
            return Err(Stop::Nothing);
        }
        let (fragment, rest) = rest.split_at(length.min(rest.len()));
        message.extend_from_slice(fragment);
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(Stop::Nothing);
        }
        if let [_, a, b, c, body @ ..] = message.as_slice() {
            let needed = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            if needed > BYTES_MAX {
                return Err(Stop::Nothing);
            }
            if let Some(body) = body.get(..needed) {
                return Ok(body.to_vec());
            }
        }
        if fragment.len() < length {
            return Err(Stop::Partial);
        }
        bytes = rest;
    }
}

fn name(hello: &[u8]) -> Result<String, Stop> {
    find_name(hello).ok_or(Stop::Nothing)
}

fn find_name(hello: &[u8]) -> Option<String> {
    let mut rest = hello.get(2 + RANDOM_BYTES..)?;
    let _session = take_u8(&mut rest)?;
    let _cipher_suites = take_u16(&mut rest)?;
    let _compressions = take_u8(&mut rest)?;
    let mut extensions = take_u16(&mut rest)?;
    while !extensions.is_empty() {
        let kind = u16::from_be_bytes(*cut::<2>(&mut extensions)?);
        let mut value = take_u16(&mut extensions)?;
        if kind != SERVER_NAME {
            continue;
        }
        let mut names = take_u16(&mut value)?;
        while !names.is_empty() {
            let [kind] = *cut::<1>(&mut names)?;
            let name = take_u16(&mut names)?;
            if kind == HOST_NAME && name.is_ascii() && !name.is_empty() {
                return std::str::from_utf8(name).ok().map(str::to_owned);
            }
        }
        return None;
    }
    None
}

fn cut<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(first)
}

/// A vector whose length stands in one byte before it.
fn take_u8<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [length] = *cut::<1>(bytes)?;
    take(bytes, usize::from(length))
}

fn take_u16<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_be_bytes(*cut::<2>(bytes)?);
    take(bytes, usize::from(length))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (first, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// As rustls sends it.
    fn hello(name: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        bytes
    }

    /// The same message in records of this many bytes.
    fn fragmented(hello: &[u8], size: usize) -> Vec<u8> {
        let record = |fragment: &[u8]| {
            [&[RECORD_HANDSHAKE, 3, 1][..], &(fragment.len() as u16).to_be_bytes(), fragment].concat()
        };
        hello[RECORD_PREFIX_BYTES..].chunks(size).flat_map(record).collect()
    }

    #[test]
    fn the_name_is_found_however_the_handshake_is_cut() {
        let whole = hello("db.a.example");
        for bytes in [whole.clone(), fragmented(&whole, 1), fragmented(&whole, 7), fragmented(&whole, 100)] {
            for cut in 0..bytes.len() {
                assert_eq!(look(&bytes[..cut]), Said::Partial, "{cut} of {}", bytes.len());
            }
            assert_eq!(look(&bytes), Said::Name("db.a.example".into()));
            assert_eq!(look(&[&bytes[..], b"more"].concat()), Said::Name("db.a.example".into()));
        }
    }

    #[test]
    fn what_names_nobody_is_not_waited_for() {
        assert_eq!(look(&hello("10.0.0.1")), Said::Nothing, "an address is no name");
        for bytes in
            [&b"G"[..], b"\x16\x02", b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\x40\x01", b"\x16\x03\x01\x00\x04\x02"]
        {
            assert_eq!(look(bytes), Said::Nothing, "{bytes:?}");
        }
        // A message that says it has 16 MiB; one that never ends, in small records.
        assert_eq!(look(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff"), Said::Nothing);
        let endless = fragmented(&[&[0; 5][..], &[1, 0, 0x3f, 0xff], &[0; 9000]].concat(), 1);
        assert_eq!((look(&endless[..BYTES_MAX - 1]), look(&endless)), (Said::Partial, Said::Nothing));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            look(&bytes);
            look(&fragmented(&[&[0; 5], &bytes[..]].concat(), 9));
            let mut flipped = hello("a.example");
            let at = at.index(flipped.len());
            flipped[at] = byte;
            look(&flipped);
            look(&flipped[..at]);
        }
    }
}
