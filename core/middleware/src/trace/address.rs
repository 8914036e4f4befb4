//! `syslog://host:port?f=MAIL&sev=INFO&prefix=@cee: `: by UDP; `syslog:///path.sock` a datagram socket; `syslog://` this
//! machine's own.

use crate::effect::{Syslog, SyslogTransport};

/// rsyslog's cookie for structured records.
const PREFIX: &str = "@cee: ";
/// Bytes of a prefix.
const PREFIX_BYTES_MAX: usize = 256;

/// RFC 5424, section 6.2.1, table 1.
const FACILITIES: [(&str, u8); 19] = [
    ("USER", 1),
    ("MAIL", 2),
    ("DAEMON", 3),
    ("AUTH", 4),
    ("SYSLOG", 5),
    ("LPR", 6),
    ("NEWS", 7),
    ("UUCP", 8),
    ("CRON", 9),
    ("AUTHPRIV", 10),
    ("FTP", 11),
    ("LOCAL0", 16),
    ("LOCAL1", 17),
    ("LOCAL2", 18),
    ("LOCAL3", 19),
    ("LOCAL4", 20),
    ("LOCAL5", 21),
    ("LOCAL6", 22),
    ("LOCAL7", 23),
];
const FACILITY: &str = "LOCAL0";

/// RFC 5424, section 6.2.1, table 2, as far as vulcand names them.
const SEVERITIES: [(&str, u8); 7] =
    [("ALERT", 1), ("CRIT", 2), ("ERR", 3), ("WARNING", 4), ("NOTICE", 5), ("INFO", 6), ("DEBUG", 7)];
const SEVERITY: &str = "DEBUG";

/// Where to, and what stands before each record.
pub fn parse(text: &str) -> Result<(Syslog, String), String> {
    let rest = text.strip_prefix("syslog://").ok_or_else(|| format!("expected syslog://…, found {text:?}"))?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let transport = match place {
        "" => SyslogTransport::Local,
        path if path.starts_with('/') => SyslogTransport::Unix(path.to_owned()),
        address => {
            let address = address.trim_end_matches('/');
            let port =
                address.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>()));
            if !matches!(port, Some(Ok(1..))) {
                return Err(format!("expected host:port, found {address:?}"));
            }
            SyslogTransport::Udp(address.to_owned())
        }
    };
    let (mut facility, mut severity, mut prefix) = (FACILITY.to_owned(), SEVERITY.to_owned(), PREFIX.to_owned());
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "f" => facility = decoded(value),
            "sev" => severity = decoded(value),
            "prefix" => prefix = decoded(value),
            _ => {}
        }
    }
    if prefix.len() > PREFIX_BYTES_MAX || prefix.contains(|c: char| c.is_control()) {
        return Err("the prefix is too long, or holds what no line can".to_owned());
    }
    // vulcand wants LOG_ before LOCAL0 to LOCAL7, and before no other.
    let facility = facility.strip_prefix("LOG_").unwrap_or(&facility);
    let facility = number(&FACILITIES, facility).ok_or_else(|| format!("{facility:?} is no facility"))?;
    let severity = number(&SEVERITIES, &severity).ok_or_else(|| format!("{severity:?} is no severity"))?;
    Ok((Syslog { transport, priority: facility * 8 + severity }, prefix))
}

fn number(known: &[(&str, u8)], name: &str) -> Option<u8> {
    known.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Percent signs and plus signs of a query, as far as they say something.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|two| *first == b'%' && two.iter().all(u8::is_ascii_hexdigit));
        let value = escaped.and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        bytes.push(value.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if value.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses() {
        for (text, transport, priority, prefix) in [
            ("syslog://", SyslogTransport::Local, 135, "@cee: "),
            ("syslog:///tmp/out.sock", SyslogTransport::Unix("/tmp/out.sock".into()), 135, "@cee: "),
            ("syslog://localhost:514?f=MAIL&sev=INFO", SyslogTransport::Udp("localhost:514".into()), 22, "@cee: "),
            ("syslog://[::1]:514?f=LOG_LOCAL2&prefix=a%3A+b%", SyslogTransport::Udp("[::1]:514".into()), 151, "a: b%"),
        ] {
            let (syslog, found) = parse(text).unwrap();
            assert_eq!((syslog.transport, syslog.priority, found.as_str()), (transport, priority, prefix), "{text}");
        }
        for text in
            ["", "http://a:1", "syslog://host", "syslog://:514", "syslog://a:0", "syslog://?f=X", "syslog://?sev=X"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text in "(syslog://)?.{0,60}") {
            let _either = parse(&text);
        }
    }
}
