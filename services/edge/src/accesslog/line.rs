//! A request as a line. Whatever a client sent is escaped, so that a line is one line, and cut where it is too long.

use super::Redaction;
use crate::observation::{Ended, Told};
use http1::{Request, Version};
use jiff::Timestamp;
use std::cell::RefCell;
use std::io::Write;
use std::time::SystemTime;

/// Of a target, or of what was no request.
const TARGET_BYTES_MAX: usize = 8192;
/// What is spoken on a connection that is passed on as it is.
const TCP: &str = "TCP";
/// Of everything else that a client sent.
const FIELD_BYTES_MAX: usize = 1024;

/// `{"time":"…",…}`.
pub(super) fn json(out: &mut Vec<u8>, ended: &Ended<'_>, begun: SystemTime, redaction: &Redaction) {
    let mut object = Object { out, is_empty: true };
    let mut time = [0; TIME_BYTES_MAX];
    object.text("time", iso_time(&mut time, begun).as_bytes(), TIME_BYTES_MAX);
    object.text("client", ended.client.as_bytes(), FIELD_BYTES_MAX);
    match ended.request {
        Told::Request(request) => {
            object.text("method", request.method.as_bytes(), FIELD_BYTES_MAX);
            object.text("scheme", if ended.is_secure { b"https" } else { b"http" }, FIELD_BYTES_MAX);
            object.text("host", request.host.as_bytes(), FIELD_BYTES_MAX);
            object.text("target", redaction.of(request.target).as_bytes(), TARGET_BYTES_MAX);
            object.text("protocol", protocol(ended, request).as_bytes(), FIELD_BYTES_MAX);
        }
        Told::Connection(name) => {
            object.text("protocol", TCP.as_bytes(), FIELD_BYTES_MAX);
            if let Some(name) = name {
                object.text("server_name", name.as_bytes(), FIELD_BYTES_MAX);
            }
        }
        Told::Nonsense(bytes) => object.text("nonsense", first_line(bytes, redaction).as_bytes(), TARGET_BYTES_MAX),
    }
    object.number("status", u64::from(ended.status));
    object.number("request_bytes", ended.request_bytes);
    object.number("response_bytes", ended.response_bytes);
    object.number("head_us", micros(ended.took.head));
    object.number("duration_us", micros(ended.took.whole));
    if let Some(route) = ended.route {
        object.text("route", route.id.as_bytes(), FIELD_BYTES_MAX);
        if let Some(app) = &route.app {
            object.text("app", app.as_bytes(), FIELD_BYTES_MAX);
        }
    }
    if let Some(server) = ended.server {
        object.text("server", server.as_bytes(), FIELD_BYTES_MAX);
        object.number("attempts", u64::from(ended.attempts));
    }
    if let Told::Request(request) = ended.request {
        if let Some(agent) = request.header("user-agent") {
            object.text("user_agent", agent, FIELD_BYTES_MAX);
        }
        if let Some(referer) = request.header("referer") {
            object.text("referer", redacted(referer, redaction).as_bytes(), FIELD_BYTES_MAX);
        }
    }
    if let Some(trail) = ended.trail {
        if let Some(id) = trail.request_id() {
            object.text("request_id", id.as_bytes(), FIELD_BYTES_MAX);
        }
        if let Some(trace) = &trail.trace {
            object.text("trace_id", crate::identifiers::Hex(&trace.trace_id).to_string().as_bytes(), FIELD_BYTES_MAX);
        }
    }
    object.end();
}

/// How many lines are missing.
pub(super) fn json_of_dropped(out: &mut Vec<u8>, now: SystemTime, lines: u64) {
    let mut object = Object { out, is_empty: true };
    let mut time = [0; TIME_BYTES_MAX];
    object.text("time", iso_time(&mut time, now).as_bytes(), TIME_BYTES_MAX);
    object.number("dropped_lines", lines);
    object.end();
}

/// `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"` (Apache, mod_log_config).
pub(super) fn combined(out: &mut Vec<u8>, ended: &Ended<'_>, begun: SystemTime, redaction: &Redaction) {
    let clf_time = Timestamp::try_from(begun).unwrap_or_default().strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
    put(out, format_args!("{} - - [{clf_time}] \"", ended.client));
    match ended.request {
        Told::Request(request) => {
            put_in_apaches_way(out, request.method.as_bytes(), FIELD_BYTES_MAX);
            out.push(b' ');
            put_in_apaches_way(out, redaction.of(request.target).as_bytes(), TARGET_BYTES_MAX);
            out.push(b' ');
            out.extend_from_slice(protocol(ended, request).as_bytes());
        }
        Told::Connection(name) => {
            // Three words, as readers of this form expect.
            put(out, format_args!("CONNECT "));
            put_in_apaches_way(out, name.unwrap_or("-").as_bytes(), FIELD_BYTES_MAX);
            put(out, format_args!(" {TCP}"));
        }
        Told::Nonsense(bytes) => put_in_apaches_way(out, first_line(bytes, redaction).as_bytes(), TARGET_BYTES_MAX),
    }
    put(out, format_args!("\" {} ", ended.status));
    match ended.response_bytes {
        0 => out.push(b'-'),
        bytes => put(out, format_args!("{bytes}")),
    }
    let header = |name| match ended.request {
        Told::Request(request) => request.header(name),
        Told::Connection(_) | Told::Nonsense(_) => None,
    };
    for (name, end) in [("referer", "\" \""), ("user-agent", "\"\n")] {
        out.extend_from_slice(if name == "referer" { b" \"" } else { b"" });
        match header(name) {
            Some(value) => put_in_apaches_way(out, redacted(value, redaction).as_bytes(), FIELD_BYTES_MAX),
            None => out.push(b'-'),
        }
        out.extend_from_slice(end.as_bytes());
    }
}

/// What the client spoke.
fn protocol(ended: &Ended<'_>, request: &Request<'_>) -> &'static str {
    match request.version {
        _ if ended.is_http2 => "HTTP/2.0",
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
    }
}

fn redacted(url: &[u8], redaction: &Redaction) -> String {
    redaction.of(&String::from_utf8_lossy(url)).into_owned()
}

fn first_line(bytes: &[u8], redaction: &Redaction) -> String {
    let bytes = &bytes[..bytes.len().min(TARGET_BYTES_MAX)];
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty());
    redacted(line.unwrap_or_default(), redaction)
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes everything");
}

struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl Object<'_> {
    fn key(&mut self, key: &str) {
        self.out.extend_from_slice(if self.is_empty { b"{\"" } else { b",\"" });
        self.is_empty = false;
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        put(self.out, format_args!("{value}"));
    }

    fn text(&mut self, key: &str, value: &[u8], bytes_max: usize) {
        self.key(key);
        self.out.push(b'"');
        put_in_jsons_way(self.out, &value[..value.len().min(bytes_max)]);
        self.out.push(b'"');
    }

    fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }
}

/// What is no UTF-8 becomes U+FFFD. Besides what JSON asks for everything is escaped that some reader takes for an end of a
/// line, or a terminal for an order.
fn put_in_jsons_way(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(|c: char| matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}') || c.is_control()) {
            let (plain, from) = rest.split_at(at);
            out.extend_from_slice(plain.as_bytes());
            let mut chars = from.chars();
            match chars.next() {
                Some(c @ ('"' | '\\')) => out.extend_from_slice(&[b'\\', c as u8]),
                Some(c) => put(out, format_args!("\\u{:04x}", u32::from(c))),
                None => {}
            }
            rest = chars.as_str();
        }
        out.extend_from_slice(rest.as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// As `ap_escape_logitem` does.
fn put_in_apaches_way(out: &mut Vec<u8>, text: &[u8], bytes_max: usize) {
    for byte in &text[..text.len().min(bytes_max)] {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b' '..=b'~' => out.push(*byte),
            byte => put(out, format_args!("\\x{byte:02x}")),
        }
    }
}

/// `2026-01-02T03:04:05.000006Z`.
const TIME_BYTES_MAX: usize = 32;

/// In UTC, with microseconds. What is above them is made once a second.
fn iso_time(bytes: &mut [u8; TIME_BYTES_MAX], at: SystemTime) -> &str {
    thread_local! {
        static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    let at = Timestamp::try_from(at).unwrap_or_default();
    let (second, micros) = (at.as_second(), at.subsec_microsecond());
    let mut room = &mut bytes[..];
    SECOND.with_borrow_mut(|(known, text)| {
        if *known != second {
            (*known, *text) = (second, at.strftime("%Y-%m-%dT%H:%M:%S").to_string());
        }
        // It fits until the year 100,000.
        let _fits = write!(room, "{text}.{micros:06}Z");
    });
    let left = room.len();
    std::str::from_utf8(&bytes[..TIME_BYTES_MAX - left]).unwrap_or_default()
}

#[cfg(test)]
mod tests;
