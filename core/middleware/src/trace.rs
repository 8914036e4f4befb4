//! `trace`: one JSON record for each exchange, to syslog. The datagram is the shell's to send.

mod address;

use crate::effect::{Effect, Syslog};
use crate::headers::is_name;
use crate::spec::{Fields, SpecError};
use crate::step::{Note, Seen, SeenResponse, Step, Verdict};
use crate::view::{Finish, Now, Tls};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
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

/// What is known of an exchange so far.
pub(crate) struct Captured {
    request: Value,
    /// None when there was none.
    response: Option<Value>,
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
        None => Ok(names),
    }
}

impl Step for Trace {
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        let mut record = Map::new();
        record.insert("method".into(), seen.request.method.into());
        record.insert("url".into(), text(seen.target().as_bytes(), TARGET_BYTES_MAX));
        record.insert("body_bytes".into(), seen.request.body_bytes.unwrap_or(0).into());
        capture(&mut record, &self.request_headers, |visit| seen.each_header(visit));
        if let Some(Tls { version, resumed, cipher_suite, server_name }) = seen.request.tls {
            let tls =
                json!({"version": version, "resume": resumed, "cipher_suite": cipher_suite, "server": server_name});
            record.insert("tls".into(), tls);
        }
        let captured = Captured { request: Value::Object(record), response: None, begun: seen.now };
        Verdict::PassWith(Note::Trace(Box::new(captured)))
    }

    fn response<'c>(&'c self, note: &mut Note, seen: &mut SeenResponse<'_, 'c>) {
        let Note::Trace(captured) = note else { return };
        let mut record = Map::new();
        record.insert("code".into(), seen.response.status.into());
        capture(&mut record, &self.response_headers, |visit| seen.each_header(visit));
        captured.response = Some(Value::Object(record));
    }

    fn finish(&self, note: Note, finish: &Finish, now: Now, effects: &mut Vec<Effect>) {
        let Note::Trace(captured) = note else { return };
        let Captured { mut request, response: Some(mut response), begun } = *captured else { return };
        request["body_bytes"] = finish.request_body_bytes.max(request["body_bytes"].as_u64().unwrap_or(0)).into();
        response["roundtrip"] = (now.since(begun).as_nanos() as f64 / 1e6).into();
        response["body_bytes"] = finish.response_body_bytes.into();
        let record = json!({"request": request, "response": response});
        effects.push(Effect::Trace { to: self.to.clone(), message: format!("{}{record}", self.prefix) });
    }
}

/// As Go's `http.Header` is printed: each name with the list of its values.
fn capture(record: &mut Map<String, Value>, names: &[String], each: impl Fn(&mut dyn FnMut(&str, &[u8]))) {
    if names.is_empty() {
        return;
    }
    let mut captured: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let mut left = VALUES_MAX;
    each(&mut |name, value| {
        if let (Some(known), 1..) = (names.iter().find(|known| known.eq_ignore_ascii_case(name)), left) {
            captured.entry(known).or_default().push(text(value, VALUE_BYTES_MAX));
            left -= 1;
        }
    });
    if !captured.is_empty() {
        record.insert("headers".into(), json!(captured));
    }
}

fn text(bytes: &[u8], bytes_max: usize) -> Value {
    String::from_utf8_lossy(&bytes[..bytes.len().min(bytes_max)]).into_owned().into()
}

#[cfg(test)]
mod tests {
    use crate::testing::{answer, at, chain, chain_of, passage, request};
    use crate::{Effect, Finish, Request, Response, SyslogTransport, Tls};
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
}
