//! `trace`: one JSON record for each exchange, to syslog. The datagram is the shell's to send.

mod address;

use crate::effect::{Effect, Syslog};
use crate::headers::is_name;
use crate::spec::{Fields, SpecError};
use crate::step::{Note, Seen, SeenResponse, Step, Verdict};
use crate::view::{Finish, Now, Tls};
use std::collections::HashSet;
use std::sync::Arc;

/// Bytes of one captured value that are kept.
const VALUE_BYTES_MAX: usize = 4 * 1024;
/// Captured values that are kept of one exchange and side.
const VALUES_MAX: usize = 64;
/// Bytes of a target that are kept.
const TARGET_BYTES_MAX: usize = 8 * 1024;

#[derive(Debug)]
pub(crate) struct Trace {
    request_headers: Vec<String>,
    response_headers: Vec<String>,
    to: Arc<Syslog>,
    /// Before each record, so that rsyslog sees JSON.
    prefix: String,
}

/// What is known of an exchange so far. A record is written as it becomes known, in pieces of JSON: as a tree it cost
/// five microseconds.
pub(crate) struct Captured {
    /// Open: `{"method":"GET","url":"/"`, …
    request: String,
    request_body_bytes: u64,
    /// Code and header fields; none when there was no response.
    response: Option<(u16, String)>,
    begun: Now,
}

impl Trace {
    pub fn read(mut fields: Fields) -> Result<Self, SpecError> {
        let request_headers = names(&mut fields, "ReqHeaders")?;
        let response_headers = names(&mut fields, "RespHeaders")?;
        let address = fields.text("Addr")?;
        let (to, prefix) = address::parse(&address).map_err(|message| fields.error("Addr", message))?;
        Ok(Self { request_headers, response_headers, to: Arc::new(to), prefix })
    }
}

fn names(fields: &mut Fields, field: &'static str) -> Result<Vec<String>, SpecError> {
    let names = fields.texts(field)?;
    match names.iter().find(|name| !is_name(name)) {
        Some(name) => Err(fields.error(field, format!("{name:?} cannot be a header's name"))),
        None => Ok(unique(names)),
    }
}

/// A name that is listed twice is recorded once.
fn unique(mut names: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.to_ascii_lowercase()));
    names
}

impl Step for Trace {
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        let method = quoted(seen.request.method.as_bytes(), VALUE_BYTES_MAX);
        let url = quoted(seen.target().as_bytes(), TARGET_BYTES_MAX);
        let headers = capture(&self.request_headers, |visit| seen.each_header(visit));
        let tls = seen.request.tls.map(|tls| tls_field(&tls)).unwrap_or_default();
        let captured = Captured {
            request: format!("{{\"method\":{method},\"url\":{url}{headers}{tls}"),
            request_body_bytes: seen.request.body_bytes.unwrap_or(0),
            response: None,
            begun: seen.now,
        };
        Verdict::PassWith(Note::Trace(Box::new(captured)))
    }

    fn response<'c>(&'c self, note: &mut Note, seen: &mut SeenResponse<'_, 'c>) {
        let Note::Trace(captured) = note else { return };
        let headers = capture(&self.response_headers, |visit| seen.each_header(visit));
        captured.response = Some((seen.response.status, headers));
    }

    fn finish(&self, note: Note, finish: &Finish, now: Now, effects: &mut Vec<Effect>) {
        let Note::Trace(captured) = note else { return };
        let Captured { request, request_body_bytes, response: Some((code, headers)), begun } = *captured else {
            return;
        };
        let prefix = &self.prefix;
        let came_bytes = request_body_bytes.max(finish.request_body_bytes);
        let sent_bytes = finish.response_body_bytes;
        let millis = now.since(begun).as_nanos() as f64 / 1e6;
        let message = format!(
            "{prefix}{{\"request\":{request},\"body_bytes\":{came_bytes}}},\
             \"response\":{{\"code\":{code},\"roundtrip\":{millis:?}{headers},\"body_bytes\":{sent_bytes}}}}}"
        );
        effects.push(Effect::Trace { to: self.to.clone(), message });
    }
}

/// `,"headers":{"Name":["value",…],…}`, as Go's `http.Header` is printed; nothing when no field is there.
fn capture(names: &[String], each: impl Fn(&mut dyn FnMut(&str, &[u8]))) -> String {
    if names.is_empty() {
        return String::new();
    }
    let mut captured: Vec<Vec<String>> = vec![Vec::new(); names.len()];
    let mut left = VALUES_MAX;
    each(&mut |name, value| {
        if let (Some(known), 1..) = (names.iter().position(|known| known.eq_ignore_ascii_case(name)), left) {
            captured[known].push(quoted(value, VALUE_BYTES_MAX));
            left -= 1;
        }
    });
    let present = names.iter().zip(&captured).filter(|(_, values)| !values.is_empty());
    let fields: Vec<String> = present.map(|(name, values)| format!("\"{name}\":[{}]", values.join(","))).collect();
    if fields.is_empty() { String::new() } else { format!(",\"headers\":{{{}}}", fields.join(",")) }
}

fn tls_field(tls: &Tls<'_>) -> String {
    let text = |text: &str| quoted(text.as_bytes(), VALUE_BYTES_MAX);
    let (version, suite, server) = (text(tls.version), text(tls.cipher_suite), text(tls.server_name));
    let resumed = tls.resumed;
    format!(",\"tls\":{{\"version\":{version},\"resume\":{resumed},\"cipher_suite\":{suite},\"server\":{server}}}")
}

/// As a JSON string.
fn quoted(bytes: &[u8], bytes_max: usize) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(bytes_max)]);
    serde_json::to_string(&text).unwrap_or_else(|_| "\"\"".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::testing::{answer, at, chain, chain_of, passage, request};
    use crate::{Effect, Finish, Request, Response, SyslogTransport, Tls};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn record(effects: &[Effect]) -> Value {
        let [Effect::Trace { message, .. }] = effects else { panic!("{effects:?}") };
        serde_json::from_str(message.strip_prefix("@cee: ").unwrap()).unwrap()
    }

    #[test]
    fn an_exchange_is_recorded_when_it_is_over() {
        let settings = json!({"ReqHeaders": ["X-Req", "X-None"], "RespHeaders": ["X-Resp"], "Addr": "syslog://"});
        let chain = chain("trace", settings);
        let headers = [("x-req", "a\"b"), ("Other", "no"), ("X-REQ", "c")];
        let tls =
            Tls { version: "TLS13", resumed: true, cipher_suite: "TLS_AES_128_GCM_SHA256", server_name: "a.example" };
        let request = Request { tls: Some(tls), body_bytes: Some(5), ..request("POST", "/x?y", &headers) };
        let mut passage = passage(&chain, &request);
        let answered = [("X-Resp", "c")];
        let response = Response { status: 201, headers: &answered, body_bytes: None, is_own: false };
        assert!(passage.response(&response, at(1)).effects.is_empty());
        let effects = passage.finish(&Finish { request_body_bytes: 5, response_body_bytes: 7 }, at(2));
        assert_eq!(
            record(&effects),
            json!({
                "request": {"method": "POST", "body_bytes": 5, "url": "/x?y", "headers": {"X-Req": ["a\"b", "c"]},
                    "tls": {"version": "TLS13", "resume": true, "cipher_suite": "TLS_AES_128_GCM_SHA256",
                        "server": "a.example"}},
                "response": {"code": 201, "roundtrip": 2000.0, "headers": {"X-Resp": ["c"]}, "body_bytes": 7}})
        );
        let Effect::Trace { to, .. } = &effects[0] else { unreachable!() };
        assert_eq!((&to.transport, to.priority), (&SyslogTransport::Local, 16 * 8 + 7));
    }

    #[test]
    fn what_further_in_answers_is_recorded_with_the_answer() {
        let chain = chain_of(&json!([
            {"Id": "t", "Priority": 0, "Type": "trace", "Middleware": {"Addr": "syslog://"}},
            {"Id": "d", "Priority": 1, "Type": "iplist", "Middleware": {"Deny": ["192.0.2.7"]}},
        ]));
        let answer = answer(&chain, &request("GET", "/", &[("a", "b")]));
        assert_eq!(record(&answer.effects)["response"]["code"], 403);
        assert_eq!(record(&answer.effects)["response"]["body_bytes"], answer.body.len());
    }

    proptest! {
        /// A record is JSON whatever a client sends.
        #[test]
        fn a_record_is_always_json(method in ".{0,9}", target in ".{0,30}", value in ".{0,30}", nanos in any::<u64>()) {
            let chain = chain("trace", json!({"ReqHeaders": ["X!#$", "x"], "RespHeaders": ["x"], "Addr": "syslog://"}));
            let headers = [("x!#$", value.as_str()), ("X", value.as_str())];
            let mut passage = passage(&chain, &request(&method, &target, &headers));
            let response = Response { status: 200, headers: &headers, body_bytes: None, is_own: false };
            passage.response(&response, at(0));
            let effects = passage.finish(&Finish::default(), crate::Now { nanos, unix_seconds: 0 });
            prop_assert_eq!(&record(&effects)["request"]["url"], &Value::from(target));
            prop_assert_eq!(&record(&effects)["response"]["headers"]["x"][0], &Value::from(value));
        }
    }
}
